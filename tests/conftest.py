"""Fixtures for tests on real parts: Redis, PostgreSQL, daphne and Chromium."""

import gc
import itertools
import os
import shutil
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Protocol

import hypothesis
import pytest
from django.conf import settings
from playwright.sync_api import (
    Browser,
    BrowserContext,
    BrowserType,
    ConsoleMessage,
    Page,
    WebError,
    sync_playwright,
)

from tests import programs
from tests.databases import server_key
from tests.processes import (
    DaphneServer,
    PostgresServer,
    PrivateProcess,
    RedisServer,
    manage,
)

# Time limits belong to pytest-timeout; a slow example is no failure. In CI the examples
# are the same in every run, a developer's runs look further.
hypothesis.settings.register_profile(
    "themis",
    deadline=None,
    derandomize=bool(os.environ.get("CI")),
    print_blob=True,
)
hypothesis.settings.load_profile("themis")

CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

_LOG_LINES = 60
_processes_key = pytest.StashKey[list[PrivateProcess]]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        for process in item.stash.get(_processes_key, []):
            tail = "\n".join(process.log.splitlines()[-_LOG_LINES:])
            report.sections.append(
                (f"{process.name} :{process.port} {report.when}", tail)
            )
    return report


def pytest_collection_finish() -> None:
    # Thousands of tests are many objects that stay: to walk over all of them again and
    # again takes time. How soon others are looked at stays: a hub, a socket that a test
    # has left must be gone before the next one looks.
    gc.collect()
    gc.freeze()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # Playwright leaves an event loop running in this thread until the session ends, and
    # then no async test can start one. So the browser's tests come last; within both
    # halves the random order stays.
    items.sort(key=_drives_browser)


def _drives_browser(item: pytest.Item) -> bool:
    return "_chromium" in getattr(item, "fixturenames", ())


@pytest.fixture
def processes(request: pytest.FixtureRequest) -> list[PrivateProcess]:
    """The private processes of this test; a failure shows the ends of their logs."""
    item: pytest.Item = request.node
    return item.stash.setdefault(_processes_key, [])


# Redis


@pytest.fixture
def make_redis(
    processes: list[PrivateProcess],
) -> Iterator[Callable[..., RedisServer]]:
    """Start a redis-server; more than one if the test wants. Arguments are options of
    redis-server: make_redis("--maxmemory", "1mb").
    """
    started: list[RedisServer] = []

    def make(*options: str) -> RedisServer:
        server = RedisServer(options=options)
        started.append(server)
        processes.append(server)
        return server.start()

    yield make
    for server in started:
        server.close()


@pytest.fixture
def redis_server(make_redis: Callable[..., RedisServer]) -> RedisServer:
    """A fresh, empty redis-server for this test alone."""
    return make_redis()


# PostgreSQL


@pytest.fixture(scope="session")
def _postgres_process() -> Iterator[PostgresServer]:
    server = PostgresServer()
    yield server
    server.close()


@pytest.fixture
def postgres_server(
    _postgres_process: PostgresServer, processes: list[PrivateProcess]
) -> PostgresServer:
    """A PostgreSQL server that the test may stop, kill or pause: it is not the one that
    `--database postgres` runs on. Databases in it are the test's to make.
    """
    processes.append(_postgres_process)
    _postgres_process.resume()
    return _postgres_process.start()


# The runnable project


class MakeDatabase(Protocol):
    def __call__(self, kind: str = "sqlite") -> str: ...


class Serve(Protocol):
    def __call__(
        self,
        database_url: str | None = None,
        *,
        redis_url: str = "",
        env: dict[str, str] | None = None,
        kind: type[DaphneServer] = DaphneServer,
    ) -> DaphneServer: ...


_database_numbers = itertools.count()


