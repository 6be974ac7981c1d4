"""What surrounds a Python block when it runs: its names before, what is true after."""

import asyncio
import contextlib
import doctest
import inspect
import io
import itertools
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, redirect_stdout
from datetime import timedelta
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.contrib.messages.storage.fallback import FallbackStorage
from django.core.management import call_command
from django.db import transaction
from django.db.models.signals import ModelSignal, post_delete, post_save
from django.db.utils import ConnectionRouter
from django.http import HttpRequest
from django.test import RequestFactory
from django.utils import timezone

from demo.models import Report, Request, Task, Team
from demo.tasks import notify_report_ready
from realtime import origins
from tests.docs.blocks import Block
from tests.realtime.test_operations import ask
from themis import broadcasters, mailbox
from themis.models import UserNotification, UserProfile
from themis.notifications import notify_user
from themis.signals import notification_created
from themis.test import assert_notified

Names = dict[str, Any]


def run(block: Block, names: Names) -> Names:
    """Execute a Python block in these names; a console session prints what it says."""
    if block.language == "pycon":
        parser = doctest.DocTestParser()
        session = parser.get_doctest(block.text, names, str(block), block.page, 0)
        report = io.StringIO()
        flags = doctest.ELLIPSIS
        failed, tried = doctest.DocTestRunner(optionflags=flags).run(
            session, out=report.write, clear_globs=False
        )
        assert tried, block
        assert not failed, report.getvalue()
        return names
    exec(compile("\n" * block.line + block.text, block.page, "exec"), names)  # noqa: S102
    return names


@contextmanager
def _own_receivers(signal: ModelSignal) -> Iterator[None]:
    """Let a block connect receivers for Task, and take them away again; the demo has
    its own, which must not answer meanwhile.
    """
    before = signal.receivers
    signal.receivers = [one for one in before if one[0][1] != id(Task)]
    signal.sender_receivers_cache.clear()
    yield
    signal.receivers = before
    signal.sender_receivers_cache.clear()


def _only_title(user: User) -> str:
    (row,) = UserNotification.objects.filter(user=user)
    return row.title


@contextmanager
def in_user(names: Names) -> Iterator[None]:
    names["user"] = User.objects.create_user("ada")
    yield
    assert not UserNotification.objects.exists()


@contextmanager
def in_everybody(names: Names) -> Iterator[None]:
    User.objects.create_user("ada")
    User.objects.create_user("gone", is_active=False)
    yield
    assert names["told"] == UserNotification.objects.count() == 1


SOURCE: Any = {"source_app": "tasks", "source_model": "Task", "source_id": "42"}


@contextmanager
def in_opened(names: Names) -> Iterator[None]:
    names["user"] = User.objects.create_user("ada")
    row = notify_user(names["user"], "Overdue", **SOURCE)
    assert row is not None
    yield
    row.refresh_from_db()
    assert row.is_read


@contextmanager
def in_withdrawn(names: Names) -> Iterator[None]:
    del names
    notify_user(User.objects.create_user("ada"), "Overdue", **SOURCE)
    yield
    assert not UserNotification.objects.exists()


@contextmanager
def in_receiver(names: Names) -> Iterator[None]:
    names["print"] = lambda *seen: names.setdefault("seen", seen)
    yield
    try:
        notify_user(User.objects.create_user("ada"), "Overdue", **SOURCE)
        assert names["seen"] == ("info", "tasks")
    finally:
        assert notification_created.disconnect(names["count"])


@contextmanager
def in_querysets(names: Names) -> Iterator[None]:
    names["user"] = User.objects.create_user("ada")
    yield


@contextmanager
def in_signal(names: Names) -> Iterator[None]:
    names["Task"] = Task
    with _own_receivers(post_save):
        yield
        ada = User.objects.create_user("ada")
        task = Task.objects.create(title="Deploy v2")
        assert not UserNotification.objects.exists()
        task.assignee = ada
        task.save()
        task.save()
        assert _only_title(ada) == "Task assigned: Deploy v2"


@contextmanager
def in_clean_up(names: Names) -> Iterator[None]:
    names["Task"] = Task
    with _own_receivers(post_delete):
        yield
        ada = User.objects.create_user("ada")
        task = Task.objects.create(title="Deploy v2")
        other = task.pk + 1
        for pk in (task.pk, other):
            UserNotification.objects.create(
                user=ada, source_app="tasks", source_model="Task", source_id=str(pk)
            )
        task.delete()
        left = UserNotification.objects.values_list("source_id", flat=True)
        assert [*left] == [str(other)]


