"""The list page beside a bell that works: done in place, and never misleading."""

import re

import pytest
from playwright.sync_api import Locator, Page, Route, expect

from tests.conftest import PageErrors
from tests.e2e.bells import Bell
from tests.e2e.conftest import Visit, on_both_sites, on_embedded_site
from tests.e2e.sites import Person, Site
from tests.waiting import wait_until

FAILED = re.compile("That didn.t work.")


class Inbox:
    """The list of a page."""

    def __init__(self, bell: Bell) -> None:
        self.page: Page = bell.page
        self.main = bell.page.locator("main")
        self.rows = self.main.locator("li.themis-row")
        self.unread_rows = self.main.locator("li.themis-row[data-unread]")
        self.count = self.main.locator(".themis-inbox-count")
        self.note = self.main.locator('themis-inbox > [data-themis="note"]')
        self.aged = self.main.locator('[data-themis="aged"]')
        self.pill = self.main.locator('[data-themis="pill"]')

    def row(self, title: str) -> Locator:
        return self.rows.filter(has=self.page.locator("bdi", has_text=title))

    def button(self, name: str) -> Locator:
        return self.main.get_by_role("button", name=name, exact=True)


def stored(site: Site, person: Person, title: str) -> dict[str, bool]:
    """What the table says of a notification."""
    found: dict[str, bool] = site.shell.run(_STORED, pk=person.pk, title=title)
    return found


_STORED = """
row = UserNotification.objects.get(user=pk, title=title)
result = {"read": row.is_read, "dismissed": row.is_dismissed}
"""


@on_both_sites
def test_what_is_done_in_the_panel_is_seen_on_the_page(
    site: Site, visit: Visit
) -> None:
    ada = site.person("ada")
    site.notify(ada, "one", "two")
    bell = visit(ada, "/notifications/")
    inbox = Inbox(bell)
    expect(inbox.count).to_have_text("2 unread")
    bell.open()
    bell.mark_read("one")
    expect(inbox.count).to_have_text("1 unread")
    expect(inbox.unread_rows).to_have_text(re.compile("two"))
    expect(inbox.button("Mark unread: one")).to_be_visible()
    bell.read_all.click()
    expect(inbox.count).to_be_hidden()
    expect(inbox.unread_rows).to_have_count(0)
    expect(inbox.aged).to_be_hidden()
    bell.press("dismiss", "one")
    expect(inbox.aged).to_contain_text("Something has changed")
    expect(inbox.rows).to_have_count(2)
    bell.page.keyboard.press("Escape")
    inbox.aged.get_by_role("link").click()
    expect(inbox.rows).to_have_count(1)


@on_both_sites
def test_what_is_done_elsewhere_is_seen_on_the_page(site: Site, visit: Visit) -> None:
    ada = site.person("ada")
    site.notify(ada, "one", "two")
    here = Inbox(visit(ada, "/notifications/"))
    there = visit(ada, at=site.servers[-1])
    there.open()
    there.mark_read("one")
    expect(here.row("one").get_by_role("button")).to_have_count(2)
    expect(here.button("Mark unread: one")).to_be_visible()
    expect(here.count).to_have_text("1 unread")
    there.press("unread", "one")
    expect(here.button("Mark read: one")).to_be_visible()
    expect(here.count).to_have_text("2 unread")
    expect(here.aged).to_be_hidden()
    site.shell.run(
        "UserNotification.objects.filter(user=pk, title='two').delete()", pk=ada.pk
    )
    expect(here.aged).to_be_visible()
    expect(here.rows).to_have_count(2)


