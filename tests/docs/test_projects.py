"""Projects that are made by the steps of a page, outside the checkout."""

import json
import re
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.conftest import MakeDatabase, PageErrors, Serve
from tests.docs.blocks import Block, claim, each, read
from tests.e2e.bells import OBSERVE, Bell
from tests.hosts import HostServer, Project, ProjectWithWheel, Visitor, next_state
from tests.processes import ROOT, DaphneServer, PrivateProcess, RedisServer


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
    assert "\nTen lines." in read("README.md")


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
    project.write("demo/tracking.py", read("demo/tracking.py"))
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
