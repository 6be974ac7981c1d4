"""The bell for those who use a keyboard, a screen reader, or colours of their own."""

import json
import os
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.conftest import PageErrors
from tests.e2e.bells import LISTEN, Bell
from tests.e2e.conftest import Visit, on_embedded_site
from tests.e2e.sites import Person, Site
from tests.processes import ROOT

_AXE = ROOT / "node_modules" / "axe-core" / "axe.min.js"
_AXE_OPTIONS = {
    "runOnly": {
        "type": "tag",
        "values": [
            *["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"],
            "best-practice",
        ],
    },
    # Off unless asked for by name.
    "rules": {"target-size": {"enabled": True}},
}

APPEARANCES: dict[str, dict[str, Any]] = {
    "light": {"color_scheme": "light"},
    "dark": {"color_scheme": "dark"},
    "forced colors": {"forced_colors": "active"},
    "right to left": {"locale": "ar"},
    "narrow": {"viewport": {"width": 320, "height": 640}},
    # What a window of 1280 is at 200 %.
    "zoomed": {"viewport": {"width": 640, "height": 360}, "device_scale_factor": 2},
}


@pytest.mark.parametrize("appearance", APPEARANCES)
@on_embedded_site
def test_33_axe_finds_nothing(
    site: Site, visit: Visit, page_errors: PageErrors, appearance: str
) -> None:
    page_errors.ignore("500 (Internal Server Error)", "401 (Unauthorized)")
    ada = site.person("ada")
    options = APPEARANCES[appearance]
    bell = visit(ada, reduced_motion="reduce", **options)
    direction = bell.page.evaluate("document.documentElement.dir")
    assert direction == ("rtl" if appearance == "right to left" else "ltr")
    bell.open()
    # By their parts, as the texts are in Arabic on one of the pages.
    expect(bell.panel.locator('[data-themis="empty"]')).to_be_visible()
    check_by_axe(bell.page, "empty")
    bell.page.goto("/notifications/")
    check_by_axe(bell.page, "empty list page")

    _fill(site, ada)
    expect(bell.badge).to_have_text("4")
    check_by_axe(bell.page, "closed")
    bell.open()
    expect(bell.rows).to_have_count(5)
    check_by_axe(bell.page, "open")
    bell.page.route("**/read", lambda route: route.fulfill(status=500))
    bell.mark_read("Backup failed")
    row = bell.row("Backup failed")
    expect(row.locator('[data-themis="note"]')).to_be_visible()
    bell.press("dismiss", "Certificate expires")
    row = bell.row("Certificate expires")
    expect(row.locator('[data-themis="note"]')).to_be_visible()
    check_by_axe(bell.page, "with a failure and what was dismissed")
    bell.read_all.click()
    expect(bell.note).to_be_visible()
    row.locator('[data-themis="note-button"]').focus()
    site.notify(ada, "Later")
    expect(bell.pill).to_be_visible()
    check_by_axe(bell.page, "with a failure of all, and what is new")
    bell.page.keyboard.press("?")
    expect(bell.panel.locator(".themis-keys")).to_be_visible()
    check_by_axe(bell.page, "with help")
    bell.page.reload()
    check_by_axe(bell.page, "list page")
    bell.expect_transport("open")
    bell.page.route("**/read", lambda route: route.fulfill(status=401))
    bell.open()
    bell.read_all.click()
    expect(bell.panel.locator('[data-themis="signed-out"]')).to_be_visible()
    check_by_axe(bell.page, "signed out")


@on_embedded_site
def test_33_axe_finds_nothing_in_a_long_panel(site: Site, visit: Visit) -> None:
    ada = site.person("ada")
    site.notify(ada, *[f"Number {number}" for number in range(25)])
    bell = visit(ada)
    bell.open()
    expect(bell.more).to_be_visible()
    check_by_axe(bell.page, "with more")
    bell.more.click()
    expect(bell.rows).to_have_count(25)
    expect(bell.more).to_be_hidden()
    check_by_axe(bell.page, "with older ones")


