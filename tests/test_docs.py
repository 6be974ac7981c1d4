"""Every code block of the documentation is run or checked, tables and links compared.

An HTML comment before a block says how: `<!-- test: run in=signal -->` runs Python in
the context of that name below, `step` belongs to a project that is made outside the
checkout, `not run:` gives a reason, which the run prints. A block without a comment is
an error.
"""

import ast
import asyncio
import contextlib
import doctest
import inspect
import io
import itertools
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import unittest
from collections.abc import Callable, Iterator
from contextlib import (
    AbstractContextManager,
    ExitStack,
    contextmanager,
    redirect_stdout,
)
from dataclasses import dataclass, field
from datetime import timedelta
from http import HTTPStatus
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from channels.layers import get_channel_layer
from daphne.cli import CommandLineInterface
from django.contrib import admin
from django.contrib.auth.models import User
from django.contrib.messages.storage.fallback import FallbackStorage
from django.core.management import call_command
from django.db import transaction
from django.db.models.signals import ModelSignal, post_delete, post_save
from django.db.utils import ConnectionHandler, ConnectionRouter
from django.http import HttpRequest
from django.template import Context, Template
from django.test import Client, RequestFactory
from django.urls import reverse
from django.utils import timezone
from playwright.sync_api import Browser
from pytest_django import Settings

import server.security
import themis.notifications
import themis.test
from demo.models import Report, Request, Task, Team
from demo.tasks import notify_report_ready
from realtime import origins
from realtime.hub import running_hubs
from realtime.metrics import METRICS, Histogram
from realtime.operations import Operations
from realtime.protocol import CloseCode
from server import launch
from tests import programs
from tests.conftest import MakeDatabase, PageErrors, Serve, SignIn
from tests.e2e.bells import OBSERVE, Bell
from tests.hosts import HostServer, Project, ProjectWithWheel, Visitor, next_state
from tests.processes import (
    ROOT,
    DaphneServer,
    PostgresServer,
    PrivateProcess,
    RedisServer,
)
from tests.realtime.test_operations import ask
from tests.server import test_logs
from tests.waiting import wait_until
from themis import broadcasters, conf, mailbox, urls
from themis.api import notifications
from themis.listing import Filters
from themis.models import Level, UserNotification, UserProfile
from themis.notifications import notify_user
from themis.signals import notification_created
from themis.test import assert_notified

PAGES = sorted(
    str(path.relative_to(ROOT))
    for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]
)


# Reading the pages


@dataclass(frozen=True)
class Block:
    """A fenced code block, and the comment that says what becomes of it."""

    page: str
    line: int
    language: str
    text: str
    action: str
    argument: str
    options: dict[str, str] = field(hash=False)

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


