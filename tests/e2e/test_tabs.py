"""Many tabs of one person: one connection, and the same in all of them."""

import contextlib
from collections.abc import Callable

import pytest
from playwright.sync_api import Browser, Error, expect

from tests.conftest import PageErrors
from tests.e2e.bells import Bell
from tests.e2e.conftest import Visit, on_embedded_site
from tests.e2e.proxies import Proxy
from tests.e2e.sites import Person, Site
from tests.waiting import wait_until


def another_tab(bell: Bell, path: str = "/") -> Bell:
    tab = Bell(bell.page.context.new_page())
    tab.page.goto(path)
    tab.expect_transport("open")
    return tab


def three_tabs(visit: Visit, person: Person, proxy: Proxy) -> list[Bell]:
    first = visit(person, at=proxy)
    return [first, another_tab(first), another_tab(first)]


@pytest.fixture
def browser(whole_browser: Browser) -> Browser:
    """Where a tab that stands still leaves the others their time."""
    return whole_browser


def freeze(bell: Bell) -> Callable[[], object]:
    """Stop a tab in the middle of its script; what is returned lets it go on.

    As when a browser freezes it: no timer runs, no message is taken, its lock stays.
    (Browsers freeze only what is hidden, and Playwright's tabs never are.)
    """
    session = bell.page.context.new_cdp_session(bell.page)
    paused: list[object] = []
    session.on("Debugger.paused", lambda event: paused.append(event))  # noqa: PLW0108 -- Playwright marks its handlers
    session.send("Debugger.enable")
    bell.page.evaluate("() => void setTimeout(() => { debugger; })")
    # Events are handed over while another tab is asked for something.
    other = next(page for page in bell.page.context.pages if page != bell.page)
    wait_until(lambda: other.evaluate("true") and paused)
    return lambda: session.send("Debugger.resume")


def test_12_three_tabs_have_one_connection(
    site: Site, proxy: Proxy, visit: Visit
) -> None:
    ada = site.person("ada")
    tabs = three_tabs(visit, ada, proxy)
    site.notify(ada, "one")
    for tab in tabs:
        tab.expect_rung("one")
        tab.expect_count(1)
    assert len(proxy.attempts) == 1
    assert proxy.standing == 1
    # What a tab lacked when it came the others told it.
    for tab in tabs:
        assert tab.polls == 0


def test_12_a_tab_that_comes_later_knows_at_once(
    site: Site, proxy: Proxy, visit: Visit
) -> None:
    ada = site.person("ada")
    site.notify(ada, "one", "two")
    first = visit(ada, at=proxy)
    later = another_tab(first)
    later.open()
    later.expect_titles("two", "one")
    later.expect_count(2)
    assert later.rung == []
    assert len(proxy.attempts) == 1


def test_13_another_tab_leads_when_the_first_is_closed(
    site: Site, proxy: Proxy, visit: Visit
) -> None:
    ada = site.person("ada")
    first, second, third = three_tabs(visit, ada, proxy)
    first.page.close()
    site.notify(ada, "in the gap")
    for tab in (second, third):
        tab.expect_rung("in the gap")
        tab.expect_transport("open")
    wait_until(lambda: proxy.standing == 1)
    assert len(proxy.attempts) == 2


def test_14_another_tab_leads_when_the_first_crashes(
    site: Site, proxy: Proxy, visit: Visit
) -> None:
    ada = site.person("ada")
    first, second, third = three_tabs(visit, ada, proxy)
    with first.page.expect_event("crash"), contextlib.suppress(Error):
        first.page.goto("chrome://crash")
    site.notify(ada, "in the gap")
    for tab in (second, third):
        tab.expect_rung("in the gap")
    wait_until(lambda: proxy.standing == 1)