@pytest.mark.parametrize("appearance", APPEARANCES)
@on_embedded_site
def test_33_axe_finds_nothing_on_the_pages(
    site: Site, visit: Visit, page_errors: PageErrors, appearance: str
) -> None:
    page_errors.ignore("500 (Internal Server Error)")
    ada = site.person("ada")
    _fill(site, ada)
    options = APPEARANCES[appearance]
    page = visit(ada, "/notifications/", reduced_motion="reduce", **options).page
    page.route("**/unread", lambda route: route.fulfill(status=500))
    page.locator("main li button[value=dismiss]").nth(2).click()
    page.locator("main li button[value=unread]:visible").click()
    expect(page.locator('main li [data-themis="note"]:visible')).to_have_count(2)
    page.locator("main [data-themis=bulk] button:visible").click()
    expect(page.locator('themis-inbox > [data-themis="note"]')).to_be_visible()
    site.notify(ada, "Later")
    expect(page.locator('main [data-themis="pill"]')).to_be_visible()
    check_by_axe(page, "list page after actions, with news")
    _expect_no_scrolling_sideways(page)
    delete = "UserNotification.objects.filter(user=pk, title='Deployed').delete()"
    site.shell.run(delete, pk=ada.pk)
    expect(page.locator('[data-themis="aged"]')).to_be_visible()
    check_by_axe(page, "list page that has aged")
    page.locator("main .themis-row-link").first.focus()
    page.keyboard.press("?")
    expect(page.locator("main .themis-keys")).to_be_visible()
    check_by_axe(page, "list page with help")
    page.goto("/notifications/?state=dismissed")
    expect(page.locator("main button[value=restore]:visible")).to_be_visible()
    check_by_axe(page, "dismissed")
    page.goto("/notifications/?state=read&level=danger&source_app=tasks")
    check_by_axe(page, "narrowed to nothing")
    _expect_no_scrolling_sideways(page)
    page.goto("/notifications/preferences/")
    check_by_axe(page, "preferences")
    _expect_no_scrolling_sideways(page)
    page.get_by_role("spinbutton").fill("-1")
    page.locator(".themis-form button[type=submit]").click()
    expect(page.locator(".errorlist")).to_be_visible()
    check_by_axe(page, "preferences with a mistake")


def _expect_no_scrolling_sideways(page: Page) -> None:
    width = "[document.documentElement.scrollWidth, innerWidth]"
    needed, there = page.evaluate(width)
    assert needed <= there


def _fill(site: Site, person: Person) -> None:
    site.notify(person, "Already read")
    site.shell.run(
        "UserNotification.objects.filter(user=pk).update(read_at=timezone.now())",
        pk=person.pk,
    )
    text = "The disk of db-2 is full, and what comes after that is too long. " * 4
    site.notify(person, "Deployed", level="success", url="https://example.com/d/7")
    site.notify(person, "Certificate expires", message=text, level="warning")
    site.notify(person, "Backup failed", message=text, level="danger", url="/")
    site.notify(
        person, "A title as long as a sentence, and one more half of it to wrap"
    )


def check_by_axe(page: Page, state: str) -> None:
    if not _AXE.exists():
        message = "axe-core is not installed; `make js` installs it."
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)
    if not page.evaluate("'axe' in globalThis"):
        page.evaluate(_AXE.read_text(encoding="utf-8"))
    # What has passed is a long text, which nobody reads.
    run = "async (options) => (await axe.run(document, options)).violations"
    violations = [
        (violation["id"], [node["html"] for node in violation["nodes"]])
        for violation in page.evaluate(run, _AXE_OPTIONS)
    ]
    assert not violations, f"{state}: {json.dumps(violations, indent=2)}"


