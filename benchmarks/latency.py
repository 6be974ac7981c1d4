"""From notify_user() to the page: how long a notification takes to show in a browser.

    python -m benchmarks.latency [--calls 50]

On both set-ups (SQLite with the in-process layer; PostgreSQL, Redis and two servers)
and both ways: called in another process, and in the server's own by approving a
request in the demo. The time runs from before the call (or before the request is
sent) to the change of the badge in a real page. Needs Chromium and a quiet machine.
"""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from tests import programs
from tests.e2e.bells import OBSERVE, Bell
from tests.e2e.sites import Person, Site
from tests.processes import PostgresServer, RedisServer, manage

# Date.now() is whole milliseconds; this is not.
_WATCH = """
globalThis.changedAt = 0;
new MutationObserver((changes) => {
  const isBadge = ({ target }) => target.closest?.('[data-themis="count"]');
  if (changes.some(isBadge)) changedAt = performance.timeOrigin + performance.now();
}).observe(document, { subtree: true, childList: true });
"""
_NOTIFY = """
import time

user = User.objects.get(pk=pk)
result = time.time()
notify_user(user, "Measured")
"""
_REQUEST = """
from demo.models import Request

result = Request.objects.create(title="A quieter fan", requester_id=pk).pk
"""
_MARK_READ = """
from themis import mailbox

mailbox.change(pk, "read", up_to=2**62)
"""


@contextmanager
def embedded() -> Iterator[Site]:
    """Run one server on SQLite, with the in-process layer."""
    with tempfile.TemporaryDirectory() as directory:
        yield from _run(f"sqlite:///{Path(directory, 'db.sqlite3')}")


@contextmanager
def full() -> Iterator[Site]:
    """Run two servers on PostgreSQL and Redis."""
    with PostgresServer() as postgres, RedisServer() as redis:
        yield from _run(postgres.create_database("latency"), redis.url, servers=2)


def _run(url: str, redis_url: str = "", servers: int = 1) -> Iterator[Site]:
    manage("migrate", "-v0", env={"DATABASE_URL": url, "DJANGO_DEBUG": "1"})
    site = Site(database_url=url, redis_url=redis_url, servers=servers)
    try:
        site.start()
        yield site
    finally:
        site.close()


def elsewhere(site: Site, person: Person) -> float:
    """Notify from another process; the time before the call."""
    began: float = site.shell.run(_NOTIFY, pk=person.pk)
    return began


def within(site: Site, person: Person) -> float:
    """Let a colleague approve a request; the time before it is sent."""
    pk = site.shell.run(_REQUEST, pk=person.pk)
    colleague = site.person("colleague")
    token = "t" * 32
    request = urllib.request.Request(  # noqa: S310 -- our own server
        f"{site.url}/requests/{pk}/approve/",
        data=urllib.parse.urlencode({"csrfmiddlewaretoken": token}).encode(),
        headers={"Cookie": f"sessionid={colleague.session}; csrftoken={token}"},
    )
    opener = urllib.request.build_opener(_Unfollowed)
    began = time.time()
    opener.open(request).close()
    return began


class _Unfollowed(urllib.request.HTTPErrorProcessor):
    def http_response(self, _request: object, response: object) -> object:
        assert response.status == 302, response.status  # type: ignore[attr-defined] # noqa: PLR2004
        return response


def measure(
    browser: Browser,
    site: Site,
    act: Callable[[Site, Person], float],
    *,
    calls: int,
    check: float,
) -> list[float]:
    """
    Return the seconds that each of *calls* took, in their order.

    *check* is the interval at which the server looks for what others have stored, if
    nothing else tells it.
    """
    person = site.person()
    # Not the server that the colleague talks to, if there is another.
    url = site.servers[-1].url
    context = browser.new_context(base_url=url)
    context.add_init_script(OBSERVE + _WATCH)
    context.add_cookies([{"name": "sessionid", "value": person.session, "url": url}])
    bell = Bell(context.new_page())
    bell.page.goto("/")
    bell.expect_transport("open")
    taken = []
    for _ in range(calls + 1):
        # Else each call would come right after a check, and wait for a whole interval.
        time.sleep(random.uniform(0, check))  # noqa: S311 -- no secret
        bell.page.evaluate("changedAt = 0")
        began = act(site, person)
        while not (changed := bell.page.evaluate("changedAt")):
            time.sleep(0.005)
        taken.append(changed / 1000 - began)
        site.shell.run(_MARK_READ, pk=person.pk)
        bell.expect_count(0)
    context.close()
    # The first warms everything up.
    return taken[1:]


def main() -> None:
    """Print a line per set-up and way."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calls", type=int, default=50)
    calls = parser.parse_args().calls
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=programs.require("chromium"),
            args=["--no-sandbox", "--disable-gpu"],
        )
        for set_up, way, check in (
            (embedded, elsewhere, 2),
            (embedded, within, 0),
            (full, elsewhere, 0),
            (full, within, 0),
        ):
            with set_up() as site:
                taken = measure(browser, site, way, calls=calls, check=check)
                cuts = statistics.quantiles(taken, n=20, method="inclusive")
                print(
                    f"{set_up.__name__:9} {way.__name__:10} "
                    f"p50 {1e3 * statistics.median(taken):6.0f} ms  "
                    f"p95 {1e3 * cuts[-1]:6.0f} ms  "
                    f"max {1e3 * max(taken):6.0f} ms"
                )
        browser.close()


if __name__ == "__main__":
    main()
