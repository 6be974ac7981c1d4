"""The list page beside a bell that works: neither misleads."""

from playwright.sync_api import expect

from tests.e2e.conftest import Visit, on_both_sites, on_embedded_site
from tests.e2e.sites import Site


@on_both_sites
def test_a_list_that_has_aged_says_so(site: Site, visit: Visit) -> None:
    ada = site.person("ada")
    site.notify(ada, "one")
    bell = visit(ada, "/notifications/")
    notice = bell.page.locator("themis-list-age")
    rows = bell.page.locator("main li.themis-row")
    bell.expect_count(1)
    expect(notice).to_be_hidden()

    site.notify(ada, "two")
    bell.expect_count(2)
    expect(rows).to_have_count(1)
    expect(notice).to_contain_text("Something has changed")
    notice.get_by_role("link").click()
    expect(rows).to_have_count(2)
    bell.expect_transport("open")
    bell.expect_count(2)
    expect(notice).to_be_hidden()

    bell.open()
    bell.mark_read("one")
    bell.expect_count(1)
    expect(notice).to_be_visible()


@on_embedded_site
def test_what_is_done_on_the_page_reaches_its_bell_and_another_tab(
    site: Site, visit: Visit
) -> None:
    ada = site.person("ada")
    site.notify(ada, "one", "two")
    bell = visit(ada, "/notifications/")
    other = visit(ada)
    main = bell.page.locator("main")
    main.get_by_role("button", name="Mark read: one").click()
    expect(main.get_by_role("button", name="Mark unread: one")).to_be_visible()
    bell.expect_transport("open")
    for one in (bell, other):
        one.expect_count(1)
    expect(bell.page.locator("themis-list-age")).to_be_hidden()
    main.get_by_role("button", name="Undo").click()
    bell.expect_transport("open")
    for one in (bell, other):
        one.expect_count(2)
    main.get_by_role("button", name="Dismiss: two").click()
    for one in (bell, other):
        one.expect_count(1)
    other.open()
    other.expect_titles("one")


@on_embedded_site
def test_preferences_reach_every_tab(site: Site, visit: Visit) -> None:
    """As a revision of the mailbox, without a word about it from the bell."""
    ada = site.person("ada")
    other = visit(ada)
    bell = visit(ada, "/notifications/preferences/")
    before = other.page.evaluate("document.querySelector('themis-bell').revision")
    bell.page.get_by_role("checkbox", name="Desktop notifications").check()
    bell.page.get_by_role("button", name="Save").click()
    expect(bell.page.locator("main")).to_contain_text("have been saved")
    now = "(before) => document.querySelector('themis-bell').revision > before"
    other.page.wait_for_function(now, arg=before)
    assert other.rung == []


@on_embedded_site
def test_the_panel_leads_to_the_preferences(site: Site, visit: Visit) -> None:
    bell = visit(site.person("ada"))
    bell.open()
    bell.panel.get_by_role("link", name="Preferences").click()
    expect(bell.page).to_have_title("Notification preferences")
