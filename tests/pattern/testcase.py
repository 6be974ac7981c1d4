# fmt: off
"""The block "Hosts' tests"."""

from datetime import date, timedelta
from io import StringIO

from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import TestCase
from tests.pattern.management.commands.check_overdue import Command
from tests.pattern.models import Task
from themis.models import UserNotification
from themis.notifications import notify_user


def check_overdue_tasks():
    call_command(Command(), stdout=StringIO())


class MyAppNotificationTest(TestCase):
    def test_task_overdue_notification(self):
        user = User.objects.create_user(username="test", password="pass")
        task = Task.objects.create(title="Deploy v2", assignee=user, due_date=date.today() - timedelta(days=1))
        check_overdue_tasks()
        notif = UserNotification.objects.get(
            user=user, source_app="tasks", source_model="Task", source_id=str(task.pk))
        self.assertEqual(notif.level, "danger")
        self.assertIn("Deploy v2", notif.title)

    def test_disabled_user_gets_no_notification(self):
        user = User.objects.create_user(username="quiet", password="pass")
        user.profile.notifications_enabled = False
        user.profile.save()
        result = notify_user(user, "Should be skipped")
        self.assertIsNone(result)
        self.assertEqual(UserNotification.objects.count(), 0)