@on_embedded_site
def test_what_is_done_on_the_page_stays_on_it_and_reaches_all(
    site: Site, visit: Visit
) -> None:
    ada = site.person("ada")
    site.notify(ada, "one", "two", "three")
    bell = visit(ada, "/notifications/")
    inbox = Inbox(bell)
    other = visit(ada)
    bell.page.evaluate("globalThis.isTheSame = true")
    inbox.button("Mark read: one").click()
    expect(inbox.button("Mark unread: one")).to_be_focused()
    for tab in (bell, other):
        tab.expect_count(2)
    inbox.button("Dismiss: two").click()
    undo = inbox.button("Undo: two")
    expect(undo).to_be_focused()
    expect(inbox.rows).to_have_count(3)
    for tab in (bell, other):
        tab.expect_count(1)
    wait_until(lambda: stored(site, ada, "two")["dismissed"])
    undo.click()
    expect(inbox.row("two").get_by_role("link")).to_be_focused()
    for tab in (bell, other):
        tab.expect_count(2)
    wait_until(lambda: not stored(site, ada, "two")["dismissed"])

    inbox.button("Mark all read").click()
    expect(inbox.note).to_contain_text("All marked as read")
    expect(inbox.button("Undo")).to_be_focused()
    expect(inbox.unread_rows).to_have_count(0)
    expect(inbox.count).to_be_hidden()
    expect(inbox.button("Dismiss all")).to_be_visible()
    other.expect_count(0)
    inbox.button("Undo").click()
    expect(inbox.unread_rows).to_have_count(2)
    expect(inbox.count).to_have_text("2 unread")
    other.expect_count(2)
    wait_until(lambda: site.unread(ada) == ["two", "three"])
    expect(inbox.aged).to_be_hidden()
    assert bell.page.evaluate("isTheSame")

    # To another list, which the server shows.
    inbox.button("Mark all read").click()
    inbox.button("Dismiss all").click()
    expect(inbox.main).to_contain_text("No notifications")
    inbox.button("Undo").click()
    expect(inbox.rows).to_have_count(3)


@on_embedded_site
def test_more_than_a_frame_holds_are_marked_and_unmarked(
    site: Site, visit: Visit
) -> None:
    """The answer is a snapshot of 20; the page shows 25."""
    ada = site.person("ada")
    site.notify(ada, *[f"Number {i}" for i in range(105)])
    inbox = Inbox(visit(ada, "/notifications/"))
    inbox.button("Mark all read").click()
    expect(inbox.count).to_be_hidden()
    wait_until(lambda: site.unread(ada) == [])
    expect(inbox.unread_rows).to_have_count(0)
    inbox.button("Undo").click()
    wait_until(lambda: len(site.unread(ada)) == 105)
    expect(inbox.count).to_have_text("105 unread")
    expect(inbox.unread_rows).to_have_count(25)
    expect(inbox.aged).to_be_hidden()


@on_embedded_site
def test_restoring_and_taking_that_back(site: Site, visit: Visit) -> None:
    ada = site.person("ada")
    site.notify(ada, "one")
    site.shell.run(
        "UserNotification.objects.filter(user=pk).update(dismissed_at=timezone.now())",
        pk=ada.pk,
    )
    inbox = Inbox(visit(ada, "/notifications/?state=dismissed"))
    inbox.button("Restore: one").click()
    expect(inbox.row("one")).to_contain_text("Restored")
    expect(inbox.count).to_have_text("1 unread")
    inbox.button("Undo: one").click()
    expect(inbox.count).to_be_hidden()
    expect(inbox.button("Restore: one")).to_be_visible()
    wait_until(lambda: stored(site, ada, "one")["dismissed"])
    inbox.button("Restore: one").click()
    expect(inbox.count).to_have_text("1 unread")
    wait_until(lambda: not stored(site, ada, "one")["dismissed"])


@on_embedded_site
def test_what_fails_on_the_page_is_taken_back_and_tried_again(
    site: Site, visit: Visit, page_errors: PageErrors
) -> None:
    page_errors.ignore("500 (Internal Server Error)")
    ada = site.person("ada")
    site.notify(ada, "one", "two")
    inbox = Inbox(visit(ada, "/notifications/"))
    verbs = re.compile("/api/notifications/(read|dismiss)$")
    inbox.page.route(verbs, lambda route: route.fulfill(status=500))
    inbox.button("Dismiss: one").click()
    expect(inbox.row("one")).to_contain_text(FAILED)
    expect(inbox.count).to_have_text("2 unread")
    inbox.button("Mark all read").click()
    expect(inbox.note).to_contain_text(FAILED)
    expect(inbox.button("Retry")).to_be_focused()
    expect(inbox.unread_rows).to_have_count(2)
    inbox.page.unroute(verbs)
    inbox.button("Retry").click()
    expect(inbox.count).to_be_hidden()
    wait_until(lambda: site.unread(ada) == [])


