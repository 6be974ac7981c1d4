"""The way to the server: sockets that fail, and the polling that stands in for them."""

import time
from collections.abc import Callable

import pytest
from playwright.sync_api import Route, expect

from tests.conftest import PageErrors
from tests.e2e.bells import Bell
from tests.e2e.conftest import Visit, on_embedded_site
from tests.e2e.proxies import Proxy, Upgrades
from tests.e2e.sites import Site
from tests.waiting import wait_until

STATE = "**/api/state*"

# Chance as a test wants it.
HALF = "Math.random = () => 0.5;"
NEVER_LONG = "Math.random = () => 0;"


@pytest.fixture(autouse=True)
def _sockets_fail(page_errors: PageErrors) -> None:
    page_errors.ignore("WebSocket connection to")


def test_20_it_works_without_locks_and_channels(site: Site, visit: Visit) -> None:
    ada = site.person("ada")
    script = "delete Navigator.prototype.locks; delete globalThis.BroadcastChannel;"
    first, second = (visit(ada, script=script) for _ in range(2))
    assert first.page.evaluate("navigator.locks === undefined")
    assert first.page.evaluate("globalThis.BroadcastChannel === undefined")
    site.notify(ada, "one")
    for bell in (first, second):
        bell.expect_count(1)
        bell.expect_rung("one")


def test_21_a_swallowed_handshake_is_given_up_and_polled_around(
    site: Site, proxy: Proxy, visit: Visit
) -> None:
    ada = site.person("ada")
    proxy.upgrades = Upgrades.SWALLOW
    proxy.exempt = "unrelated"
    bell = visit(ada, at=proxy, transport="connecting", clock=True, script=HALF)
    other = bell.page.context.new_page()
    other.goto("/accounts/login/")
    wait_until(lambda: proxy.standing == 1)
    # As Chromium does: one handshake per host at a time, for all tabs.
    other.evaluate(_OPEN_UNRELATED)

    bell.advance(8)
    wait_until(lambda: other.evaluate("unrelated.readyState") == 1)

    site.notify(ada, "by polling")
    bell.advance(2)
    bell.expect_transport("polling")
    bell.advance(10)
    bell.expect_count(1)
    # It was there before the page had heard anything: that is no news.
    assert bell.rung == []


_OPEN_UNRELATED = """() => {
  const address = new URL("/ws/notifications/?unrelated", location.href);
  address.protocol = "ws:";
  globalThis.unrelated = new WebSocket(address.href);
}"""


@on_embedded_site
def test_22_a_forbidden_upgrade_is_tried_rarely(
    site: Site, proxy: Proxy, visit: Visit
) -> None:
    ada = site.person("ada")
    proxy.upgrades = Upgrades.REFUSE
    bell = visit(ada, at=proxy, transport=None, clock=True, script=HALF)
    for _ in range(150):
        bell.advance(2)
        wait_until(lambda: bell.transport != "connecting")
    bell.expect_transport("polling")
    assert 3 <= len(proxy.attempts) <= 12
    site.notify(ada, "by polling")
    bell.advance(60)
    bell.expect_rung("by polling")


def test_23_no_first_frame_is_no_connection(
    site: Site, proxy: Proxy, visit: Visit
) -> None:
    ada = site.person("ada")
    proxy.upgrades = Upgrades.SILENCE
    bell = visit(ada, at=proxy, transport="connecting", clock=True, script=HALF)
    wait_until(lambda: proxy.standing == 1)
    assert bell.transport == "connecting"
    proxy.upgrades = Upgrades.PASS
    bell.advance(9)
    bell.expect_transport("open")
    assert len(proxy.attempts) == 2
    wait_until(lambda: proxy.standing == 1)


def test_23_a_silent_socket_is_given_up_after_35_seconds(
    site: Site, proxy: Proxy, visit: Visit
) -> None:
    ada = site.person("ada")
    bell = visit(ada, at=proxy, clock=True, script=HALF)
    proxy.silence()
    site.notify(ada, "into the void")
    bell.advance(30)
    assert bell.transport == "open"
    assert len(proxy.attempts) == 1
    bell.advance(6)
    bell.expect_rung("into the void")
    assert len(proxy.attempts) == 2
    wait_until(lambda: proxy.standing == 1)