@contextmanager
def in_view(names: Names) -> Iterator[None]:
    names["Request"] = Request
    yield
    ada = User.objects.create_user("ada")
    wish = Request.objects.create(title="A chair", requester=ada)
    request: Any = RequestFactory().post("/")
    request.user = User.objects.create_user("grace")
    request.session = {}
    request._messages = FallbackStorage(request)
    assert names["approve_request"](request, wish.pk).status_code == 302
    assert _only_title(ada) == "Request approved"


@contextmanager
def in_async(names: Names) -> Iterator[None]:
    yield
    ada = User.objects.create_user("ada")
    asyncio.run(names["report_is_ready"](ada, SimpleNamespace(url="/reports/1/")))
    assert _only_title(ada) == "Report ready"


@contextmanager
def in_event(names: Names) -> Iterator[None]:
    ada = names["attendee"] = User.objects.create_user("ada")
    names["event"] = SimpleNamespace(
        pk=1,
        title="Stand-up",
        start_time=timezone.now() + timedelta(hours=1),
        get_absolute_url=lambda: "/events/1/",
    )
    yield
    assert _only_title(ada) == "Starting soon: Stand-up"
    assert ada.themis_notifications.unread().count() == 1
    past = timezone.now() - timedelta(seconds=1)
    UserNotification.objects.update(expires_at=past)
    assert not ada.themis_notifications.listed().exists()


@contextmanager
def in_admin(names: Names) -> Iterator[None]:
    registered = type(admin.site.get_model_admin(User))
    try:
        yield
        mine: Any = admin.site.get_model_admin(User)
        assert mine.actions == [names["send_notification"]]
    finally:
        admin.site.unregister(User)
        admin.site.register(User, registered)


@contextmanager
def in_pytest(names: Names) -> Iterator[None]:
    yield
    ada, grace = map(User.objects.create_user, ["ada", "grace"])

    def check_overdue() -> None:
        notify_user(ada, "Overdue: Deploy v2", level="danger")

    names["test_overdue_tasks"](ada, grace, check_overdue)
    notify_user(grace, "Hello")
    with pytest.raises(AssertionError, match="grace was notified"):
        names["test_overdue_tasks"](ada, grace, check_overdue)


@contextmanager
def in_failure(names: Names) -> Iterator[None]:
    names["assert_notified"] = assert_notified
    names["user"] = ada = User.objects.create_user("ada")
    notify_user(ada, "Task assigned: Deploy v2", url="/tasks/42/", source_id=42)
    yield


@contextmanager
def in_command(names: Names) -> Iterator[None]:
    names["Task"] = Task
    yield
    ada = User.objects.create_user("ada")
    due = timezone.now().date() - timedelta(days=1)
    for assignee in (ada, None):
        Task.objects.create(title="Deploy v2", assignee=assignee, due_date=due)
    for count in (1, 0):
        printed = io.StringIO()
        call_command(names["Command"](), stdout=printed)
        assert printed.getvalue() == f"Sent {count} overdue notification(s)\n"
    assert _only_title(ada) == "Overdue: Deploy v2"


@contextmanager
def in_celery(names: Names) -> Iterator[None]:
    names["Report"] = Report
    names["__name__"] = "reports.tasks"
    yield
    ada = User.objects.create_user("ada")
    report = Report.objects.create(owner=ada)
    names["notify_report_ready"].delay(ada.pk, report.pk)
    assert _only_title(ada) == "Report ready"


@contextmanager
def in_enqueue(names: Names) -> Iterator[None]:
    names |= {"Report": Report, "notify_report_ready": notify_report_ready}
    yield
    ada = User.objects.create_user("ada")
    with transaction.atomic():
        report = names["order_report"](ada, "weekly")
        assert not UserNotification.objects.exists()
    assert report == Report.objects.get()
    assert _only_title(ada) == "Report ready"


@contextmanager
def in_team(names: Names) -> Iterator[None]:
    yield
    ada, grace, eve = (User.objects.create_user(n) for n in ("ada", "grace", "eve"))
    team = Team.objects.create(name="Operations")
    team.members.add(ada, grace)
    names["notify_team"](team, "Lunch", "At one.", level="success")
    assert _only_title(ada) == _only_title(grace) == "Lunch"
    assert not eve.themis_notifications.exists()


@contextmanager
def in_many(names: Names) -> Iterator[None]:
    ada, grace = (User.objects.create_user(n) for n in ("ada", "grace"))
    grace.profile.notification_min_level = "danger"
    grace.profile.save()
    User.objects.create_user("gone", is_active=False)
    yield
    assert names["count"] == 1
    assert _only_title(ada) == "Maintenance tonight"


@contextmanager
def in_look(names: Names) -> Iterator[None]:
    names["Task"] = Task
    yield
    ada = User.objects.create_user("ada")
    task = Task.objects.create(title="Deploy v2")
    task.assignee = ada
    task.save()
    assert ada.themis_notifications.unread().count() == 1
    request: Any = RequestFactory().get("/")
    request.user = ada
    assert names["task_detail"](request, task.pk).status_code == 200
    assert ada.themis_notifications.unread().count() == 0