@pytest.fixture(scope="session")
def _sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("template") / "db.sqlite3"
    fill(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def _postgres_template(_postgres_process: PostgresServer) -> str:
    _postgres_process.resume()
    _postgres_process.start()
    fill(_postgres_process.create_database("template_themis"))
    return "template_themis"


def fill(url: str) -> None:
    """Bring an empty database to where a served project begins."""
    variables = {"DATABASE_URL": url, "REDIS_URL": "", "DJANGO_DEBUG": "1"}
    manage("migrate", "--verbosity=0", env=variables)
    manage("demo_users", env=variables)


@pytest.fixture
def make_database(request: pytest.FixtureRequest, tmp_path: Path) -> MakeDatabase:
    """Make a migrated database with the demo users for a served project; its URL.
    `kind` is "sqlite" or "postgres".
    """

    def make(kind: str = "sqlite") -> str:
        name = f"server_{next(_database_numbers)}"
        if kind == "postgres":
            # The server first: a test before may have stopped it.
            server: PostgresServer = request.getfixturevalue("postgres_server")
            template: str = request.getfixturevalue("_postgres_template")
            return server.create_database(name, template=template)
        path = tmp_path / f"{name}.sqlite3"
        shutil.copy(request.getfixturevalue("_sqlite_template"), path)
        return f"sqlite:///{path}"

    return make


@pytest.fixture
def serve(
    make_database: MakeDatabase, processes: list[PrivateProcess]
) -> Iterator[Serve]:
    """Start the project under daphne, as often as the test wants: on a fresh SQLite
    database with the demo users unless told otherwise, and DEBUG on. `kind` may be
    another server.

    A traceback in a server's log fails the test, unless it called expect_failures().
    """
    servers: list[DaphneServer] = []

    def start(
        database_url: str | None = None,
        *,
        redis_url: str = "",
        env: dict[str, str] | None = None,
        kind: type[DaphneServer] = DaphneServer,
    ) -> DaphneServer:
        server = kind(
            database_url=database_url or make_database(),
            redis_url=redis_url,
            env={"DJANGO_DEBUG": "1", **(env or {})},
        )
        servers.append(server)
        processes.append(server)
        return server.start()

    yield start
    unhandled = []
    for server in servers:
        if server.running:
            server.resume()
            server.stop()
        unhandled += server.unhandled()
    logs = "\n".join(server.log[-4000:] for server in servers if unhandled)
    for server in servers:
        server.close()
    assert not unhandled, logs


@pytest.fixture
def test_database_url(transactional_db: None, request: pytest.FixtureRequest) -> str:
    """
    The URL of the database that this very test uses, for serve(): the test then sends
    from its own process, with the ORM, to a server that reads the same rows. Name this
    fixture before `serve`, so that the server ends before the rows are cleared.
    """
    name = settings.DATABASES["default"]["NAME"]
    server = request.config.stash.get(server_key, None)
    return server.url(str(name)) if server else f"sqlite:///{name}"


# Chromium


class PageErrors:
    """
    What pages complained of: console errors (violations of the content security policy
    among them), uncaught exceptions and unhandled rejections. Any fails the test.
    """

    def __init__(self) -> None:
        self._messages: list[str] = []
        self._ignored: list[str] = []

    def ignore(self, *parts: str) -> None:
        """Let pass what contains one of `parts`, such as "ERR_CONNECTION_REFUSED" in a
        test that stops the server.
        """
        self._ignored += parts

    @property
    def found(self) -> list[str]:
        return [
            message
            for message in self._messages
            if not any(part in message for part in self._ignored)
        ]

    def watch(self, context: BrowserContext) -> None:
        context.on("console", self._on_console)
        context.on("weberror", self._on_web_error)

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "assert"}:
            location = message.location
            self._messages.append(f"{message.text} ({location.get('url', '')})")

    def _on_web_error(self, error: WebError) -> None:
        self._messages.append(str(error.error))


class NewContext(Protocol):
    def __call__(self, server: DaphneServer, **options: object) -> BrowserContext: ...


@pytest.fixture(scope="session")
def _chromium() -> Iterator[BrowserType]:
    # Playwright's loop runs in this thread, but none of our code runs inside it: the
    # ORM may be used here, by fixtures too.
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "1"
    with sync_playwright() as playwright:
        yield playwright.chromium
    del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]


@pytest.fixture(scope="session")
def browser(_chromium: BrowserType) -> Iterator[Browser]:
    """The system's Chromium, one for the run; tests make contexts of their own.

    It is the one that draws pages and nothing around them: its pages take a fifth of
    the processor's time.
    """
    shell = programs.require("chromium-headless-shell")
    with _chromium.launch(executable_path=shell, args=CHROMIUM_FLAGS) as browser:
        yield browser


@pytest.fixture(scope="session")
def whole_browser(_chromium: BrowserType) -> Iterator[Browser]:
    """Chromium with all that is around a page, for what needs it: a module whose tests
    do names it `browser`.
    """
    chromium = programs.require("chromium")
    with _chromium.launch(executable_path=chromium, args=CHROMIUM_FLAGS) as browser:
        yield browser


@pytest.fixture
def page_errors() -> Iterator[PageErrors]:
    errors = PageErrors()
    yield errors
    assert not errors.found, errors.found


@pytest.fixture
def new_context(
    browser: Browser, page_errors: PageErrors, serve: Serve
) -> Iterator[NewContext]:
    """Make a browser context (one person's cookies and tabs) whose relative URLs go to
    `server`. Options are Playwright's, such as color_scheme="dark" or viewport.
    """
    # `serve` is asked for so that pages close before their servers end.
    contexts: list[BrowserContext] = []

    def make(server: DaphneServer, **options: object) -> BrowserContext:
        context = browser.new_context(base_url=server.url, **options)  # type: ignore[arg-type]
        context.set_default_timeout(10_000)
        page_errors.watch(context)
        contexts.append(context)
        return context

    yield make
    for context in contexts:
        context.close()


class SignIn(Protocol):
    def __call__(
        self, server: DaphneServer, username: str = "ada", **options: object
    ) -> Page: ...


@pytest.fixture
def sign_in(new_context: NewContext) -> SignIn:
    """Open a context of its own, sign in there through the form, and return its page.
    More tabs of the same person: page.context.new_page().
    """

    def sign_in(server: DaphneServer, username: str = "ada", **options: object) -> Page:
        page = new_context(server, **options).new_page()
        page.goto("/accounts/login/")
        page.locator("input[name=username]").fill(username)
        page.locator("input[name=password]").fill("themis-demo")
        page.locator("input[name=password]").press("Enter")
        page.wait_for_url(lambda url: "/accounts/login/" not in url)
        return page

    return sign_in