_FENCE = re.compile(
    r"(?:^<!-- test: (?P<comment>[^\n]*) -->\n)?^```(?P<language>\w+)\n"
    r"(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


def _read(page: str) -> str:
    return (ROOT / page).read_text()


def _blocks_of(page: str) -> Iterator[Block]:
    text = _read(page)
    for match in _FENCE.finditer(text):
        comment = match["comment"] or ""
        line = text.count("\n", 0, match.start("language")) + 1
        if comment.startswith("not run: "):
            action, argument, options = "not run", comment.partition(": ")[2], {}
        else:
            words = comment.split()
            named = dict(word.split("=", 1) for word in words if "=" in word)
            plain = [word for word in words if "=" not in word]
            action, argument, *_ = [*plain, "", ""]
            options = named
        yield Block(
            page, line, match["language"], match["text"], action, argument, options
        )


BLOCKS = [block for page in PAGES for block in _blocks_of(page)]
_claimed: set[Block] = set()


def claim(action: str, **options: str) -> list[Block]:
    """The blocks of this action and these options; whoever asks for them runs them."""
    found = [
        block
        for block in BLOCKS
        if block.action == action and options.items() <= block.options.items()
    ]
    assert found, (action, options)
    _claimed.update(found)
    return found


def each(blocks: list[Block]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("block", blocks, ids=str)


# Run by tests/faults/test_origins.py, with a real nginx.
(PROXY,) = claim("nginx")
# Run by tests/deploy/test_pages.py.
(EXAMPLE,) = claim("example")
(SECRET,) = claim("secret")
(CERTIFICATE,) = claim("certificate")
(KUBECTL,) = claim("kubectl")
EXCERPTS = claim("excerpt")


def table(page: str, *header: str) -> list[list[str]]:
    """The rows of the table whose header begins so."""
    start = "| " + " | ".join(header)
    lines = iter(_read(page).splitlines())
    next(line for line in lines if line.startswith(start))
    next(lines)
    rows = []
    for line in lines:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows


def code(cell: str) -> list[str]:
    """What stands between backticks."""
    return re.findall(r"`([^`]*)`", cell)


# Python blocks


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


@each([block for name in CONTEXTS for block in claim("run", **{"in": name})])
@pytest.mark.django_db(transaction=True)
def test_a_python_block_does_what_it_says(block: Block) -> None:
    names: Names = {}
    with CONTEXTS[block.options["in"]](names):
        run(block, names)


@each(claim("testcase"))
@pytest.mark.django_db(transaction=True)
def test_a_hosts_tests_pass(block: Block) -> None:
    names = run(block, {"__name__": "host"})
    (case,) = (
        case
        for case in names.values()
        if isinstance(case, type)
        and issubclass(case, unittest.TestCase)
        and case.__module__ == "host"
    )
    suite = unittest.defaultTestLoader.loadTestsFromTestCase(case)
    report = io.StringIO()
    outcome = unittest.TextTestRunner(report).run(suite)
    assert outcome.testsRun
    assert outcome.wasSuccessful(), report.getvalue()


@each(claim("signature"))
def test_a_signature_is_that_of_the_code(block: Block) -> None:
    module, _, name = block.options["of"].rpartition(".")
    actual = inspect.signature(getattr(import_module(module), name))
    lazy = "from __future__ import annotations\n"
    names: Names = {}
    exec(lazy + block.text, names)  # noqa: S102
    assert str(inspect.signature(names[name])) == str(actual)


# Settings


@each(claim("run", **{"in": "sqlite"}))
@pytest.mark.django_db
def test_the_sqlite_settings_work(block: Block, tmp_path: Path) -> None:
    names = run(block, {"BASE_DIR": tmp_path})
    database = ConnectionHandler(names["DATABASES"])["default"]
    with database.cursor() as cursor:
        cursor.execute("PRAGMA journal_mode")
        assert cursor.fetchone() == ("wal",)
    database.close()


@each(claim("run", **{"in": "redis"}))
@pytest.mark.once
@pytest.mark.django_db
def test_the_postgres_and_redis_settings_work(
    block: Block,
    redis_server: RedisServer,
    postgres_server: PostgresServer,
    settings: Settings,
) -> None:
    names = run(block, {})
    postgres_server.create_database("docs_settings")
    database = names["DATABASES"]["default"] | {
        "NAME": "docs_settings",
        "USER": postgres_server.user,
        "PORT": postgres_server.port,
    }
    wrapper = ConnectionHandler({"default": database})["default"]
    with wrapper.cursor() as cursor:
        cursor.execute("SELECT 1")
    wrapper.close()

    (host,) = names["CHANNEL_LAYERS"]["default"]["CONFIG"]["hosts"]
    assert {"socket_timeout": 1, "socket_connect_timeout": 1}.items() <= host.items()
    host["address"] = redis_server.url
    settings.CHANNEL_LAYERS = names["CHANNEL_LAYERS"]

    async def to_itself() -> dict[str, Any]:
        layer: Any = get_channel_layer()
        channel = await layer.new_channel()
        await layer.group_add("group", channel)
        await layer.group_send("group", {"type": "hello"})
        message: dict[str, Any] = await layer.receive(channel)
        await layer.flush()
        return message

    assert asyncio.run(to_itself()) == {"type": "hello"}


@each(claim("run", **{"in": "threads"}))
def test_the_last_middleware_is_only_synchronous(block: Block) -> None:
    middleware = run(block, {})["stay_in_thread"]
    view = object()
    assert middleware(view) is view
    # As Django asks it.
    assert not getattr(middleware, "async_capable", False)


# Commands, and what they print


@each(claim("make"))
def test_the_make_targets_exist(block: Block) -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):.*## ", _read("Makefile"), re.MULTILINE))
    asked = [line.split() for line in block.text.splitlines()]
    assert {words[0] for words in asked} == {"make"}
    assert {words[1] for words in asked} <= targets


@each(claim("check"))
def test_the_checks_can_be_asked_for(block: Block) -> None:
    program, script, *arguments = shlex.split(block.text)
    assert (program, script) == ("python", "manage.py")
    call_command(*arguments, stdout=io.StringIO(), stderr=io.StringIO())


@each(claim("daphne"))
def test_the_daphne_command_parses(block: Block) -> None:
    program, *arguments = shlex.split(block.text)
    assert program == "daphne"
    options = CommandLineInterface().parser.parse_args(arguments)
    assert options.application == "mysite.asgi:application"
    assert options.ping_timeout <= options.ping_interval


@each(claim("output"))
def test_what_is_printed_is_what_stands_there(block: Block, settings: Settings) -> None:
    settings.DEBUG = True
    actual = {
        "welcome": lambda: launch.welcome("http://127.0.0.1:8000/").replace(
            sys.executable, ".venv/bin/python"
        ),
        "policy": lambda: server.security.PAGES,
    }
    assert block.text.strip() == actual[block.options["of"]]().strip()


# Projects made by the steps of a page


def follow(step: Block, project: Project) -> None:
    if target := step.options.get("append"):
        project.append(target, step.text)
    elif target := step.options.get("write"):
        project.write(target, step.text)
    elif step.argument == "shell":
        project.shell(step.text)
    else:
        for line in step.text.splitlines():
            project.command(line)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path / "project")


@contextmanager
def running(
    project: Project, processes: list[PrivateProcess]
) -> Iterator[tuple[HostServer, Visitor]]:
    with HostServer(project) as host:
        processes.append(host)
        ada = Visitor(host.url)
        ada.sign_in("/admin/login/", "ada")
        yield host, ada