@on_embedded_site
def test_24_an_answer_of_304_touches_nothing(
    site: Site, proxy: Proxy, visit: Visit
) -> None:
    ada = site.person("ada")
    site.notify(ada, "one")
    proxy.upgrades = Upgrades.REFUSE
    bell = visit(ada, at=proxy, transport=None, clock=True, script=HALF)
    statuses = _statuses(bell)
    bell.advance(10)
    bell.expect_transport("polling")
    bell.advance(5)
    bell.wait_for(lambda: statuses == [200])
    bell.advance(60)
    bell.wait_for(lambda: len(statuses) == 2)
    bell.page.evaluate(_COUNT_MUTATIONS)
    bell.advance(60)
    bell.wait_for(lambda: len(statuses) == 3)
    bell.advance(60)
    bell.wait_for(lambda: len(statuses) == 4)
    assert statuses[-2:] == [304, 304]
    assert bell.page.evaluate("mutations") == 0
    site.notify(ada, "two")
    bell.advance(60)
    bell.expect_count(2)
    assert bell.page.evaluate("mutations") > 0


_COUNT_MUTATIONS = """() => {
  globalThis.mutations = 0;
  new MutationObserver((list) => { mutations += list.length; }).observe(document, {
    subtree: true, childList: true, attributes: true, characterData: true,
  });
}"""


def _statuses(bell: Bell) -> list[int]:
    statuses: list[int] = []

    def note(response: object) -> None:
        if "/api/state" in response.url:  # type: ignore[attr-defined]
            statuses.append(response.status)  # type: ignore[attr-defined]

    bell.page.on("response", note)
    return statuses


def test_24_retry_after_is_obeyed(
    make_site: Callable[..., Site], visit: Visit, page_errors: PageErrors
) -> None:
    page_errors.ignore("429 (Too Many Requests)")
    site = make_site(THEMIS_NOTIFICATION_POLL_INTERVAL="2")
    ada = site.person("ada")
    bell = visit(
        ada, at=site, transport="polling", clock=True, script=HALF + _NO_SOCKETS
    )
    bell.advance(1)
    bell.wait_for(lambda: bell.polls == 1)
    busy: list[Route] = []

    def refuse(route: Route) -> None:
        busy.append(route)
        route.fulfill(status=429, headers={"Retry-After": "7"})

    bell.page.route(STATE, refuse)
    bell.advance(2)
    bell.wait_for(lambda: len(busy) == 1)
    bell.page.unroute(STATE)
    site.notify(ada, "while it was busy")
    for _ in range(3):
        bell.advance(2)
    assert bell.rung == []
    assert bell.polls == 2
    bell.advance(1.5)
    bell.expect_rung("while it was busy")


_NO_SOCKETS = "delete globalThis.WebSocket;"


def test_24_an_interval_of_zero_never_polls(
    make_site: Callable[..., Site], visit: Visit
) -> None:
    site = make_site(THEMIS_NOTIFICATION_POLL_INTERVAL="0")
    ada = site.person("ada")
    bell = visit(ada, at=site, transport=None, clock=True, script=HALF + _NO_SOCKETS)
    bell.page.clock.run_for(300_000)
    assert bell.polls == 0
    site.notify(ada, "unheard")
    bell.open()
    expect(bell.stale).to_contain_text("No connection")
    known = bell.polls
    bell.stale.get_by_role("button", name="Refresh").click()
    bell.advance(1)
    bell.expect_titles("unheard")
    bell.expect_count(1)
    bell.page.clock.run_for(300_000)
    assert bell.polls == known + 1