def test_15_another_tab_leads_when_the_first_is_frozen(
    site: Site, proxy: Proxy, visit: Visit
) -> None:
    ada = site.person("ada")
    first, second, third = three_tabs(visit, ada, proxy)
    resume = freeze(first)
    # The challenge comes 15 s after the last word of the leader.
    second.wait_for(lambda: len(proxy.attempts) == 2, within=50)
    site.notify(ada, "while it was frozen")
    for tab in (second, third):
        tab.expect_rung("while it was frozen")

    resume()
    first.expect_rung("while it was frozen")
    first.expect_transport("open")
    wait_until(lambda: proxy.standing == 1)
    site.notify(ada, "after")
    for tab in (first, second, third):
        tab.expect_rung("while it was frozen", "after")
    assert len(proxy.attempts) == 2
    assert proxy.standing == 1


def test_16_a_page_in_the_cache_of_the_browser_holds_nothing(
    site: Site,
    proxy: Proxy,
    visit: Visit,
    caching_browser: Browser,
    page_errors: PageErrors,
) -> None:
    page_errors.ignore("favicon.ico")
    ada = site.person("ada")
    first = visit(ada, at=proxy, within=caching_browser)
    second = another_tab(first)
    first.page.evaluate("globalThis.isTheSame = true")
    # A page without a bell.
    first.page.goto("/healthz")
    site.notify(ada, "while it was away")
    second.expect_rung("while it was away")
    wait_until(lambda: proxy.standing == 1)
    assert len(proxy.attempts) == 2

    first.page.go_back(wait_until="commit")
    first.expect_transport("open")
    assert first.page.evaluate("globalThis.isTheSame")
    first.expect_rung("while it was away")
    first.expect_count(1)
    assert len(proxy.attempts) == 2
    assert proxy.standing == 1


def test_17_what_is_read_in_one_tab_is_read_in_all(
    site: Site, proxy: Proxy, visit: Visit
) -> None:
    ada = site.person("ada")
    site.notify(ada, "one", "two", "three")
    tabs = three_tabs(visit, ada, proxy)
    for tab in tabs:
        tab.open()
        tab.expect_count(3)
        tab.requests.clear()
    for here, title in zip(tabs, ["one", "two", "three"], strict=True):
        here.mark_read(title)
    for tab in tabs:
        tab.expect_count(0)
        expect(tab.unread_rows).to_have_count(0)
        # But for what the person did there.
        assert len(tab.requests) == 1
    assert site.unread(ada) == []


def test_17_without_the_server_too_it_is_read_in_all(
    site: Site, proxy: Proxy, visit: Visit
) -> None:
    """The acting tab tells the others itself: a push that is lost delays nothing."""
    ada = site.person("ada")
    site.notify(ada, "one")
    first, second, third = three_tabs(visit, ada, proxy)
    proxy.silence()
    second.open()
    second.mark_read("one")
    for tab in (first, second, third):
        tab.expect_count(0)


def test_18_a_tab_of_one_person_never_shows_what_is_anothers(
    site: Site, proxy: Proxy, visit: Visit, page_errors: PageErrors
) -> None:
    page_errors.ignore("401 (Unauthorized)")
    ada, grace = site.person("ada"), site.person("grace")
    site.notify(ada, "for ada")
    site.notify(grace, "for grace")
    hers = visit(ada, at=proxy)
    hers.open()
    hers.expect_titles("for ada")
    context = hers.page.context
    context.add_cookies(
        [{"name": "sessionid", "value": grace.session, "url": proxy.url}]
    )
    theirs = another_tab(hers)
    theirs.open()
    theirs.expect_titles("for grace")

    hers.expect_transport("stopped")
    expect(hers.panel).to_contain_text("You are signed out")
    expect(hers.badge).to_be_hidden()
    site.notify(grace, "once more")
    theirs.expect_titles("once more", "for grace")
    assert hers.titles() == []
    hers.page.reload()
    hers.expect_count(2)


@on_embedded_site
def test_18_nor_does_one_that_polls_and_works_alone(
    site: Site, visit: Visit, page_errors: PageErrors
) -> None:
    page_errors.ignore("401 (Unauthorized)")
    ada, grace = site.person("ada"), site.person("grace")
    site.notify(grace, "for grace")
    script = """
delete Navigator.prototype.locks;
delete globalThis.BroadcastChannel;
delete globalThis.WebSocket;
"""
    hers = visit(ada, transport="polling", script=script)
    hers.page.context.add_cookies(
        [{"name": "sessionid", "value": grace.session, "url": site.url}]
    )
    hers.page.evaluate("dispatchEvent(new Event('online'))")
    hers.expect_transport("stopped")
    hers.expect_count(0)
    hers.open()
    assert hers.titles() == []


