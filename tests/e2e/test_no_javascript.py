"""Without JavaScript the bell is a link with the right count to pages of forms."""

import re

from playwright.sync_api import Locator, Page, expect

from tests.e2e.conftest import Visit, on_embedded_site
from tests.e2e.sites import Person, Site


def open_list(visit: Visit, person: Person) -> Page:
    path = "/notifications/"
    return visit(person, path, transport=None, java_script_enabled=False).page


def row_of(page: Page, title: str) -> Locator:
    return page.locator("main li.themis-row").filter(has_text=title)


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
    mark_unread = rows.first.get_by_role("button", name="Mark unread: Number 26")
    expect(mark_unread).to_be_in_viewport()
    expect(main.locator("li:target")).to_contain_text("Number 26")
    main.get_by_role("link", name="Unread", exact=True).click()
    expect(rows.first).to_contain_text("Number 25")
    main.get_by_role("link", name="Older notifications").click()
    expect(rows).to_have_count(1)
    expect(rows).to_contain_text("Number 0")

    main.get_by_role("button", name="Mark all read").click()
    expect(main).to_contain_text("Nothing older")
    main.get_by_role("link", name="Newest notifications").click()
    expect(main).to_contain_text("all caught up")
    expect(link).to_have_accessible_name("Notifications")
    expect(link.locator(".themis-badge")).to_be_hidden()
    assert site.unread(ada) == []


@on_embedded_site
def test_39_what_came_after_the_page_stays_unread(site: Site, visit: Visit) -> None:
    ada = site.person("ada")
    site.notify(ada, "one")
    page = open_list(visit, ada)
    site.notify(ada, "two")
    page.locator("main").get_by_role("button", name="Mark all read").click()
    expect(page.locator("main .themis-inbox-count")).to_have_text("1 unread")
    assert site.unread(ada) == ["two"]


@on_embedded_site
def test_39_every_action_and_its_undo(site: Site, visit: Visit) -> None:
    ada = site.person("ada")
    site.notify(ada, "first", "second")
    page = open_list(visit, ada)
    undo = page.get_by_role("button", name="Undo")
    done = page.locator(".themis-done")

    row_of(page, "first").get_by_role("button", name="Dismiss: first").click()
    expect(done).to_contain_text("Dismissed.")
    expect(row_of(page, "first")).to_have_count(0)
    page.reload()
    undo.click()
    expect(row_of(page, "first")).to_be_visible()
    expect(undo).to_have_count(0)

    row_of(page, "first").get_by_role("button", name="Mark read: first").click()
    undo.click()
    assert site.unread(ada) == ["first", "second"]
    page.get_by_role("button", name="Mark all read").click()
    undo.click()
    assert site.unread(ada) == ["first", "second"]

    page.get_by_role("button", name="Mark all read").click()
    page.get_by_role("button", name="Mark unread: second").click()
    assert site.unread(ada) == ["second"]
    page.get_by_role("button", name="Mark all read").click()
    page.get_by_role("button", name="Dismiss all").click()
    expect(page.locator("main")).to_contain_text("No notifications")
    page.get_by_role("link", name="Dismissed", exact=True).click()
    page.get_by_role("button", name="Restore: second").click()
    expect(row_of(page, "second")).to_have_count(0)
    page.get_by_role("link", name="All", exact=True).click()
    expect(row_of(page, "second")).to_be_visible()
    expect(row_of(page, "first")).to_have_count(0)


@on_embedded_site
def test_39_filters_are_addresses(site: Site, visit: Visit) -> None:
    ada = site.person("ada")
    site.notify(ada, "calm")
    site.notify(ada, "late", level="danger")
    page = open_list(visit, ada)
    filters = page.get_by_role("navigation", name="Filter")
    rows = page.locator("main li.themis-row")
    filters.get_by_role("link", name="Danger").click()
    expect(rows).to_have_text(re.compile("late"))
    expect(filters.locator("[aria-current]")).to_have_text(["All", "Danger"])
    filters.get_by_role("link", name="Read", exact=True).click()
    expect(page).to_have_url(re.compile(r"\?state=read&level=danger$"))
    expect(page).to_have_title("Read notifications")
    page.get_by_role("link", name="Show every kind").click()
    expect(page.locator("main")).to_contain_text("Nothing read yet")
    page.go_back()
    page.go_back()
    expect(rows).to_have_text(re.compile("late"))


@on_embedded_site
def test_39_preferences(site: Site, visit: Visit) -> None:
    ada = site.person("ada")
    page = open_list(visit, ada)
    page.locator("main").get_by_role("link", name="Preferences").click()
    expect(page).to_have_title("Notification preferences")
    notify = page.get_by_role("checkbox", name="Notify me")
    days = page.get_by_role("spinbutton", name="Days to keep what I have read")
    expect(notify).to_be_checked()
    expect(days).to_have_accessible_description(re.compile("90 days"))
    page.get_by_role("radio", name="Warnings and urgent ones").check()
    page.get_by_role("checkbox", name="Desktop notifications").check()
    days.fill("0")
    save = page.get_by_role("button", name="Save")
    save.click()
    expect(days).to_have_attribute("aria-invalid", "true")
    expect(days).to_have_accessible_description(re.compile("at least one day"))
    days.fill("30")
    save.click()
    expect(page.locator("main")).to_contain_text("Your preferences have been saved.")
    expect(days).to_have_value("30")
    expect(page.get_by_role("radio", name="Warnings and urgent ones")).to_be_checked()
    site.notify(ada, "filtered")
    site.notify(ada, "urgent", level="danger")
    page.get_by_role("link", name="All notifications").click()
    expect(page.locator("main li.themis-row")).to_have_count(1)


@on_embedded_site
def test_39_what_leads_nowhere_is_shown_on_the_list(site: Site, visit: Visit) -> None:
    ada = site.person("ada")
    site.notify(ada, *[f"Number {i}." for i in range(30)])
    oldest = site.rows(ada)[0]["id"]
    page = open_list(visit, ada)
    page.goto(f"/notifications/{oldest}/open/")
    expect(row_of(page, "Number 0.")).to_be_in_viewport()
    expect(page.locator("li:target")).to_contain_text("Number 0.")
