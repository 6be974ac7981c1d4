"""Reading: one, all, and opening what a notification is about."""

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from tests.conftest import PageErrors
from tests.e2e.bells import LISTEN, OBSERVE, Bell
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

    # Shown as read at once, up to what was seen.
    bell.expect_count(0)
    site.notify(ada, "X")
    bell.expect_rung("X")
    bell.expect_count(1)
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


@on_embedded_site
def test_8_a_failure_is_shown_on_its_row_and_can_be_tried_again(
    site: Site, visit: Visit, page_errors: PageErrors
) -> None:
    page_errors.ignore("500 (Internal Server Error)")
    ada = site.person("ada")
    site.notify(ada, "one", "two")
    bell = visit(ada, script=LISTEN)
    bell.open()
    for verb in ("read", "dismiss"):
        url = READ.replace("read", verb)
        bell.page.route(url, lambda route: route.fulfill(status=500))
        bell.press(verb, "one")
        row = bell.row("one")
        expect(row).to_contain_text("work.")
        bell.expect_count(2)
        expect(bell.unread_rows).to_have_count(2)
        expect(bell.row("two")).not_to_contain_text("Retry")
        expect(bell.note).to_be_hidden()
        bell.page.unroute(url)
    bell.row("one").get_by_role("button", name="Retry: one").click()
    bell.expect_count(1)
    expect(bell.row("one")).to_contain_text("Dismissed")
    bell.wait_for(lambda: len(bell.page.evaluate("said")) == 3)
    assert [text.strip("\xa0") for text in bell.page.evaluate("said")] == [
        *["That didn\N{RIGHT SINGLE QUOTATION MARK}t work."] * 2,
        "Dismissed.",
    ]


@on_embedded_site
def test_8_a_failure_of_all_is_a_line_of_the_panel(
    site: Site, visit: Visit, page_errors: PageErrors
) -> None:
    page_errors.ignore("500 (Internal Server Error)")
    ada = site.person("ada")
    site.notify(ada, "one", "two")
    bell = visit(ada)
    bell.open()
    bell.page.route(READ, lambda route: route.fulfill(status=500))
    bell.read_all.click()
    retry = bell.note.get_by_role("button", name="Retry")
    expect(retry).to_be_visible()
    bell.expect_count(2)
    expect(bell.unread_rows).to_have_count(2)
    bell.page.unroute(READ)
    retry.click()
    bell.expect_count(0)
    expect(bell.note).to_contain_text("All marked as read")
    bell.note.get_by_role("button", name="Undo").click()
    bell.expect_count(2)
    expect(bell.note).to_be_hidden()
    wait_until(lambda: site.unread(ada) == ["one", "two"])


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
    expect(bell.row("one").get_by_role("button", name="Retry: one")).to_be_visible()
    bell.expect_count(1)
    bell.page.context.set_offline(False)
    bell.row("one").get_by_role("button", name="Retry: one").click()
    bell.expect_count(0)
    wait_until(lambda: site.unread(ada) == [])


@on_embedded_site
def test_9_what_is_dismissed_can_be_undone_where_it_stood(
    site: Site, visit: Visit
) -> None:
    ada = site.person("ada")
    site.notify(ada, "one", "two", "three")
    bell = visit(ada, reduced_motion="reduce")
    other = visit(ada)
    for tab in (bell, other):
        tab.open()
    bell.row("two").get_by_role("link").focus()
    top = bell.row("one").bounding_box()
    bell.page.keyboard.press("e")
    undo = bell.panel.get_by_role("button", name="Undo: two")
    expect(undo).to_be_focused()
    expect(bell.row("two")).to_contain_text("Dismissed")
    expect(bell.row("two").get_by_role("link")).to_have_count(0)
    assert bell.row("one").bounding_box() == top
    for tab in (bell, other):
        tab.expect_count(2)
    # Where it was not dismissed, it simply goes.
    other.expect_titles("three", "one")
    undo.press("Enter")
    expect(bell.row("two").get_by_role("link")).to_be_focused()
    for tab in (bell, other):
        tab.expect_count(3)
        tab.expect_titles("three", "two", "one")
    wait_until(lambda: site.unread(ada) == ["one", "two", "three"])


@on_embedded_site
def test_9_undo_stays_while_it_has_the_focus_and_goes_with_the_panel(
    site: Site, visit: Visit
) -> None:
    ada = site.person("ada")
    site.notify(ada, "one", "two", "three")
    bell = visit(ada, clock=True)
    bell.open()
    bell.press("dismiss", "two")
    undo = bell.panel.get_by_role("button", name="Undo: two")
    bell.advance(120)
    expect(undo).to_be_focused()
    bell.page.keyboard.press("ArrowDown")
    bell.expect_titles("three", "one")
    expect(bell.row("one").get_by_role("link")).to_be_focused()
    # Left sooner, it stays for its ten seconds.
    bell.page.keyboard.press("e")
    bell.page.keyboard.press("ArrowUp")
    bell.expect_titles("three", "one")
    bell.advance(9)
    bell.expect_titles("three", "one")
    bell.advance(2)
    bell.expect_titles("three")
    bell.page.keyboard.press("e")
    bell.page.keyboard.press("Escape")
    bell.open()
    bell.expect_titles()
    expect(bell.panel.locator('[data-themis="empty"]')).to_be_visible()


@on_embedded_site
def test_9_nothing_of_it_is_left_for_whoever_signs_in_next(
    site: Site, visit: Visit, page_errors: PageErrors
) -> None:
    page_errors.ignore("401 (Unauthorized)")
    ada = site.person("ada")
    site.notify(ada, "one", "two")
    bell = visit(ada)
    bell.open()
    bell.press("dismiss", "two")
    expect(bell.row("two")).to_contain_text("Dismissed")
    bell.page.route(READ, lambda route: route.fulfill(status=401))
    bell.mark_read("one")
    expect(bell.panel.locator('[data-themis="signed-out"]')).to_be_visible()
    bell.expect_titles()
    expect(bell.note).to_be_hidden()


@on_embedded_site
def test_9_z_undoes_what_was_done_last(site: Site, visit: Visit) -> None:
    ada = site.person("ada")
    site.notify(ada, "one", "two", "three")
    bell = visit(ada)
    bell.open()
    press = bell.page.keyboard.press
    bell.row("three").get_by_role("link").focus()
    for key, count in [("Shift+I", 2), ("z", 3), ("Shift+I", 2), ("Shift+U", 3)]:
        press(key)
        bell.expect_count(count)
    press("z")
    bell.expect_count(2)
    press("e")
    press("ArrowDown")
    press("z")
    expect(bell.row("three").get_by_role("link")).to_have_count(1)
    bell.expect_titles("three", "two", "one")
    wait_until(lambda: site.unread(ada) == ["one", "two"])


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


def test_11_back_finds_the_row_read_and_the_socket_live(
    site: Site, caching_browser: Browser, page_errors: PageErrors
) -> None:
    ada = site.person("ada")
    site.notify(ada, "Go", "Stay", url="/tasks/")
    context = caching_browser.new_context(base_url=site.url)
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
