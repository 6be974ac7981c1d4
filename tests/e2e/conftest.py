"""Two sites for all browser tests, and the way into them."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import pytest
from playwright.sync_api import Browser, BrowserType, expect

from tests import programs
from tests.balancer import Balancer
from tests.conftest import CHROMIUM_FLAGS, MakeDatabase, PageErrors
from tests.e2e.bells import COUNT_REQUESTS, OBSERVE, Bell
from tests.e2e.proxies import Proxy, proxy_of
from tests.e2e.sites import Person, Site
from tests.processes import (
    DaphneServer,
    PostgresServer,
    PrivateProcess,
    RedisServer,
)

# A bound only catches what hangs.
expect.set_options(timeout=10_000)

_DEADLINE_MS = 10_000


@pytest.fixture(scope="session")
def _embedded(
    _sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    path = tmp_path_factory.mktemp("embedded") / "db.sqlite3"
    shutil.copy(_sqlite_template, path)
    yield from _run(Site(database_url=f"sqlite:///{path}"))


@pytest.fixture(scope="session")
def _full() -> Iterator[Site]:
    with PostgresServer() as postgres, RedisServer() as redis:
        # The first server to start migrates it.
        url = postgres.create_database("full")
        yield from _run(Site(database_url=url, redis_url=redis.url, servers=2))


def _run(site: Site) -> Iterator[Site]:
    site.start()
    yield site
    site.close()


@pytest.fixture
def site(
    request: pytest.FixtureRequest, processes: list[PrivateProcess]
) -> Iterator[Site]:
    """The site that the tests share: "full" (PostgreSQL, Redis, two servers) unless
    the parameter says "embedded" (SQLite, no broker, one server).

    A traceback in a log fails the test.
    """
    site: Site = request.getfixturevalue(f"_{getattr(request, 'param', 'full')}")
    site.start()
    processes += site.servers
    known = [len(server.unhandled()) for server in site.servers]
    yield site
    for server, number in zip(site.servers, known, strict=True):
        assert len(server.unhandled()) == number, server.log[-4000:]


on_both_sites = pytest.mark.parametrize("site", ["embedded", "full"], indirect=True)
on_embedded_site = pytest.mark.parametrize("site", ["embedded"], indirect=True)


@pytest.fixture
def make_site(
    make_database: MakeDatabase, processes: list[PrivateProcess]
) -> Iterator[Callable[..., Site]]:
    """Start a site for this test alone, on SQLite and with these settings."""
    made: list[Site] = []

    def make(*, redis_url: str = "", **settings: str) -> Site:
        site = Site(database_url=make_database(), redis_url=redis_url, env=settings)
        made.append(site)
        processes.extend(site.servers)
        site.start()
        return site

    yield make
    servers = [server for site in made for server in site.servers]
    logs = [server.log[-4000:] for server in servers if server.unhandled()]
    for site in made:
        site.close()
    assert not logs


@pytest.fixture
def proxy(site: Site) -> Iterator[Proxy]:
    """A proxy in front of the site's first server."""
    with proxy_of(site.servers[0].port) as proxy:
        yield proxy


@pytest.fixture(scope="session")
def caching_browser(_chromium: BrowserType) -> Iterator[Browser]:
    """One that keeps pages in its back/forward cache, which Playwright switches off.

    Of page.go_back() only wait_until="commit" comes back, as nothing is loaded.
    """
    with _chromium.launch(
        executable_path=programs.require("chromium"),
        args=CHROMIUM_FLAGS,
        ignore_default_args=["--disable-back-forward-cache"],
    ) as caching:
        yield caching


class Visit(Protocol):
    def __call__(
        self,
        person: Person,
        path: str = "/",
        *,
        at: Site | Proxy | Balancer | DaphneServer | None = None,
        transport: str | None = "open",
        clock: bool = False,
        script: str = "",
        within: Browser | None = None,
        **options: object,
    ) -> Bell: ...


@pytest.fixture
def visit(
    request: pytest.FixtureRequest, browser: Browser, page_errors: PageErrors
) -> Iterator[Visit]:
    """Open a page of a person in a browser context of its own, under the strict
    policy, and wait until its bell is connected.

    `clock` stops the page's time, which passes then by bell.advance() alone;
    `script` runs before the page's own; `within` is another browser. Options are
    those of browser.new_context().
    Another tab of the same person: Bell(bell.page.context.new_page()).
    """
    contexts = []

    def visit(
        person: Person,
        path: str = "/",
        *,
        at: Site | Proxy | Balancer | DaphneServer | None = None,
        transport: str | None = "open",
        clock: bool = False,
        script: str = "",
        within: Browser | None = None,
        **options: object,
    ) -> Bell:
        url = (at or request.getfixturevalue("site")).url
        context = (within or browser).new_context(base_url=url, **options)  # type: ignore[arg-type]
        contexts.append(context)
        context.set_default_timeout(_DEADLINE_MS)
        page_errors.watch(context)
        context.add_init_script(OBSERVE + (COUNT_REQUESTS if clock else ""))
        if script:
            context.add_init_script(script)
        context.add_cookies(
            [{"name": "sessionid", "value": person.session, "url": url}]
        )
        if clock:
            context.clock.install()
        bell = Bell(context.new_page())
        response = bell.page.goto(path)
        assert response is not None
        policy = response.headers["content-security-policy"]
        assert "require-trusted-types-for 'script'" in policy
        assert "unsafe" not in policy
        if clock:
            now = bell.page.evaluate("Date.now()") / 1000
            bell.page.clock.pause_at(now + 1)
        if transport is not None:
            bell.expect_transport(transport)
        return bell

    yield visit
    for context in contexts:
        context.close()
