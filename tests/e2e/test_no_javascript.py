"""Without JavaScript the bell is a link with the right count to a page of forms."""

from playwright.sync_api import expect

from tests.e2e.conftest import Visit, on_embedded_site
from tests.e2e.sites import Site


@on_embedded_site
def test_39_link_list_and_forms(site: Site, visit: Visit) -> None:
    ada = site.person("ada")
    site.notify(ada, *[f"Number {i}" for i in range(27)])
    page = visit(ada, transport=None, java_script_enabled=False).page
    link = page.locator("a.themis-bell")
    expect(link).to_have_accessible_name("Notifications, 27 unread")
    expect(link.locator(".themis-badge")).to_have_text("27")
    link.click()
    page.wait_for_url("**/notifications/")
    main = page.locator("main")
    rows = main.locator("li.themis-row")
    expect(rows).to_have_count(25)
    expect(rows.first).to_contain_text("Number 26")

    rows.first.get_by_role("button", name="Mark read: Number 26").click()
    expect(link).to_have_accessible_name("Notifications, 26 unread")
    expect(rows.first.get_by_role("button")).to_have_count(0)
    main.get_by_role("link", name="Unread", exact=True).click()
    expect(rows.first).to_contain_text("Number 25")
    main.get_by_role("link", name="Older notifications").click()
    expect(rows).to_have_count(1)
    expect(rows).to_contain_text("Number 0")

    main.get_by_role("button", name="Mark all read").click()
    expect(main).to_contain_text("all caught up")
    expect(link).to_have_accessible_name("Notifications")
    expect(link.locator(".themis-badge")).to_be_hidden()
    assert site.unread(ada) == []


@on_embedded_site
def test_39_what_came_after_the_page_stays_unread(site: Site, visit: Visit) -> None:
    ada = site.person("ada")
    site.notify(ada, "one")
    page = visit(ada, "/notifications/", transport=None, java_script_enabled=False).page
    site.notify(ada, "two")
    page.locator("main").get_by_role("button", name="Mark all read").click()
    expect(page.locator("main .themis-inbox-count")).to_have_text("1 unread")
    assert site.unread(ada) == ["two"]
