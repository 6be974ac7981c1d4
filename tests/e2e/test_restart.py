"""A deployment, as a person sees it who has a page open: not at all."""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from playwright.sync_api import WebSocketRoute

from tests.balancer import balancer_of
from tests.conftest import PageErrors
from tests.e2e.bells import Bell
from tests.e2e.conftest import Visit
from tests.e2e.sites import Site
from tests.waiting import wait_until

WIRE = Path(__file__).parents[1] / "wire"

# Every text that the badge shows, and whether the sign of a lost connection ever did.
_WATCH = """
observed.counts = [];
observed.stale = false;
{
  const bell = document.querySelector("themis-bell");
  const badge = bell.querySelector('[data-themis="count"]');
  const stale = bell.querySelector('[data-themis="stale"]');
  new MutationObserver(() => {
    observed.stale ||= !stale.hidden;
    const text = badge.hidden ? "" : badge.textContent.trim();
    if (observed.counts.at(-1) !== text) observed.counts.push(text);
  }).observe(bell, {
    attributes: true, characterData: true, childList: true, subtree: true,
  });
}
"""
_CODES = """
observed.codes = [];
{
  const { WebSocket } = globalThis;
  globalThis.WebSocket = class extends WebSocket {
    constructor(...args) {
      super(...args);
      this.addEventListener("close", ({ code }) => observed.codes.push(code));
    }
  };
}
"""
MOST = 99


def test_a_rolling_restart_shows_nothing(
    site: Site, visit: Visit, page_errors: PageErrors
) -> None:
    # Of a handshake that the end of a server breaks off.
    page_errors.ignore("WebSocket connection to")
    ada = site.person("ada")
    ports = [server.port for server in site.servers]
    with balancer_of(*ports) as balancer, ThreadPoolExecutor(1) as pool:
        bells = [visit(ada, at=balancer, script=_CODES) for _page in range(2)]
        for bell in bells:
            bell.open()
            bell.page.evaluate(_WATCH)
        restart = pool.submit(_restart, site)
        titles: list[str] = []
        while not restart.done() or not all(map(_codes, bells)):
            # As many as the badge can tell.
            if len(titles) < MOST:
                titles.append(f"number {len(titles)}")
                site.notify(ada, titles[-1])
            bells[0].page.wait_for_timeout(150)
        restart.result()
        for bell in bells:
            bell.expect_rung(*titles)
            bell.expect_count(len(titles))
            bell.expect_titles(*reversed(titles[-20:]))
            bell.expect_transport("open")
            assert set(_codes(bell)) <= {4012}
            assert not bell.page.evaluate("observed.stale")
            counts = [int(text or 0) for text in bell.page.evaluate("observed.counts")]
            assert counts == sorted(set(counts))


def _restart(site: Site) -> None:
    for server in site.servers:
        server.restart()


def _codes(bell: Bell) -> list[int]:
    codes: list[int] = bell.page.evaluate("observed.codes")
    return codes


def test_26_a_crowd_that_is_sent_away_comes_back_spread_out(
    site: Site, visit: Visit
) -> None:
    """And who is signed out does not come back."""
    page = visit(site.person("ada")).page
    came: list[float] = []
    sockets: list[WebSocketRoute] = []

    def answer(socket: WebSocketRoute) -> None:
        came.append(time.monotonic())
        sockets.append(socket)
        socket.send((WIRE / "snapshot.json").read_text())

    page.route_web_socket("**/crowd/", answer)
    page.reload()
    page.evaluate(_CROWD)
    wait_until(lambda: page.evaluate("crowd.every(({ state }) => state === 'open')"))
    assert len(came) == 20

    told = time.monotonic()
    for socket in sockets[:20]:
        socket.send('{"type": "restart", "retry_ms": 4000}')
        socket.close(code=4012)
    # On a busy machine the first is back before the last has gone.
    is_open = "crowd.every(({ state }) => state === 'open')"
    wait_until(lambda: page.evaluate(is_open) and len(came) == 40)
    waits = sorted(at - told for at in came[20:])
    assert len(waits) == 20
    assert waits[0] >= 0.25
    assert waits[-1] - waits[0] > 0.6 * (4 - 0.25)

    for socket in sockets[20:]:
        socket.close(code=4401)
    wait_until(lambda: page.evaluate("crowd.every(({ isSignedOut }) => isSignedOut)"))
    page.evaluate("dispatchEvent(new Event('online'))")
    assert page.evaluate("crowd.every(({ state }) => state === 'stopped')")
    assert len(came) == 40


# The shipped module, twenty times in one page.
_CROWD = """async () => {
  const { Connection } = await import("/static/themis/connection.js");
  globalThis.crowd = Array.from({ length: 20 }, (_, number) => {
    // Chance that is spread evenly, so that the test is the same every time.
    const clock = {
      now: () => Date.now(),
      setTimeout: (callback, ms) => setTimeout(callback, ms),
      clearTimeout: (handle) => clearTimeout(handle),
      random: () => (number + 0.5) / 20,
    };
    const connection = new Connection({
      stateUrl: "/nowhere",
      socketUrl: `ws://${location.host}/crowd/`,
      pollInterval: 0,
      position: () => ({ epoch: null, revision: 0 }),
      clock,
    });
    connection.start();
    return connection;
  });
}"""