@on_embedded_site
def test_34_everything_can_be_done_by_keyboard(site: Site, visit: Visit) -> None:
    ada = site.person("ada")
    site.notify(ada, "first", "second", "third", url="/tasks/")
    bell = visit(ada)
    press = bell.page.keyboard.press
    bell.page.locator("body").press("e")
    for key in ("j", "k", "?", "Shift+I", "g", "n"):
        press(key)
    bell.expect_count(3)
    expect(bell.panel).to_be_hidden()

    _tab_to(bell, "Notifications, 3 unread")
    expect(bell.button).to_be_focused()
    press("Enter")
    expect(bell.panel).to_be_visible()
    expect(bell.button).to_have_attribute("aria-expanded", "true")
    press("Tab")
    expect(bell.read_all).to_be_focused()
    press("Tab")
    expect(bell.panel.get_by_role("link", name="See all")).to_be_focused()
    press("Tab")
    expect(bell.panel.get_by_role("link", name="Preferences")).to_be_focused()
    press("Tab")
    expect(bell.row("third").get_by_role("link")).to_be_focused()
    press("Tab")
    third = bell.row("third")
    expect(third.get_by_role("button", name="Mark read: third")).to_be_focused()
    press("Enter")
    bell.expect_count(2)
    # The other one has taken its place.
    expect(third.get_by_role("button", name="Mark unread: third")).to_be_focused()
    press("Tab")
    expect(third.get_by_role("button", name="Dismiss: third")).to_be_focused()
    press("Tab")
    expect(bell.row("second").get_by_role("link")).to_be_focused()

    press("Escape")
    expect(bell.panel).to_be_hidden()
    expect(bell.button).to_be_focused()
    expect(bell.button).to_have_attribute("aria-expanded", "false")
    press("Space")
    expect(bell.panel).to_be_visible()
    for _ in range(7):
        press("Tab")
    expect(bell.row("second").get_by_role("link")).to_be_focused()
    press("Enter")
    bell.page.wait_for_url("**/tasks/")
    assert site.unread(ada) == ["first"]


@on_embedded_site
def test_34_tab_leaves_the_panel_behind(site: Site, visit: Visit) -> None:
    ada = site.person("ada")
    site.notify(ada, "one")
    bell = visit(ada)
    bell.open()
    bell.row("one").get_by_role("button", name="Dismiss: one").focus()
    bell.page.keyboard.press("Tab")
    expect(bell.panel).to_be_hidden()
    expect(bell.page.get_by_role("button", name="Sign out")).to_be_focused()


def test_34_focus_stays_where_it_is_when_something_arrives(
    site: Site, visit: Visit
) -> None:
    ada = site.person("ada")
    site.notify(ada, "one", "two")
    bell = visit(ada)
    bell.open()
    bell.row("one").get_by_role("link").focus()
    site.notify(ada, "three")
    expect(bell.pill).to_have_text("1 new")
    bell.expect_titles("two", "one")
    expect(bell.row("one").get_by_role("link")).to_be_focused()
    # And where it can't, it goes to a neighbour.
    site.shell.run(
        "UserNotification.objects.filter(user=pk, title='one').delete()", pk=ada.pk
    )
    bell.expect_titles("two")
    expect(bell.row("two").get_by_role("link")).to_be_focused()


@on_embedded_site
def test_34_keys_of_a_list(site: Site, visit: Visit) -> None:
    ada = site.person("ada")
    site.notify(ada, "first", "second", "third")
    bell = visit(ada)
    bell.open()
    press = bell.page.keyboard.press
    third, second, first = (bell.row(name) for name in ("third", "second", "first"))
    # Not outside the list.
    press("e")
    bell.expect_count(3)
    third.get_by_role("link").focus()
    for key, row in [
        *[("ArrowDown", second), ("j", first), ("ArrowDown", first)],
        *[("k", second), ("ArrowUp", third), ("ArrowUp", third)],
    ]:
        press(key)
        expect(row.get_by_role("link")).to_be_focused()
    for key in ("Control+e", "Alt+e", "Meta+e", "i", "u", "Shift+E"):
        press(key)
    bell.expect_count(3)
    expect(bell.unread_rows).to_have_count(3)
    press("e")
    expect(bell.panel.get_by_role("button", name="Undo: third")).to_be_focused()
    press("ArrowDown")
    expect(second.get_by_role("link")).to_be_focused()

    press("?")
    keys = bell.page.get_by_role("dialog", name="Keyboard shortcuts")
    expect(keys).to_be_focused()
    press("e")
    press("Escape")
    # Gone, not only hidden: it goes with an event that comes a moment later.
    expect(bell.page.locator(".themis-keys")).to_have_count(0)
    expect(second.get_by_role("link")).to_be_focused()
    bell.expect_count(2)
    press("Escape")
    expect(bell.panel).to_be_hidden()
    expect(bell.button).to_be_focused()