STEPS = claim("step")


def _steps_of(project: str) -> list[Block]:
    return [step for step in STEPS if step.options.get("project") == project]


def _steps(page: str) -> tuple[list[Block], Block]:
    """The steps before and after the server runs: the last is the notification."""
    steps = [step for step in STEPS if step.page == page]
    *before, last = [step for step in steps if "project" not in step.options]
    assert last.argument == "shell"
    return before, last


@pytest.mark.once
@pytest.mark.parametrize("page", ["README.md", "docs/tutorial.md"])
def test_following_the_page_makes_a_bell_ring(
    page: str, project: Project, processes: list[PrivateProcess]
) -> None:
    before, notify = _steps(page)
    is_host = not any("startproject" in step.text for step in before)
    if is_host:
        project.start_as_host()
    for step in before:
        follow(step, project)
    assert project.done[-1] == "runserver"
    if is_host:
        project.add_ada()
    where = "import themis, realtime; print(themis.__file__, realtime.__file__)"
    assert project.python("-c", where).count(str(project.site)) == 2

    with running(project, processes) as (host, ada):
        assert "<themis-bell" not in Visitor(host.url).get("/")
        bell = ada.get("/")
        assert 'data-socket-url="/ws/notifications/"' in bell
        assert 'data-unread="0"' in bell
        for path in re.findall(r'(?:src|href)="(/static/[^"]+)"', bell):
            assert ada.get(path)
        with ada.socket() as socket:
            first = next_state(socket)
            assert (first["type"], first["items"]) == ("snapshot", [])
            follow(notify, project)
            frame = next_state(socket)
        (item,) = frame["items"]
        assert frame["type"] == "changes"
        assert frame["unread"] == 1
        assert item["title"] in notify.text
        assert 'data-unread="1"' in ada.get("/")
        assert ada.lands_at(f"/notifications/{item['open_url']}") == item["url"]
        assert 'data-unread="0"' in ada.get("/")
        host.stop()
        assert "Traceback" not in host.log


def test_the_integration_has_ten_lines() -> None:
    before, _ = _steps("README.md")
    edits = [step for step in before if {"append", "write"} & step.options.keys()]
    lines = [line for step in edits for line in step.text.splitlines() if line]
    assert len(lines) == 10
    assert "\nTen lines." in _read("README.md")


@pytest.mark.once
@pytest.mark.timeout(300)
def test_the_wheel_alone_rings_a_bell_and_runs_the_hosts_tests(
    browser: Browser,
    page_errors: PageErrors,
    processes: list[PrivateProcess],
    tmp_path: Path,
) -> None:
    """In a fresh environment with nothing but what the wheel asks for."""
    project = ProjectWithWheel(tmp_path / "project")
    before, notify = _steps("README.md")
    project.start_as_host()
    for step in before:
        follow(step, project)
    project.add_ada()
    look = "from importlib.util import find_spec as find; import themis, realtime"
    found = project.python("-c", f"{look}; print(themis, realtime, find('pytest'))")
    assert found.count(str(project.site)) == 2
    assert found.split()[-1] == "None"

    with HostServer(project) as host:
        processes.append(host)
        context = browser.new_context(base_url=host.url)
        context.add_init_script(OBSERVE)
        page_errors.watch(context)
        page_errors.ignore("favicon.ico")
        bell = Bell(context.new_page())
        bell.page.goto("/admin/login/?next=/")
        bell.page.fill("#id_username", "ada")
        bell.page.fill("#id_password", Visitor.password)
        bell.page.click("[type=submit]")
        bell.expect_transport("open")
        follow(notify, project)
        bell.wait_for(lambda: bell.rung)
        assert all(title in notify.text for title in bell.rung)
        bell.expect_count(1)
        context.close()
        host.stop()
        assert "Traceback" not in host.log

    # "Hosts' tests" of the trigger pattern, with the models that they are about.
    shutil.copytree(ROOT / "tests/pattern", project.directory / "tests/pattern")
    project.write("demo/tracking.py", _read("demo/tracking.py"))
    project.append("mysite/settings.py", 'INSTALLED_APPS += ["tests.pattern"]')
    said = project.python("manage.py", "test", "tests.pattern.testcase")
    assert re.search(r"^Ran 2 tests in .*\n\nOK$", said, re.MULTILINE), said


@pytest.mark.once
def test_without_channels_a_page_polls(
    project: Project, processes: list[PrivateProcess]
) -> None:
    project.command("python -m pip install /path/to/themis")
    project.start_as_host()
    for step in _steps_of("poll"):
        follow(step, project)
    project.command("python manage.py migrate")
    project.add_ada()
    with running(project, processes) as (_host, ada):
        bell = ada.get("/")
        assert 'data-socket-url=""' in bell
        assert 'data-poll-interval="30"' in bell
        notify = (
            "from themis.notifications import notify_user\n"
            "notify_user(User.objects.get(), 'Hello')"
        )
        project.shell(notify)
        state = json.loads(ada.get("/notifications/api/state"))
        assert [item["title"] for item in state["items"]] == ["Hello"]
        assert state["poll_interval"] == 30