@on_embedded_site
def test_24_a_poll_that_finds_the_session_ended_is_the_last(
    site: Site, proxy: Proxy, visit: Visit, page_errors: PageErrors
) -> None:
    page_errors.ignore("401 (Unauthorized)")
    ada = site.person("ada")
    site.notify(ada, "hers")
    proxy.upgrades = Upgrades.REFUSE
    bell = visit(ada, at=proxy, transport=None, clock=True, script=HALF)
    bell.advance(10)
    bell.expect_transport("polling")
    bell.advance(5)
    bell.wait_for(lambda: bell.polls == 1)
    bell.open()
    bell.expect_titles("hers")

    bell.page.context.clear_cookies()
    bell.advance(60)
    bell.expect_transport("stopped")
    expect(bell.panel).to_contain_text("You are signed out")
    bell.expect_count(0)
    bell.expect_titles()
    bell.advance(600)
    assert bell.polls == 2


def test_25_the_socket_takes_over_again(site: Site, proxy: Proxy, visit: Visit) -> None:
    ada = site.person("ada")
    bell = visit(ada, at=proxy, clock=True, script=HALF)
    site.notify(ada, "by socket")
    bell.expect_rung("by socket")
    proxy.upgrades = Upgrades.REFUSE
    proxy.cut()
    wait_until(lambda: bell.transport != "open")
    bell.advance(10)
    bell.expect_transport("polling")
    site.notify(ada, "by polling")
    bell.advance(10)
    bell.expect_rung("by socket", "by polling")

    proxy.upgrades = Upgrades.PASS
    site.notify(ada, "in between")
    tried = len(proxy.attempts)
    while len(proxy.attempts) == tried:
        bell.advance(1)
    bell.expect_transport("open")
    polls = bell.polls
    rung = ["by socket", "by polling", "in between"]
    for i in range(5):
        # Something to hear every 15 s, or the socket would be given up as dead.
        bell.advance(15)
        rung.append(f"by the new socket {i}")
        site.notify(ada, rung[-1])
        bell.expect_rung(*rung)
    bell.expect_count(len(rung))
    assert bell.polls == polls
    bell.open()
    bell.expect_titles(*reversed(rung))


def test_reconnections_are_spread(site: Site, proxy: Proxy, visit: Visit) -> None:
    ada = site.person("ada")
    chances = (0.0, 0.5, 0.999)
    for chance in chances:
        visit(ada, at=proxy, script=f"Math.random = () => {chance};")
    proxy.attempts.clear()
    cut = time.monotonic()
    proxy.cut()
    wait_until(lambda: len(proxy.attempts) == len(chances))
    waits = [attempt - cut for attempt in proxy.attempts]
    for wait, chance in zip(waits, chances, strict=True):
        assert wait >= 0.25 + chance * 0.75 - 0.02


@pytest.mark.parametrize("seconds", [25, 600])
def test_27_after_sleep_a_dead_socket_is_found_out(
    site: Site, proxy: Proxy, visit: Visit, seconds: int
) -> None:
    ada = site.person("ada")
    bell = visit(ada, at=proxy, clock=True, script=NEVER_LONG)
    proxy.silence()
    site.notify(ada, "while asleep")
    bell.sleep(seconds)
    bell.advance(5)
    wait_until(lambda: bell.transport != "open" or bell.rung)
    bell.advance(1)
    bell.expect_transport("open")
    bell.expect_rung("while asleep")
    assert len(proxy.attempts) == 2


def test_28_offline_is_told_and_online_reconnects(
    site: Site, proxy: Proxy, visit: Visit, page_errors: PageErrors
) -> None:
    page_errors.ignore("ERR_INTERNET_DISCONNECTED")
    ada = site.person("ada")
    site.notify(ada, "before")
    bell = visit(ada, at=proxy, clock=True, script=HALF)
    bell.open()
    bell.page.context.set_offline(True)
    proxy.cut()
    wait_until(lambda: bell.transport != "open")
    expect(bell.stale).to_be_hidden()
    site.notify(ada, "meanwhile")
    bell.advance(10)
    bell.expect_transport("polling")
    bell.advance(10)
    expect(bell.stale).to_be_visible()
    bell.expect_titles("before")

    bell.page.context.set_offline(False)
    bell.advance(1)
    bell.expect_transport("open")
    expect(bell.stale).to_be_hidden()
    bell.expect_titles("meanwhile", "before")
    bell.expect_rung("meanwhile")