@on_embedded_site
def test_34_keys_of_the_list_page(site: Site, visit: Visit) -> None:
    ada = site.person("ada")
    site.notify(ada, "first", "second")
    bell = visit(ada, "/notifications/")
    press = bell.page.keyboard.press
    main = bell.page.locator("main")
    main.get_by_role("link", name="Unread: second").focus()
    press("Shift+I")
    bell.expect_count(1)
    press("j")
    press("e")
    bell.expect_count(0)
    expect(main.get_by_role("button", name="Undo: first")).to_be_focused()
    press("z")
    bell.expect_count(1)
    expect(main.get_by_role("link", name="Unread: first")).to_be_focused()
    press("?")
    expect(main.get_by_role("dialog", name="Keyboard shortcuts")).to_be_visible()
    press("Escape")
    expect(main.get_by_role("link", name="Unread: first")).to_be_focused()
    main.get_by_role("link", name="Preferences").focus()
    press("e")
    press("Shift+I")
    bell.expect_count(1)


def _tab_to(bell: Bell, name: str) -> None:
    button = bell.page.get_by_role("button", name=name)
    for _ in range(12):
        bell.page.keyboard.press("Tab")
        if button.evaluate("(element) => element === document.activeElement"):
            return


def test_35_news_are_announced_together_and_rarely(site: Site, visit: Visit) -> None:
    ada = site.person("ada")
    site.notify(ada, "old", "older")
    bell = visit(ada, clock=True, script=LISTEN)
    bell.advance(20)
    assert bell.page.evaluate("[regions(), said]") == [[""], []]

    titles = [f"Number {i}" for i in range(20)]
    site.notify(ada, *titles)
    bell.expect_rung(*titles)
    bell.advance(3)
    said = ["20 new notifications, 22 unread"]
    assert bell.page.evaluate("said") == said

    site.notify(ada, "one more")
    bell.expect_rung(*titles, "one more")
    bell.advance(3)
    assert bell.page.evaluate("said") == said
    bell.advance(7)
    said.append("1 new notification, 23 unread")
    assert bell.page.evaluate("said") == said

    # What is read before its turn is no news, and a reader hears what they did.
    site.notify(ada, "read at once")
    bell.expect_count(24)
    bell.open()
    bell.read_all.click()
    bell.expect_count(0)
    bell.advance(20)
    assert bell.page.evaluate("said") == [*said, "0 unread"]
    assert len(bell.page.evaluate("regions()")) == 1
    assert not bell.page.locator("themis-bell [aria-live]").count()


@on_embedded_site
def test_36_times_stay_true(site: Site, visit: Visit) -> None:
    ada = site.person("ada")
    site.notify(ada, "one")
    bell = visit(ada, clock=True, timezone_id="UTC")
    bell.open()
    time = bell.rows.locator("time")
    title = time.get_attribute("title")
    expect(time).to_have_text("now")
    for seconds, text in [
        (61, "1 minute ago"),
        (3600, "1 hour ago"),
        (24 * 3600, "1 day ago"),
    ]:
        bell.sleep(seconds)
        expect(time).to_have_text(text)
    assert time.get_attribute("title") == title


@on_embedded_site
def test_36_times_of_the_list_page(site: Site, visit: Visit) -> None:
    ada = site.person("ada")
    site.notify(ada, "one")
    bell = visit(ada, "/notifications/", clock=True, timezone_id="UTC")
    time = bell.page.locator("main li time")
    expect(time).to_have_text("now")
    title = str(time.get_attribute("title"))
    assert "20" in title
    bell.sleep(3600)
    expect(time).to_have_text("1 hour ago")
    # On paper it is the title.
    bell.page.emulate_media(media="print")
    content = "(element) => getComputedStyle(element, '::after').content"
    assert title in time.evaluate(content)
    assert time.evaluate("(element) => getComputedStyle(element).fontSize") == "0px"
    expect(bell.button).to_be_hidden()


def test_37_nothing_moves_for_those_who_asked(site: Site, visit: Visit) -> None:
    ada = site.person("ada")
    bell = visit(ada, reduced_motion="reduce")
    bell.open()
    site.notify(ada, "one")
    bell.expect_rung("one")
    assert bell.page.evaluate("document.getAnimations().length") == 0
    duration = "(element) => getComputedStyle(element).transitionDuration"
    assert bell.panel.evaluate(duration) == "0s"