_OWN_PROFILE = """
from django.conf import settings
from django.db import models

class Profile(models.Model):
    user = models.OneToOneField(
        settings.AUTH_USER_MODEL, models.CASCADE, related_name="profile"
    )
"""


@pytest.mark.once
def test_a_project_with_a_profile_names_the_other(project: Project) -> None:
    project.command("python -m pip install /path/to/themis")
    project.start_as_host()
    project.write("people/models.py", _OWN_PROFILE)
    apps = 'INSTALLED_APPS = [*INSTALLED_APPS, "people", "themis"]'
    project.append("mysite/settings.py", apps)
    refused = project.python("manage.py", "check", fails=True)
    assert "fields.E304" in refused
    assert "fields.E305" in refused
    assert "themis.E002" in refused
    assert "THEMIS_PROFILE_RELATED_NAME" in refused
    setting, shell = _steps_of("profile")
    follow(setting, project)
    project.command("python manage.py makemigrations people")
    project.command("python manage.py migrate")
    project.command("python manage.py makemigrations --check --dry-run")
    project.add_ada()
    follow(shell, project)
    show = "print(User.objects.get().notification_profile.notification_min_level)"
    shown = project.shell(show)
    assert shown.strip() == "warning"


@each(claim("servers"))
@pytest.mark.once
def test_two_servers_ring_the_bells_of_both(
    block: Block, make_database: MakeDatabase, redis_server: RedisServer, serve: Serve
) -> None:
    exports = dict(re.findall(r"^export (\w+)=(\S+)$", block.text, re.MULTILINE))
    ports = re.findall(r"^PORT=(\d+) make run$", block.text, re.MULTILINE)
    assert len(exports) + len(ports) == len(block.text.splitlines())
    assert len(set(ports)) == 2
    private = {
        "DATABASE_URL": make_database("postgres"),
        "REDIS_URL": redis_server.url,
    }
    assert exports.keys() == private.keys()
    for name, url in exports.items():
        assert url.partition(":")[0] == private[name].partition(":")[0]
    # A check of the database would repair a push that Redis lost, and hide it.
    quiet = {"THEMIS_REALTIME_CHECK_INTERVAL": "600"}
    servers: list[DaphneServer] = [
        serve(private["DATABASE_URL"], redis_url=private["REDIS_URL"], env=quiet)
        for _port in ports
    ]
    with ExitStack() as stack:
        sockets = []
        for one in servers:
            ada = Visitor(one.url)
            ada.sign_in("/accounts/login/", "ada", "themis-demo")
            sockets.append(stack.enter_context(ada.socket()))
            assert next_state(sockets[-1])["type"] == "snapshot"
        notify = (
            "from themis.notifications import notify_user\n"
            "notify_user(User.objects.get(username='ada'), 'To both')"
        )
        servers[0].manage("shell", "-v0", "-c", notify)
        for socket in sockets:
            frame = next_state(socket)
            assert [item["title"] for item in frame["items"]] == ["To both"]


# Clients that are no browsers


CURL = claim("curl")
_SITE_LINE = "https://www.example.com"


def _notify(server: DaphneServer, title: str) -> None:
    notify = (
        "from themis.notifications import notify_user\n"
        f"notify_user(User.objects.get(username='ada'), {title!r})"
    )
    server.manage("shell", "-v0", "-c", notify)


