"""Every code block of the trigger pattern, as a host would have it: tests/pattern."""

import logging
from datetime import date, timedelta
from io import StringIO

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from tests.pattern import calls
from tests.pattern import settings as host
from tests.pattern.management.commands.check_overdue import Command
from tests.pattern.models import Event, Report, Request, Task, Team
from tests.pattern.tasks import notify_report_ready
from tests.pattern.testcase import MyAppNotificationTest
from themis.conf import settings as conf
from themis.models import UserNotification

pytestmark = pytest.mark.django_db

# pytest collects the hosts' own TestCase where it finds it.
__all__ = ["MyAppNotificationTest"]


def yesterday() -> date:
    return timezone.now().date() - timedelta(days=1)


def only() -> UserNotification:
    return UserNotification.objects.get()


def test_the_one_interface(ada: User) -> None:
    calls.tell(ada)
    row = only()
    assert (row.title, row.level, row.url) == ("Task overdue", "warning", "/tasks/42/")
    assert row.message == "Task 'Deploy v2' was due yesterday."
    assert (row.source_app, row.source_model, row.source_id) == ("tasks", "Task", "42")
    assert row.expires_at is None
    calls.tell(ada)
    assert only() == row


def test_a_signal(ada: User) -> None:
    task = Task.objects.create(title="Deploy v2")
    assert not UserNotification.objects.exists()
    task.assignee = ada
    task.save()
    assert only().title == "Task assigned: Deploy v2"
    task.save()
    assert only().user == ada


@pytest.mark.urls("tests.pattern.urls")
def test_a_view(ada: User, grace: User) -> None:
    wish = Request.objects.create(title="A desk", requester=ada)
    client = Client()
    client.force_login(grace)
    response = client.post(f"/requests/{wish.pk}/approve/")
    assert response["Location"] == "/requests/"
    wish.refresh_from_db()
    assert wish.status == "approved"
    assert (only().user, only().title) == (ada, "Request approved")


def test_a_management_command_run_twice(
    ada: User, caplog: pytest.LogCaptureFixture
) -> None:
    Task.objects.create(title="Deploy v2", assignee=ada, due_date=yesterday())
    Task.objects.create(title="Nobody's", due_date=yesterday())
    Task.objects.create(title="Done", assignee=ada, due_date=yesterday(), status="done")
    for count in (1, 0):
        said = StringIO()
        with caplog.at_level(logging.WARNING, logger="themis"):
            call_command(Command(), stdout=said)
        assert said.getvalue() == f"Sent {count} overdue notification(s)\n"
    assert [record.levelname for record in caplog.records] == ["WARNING"] * 2
    assert (only().title, only().level) == ("Overdue: Deploy v2", "danger")


def test_a_celery_task(ada: User) -> None:
    """Here in this process; tests/faults/test_celery.py has workers."""
    report = Report.objects.create()
    notify_report_ready.delay(ada.pk, report.pk)
    assert only().message == "Your weekly report is ready to download."
    assert only().url == f"/reports/{report.pk}/"


def test_source_tracking(ada: User) -> None:
    for title in ("Deploy v2", "Deploy v3"):
        task = Task.objects.create(title=title)
        task.assignee = ada
        task.save()
    Task.objects.get(title="Deploy v2").delete()
    assert only().title == "Task assigned: Deploy v3"
    Task.objects.filter(title="Deploy v3").delete()
    assert not UserNotification.objects.exists()


def test_expiry(ada: User, monkeypatch: pytest.MonkeyPatch) -> None:
    now = timezone.now()
    event = Event.objects.create(
        title="Stand-up", start_time=now + timedelta(minutes=5)
    )
    for _ in range(2):
        calls.remind(ada, event)
    mine = ada.themis_notifications
    assert mine.listed().get().title == "Starting soon: Stand-up"
    assert mine.unread().count() == 1
    monkeypatch.setattr(timezone, "now", lambda: event.start_time)
    assert not mine.listed().exists()
    assert mine.unread().count() == 0


def test_many_users(ada: User, grace: User) -> None:
    User.objects.create_user("eve")
    team = Team.objects.create()
    team.members.add(ada, grace)
    calls.notify_team(team, "Maintenance", "From eight to nine.", level="warning")
    rows = UserNotification.objects.order_by("user__username")
    assert [(row.user.username, row.level) for row in rows] == [
        ("ada", "warning"),
        ("grace", "warning"),
    ]


def test_settings(settings: Settings) -> None:
    assert conf.poll_interval == host.THEMIS_NOTIFICATION_POLL_INTERVAL
    assert conf.max_age_days == host.THEMIS_NOTIFICATION_MAX_AGE_DAYS
    for name in dir(host):
        if name.startswith("THEMIS_"):
            setattr(settings, name, getattr(host, name))
    assert conf.poll_interval == 60
    assert conf.max_age_days == 90


@pytest.mark.parametrize(
    ("minimum", "passing"),
    [
        ("info", {"info", "success", "warning", "danger"}),
        ("warning", {"warning", "danger"}),
        ("danger", {"danger"}),
    ],
)
def test_levels(ada: User, minimum: str, passing: set[str]) -> None:
    ada.profile.notification_min_level = minimum
    ada.profile.save()
    team = Team.objects.create()
    team.members.add(ada)
    for level in ("info", "success", "warning", "danger"):
        calls.notify_team(team, "News", "", level=level)
    levels = UserNotification.objects.values_list("level", flat=True)
    assert set(levels) == passing