@contextmanager
def in_withdraw(names: Names) -> Iterator[None]:
    people = [User.objects.create_user(name) for name in ("ada", "grace")]
    names["event"] = SimpleNamespace(pk=1)
    for pk, ada in itertools.product((1, 2), people):
        notify_user(
            ada, "Soon", source_app="events", source_model="Event", source_id=pk
        )
    yield
    left = UserNotification.objects.values_list("source_id", flat=True)
    assert [*left] == ["2", "2"]


@contextmanager
def in_broadcaster(names: Names) -> Iterator[None]:
    yield
    broadcaster = names["ConsoleBroadcaster"]
    assert issubclass(broadcaster, broadcasters.BaseBroadcaster)
    port = broadcasters.BaseBroadcaster
    methods = {name for name in vars(broadcaster) if not name.startswith("_")}
    assert methods == {name for name in vars(port) if not name.startswith("_")}
    for name in methods:
        ours, theirs = getattr(port, name), getattr(broadcaster, name)
        assert [*inspect.signature(theirs).parameters] == [
            *inspect.signature(ours).parameters
        ]
    assert broadcaster().socket_url(HttpRequest()) is None
    change = SimpleNamespace(user_key="1", epoch="e", since=1, revision=2)
    printed = io.StringIO()
    with redirect_stdout(printed):
        broadcaster().broadcast([change])
    assert printed.getvalue() == "1 e 1 2\n"


@contextmanager
def in_proxy(names: Names) -> Iterator[None]:
    yield
    scope = {
        "headers": [
            (b"host", b"www.example.com"),
            (b"origin", b"https://www.example.com"),
            (b"x-forwarded-proto", b"https"),
        ],
        "server": ("127.0.0.1", 8000),
    }
    with pytest.MonkeyPatch.context() as patch:
        from django.conf import settings  # noqa: PLC0415 -- not the fixture

        patch.setattr(settings, "ALLOWED_HOSTS", ["www.example.com"])
        assert not origins.is_allowed(scope)
        patch.setattr(
            settings, "SECURE_PROXY_SSL_HEADER", names["SECURE_PROXY_SSL_HEADER"]
        )
        assert origins.is_allowed(scope)
        other = [(b"origin", b"https://app.example.com"), scope["headers"][2]]
        scope["headers"] = [(b"host", b"www.example.com"), *other]
        assert not origins.is_allowed(scope)
        patch.setattr(settings, "CSRF_TRUSTED_ORIGINS", names["CSRF_TRUSTED_ORIGINS"])
        assert origins.is_allowed(scope)


@contextmanager
def in_token(names: Names) -> Iterator[None]:
    ada = User.objects.create_user("ada")
    names["user_of_token"] = {"hers": ada}.get
    yield
    seen: list[Any] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["user"])

    middleware = names["TokenMiddleware"](application)
    for query in (b"token=hers", b"token=another", b""):
        asyncio.run(middleware({"query_string": query}, None, None))
    assert seen == [ada, None, None]


@contextmanager
def in_fixtures(names: Names) -> Iterator[None]:
    ada = User.objects.create_user("ada")
    UserProfile.objects.update(notification_min_level="success")
    UserNotification.objects.create(user=ada, title="Title")
    UserNotification.objects.create(user=ada, title="Claimed", deduplicate=True)
    with TemporaryDirectory() as folder, contextlib.chdir(folder):
        yield
        User.objects.all().delete()
        call_command("loaddata", "people.json", verbosity=0)
    ada = User.objects.get()
    assert ada.profile.notification_min_level == "success"
    items = mailbox.read_state(ada.pk).items
    assert [row.title for row in items] == ["Claimed", "Title"]


@contextmanager
def in_router(names: Names) -> Iterator[None]:
    yield
    routed = ConnectionRouter([names["PeopleRouter"]()])
    for model in (User, UserNotification, UserProfile):
        assert routed.db_for_write(model) == routed.db_for_read(model) == "people"
    assert routed.db_for_write(Task) == "default"
    for label, alias in (("auth", "people"), ("themis", "people"), ("demo", "default")):
        other = {"people": "default", "default": "people"}[alias]
        assert routed.allow_migrate(alias, label)
        assert not routed.allow_migrate(other, label)


@contextmanager
def in_operations(names: Names) -> Iterator[None]:
    yield
    application = names["application"].application_mapping["http"]
    assert asyncio.run(ask(application, "/healthz")).status == 200
    assert application._application is names["django_application"]


CONTEXTS: dict[str, Callable[[Names], AbstractContextManager[None]]] = {
    name.removeprefix("in_"): context
    for name, context in [*globals().items()]
    if name.startswith("in_")
}