@pytest.mark.once
def test_the_curl_commands_work(serve: Serve, tmp_path: Path) -> None:
    programs.require("curl")
    one = serve()
    _notify(one, "A task")
    sign_in, ask, write = CURL
    assert _SITE_LINE in sign_in.text

    def curl(*blocks: str) -> str:
        script = "set -e\n" + "".join(blocks).replace(_SITE_LINE, one.url)
        ran = subprocess.run(
            ["/bin/sh", "-c", script],
            cwd=tmp_path,
            env={**os.environ, "PASSWORD": "themis-demo"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert ran.returncode == 0, ran.stderr
        return ran.stdout

    assert curl(sign_in.text, ask.text).strip() == "304"
    state = json.loads((tmp_path / "state.json").read_text())
    (item,) = state["items"]
    assert (item["title"], item["read_at"]) == ("A task", None)
    # The functions of the first block, without its requests.
    names = "".join(sign_in.text.splitlines(keepends=True)[:2])
    answer = json.loads(curl(names, write.text.replace("42", item["id"])))
    assert (answer["type"], answer["unread"]) == ("changes", 0)
    assert [item["read_at"] for item in answer["items"]] == [answer["at"]]


_TELLING_STATUSES = """
import http.client, runpy, sys
begin = http.client.HTTPResponse.begin
def tell(response):
    begin(response)
    print(response.status, file=sys.stderr, flush=True)
http.client.HTTPResponse.begin = tell
runpy.run_path(sys.argv[1])
"""


@each(claim("poller"))
@pytest.mark.once
def test_the_polling_program_follows_the_mailbox(
    block: Block,
    test_database_url: str,
    serve: Serve,
    settings: Settings,
    tmp_path: Path,
) -> None:
    # The server checks passwords as Django does by default.
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.PBKDF2PasswordHasher"]
    ada = User.objects.create_user("ada", password="themis-demo")
    one = serve(test_database_url, env={"THEMIS_NOTIFICATION_POLL_INTERVAL": "1"})
    program = tmp_path / "poller.py"
    program.write_text(block.text.replace(_SITE_LINE, one.url))
    with (
        (tmp_path / "said").open("w") as output,
        (tmp_path / "statuses").open("w") as errors,
    ):
        poller = subprocess.Popen(
            [sys.executable, "-c", _TELLING_STATUSES, str(program)],
            env={**os.environ, "PASSWORD": "themis-demo"},
            stdout=output,
            stderr=errors,
        )

    def said() -> list[str]:
        return (tmp_path / "said").read_text().splitlines()

    def statuses() -> list[str]:
        return (tmp_path / "statuses").read_text().splitlines()

    try:
        wait_until(within=30, condition=lambda: said() == ["0 unread of 0"])
        notify_user(ada, "A task")
        wait_until(
            within=30, condition=lambda: said()[1:3] == ["New: A task", "1 unread of 1"]
        )
        asked = len(statuses())
        # While nothing happens every answer but the first is a 304.
        wait_until(
            within=30, condition=lambda: statuses()[asked + 1 :].count("304") >= 2
        )
        assert {*statuses()[asked + 1 :]} == {"304"}
        UserNotification.objects.all().delete()
        wait_until(
            within=30,
            condition=lambda: said()[-1] == "0 unread of 0" and len(said()) > 3,
        )
        assert not [line for line in said()[3:] if line.startswith("New")]
        # A server that is away is asked again.
        one.stop()
        one.start()
        notify_user(ada, "Another")
        wait_until(
            within=30,
            condition=lambda: said()[-2:] == ["New: Another", "1 unread of 1"],
        )
        assert poller.poll() is None
        assert {*statuses()} <= {"200", "302", "304", "503"}
    finally:
        poller.kill()
        poller.wait()


# Pages: templates, styles, scripts


@each(claim("tag"))
@pytest.mark.django_db
def test_the_tag_renders_the_bell(block: Block) -> None:
    request: Any = RequestFactory().get("/")
    request.user = User.objects.create_user("ada")
    assert "<themis-bell" in Template(block.text).render(Context({"request": request}))


@each(claim("link"))
def test_a_link_leads_to_the_preferences(block: Block) -> None:
    html = Template(block.text).render(Context())
    assert f'href="{reverse("themis:preferences")}"' in html


_SITE = "{% block title %}{% endblock %}{% block head %}{% endblock %}<body>{% block body %}{% endblock %}"  # noqa: E501 -- a line of HTML


@each(claim("template"))
@pytest.mark.django_db
def test_the_list_page_takes_the_hosts_frame(
    block: Block, client: Client, settings: Settings, tmp_path: Path
) -> None:
    (tmp_path / "themis").mkdir()
    (tmp_path / "themis/base.html").write_text(block.text)
    (tmp_path / "site.html").write_text(_SITE)
    settings.TEMPLATES = [{**settings.TEMPLATES[0], "DIRS": [tmp_path]}]
    client.force_login(User.objects.create_user("ada"))
    page = client.get(reverse("themis:list")).content.decode()
    before, _, body = page.partition("<body>")
    assert "themis/themis.css" in before
    assert "<themis-bell" in body
    assert "themis-inbox" in body


def _stylesheet_properties() -> set[str]:
    style = _read("static/themis/themis.css")
    used = set(re.findall(r"var\(\s*(--themis-[a-z-]+)", style))
    scripts = "".join(path.read_text() for path in ROOT.glob("static/themis/*.js"))
    return used - set(re.findall(r"--themis-[a-z-]+", scripts))


@each(claim("css"))
def test_the_custom_properties_exist(block: Block) -> None:
    set_there = set(re.findall(r"^\s*(--[a-z-]+):", block.text, re.MULTILINE))
    assert set_there
    assert set_there <= _stylesheet_properties()


(CONSOLE,) = claim("console")


@each(claim("javascript"))
@pytest.mark.once
def test_the_script_hears_the_bell(block: Block, serve: Serve, sign_in: SignIn) -> None:
    one = serve()
    page = sign_in(one)
    page.wait_for_selector("themis-bell")
    wait_until(lambda: page.evaluate(CONSOLE.text) == "open")
    page.evaluate(f"() => {{ {block.text} }}")
    notify = (
        "from themis.notifications import notify_user\n"
        "notify_user(User.objects.get(username='ada'), 'A task')"
    )
    one.manage("shell", "-v0", "-c", notify)
    wait_until(lambda: page.title() == "A task (1)")


# JSON


def _shape(value: object) -> object:
    """The types and keys of a JSON value; of a list, those of its first item."""
    if isinstance(value, dict):
        return {key: _shape(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_shape(item) for item in value[:1]]
    return type(value).__name__


@each(claim("equals"))
def test_a_frame_is_the_one_that_both_sides_test(block: Block) -> None:
    assert json.loads(block.text) == json.loads(_read(block.argument))


@each(claim("like"))
def test_a_frame_has_the_shape_that_both_sides_test(block: Block) -> None:
    shown, tested = (
        _shape(json.loads(block.text)),
        _shape(json.loads(_read(block.argument))),
    )
    assert isinstance(shown, dict)
    assert isinstance(tested, dict)
    assert shown.keys() == tested.keys()
    for name, shape in shown.items():
        if shape == []:
            continue
        if name != "items":
            assert shape == tested[name]
            continue
        (item,), (known,) = shape, tested[name]
        nullable = {"read_at", "expires_at"}
        assert item.keys() == known.keys()
        assert {key: item[key] for key in item.keys() - nullable} == {
            key: known[key] for key in known.keys() - nullable
        }


@each(claim("body"))
def test_a_body_is_one_that_the_api_takes(block: Block) -> None:
    verb: Any = block.options["of"]
    body = json.loads(block.text)
    assert notifications.parse_selection(body, verb).keys() == body.keys()


@each(claim("preferences"))
@pytest.mark.django_db
def test_preferences_are_some_that_the_api_takes(block: Block, client: Client) -> None:
    client.force_login(User.objects.create_user("ada"))
    where = reverse("themis:api-preferences")
    answer = client.patch(where, block.text, content_type="application/json").json()
    assert json.loads(block.text).items() <= answer.items()


# Tables


def reference(page: str, *header: str) -> list[list[str]]:
    return table(f"docs/reference/{page}.md", *header)


def test_the_settings_are_those_of_the_code() -> None:
    told = {}
    for name, default, *_ in reference("settings", "Setting", "Default"):
        told[code(name)[0]] = ast.literal_eval(code(default)[0])
    actual = {}
    for member in vars(conf.Settings).values():
        if isinstance(member, property) and member.fget:
            (name,) = re.findall(r'"(THEMIS_\w+)"', inspect.getsource(member.fget))
            actual[name] = member.fget(conf.settings)
    assert told == actual


def test_every_public_name_is_told() -> None:
    told = _read("docs/reference/python.md")
    fields = [one.name for one in UserNotification._meta.fields if one.editable]
    names = [*themis.notifications.__all__, *themis.test.__all__, *fields]
    assert [one for one in names if not re.search(rf"\b{one}\b", told)] == []


def test_the_commands_are_those_of_the_code() -> None:
    told = re.findall(r"^\*\*`(\w+)", _read("docs/reference/commands.md"), re.MULTILINE)
    code = ROOT.glob("themis/management/commands/[a-z]*.py")
    assert sorted(told) == sorted(path.stem for path in code)


def test_every_frame_is_shown() -> None:
    shown = set(re.findall(r'"type": ?"(\w+)"', _read("docs/reference/protocol.md")))
    examples = [json.loads(path.read_text()) for path in ROOT.glob("tests/wire/*.json")]
    frames = {frame["type"] for frame in examples} - {"about:blank"}
    assert shown == frames


def test_every_habit_has_a_target() -> None:
    targets = re.findall(r"^([a-z0-9-]+): .*## ", _read("Makefile"), re.MULTILINE)
    told = re.findall(r"`(?:\w+=\w+ )?make ([^`]*)`", _read("CONTRIBUTING.md"))
    assert set(targets) <= set(" ".join(told).split())


def test_the_environment_is_that_of_the_server() -> None:
    told = {code(row[0])[0] for row in reference("settings", "Variable", "Default")}
    source = "".join(path.read_text() for path in ROOT.glob("server/*.py"))
    read = re.findall(r'environment\.\w+\(\s*"([A-Z_]+)"', source)
    assert told == {name for name in read if not name.startswith("THEMIS_")}


@pytest.mark.django_db
def test_the_endpoints_are_those_of_the_code(client: Client) -> None:
    client.force_login(User.objects.create_user("ada"))
    told = {}
    for methods, path, name, *_ in reference("http", "Methods", "Path"):
        told[code(name)[0]] = (code(path)[0] if code(path) else "", methods)
    actual = {}
    for pattern in urls.urlpatterns:
        where = reverse(
            f"themis:{pattern.name}", args=[1] if "pk" in str(pattern) else []
        )
        allowed = client.generic("PURGE", where)["Allow"].split(", ")
        methods = ", ".join(m for m in allowed if m not in {"HEAD", "OPTIONS"})
        actual[pattern.name] = (str(pattern.pattern), methods)
    assert told == actual


def test_the_parameters_of_the_list_are_those_of_the_code() -> None:
    rows = reference("http", "Parameter", "Default")
    told = {code(name)[0]: code(default) for name, default, *_ in rows}
    assert told.keys() == notifications.PARSERS.keys()
    assert told["limit"] == [str(notifications.DEFAULT_LIMIT)]
    assert told["state"] == [Filters().state]


def test_the_statuses_are_those_of_the_code() -> None:
    told = {int(row[0]) for row in reference("http", "Status")}
    source = "".join(path.read_text() for path in ROOT.glob("themis/api/*.py"))
    used = set(re.findall(r"HTTPStatus\.([A-Z_]+)", source))
    assert told == {int(HTTPStatus[name]) for name in used - {"NOT_MODIFIED"}}


def test_the_close_codes_are_those_of_both_sides() -> None:
    rows = reference("protocol", "Close code")
    script = _read("static/themis/protocol.js")
    constants = re.search(r"CLOSE = Object\.freeze\(\{(.*?)\}", script, re.DOTALL)
    assert constants
    known = {int(number) for number in re.findall(r": (\d+)", constants[1])}
    assert {int(row[0]) for row in rows} == known | {code.value for code in CloseCode}
    source = "".join(path.read_text() for path in ROOT.glob("realtime/*.py"))
    sent = {code.value for code in CloseCode if f"CloseCode.{code.name}" in source}
    assert {int(row[0]) for row in rows if row[1] == "yes"} == sent


def test_the_metrics_are_those_of_the_code() -> None:
    told = [
        (code(name)[0], kind, "".join(code(label)), meaning)
        for name, kind, label, meaning in reference("operations", "Metric", "Type")
    ]
    assert told == [
        (one.name, one.type, one.label, one.meaning) for one in METRICS.values()
    ]


def test_the_operations_are_those_of_the_code() -> None:
    paths = {code(row[0])[0] for row in reference("operations", "Path", "Answers")}
    assert paths == set(Operations(None)._answers)


@each(claim("readyz"))
@pytest.mark.django_db(transaction=True)
def test_readiness_has_the_parts_that_stand_there(block: Block) -> None:
    async def ask_once() -> Any:
        answer = await ask(Operations(None), "/readyz")
        for hub in running_hubs():
            await hub.stop()
        return answer.json

    # There is no broker here.
    assert json.loads(block.text) == asyncio.run(ask_once()) | {"broker": "ok"}


@each(claim("log"))
def test_a_line_of_the_log_is_the_one_that_stands_there(block: Block) -> None:
    message = "Repaired %d mailboxes whose push was lost."
    written = test_logs.line("realtime", message, 3, event="repaired", mailboxes=3)
    shown = json.loads(block.text)
    assert len(shown.pop("time")) == len(written.pop("time"))
    assert list(shown.items()) == list(written.items())


def test_the_events_in_the_logs_are_those_of_the_code() -> None:
    told = {
        code(name)[0]: code(logger)[0]
        for name, logger, *_ in reference("operations", "Logged", "Logger")
    }
    actual = {}
    for path in [*ROOT.glob("realtime/*.py"), *ROOT.glob("themis/*.py")]:
        for name in re.findall(r'"event": "(\w+)"', path.read_text()):
            actual[name] = path.parent.name
    assert told == actual


@each(claim("prometheus"))
def test_what_prometheus_is_told_exists(block: Block) -> None:
    parsed = yaml.safe_load(block.text)
    assert parsed.keys() <= {"scrape_configs", "groups"}
    for group in parsed.get("groups", ()):
        for rule in group["rules"]:
            (name,) = set(re.findall(r"\bthemis_\w+", rule["expr"])) - {
                "themis_failed_checks_total"
            }
            metric = METRICS[name.removesuffix("_bucket")]
            assert name.endswith("_bucket") == isinstance(metric, Histogram)
            assert rule["alert"].startswith("Themis")


def test_the_levels_are_those_of_the_code() -> None:
    told = {
        code(row[0])[0]: int(row[1]) for row in reference("python", "Level", "Weight")
    }
    assert told == {level.value: level.weight for level in Level}


def test_the_profile_is_that_of_the_model() -> None:
    told = {
        code(name)[0]: ast.literal_eval(code(default)[0])
        for name, default, *_ in reference("python", "Field", "Default")
    }
    hidden = {"id", "user", "pending"}
    profile = UserProfile()
    assert told == {
        one.name: getattr(profile, one.name)
        for one in UserProfile._meta.concrete_fields
        if one.name not in hidden
    }


def test_the_events_are_those_of_the_script() -> None:
    told = {
        code(name)[0]: code(properties)
        for name, properties, *_ in reference("browser", "Event")
    }
    actual = {}
    for text in _read("static/themis/events.js").split("export class")[1:]:
        (name,) = re.findall(r'super\("(themis:\w+)"', text)
        actual[name] = re.findall(r"this\.(\w+) =", text)
    assert told == actual


def test_the_attributes_are_those_of_the_template() -> None:
    told = {code(row[0])[0] for row in reference("browser", "Attribute")}
    bell = re.search(r"<themis-bell ([^>]*)>", _read("templates/themis/bell.html"))
    assert bell
    assert told == set(re.findall(r"(data-[a-z-]+)=", bell[1]))


def test_the_keys_are_those_of_the_list() -> None:
    told = {key for row in reference("browser", "Key") for key in code(row[0])}
    keys = re.findall(
        r'^  \["([a-z+]+)", "\w+"\],$', _read("static/themis/keys.js"), re.MULTILINE
    )
    assert {key.lower() for key in told} == {*keys, "enter", "?"}
    shown = re.findall(r"<kbd>(.+?)</kbd>", _read("templates/themis/bell.html"))
    assert {*shown} == {*"↓↑JKEIUZ", "Enter", "Shift", "Esc"}


def test_what_a_device_does_is_what_its_element_says() -> None:
    told = {code(row[0])[0] for row in reference("browser", "`data-state`")}
    script = _read("static/themis/device.js")
    shapes = _read("static/themis/types.d.ts")
    states = re.search(r"type DeviceState = (.*);", shapes)
    assert states
    known = {*re.findall(r'"(\w+)"', states[1]), "account"}
    texts = re.findall(r'data-text="([\w-]+)"', _read("templates/themis/_desktop.html"))
    assert told == known == set(texts) - {"turn-on", "turn-off", "failed"}
    flags = {code(row[0])[0] for row in reference("browser", "Flag")}
    kept = re.findall(r'this\.#keep\("([\w-]+)"', script)
    assert flags == {f"themis:<data-user>:{flag}" for flag in kept}


def test_the_custom_properties_are_those_of_the_stylesheet() -> None:
    rows = reference("css", "Property")
    told = {name for row in rows for name in code(row[0])}
    assert told == _stylesheet_properties()


# Names, wherever they stand


NAMES: dict[str, Callable[[], set[str]]] = {
    # A setting, or a variable of the environment for the tests.
    r"\bTHEMIS_[A-Z_]+\b": lambda: {
        name
        for folder in ("themis", "server", "tests")
        for path in ROOT.glob(f"{folder}/**/*.py")
        for name in re.findall(r'"(THEMIS_[A-Z_]+)"', path.read_text())
    },
    r"\bthemis\.[EW]\d{3}\b": lambda: {
        *re.findall(r"themis\.[EW]\d{3}", _read("themis/checks.py"))
    },
    r"\bthemis:[a-z]+\b(?![:@])": lambda: {
        *re.findall(r'"(themis:[a-z]+)"', _read("static/themis/events.js")),
        *(f"themis:{pattern.name}" for pattern in urls.urlpatterns),
    },
    r"--themis-[a-z-]+": _stylesheet_properties,
    r"\b44\d\d\b|\b4012\b|\b4503\b": lambda: {str(code.value) for code in CloseCode},
}


@pytest.mark.parametrize("shape", NAMES)
def test_a_name_that_a_page_mentions_is_one_of_the_code(shape: str) -> None:
    known = NAMES[shape]()
    assert known
    for page in PAGES:
        assert {*re.findall(shape, _read(page))} <= known, page


def test_what_the_log_says_is_what_the_code_says() -> None:
    page = "docs/how-to/troubleshooting.md"
    told = re.findall(r'(?:log|error) says "([^"]+)"', _read(page))
    told += re.findall(r'^"([^"]+)"', _read(page), re.MULTILINE)
    assert len(told) > 5
    sources = [*ROOT.glob("themis/**/*.py"), *ROOT.glob("realtime/*.py")]
    # Without the seams of a text that is written in several lines.
    said = re.sub(r'"\s*\n\s*f?"', "", "".join(path.read_text() for path in sources))
    assert [text for text in told if text not in said] == []


# Links


def _anchors(page: str) -> set[str]:
    """The anchors that GitHub gives to the headings of a page."""
    text = _FENCE.sub("", _read(page))
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    kept = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return {heading.replace(" ", "-") for heading in kept}


@pytest.mark.parametrize("page", PAGES)
def test_the_links_lead_somewhere(page: str) -> None:
    text = _FENCE.sub("", _read(page))
    for target in re.findall(r"\]\(([^)]+)\)", text):
        if target.startswith("https://"):
            continue
        path, _, anchor = target.partition("#")
        goal = ((ROOT / page).parent / path).resolve() if path else ROOT / page
        assert goal.is_relative_to(ROOT), target
        assert goal.exists(), target
        if anchor:
            assert anchor in _anchors(str(goal.relative_to(ROOT))), target


def test_the_files_that_are_named_exist() -> None:
    for page in PAGES:
        text = _FENCE.sub("", _read(page))
        for name in re.findall(r"`((?:tests|demo|benchmarks|server)/[\w./]+)`", text):
            assert (ROOT / name).exists(), f"{page} names {name}"


def test_the_map_of_the_house_is_true() -> None:
    spans = re.findall(r"`([\w.-]+/[\w./-]*)`", _read("CONTRIBUTING.md"))
    assert len(spans) > 30
    assert [one for one in spans if not (ROOT / one).exists()] == []


# The sum


def test_every_block_is_run_or_says_why(capsys: pytest.CaptureFixture[str]) -> None:
    left = [block for block in BLOCKS if block.action == "not run"]
    assert all(block.argument for block in left)
    assert {str(b) for b in BLOCKS} == {str(b) for b in _claimed | set(left)}
    fences = sum(len(re.findall(r"^```\w", _read(p), re.MULTILINE)) for p in PAGES)
    assert fences == len(BLOCKS)
    with capsys.disabled():
        print(f"\n{len(BLOCKS) - len(left)} blocks run or checked, {len(left)} not:")  # noqa: T201
        for block in left:
            print(f"  {block}: {block.argument}")  # noqa: T201
