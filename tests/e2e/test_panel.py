"""The panel while it is read: what arrives, and what is older."""

from playwright.sync_api import Route, expect

from tests.conftest import PageErrors
from tests.e2e.conftest import Visit, on_both_sites, on_embedded_site
from tests.e2e.sites import Site
from tests.waiting import wait_until


@on_both_sites
def test_3_rows_do_not_move_away_from_who_is_at_them(site: Site, visit: Visit) -> None:
    ada = site.person("ada")
    site.notify(ada, "one", "two")
    bell = visit(ada, reduced_motion="reduce")
    bell.open()
    link = bell.row("two").get_by_role("link")
    link.focus()
    before = bell.row("two").bounding_box()
    site.notify(ada, "three", "four", "five")
    expect(bell.pill).to_have_text("3 new")
    bell.expect_count(5)
    bell.expect_titles("two", "one")
    expect(link).to_be_focused()
    assert bell.row("two").bounding_box() == before
    # Marked is what was seen.
    bell.read_all.click()
    bell.expect_count(3)
    bell.pill.click()
    bell.expect_titles("five", "four", "three", "two", "one")
    expect(bell.pill).to_be_hidden()
    expect(bell.row("five").get_by_role("link")).to_be_focused()
    wait_until(lambda: site.unread(ada) == ["three", "four", "five"])


@on_embedded_site
def test_3_they_do_under_nobody(site: Site, visit: Visit) -> None:
    ada = site.person("ada")
    site.notify(ada, *[f"Number {number}" for number in range(15)])
    bell = visit(ada)
    bell.open()
    site.notify(ada, "inserted")
    expect(bell.rows).to_have_count(16)
    expect(bell.pill).to_be_hidden()

    bell.row("Number 3").hover()
    site.notify(ada, "under the pointer")
    expect(bell.pill).to_have_text("1 new")
    bell.read_all.hover()
    site.notify(ada, "and once more")
    expect(bell.pill).to_have_text("2 new")
    expect(bell.rows).to_have_count(16)
    # Closed and opened again, it has all.
    bell.page.keyboard.press("Escape")
    bell.open()
    expect(bell.rows).to_have_count(18)
    expect(bell.pill).to_be_hidden()

    bell.button.hover()
    bell.panel.locator('[data-themis="content"]').evaluate(
        "(element) => element.scrollTo({top: 60, behavior: 'instant'})"
    )
    site.notify(ada, "scrolled away from")
    expect(bell.pill).to_have_text("1 new")
    bell.pill.press("Enter")
    expect(bell.row("scrolled away from").get_by_role("link")).to_be_focused()
    expect(bell.row("scrolled away from")).to_be_in_viewport()


@on_embedded_site
def test_older_ones_are_loaded_by_a_button(site: Site, visit: Visit) -> None:
    ada = site.person("ada")
    site.notify(ada, *[f"Number {number}." for number in range(45)])
    bell = visit(ada)
    bell.open()
    expect(bell.rows).to_have_count(20)
    content = bell.panel.locator('[data-themis="content"]')
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    bell.page.route("**/api/notifications?*", hold)
    bell.more.click()
    bell.wait_for(lambda: held)
    expect(content).to_have_attribute("aria-busy", "true")
    held[0].continue_()
    expect(bell.rows).to_have_count(40)
    bell.page.unroute("**/api/notifications?*")
    expect(content).to_have_attribute("aria-busy", "false")
    expect(bell.row("Number 24.").get_by_role("link")).to_be_focused()
    live = bell.page.locator("[data-themis-live]")
    expect(live).to_have_text("20 older notifications")
    bell.more.press("Enter")
    expect(bell.rows).to_have_count(45)
    expect(live).to_have_text("5 older notifications")
    expect(bell.more).to_be_hidden()
    # What is read, dismissed and undone among them stays where it is.
    bell.press("dismiss", "Number 2.")
    bell.row("Number 2.").get_by_role("button", name="Undo").click()
    expect(bell.row("Number 2.").get_by_role("link")).to_be_focused()
    bell.mark_read("Number 1.")
    bell.expect_count(44)
    expect(bell.rows).to_have_count(45)
    bell.page.keyboard.press("Escape")
    bell.open()
    expect(bell.rows).to_have_count(20)
    expect(bell.more).to_be_visible()


@on_embedded_site
def test_older_ones_that_cannot_be_loaded_are_asked_for_again(
    site: Site, visit: Visit, page_errors: PageErrors
) -> None:
    page_errors.ignore("500 (Internal Server Error)")
    ada = site.person("ada")
    site.notify(ada, *[f"Number {number}" for number in range(25)])
    bell = visit(ada)
    bell.open()
    pages = "**/api/notifications?*"
    bell.page.route(pages, lambda route: route.fulfill(status=500))
    bell.more.click()
    retry = bell.note.get_by_role("button", name="Retry")
    expect(retry).to_be_visible()
    bell.page.unroute(pages)
    retry.click()
    expect(bell.rows).to_have_count(25)
    expect(bell.note).to_be_hidden()


@on_embedded_site
def test_a_click_that_is_faster_than_the_panel_opens_it(
    site: Site, visit: Visit
) -> None:
    ada = site.person("ada")
    site.notify(ada, "one")
    bell = visit(ada, "/")
    held: list[Route] = []
    bell.page.route("**/themis/panel.js", lambda route: held.append(route))  # noqa: PLW0108 -- Playwright marks its handlers
    bell.button.click()
    bell.wait_for(lambda: held)
    expect(bell.button).to_have_attribute("aria-expanded", "false")
    held[0].continue_()
    expect(bell.panel).to_be_visible()
    expect(bell.button).to_have_attribute("aria-expanded", "true")
    bell.expect_titles("one")
    bell.button.click()
    expect(bell.panel).to_be_hidden()
    expect(bell.button).to_have_attribute("aria-expanded", "false")


@on_embedded_site
def test_the_bell_is_a_link_where_the_panel_does_not_come(
    site: Site, visit: Visit, page_errors: PageErrors
) -> None:
    ada = site.person("ada")
    bell = visit(ada, "/")
    page_errors.ignore("ERR_FAILED")
    bell.page.route("**/themis/panel.js", lambda route: route.abort())
    bell.button.click()
    bell.page.wait_for_url("**/notifications/")
