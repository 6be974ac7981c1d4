"""Reading: one, all, and opening what a notification is about."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from tests import programs
from tests.conftest import PageErrors
from tests.e2e.bells import OBSERVE, Bell
from tests.e2e.conftest import Visit, on_both_sites, on_embedded_site
from tests.e2e.sites import Site
from tests.waiting import wait_until

READ = "**/api/notifications/read"


@on_both_sites
def test_reading_in_one_window_is_seen_in_the_other(site: Site, visit: Visit) -> None:
    ada = site.person("ada")
    site.notify(ada, "one", "two")
    here, there = visit(ada), visit(ada, at=site.servers[-1])
    for bell in (here, there):
        bell.open()
        bell.expect_count(2)
    there.requests.clear()

    here.mark_read("one")

    for bell in (here, there):
        bell.expect_count(1)
        expect(bell.unread_rows).to_have_count(1)
        bell.expect_titles("two", "one")
        assert bell.rung == []
    assert there.requests == []
    assert site.unread(ada) == ["two"]


def test_7_what_arrives_while_all_are_marked_stays_unread(
    site: Site, visit: Visit
) -> None:
    ada = site.person("ada")
    site.notify(ada, "one", "two", "three")
    bell = visit(ada)
    bell.open()
    bell.expect_count(3)
    held = _hold(bell.page)
    bell.read_all.click()
    bell.wait_for(lambda: held)

    bell.expect_count(0)
    site.notify(ada, "X")
    bell.expect_count(1)
    bell.expect_rung("X")
    held[0].continue_()

    wait_until(lambda: site.unread(ada) == ["X"])
    bell.expect_count(1)
    expect(bell.unread_rows).to_have_count(1)
    expect(bell.unread_rows).to_contain_text("X")
    bell.page.reload()
    bell.expect_count(1)
    assert site.unread(ada) == ["X"]


def test_7_the_answer_may_come_after_what_arrived(site: Site, visit: Visit) -> None:
    ada = site.person("ada")
    site.notify(ada, "one")
    bell = visit(ada)
    bell.open()
    held = _hold(bell.page)
    bell.read_all.click()
    bell.wait_for(lambda: held)
    response = held[0].fetch()

    site.notify(ada, "X")
    bell.expect_rung("X")
    held[0].fulfill(response=response)

    bell.expect_count(1)
    bell.expect_titles("X", "one")
    expect(bell.unread_rows).to_contain_text("X")


def _hold(page: Page) -> list[Route]:
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    page.route(READ, hold)
    return held


@pytest.mark.parametrize("everything", [False, True], ids=["one", "all"])
@on_embedded_site
def test_8_a_failure_is_shown_and_can_be_tried_again(
    site: Site, visit: Visit, page_errors: PageErrors, *, everything: bool
) -> None:
    page_errors.ignore("500 (Internal Server Error)")
    ada = site.person("ada")
    site.notify(ada, "one", "two")
    bell = visit(ada)
    bell.open()
    bell.page.route(READ, lambda route: route.fulfill(status=500))

    def act() -> None:
        bell.read_all.click() if everything else bell.mark_read("one")

    act()
    expect(bell.problem).to_contain_text("Please try again.")
    bell.expect_count(2)
    expect(bell.unread_rows).to_have_count(2)

    bell.page.unroute(READ)
    act()
    bell.expect_count(0 if everything else 1)
    expect(bell.problem).to_be_hidden()


@on_embedded_site
def test_8_without_a_network_reading_fails_visibly(
    site: Site, visit: Visit, page_errors: PageErrors
) -> None:
    page_errors.ignore("ERR_INTERNET_DISCONNECTED")
    ada = site.person("ada")
    site.notify(ada, "one")
    bell = visit(ada)
    bell.open()
    bell.page.context.set_offline(True)
    bell.mark_read("one")
    expect(bell.problem).to_be_visible()
    bell.expect_count(1)
    bell.page.context.set_offline(False)
    bell.mark_read("one")
    bell.expect_count(0)


def _click(bell: Bell) -> Page:
    bell.row("Go").click()
    return bell.page


def _press_enter(bell: Bell) -> Page:
    bell.row("Go").get_by_role("link").press("Enter")
    return bell.page


def _click_in_the_middle(bell: Bell) -> Page:
    with bell.page.context.expect_page() as opened:
        bell.row("Go").click(button="middle")
    return opened.value


def _click_with_ctrl(bell: Bell) -> Page:
    with bell.page.context.expect_page() as opened:
        bell.row("Go").click(modifiers=["ControlOrMeta"])
    return opened.value


@pytest.mark.parametrize(
    "act", [_click, _press_enter, _click_in_the_middle, _click_with_ctrl]
)
@on_embedded_site
def test_10_opening_goes_there_and_marks_read(
    site: Site, visit: Visit, act: object
) -> None:
    assert callable(act)
    ada = site.person("ada")
    site.notify(ada, "Go", "Stay", url="/tasks/?from=bell")
    bell = visit(ada)
    bell.open()
    target = act(bell)
    target.wait_for_url("**/tasks/?from=bell")
    assert site.unread(ada) == ["Stay"]
    bell.expect_count(1)
    assert len(bell.page.context.pages) == (1 if target is bell.page else 2)


@on_embedded_site
def test_10_without_javascript_opening_marks_read_too(site: Site, visit: Visit) -> None:
    ada = site.person("ada")
    site.notify(ada, "Go", "Stay", url="/tasks/?from=list")
    bell = visit(ada, "/notifications/", transport=None, java_script_enabled=False)
    bell.page.get_by_role("link", name="Unread: Go").click()
    bell.page.wait_for_url("**/tasks/?from=list")
    assert site.unread(ada) == ["Stay"]
    expect(bell.page.locator("a.themis-bell")).to_have_accessible_name(
        "Notifications, 1 unread"
    )


@on_embedded_site
def test_10_without_an_address_it_is_shown_on_the_list(
    site: Site, visit: Visit
) -> None:
    ada = site.person("ada")
    site.notify(ada, "Only words")
    bell = visit(ada)
    bell.open()
    bell.row("Only words").click()
    row = site.rows(ada)[0]["id"]
    bell.page.wait_for_url(f"**/notifications/#n-{row}")
    expect(bell.page.locator(f"#n-{row}")).to_be_in_viewport()
    assert site.unread(ada) == []


@pytest.fixture
def browser_with_page_cache(browser: Browser) -> Iterator[Browser]:
    """Playwright switches the back/forward cache off; people have it on."""
    with browser.browser_type.launch(
        executable_path=programs.require("chromium"),
        args=["--no-sandbox", "--disable-gpu", "--disable-quic"],
        ignore_default_args=["--disable-back-forward-cache"],
    ) as cached:
        yield cached


def test_11_back_finds_the_row_read_and_the_socket_live(
    site: Site, browser_with_page_cache: Browser, page_errors: PageErrors
) -> None:
    ada = site.person("ada")
    site.notify(ada, "Go", "Stay", url="/tasks/")
    context = browser_with_page_cache.new_context(base_url=site.url)
    page_errors.watch(context)
    context.add_init_script(OBSERVE + _PERSISTED)
    context.add_cookies([{"name": "sessionid", "value": ada.session, "url": site.url}])
    bell = Bell(context.new_page())
    bell.page.goto("/")
    bell.expect_transport("open")
    bell.open()
    bell.row("Go").click()
    bell.page.wait_for_url("**/tasks/")

    bell.page.go_back(wait_until="commit")
    wait_until(lambda: bell.page.url == f"{site.url}/")
    wait_until(lambda: bell.page.evaluate("persisted"))
    bell.expect_transport("open")
    expect(bell.panel).to_be_hidden()
    bell.expect_count(1)
    site.notify(ada, "after")
    bell.expect_rung("after")
    bell.expect_count(2)
    bell.open()
    bell.expect_titles("after", "Stay", "Go")
    expect(bell.unread_rows).to_have_count(2)


_PERSISTED = """
globalThis.persisted = false;
addEventListener("pageshow", (event) => { persisted = event.persisted; });
"""