def test_19_signing_out_in_one_tab_signs_out_all(
    site: Site, proxy: Proxy, visit: Visit
) -> None:
    ada = site.person("ada")
    site.notify(ada, "one")
    tabs = three_tabs(visit, ada, proxy)
    first, second, third = tabs
    second.page.get_by_role("button", name="Sign out").click()
    for tab in (first, third):
        tab.expect_transport("stopped")
        expect(tab.badge).to_be_hidden()
        tab.requests.clear()
    wait_until(lambda: proxy.standing == 0)
    # Asked for nothing more, not even by hand.
    for tab in (first, third):
        tab.page.evaluate("dispatchEvent(new Event('online'))")
        tab.open()
        expect(tab.panel).to_contain_text("You are signed out")
        assert tab.requests == tab.asked("/static/")
    assert len(proxy.attempts) == 1


def test_19_signing_in_again_brings_the_tabs_back(
    site: Site, proxy: Proxy, visit: Visit
) -> None:
    ada = site.person("ada")
    site.notify(ada, "one")
    first = visit(ada, at=proxy)
    second = another_tab(first)
    second.page.get_by_role("button", name="Sign out").click()
    first.expect_transport("stopped")

    session = site.sign_in(ada.pk)
    context = first.page.context
    context.add_cookies([{"name": "sessionid", "value": session, "url": proxy.url}])
    second.page.goto("/")
    second.expect_transport("open")

    first.expect_transport("open")
    first.expect_count(1)
    site.notify(ada, "two")
    for tab in (first, second):
        tab.expect_rung("two")
    first.open()
    first.mark_read("one")
    second.expect_count(1)
    assert proxy.standing == 1


def test_29_a_hidden_tab_that_polls_gives_the_lead_to_one_that_is_looked_at(
    site: Site, proxy: Proxy, visit: Visit
) -> None:
    ada = site.person("ada")
    script = "delete globalThis.WebSocket;"
    hidden = visit(ada, at=proxy, transport="polling", script=script)
    hidden.page.evaluate(_SHOW, "hidden")
    looked_at = Bell(hidden.page.context.new_page())
    looked_at.page.goto("/")
    looked_at.expect_transport("polling")
    wait_until(lambda: looked_at.page.evaluate(_IS_LEADER))
    assert not hidden.page.evaluate(_IS_LEADER)


def test_29_a_tab_that_nobody_looks_at_polls_once_a_minute(
    make_site: Callable[..., Site], visit: Visit
) -> None:
    site = make_site(THEMIS_NOTIFICATION_POLL_INTERVAL="2")
    script = "delete globalThis.WebSocket; Math.random = () => 0.5;"
    bell = visit(
        site.person("ada"), at=site, transport="polling", clock=True, script=script
    )
    bell.advance(10)
    bell.page.evaluate(_SHOW, "hidden")
    bell.advance(4)
    before = bell.polls
    bell.advance(180)
    assert bell.polls == before + 3
    bell.page.evaluate(_SHOW, "visible")
    bell.advance(1)
    bell.wait_for(lambda: bell.polls == before + 4)
    for _ in range(5):
        bell.advance(2)
    assert bell.polls == before + 9


_SHOW = """(state) => {
  Object.defineProperty(document, "visibilityState", {
    get: () => state,
    configurable: true,
  });
  document.dispatchEvent(new Event("visibilitychange"));
}"""

_IS_LEADER = """async () => {
  const { held } = await navigator.locks.query();
  const [lock] = held.filter(({ name }) => name.startsWith("themis:"));
  const own = await navigator.locks.request(crypto.randomUUID(), async ({ name }) => {
    const all = (await navigator.locks.query()).held;
    return all.find((other) => other.name === name).clientId;
  });
  return lock?.clientId === own;
}"""
