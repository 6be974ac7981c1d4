"""The management command, as cron calls it and as the page does."""

import logging
from datetime import date, timedelta
from io import StringIO

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.utils import timezone

from demo.models import Task
from tests.demo.conftest import signed_in
from themis.models import UserNotification

pytestmark = [pytest.mark.django_db, pytest.mark.urls("server.urls")]

YESTERDAY = date.today() - timedelta(days=1)  # noqa: DTZ011 -- as hosts write it


def overdue_task(**values: object) -> Task:
    fields = {"title": "Deploy v2", "due_date": YESTERDAY, **values}
    return Task.objects.create(**fields)


def check() -> str:
    said = StringIO()
    call_command("check_overdue", stdout=said)
    return said.getvalue()


def test_run_twice_it_notifies_once(ada: User) -> None:
    task = overdue_task(assignee=ada)
    assert check() == "Sent 1 overdue notification(s)\n"
    assert check() == "Sent 0 overdue notification(s)\n"
    notification = UserNotification.objects.get()
    assert notification.user == ada
    assert notification.title == "Overdue: Deploy v2"
    assert notification.message == f"Task was due {YESTERDAY}"
    assert notification.level == "danger"
    assert notification.url == f"/tasks/{task.pk}/"


def test_once_it_is_read_the_next_run_tells_again(ada: User) -> None:
    overdue_task(assignee=ada)
    check()
    UserNotification.objects.update(read_at=timezone.now())
    assert check() == "Sent 1 overdue notification(s)\n"


def test_it_survives_a_task_of_nobody(
    ada: User, caplog: pytest.LogCaptureFixture
) -> None:
    nobodys = overdue_task(title="Nobody's")
    overdue_task(assignee=ada)
    with caplog.at_level(logging.WARNING, logger="themis"):
        assert check() == "Sent 1 overdue notification(s)\n"
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert f"tasks.Task {nobodys.pk}" in record.getMessage()


def test_only_open_tasks_past_their_date_count(ada: User) -> None:
    overdue_task(assignee=ada, status=Task.Status.DONE)
    overdue_task(assignee=ada, due_date=None)
    overdue_task(assignee=ada, due_date=YESTERDAY + timedelta(days=2))
    assert check() == "Sent 0 overdue notification(s)\n"
    overdue_task(assignee=ada, status=Task.Status.IN_PROGRESS)
    assert check() == "Sent 1 overdue notification(s)\n"


def test_the_page_runs_the_same_command(ada: User, grace: User) -> None:
    overdue_task(assignee=grace)
    client = signed_in(ada)
    for count in (1, 0):
        page = client.post("/tasks/check-overdue/", follow=True).content.decode()
        assert f"Sent {count} overdue notification(s)" in page
    assert UserNotification.objects.get().user == grace


def test_an_unread_assignment_swallows_it_until_the_task_is_looked_at(
    ada: User, grace: User
) -> None:
    """They share a source, as the pattern has it."""
    task = overdue_task(created_by=ada)
    signed_in(ada).post(f"/tasks/{task.pk}/assign/", {"assignee": grace.pk})
    assert check() == "Sent 0 overdue notification(s)\n"
    signed_in(grace).get(f"/tasks/{task.pk}/")
    assert check() == "Sent 1 overdue notification(s)\n"