@on_embedded_site
def test_the_unread_list_keeps_what_has_been_read(site: Site, visit: Visit) -> None:
    ada = site.person("ada")
    site.notify(ada, "one", "two")
    inbox = Inbox(visit(ada, "/notifications/?state=unread"))
    inbox.button("Mark read: one").click()
    expect(inbox.count).to_have_text("1 unread")
    expect(inbox.row("one")).to_be_visible()
    # It was shown at once, maybe before the server knew.
    wait_until(lambda: site.unread(ada) == ["two"])
    inbox.page.reload()
    expect(inbox.rows).to_have_text(re.compile("two"))


@on_both_sites
def test_what_arrives_is_counted_and_moves_nothing(site: Site, visit: Visit) -> None:
    ada = site.person("ada")
    site.notify(ada, "one")
    bell = visit(ada, "/notifications/")
    inbox = Inbox(bell)
    expect(inbox.pill).to_be_hidden()
    before = inbox.row("one").bounding_box()
    site.notify(ada, "two", "three")
    expect(inbox.pill).to_have_text("2 new")
    expect(inbox.count).to_have_text("3 unread")
    expect(inbox.aged).to_be_hidden()
    expect(inbox.rows).to_have_count(1)
    assert inbox.row("one").bounding_box() == before
    inbox.pill.click()
    expect(inbox.rows).to_have_count(3)
    expect(inbox.pill).to_be_hidden()
    bell.expect_transport("open")
    expect(inbox.aged).to_be_hidden()


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("?state=unread", "2 new"),
        ("?state=read", ""),
        ("?state=dismissed", ""),
        ("?level=danger", "1 new"),
        ("?source_app=tasks", "1 new"),
    ],
)
@on_embedded_site
def test_only_what_the_list_would_show_is_counted(
    site: Site, visit: Visit, query: str, expected: str
) -> None:
    ada = site.person("ada")
    bell = visit(ada, f"/notifications/{query}")
    site.notify(ada, "one", level="danger")
    site.notify(ada, "two", source_app="tasks")
    bell.expect_rung("one", "two")
    expect(Inbox(bell).pill).to_be_visible(visible=bool(expected))
    expect(Inbox(bell).pill).to_contain_text(expected)


@on_embedded_site
def test_a_list_older_than_what_the_bell_hears_first_says_so(
    site: Site, visit: Visit
) -> None:
    ada = site.person("ada")
    site.notify(ada, "one")
    # The scripts wait until the list is older than what the bell will hear.
    script = "**/themis/bell.js"
    bell = visit(ada)
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    bell.page.route(script, hold)
    bell.page.goto("/notifications/", wait_until="commit")
    inbox = Inbox(bell)
    bell.wait_for(lambda: held)
    expect(inbox.rows).to_have_count(1)
    site.notify(ada, "meanwhile")
    held[0].continue_()
    expect(inbox.rows).to_have_count(1)
    expect(inbox.aged).to_be_visible()
    bell.page.unroute(script)
    inbox.aged.get_by_role("link").click()
    expect(inbox.rows).to_have_count(2)
    expect(inbox.aged).to_be_hidden()


@on_embedded_site
def test_a_page_without_a_bell_works_by_its_forms(site: Site, visit: Visit) -> None:
    ada = site.person("ada")
    site.notify(ada, "one", "two")
    bell = visit(ada, "/notifications/")
    bell.page.evaluate("document.querySelector('themis-bell').remove()")
    inbox = Inbox(bell)
    script = "(element) => element.replaceWith(element.cloneNode(true))"
    bell.page.locator("themis-inbox").evaluate(script)
    bell.page.evaluate("globalThis.isTheSame = true")
    inbox.button("Mark read: one").click()
    expect(inbox.button("Mark unread: one")).to_be_visible()
    assert bell.page.evaluate("globalThis.isTheSame ?? null") is None


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
