"""Desktop notifications: asked for by a click, one for each event, gone when read."""

import re
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.conftest import PageErrors
from tests.e2e.bells import Bell
from tests.e2e.conftest import Visit, on_embedded_site
from tests.e2e.sites import Person, Site
from tests.e2e.test_accessibility import APPEARANCES, check_by_axe
from tests.waiting import wait_until

PREFERENCES = "/notifications/preferences/"


@pytest.fixture
def browser(whole_browser: Browser) -> Browser:
    """What shows notifications beside its window, as well as pages."""
    return whole_browser


# The browser's own Notification, told of to the test; and a window that the person has
# turned away from, which a page of Playwright's never is by itself.
_WATCH = """
observed.asked = 0;
observed.desktop = [];
observed.hasFocus = false;
Document.prototype.hasFocus = () => observed.hasFocus;
const { requestPermission } = Notification;
globalThis.Notification = class extends Notification {
  static requestPermission() {
    observed.asked += 1;
    return globalThis.answer === undefined
      ? requestPermission.call(Notification)
      : Promise.resolve((Notification.said = answer));
  }
  static get permission() { return Notification.said ?? super.permission; }
  constructor(title, options) {
    super(title, options);
    const { body = "", tag = "", lang = "", dir = "" } = options;
    observed.desktop.push({ title, body, tag, lang, dir, isOpen: true });
    const seen = observed.desktop.at(-1);
    const { close } = this;
    this.close = () => { seen.isOpen = false; close.call(this); };
    seen.click = () => this.dispatchEvent(new Event("click", { cancelable: true }));
  }
};
"""

_TURN_ON = """
from themis.profiles import change_preferences

change_preferences(pk, browser_notifications_enabled=True)
"""


class Desktop:
    """What a page shows outside its window."""

    def __init__(self, bell: Bell) -> None:
        self.bell = bell
        self.page = bell.page

    def shown(self) -> list[dict[str, Any]]:
        """All that were shown, those closed since among them."""
        script = "observed.desktop.map(({ click, ...rest }) => rest)"
        shown: list[dict[str, Any]] = self.page.evaluate(script)
        return shown

    def open(self) -> list[str]:
        """The titles of what is shown now."""
        return [one["title"] for one in self.shown() if one["isOpen"]]

    def expect_open(self, *titles: str) -> None:
        wait_until(lambda: self.open() == list(titles))

    def click(self, title: str) -> None:
        script = (
            "(title) => observed.desktop.find((one) => one.title === title).click()"
        )
        self.page.evaluate(script, title)

    def look(self, *, at_page: bool) -> None:
        self.page.evaluate("(is) => { observed.hasFocus = is; }", at_page)

    def settle(self) -> None:
        """Wait for longer than news are gathered before they are shown."""
        self.page.wait_for_timeout(900)


def _visit(
    visit: Visit,
    person: Person,
    path: str = "/",
    *,
    allowed: bool = True,
    script: str = "",
    **options: Any,
) -> Desktop:
    """A page that the person doesn't look at; the browser allows notifications, or has
    not been asked yet.
    """
    if allowed:
        options["permissions"] = ["notifications"]
    return Desktop(visit(person, path, script=_WATCH + script, **options))


def _turn_on(site: Site, desktop: Desktop, person: Person) -> None:
    """As the preferences page does, on this device and for this account."""
    site.shell.run(_TURN_ON, pk=person.pk)
    script = """
      const { user } = document.querySelector("themis-bell").dataset;
      localStorage.setItem(`themis:${user}:desktop`, "1");
    """
    desktop.page.evaluate(f"() => {{ {script} }}")


# Scenario 30: permission


def _choice(page: Page) -> Any:
    return page.locator("themis-desktop")


def _button(page: Page, name: str) -> Any:
    return page.get_by_role("button", name=name, exact=True)


@on_embedded_site
def test_30_the_browser_asks_only_when_the_button_is_pressed(
    site: Site, visit: Visit
) -> None:
    ada = site.person("ada")
    site.notify(ada, "one")
    script = 'globalThis.answer = "granted";'
    desktop = _visit(visit, ada, script=script, allowed=False)
    page = desktop.page
    desktop.bell.open()
    page.goto("/notifications/")
    page.goto(PREFERENCES)
    account = page.get_by_role("checkbox", name="Desktop notifications")
    status = _choice(page).get_by_role("status")
    expect(status).to_have_text(re.compile("off for this device.*browser asks"))
    expect(account).not_to_be_checked()
    assert page.evaluate("observed.asked") == 0

    turn_on = _button(page, "Turn on for this device")
    turn_on.focus()
    page.keyboard.press("Enter")
    expect(status).to_have_text("Desktop notifications are on for this device.")
    assert page.evaluate("observed.asked") == 1
    # The account's own switch follows, saved already; the focus is where it was.
    expect(account).to_be_checked()
    expect(_button(page, "Turn off for this device")).to_be_focused()
    desktop.expect_open("Desktop notifications are on for this device.")
    _button(page, "Show an example").click()
    wait_until(lambda: len(desktop.open()) == 2)
    page.reload()
    expect(account).to_be_checked()


@on_embedded_site
def test_30_what_is_turned_off_here_stays_on_elsewhere(
    site: Site, visit: Visit
) -> None:
    ada = site.person("ada")
    page = _visit(visit, ada, PREFERENCES).page
    status = _choice(page).get_by_role("status")
    _button(page, "Turn on for this device").click()
    _button(page, "Turn off for this device").click()
    expect(status).to_have_text("Desktop notifications are off for this device.")
    account = page.get_by_role("checkbox", name="Desktop notifications")
    expect(account).to_be_checked()
    expect(_choice(page).get_by_role("checkbox")).to_have_count(0)

    _button(page, "Turn on for this device").click()
    expect(_choice(page).get_by_role("checkbox")).to_be_visible()
    # In another tab of the same browser.
    other = page.context.new_page()
    other.goto(PREFERENCES)
    _button(other, "Turn off for this device").click()
    expect(status).to_have_text("Desktop notifications are off for this device.")
    _button(other, "Turn on for this device").click()
    expect(status).to_have_text("Desktop notifications are on for this device.")

    # Off for the account is off for the device, and one button turns both on again.
    account.uncheck()
    expect(status).to_have_text(re.compile("off for your account"))
    page.get_by_role("button", name="Save").click()
    expect(status).to_have_text(re.compile("off for your account"))
    _button(page, "Turn on for this device").click()
    expect(status).to_have_text("Desktop notifications are on for this device.")
    expect(account).to_be_checked()


@on_embedded_site
def test_30_a_refusal_is_explained(site: Site, visit: Visit) -> None:
    ada = site.person("ada")
    script = 'globalThis.answer = "denied";'
    page = _visit(visit, ada, PREFERENCES, script=script, allowed=False).page
    _button(page, "Turn on for this device").click()
    status = _choice(page).get_by_role("status")
    expect(status).to_have_text(re.compile("blocks.*press the icon beside the address"))
    # The button is gone; its focus went to the explanation.
    expect(_choice(page).get_by_role("button")).to_have_count(0)
    expect(status).to_be_focused()
    account = page.get_by_role("checkbox", name="Desktop notifications")
    expect(account).not_to_be_checked()


@on_embedded_site
def test_30_what_the_browser_takes_back_is_noticed(site: Site, visit: Visit) -> None:
    ada = site.person("ada")
    # Without the stand-in: what the browser itself tells of permissions.
    bell = visit(ada, PREFERENCES, permissions=["notifications"])
    page = bell.page
    status = _choice(page).get_by_role("status")
    _button(page, "Turn on for this device").click()
    expect(status).to_have_text("Desktop notifications are on for this device.")
    page.context.clear_permissions()
    expect(status).to_have_text(re.compile("no longer allows"))
    expect(_button(page, "Turn on for this device")).to_be_visible()
    page.context.grant_permissions(["notifications"])
    expect(status).to_have_text("Desktop notifications are on for this device.")


@on_embedded_site
def test_30_a_failure_leaves_all_as_it_was(
    site: Site, visit: Visit, page_errors: PageErrors
) -> None:
    page_errors.ignore("503 (Service Unavailable)", "ERR_FAILED")
    ada = site.person("ada")
    desktop = _visit(visit, ada, PREFERENCES)
    page = desktop.page
    page.route("**/api/preferences", lambda route: route.fulfill(status=503))
    _button(page, "Turn on for this device").click()
    status = _choice(page).get_by_role("status")
    expect(status).to_have_text(re.compile("That didn.t work. Please try again."))
    account = page.get_by_role("checkbox", name="Desktop notifications")
    expect(account).not_to_be_checked()
    assert desktop.shown() == []
    page.unroute("**/api/preferences")
    _button(page, "Turn on for this device").click()
    expect(status).to_have_text("Desktop notifications are on for this device.")
    # Nor is one shown where it is the account that stays off.
    page.route("**/api/preferences", lambda route: route.abort())
    account.uncheck()
    _button(page, "Turn on for this device").click()
    expect(status).to_have_text(re.compile("That didn.t work. Please try again."))
    expect(account).not_to_be_checked()
    assert len(desktop.shown()) == 1


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("delete globalThis.Notification;", "show desktop notifications."),
        (
            "Object.defineProperty(globalThis, 'isSecureContext', { value: false });",
            "need an encrypted connection",
        ),
    ],
    ids=["unsupported", "insecure"],
)
@on_embedded_site
def test_30_where_there_are_none_the_page_says_so(
    site: Site, visit: Visit, script: str, said: str
) -> None:
    page = visit(site.person(), PREFERENCES, script=script).page
    expect(_choice(page).get_by_role("status")).to_contain_text(said)
    expect(_choice(page).get_by_role("button")).to_have_count(0)


@on_embedded_site
def test_30_a_browser_that_leaves_it_to_workers_is_found_out(
    site: Site, visit: Visit
) -> None:
    """Chrome on Android has the API, asks and is allowed, and then throws."""
    script = """
    globalThis.Notification = class {
      static permission = "granted";
      static requestPermission = async () => "granted";
      constructor() { throw new TypeError("Illegal constructor"); }
    };
    """
    ada = site.person("ada")
    bell = visit(ada, PREFERENCES, script=script)
    _button(bell.page, "Turn on for this device").click()
    status = _choice(bell.page).get_by_role("status")
    expect(status).to_contain_text("show desktop notifications.")
    # And a page that finds out by a notification rings all the same.
    _turn_on(site, Desktop(bell), ada)
    bell.page.goto("/")
    bell.expect_transport("open")
    site.notify(ada, "one", "two")
    bell.expect_rung("one", "two")
    bell.page.wait_for_timeout(600)


@on_embedded_site
def test_30_without_javascript_there_is_only_the_accounts_switch(
    site: Site, visit: Visit
) -> None:
    ada = site.person("ada")
    page = visit(ada, PREFERENCES, transport=None, java_script_enabled=False).page
    expect(page.get_by_role("checkbox", name="Desktop notifications")).to_be_visible()
    expect(_choice(page)).to_be_hidden()


# Scenario 31: what is shown


def test_31_one_for_each_event_and_none_of_what_is_old(
    site: Site, visit: Visit
) -> None:
    ada = site.person("ada")
    site.notify(ada, "old")
    desktop = _visit(visit, ada)
    _turn_on(site, desktop, ada)
    desktop.settle()
    assert desktop.shown() == []
    site.notify(ada, "Deployed", message="Two of two.", level="danger")
    desktop.expect_open("Deployed")
    (shown,) = desktop.shown()
    user = desktop.page.locator("themis-bell").get_attribute("data-user")
    assert user
    number = site.rows(ada)[-1]["id"]
    assert shown == {
        "title": "Deployed",
        "body": "Two of two.",
        "tag": f"themis:{user}:{number}",
        "lang": "en",
        "dir": "auto",
        "isOpen": True,
    }
    desktop.page.reload()
    desktop.bell.expect_transport("open")
    desktop.settle()
    assert desktop.shown() == []


def test_31_what_is_read_elsewhere_goes(site: Site, visit: Visit) -> None:
    ada = site.person("ada")
    desktop = _visit(visit, ada)
    _turn_on(site, desktop, ada)
    site.notify(ada, "one", "two", "three")
    desktop.expect_open("one", "two", "three")
    # On another device, which does not show any: it was not turned on there.
    other = _visit(visit, ada)
    other.bell.open()
    other.bell.mark_read("two")
    desktop.expect_open("one", "three")
    site.shell.run(
        "UserNotification.objects.filter(user=pk, title='one').delete()", pk=ada.pk
    )
    desktop.expect_open("three")
    site.notify(ada, "four")
    desktop.expect_open("three", "four")
    # What has not been shown there is not marked.
    other.bell.pill.click()
    other.bell.read_all.click()
    desktop.expect_open()
    assert other.shown() == []


def test_31_none_while_the_page_is_looked_at(site: Site, visit: Visit) -> None:
    ada = site.person("ada")
    desktop = _visit(visit, ada)
    _turn_on(site, desktop, ada)
    desktop.look(at_page=True)
    site.notify(ada, "seen")
    desktop.bell.expect_rung("seen")
    desktop.settle()
    desktop.look(at_page=False)
    site.notify(ada, "unseen")
    desktop.expect_open("unseen")
    assert len(desktop.shown()) == 1


def test_31_many_at_once_are_told_by_their_number(site: Site, visit: Visit) -> None:
    ada = site.person("ada")
    desktop = _visit(visit, ada)
    _turn_on(site, desktop, ada)
    # What a page catches up with after an outage comes in one frame.
    code = """
with transaction.atomic():
    for number in range(5):
        notify_user(User.objects.get(pk=pk), f"Number {number}")
"""
    site.shell.run(code, pk=ada.pk)
    desktop.expect_open("5 new notifications")
    assert [one["body"] for one in desktop.shown()] == [""]
    desktop.click("5 new notifications")
    desktop.page.wait_for_url("**/notifications/")
    assert len(site.unread(ada)) == 5


def test_31_content_can_be_hidden(site: Site, visit: Visit) -> None:
    ada = site.person("ada")
    desktop = _visit(visit, ada, PREFERENCES)
    _button(desktop.page, "Turn on for this device").click()
    hide = desktop.page.get_by_role("checkbox", name="Hide what they say")
    expect(hide).to_have_accessible_description(re.compile("others see"))
    hide.check()
    desktop.page.reload()
    expect(hide).to_be_checked()
    desktop.bell.expect_transport("open")
    site.notify(ada, "Diagnosis", message="Positive")
    desktop.expect_open("New notification")
    (shown,) = desktop.shown()
    assert shown["body"] == ""
    # And nothing that is kept says anything.
    kept = desktop.page.evaluate("Object.entries({ ...localStorage })")
    user = desktop.page.locator("themis-bell").get_attribute("data-user")
    flags = [[f"themis:{user}:desktop", "1"], [f"themis:{user}:hide-content", "1"]]
    assert sorted(kept) == flags
    assert desktop.page.evaluate("sessionStorage.length") == 0
    hide.uncheck()
    site.notify(ada, "Lunch")
    desktop.expect_open("New notification", "Lunch")


def test_31_another_account_on_the_same_device_has_them_off(
    site: Site, visit: Visit
) -> None:
    ada, grace = site.person("ada"), site.person("grace")
    desktop = _visit(visit, ada)
    _turn_on(site, desktop, ada)
    site.shell.run(_TURN_ON, pk=grace.pk)
    desktop.page.context.add_cookies(
        [{"name": "sessionid", "value": grace.session, "url": site.url}]
    )
    desktop.page.goto(PREFERENCES)
    status = _choice(desktop.page).get_by_role("status")
    expect(status).to_have_text("Desktop notifications are off for this device.")
    desktop.bell.expect_transport("open")
    site.notify(grace, "for grace")
    desktop.bell.expect_rung("for grace")
    desktop.settle()
    assert desktop.shown() == []


def test_31_a_click_opens_it_and_marks_it_read(site: Site, visit: Visit) -> None:
    ada = site.person("ada")
    desktop = _visit(visit, ada)
    _turn_on(site, desktop, ada)
    site.notify(ada, "one")
    site.notify(ada, "task", url="/tasks/")
    desktop.expect_open("one", "task")
    desktop.click("task")
    desktop.page.wait_for_url("**/tasks/")
    assert site.unread(ada) == ["one"]


@on_embedded_site
def test_31_the_account_switches_all_devices_off(site: Site, visit: Visit) -> None:
    ada = site.person("ada")
    desktop = _visit(visit, ada)
    _turn_on(site, desktop, ada)
    site.notify(ada, "one")
    desktop.expect_open("one")
    site.shell.run(_TURN_ON.replace("True", "False"), pk=ada.pk)
    site.notify(ada, "two")
    desktop.bell.expect_rung("one", "two")
    desktop.settle()
    desktop.expect_open("one")


def test_31_one_of_three_tabs_shows_it(site: Site, visit: Visit) -> None:
    ada = site.person("ada")
    first = _visit(visit, ada)
    _turn_on(site, first, ada)
    tabs = [first]
    for _ in range(2):
        tabs.append(Desktop(Bell(first.page.context.new_page())))
        tabs[-1].page.goto("/")
        tabs[-1].bell.expect_transport("open")
    site.notify(ada, "one")
    for tab in tabs:
        tab.bell.expect_rung("one")
    tabs[-1].settle()
    assert sorted(title for tab in tabs for title in tab.open()) == ["one"]
    # Read in a tab that does not show it.
    hidden = next(tab for tab in tabs if not tab.open())
    hidden.bell.open()
    hidden.bell.mark_read("one")
    wait_until(lambda: not any(tab.open() for tab in tabs))
    # A look at any of them is enough.
    hidden.look(at_page=True)
    site.notify(ada, "two")
    for tab in tabs:
        tab.bell.expect_rung("one", "two")
    hidden.settle()
    assert not any(tab.open() for tab in tabs)


# How the choice looks


@pytest.mark.parametrize("appearance", APPEARANCES)
@on_embedded_site
def test_33_axe_finds_nothing_in_any_state(
    site: Site, visit: Visit, appearance: str
) -> None:
    ada = site.person("ada")
    script = 'globalThis.answer = "granted";'
    page = _visit(
        visit,
        ada,
        PREFERENCES,
        allowed=False,
        script=script,
        reduced_motion="reduce",
        **APPEARANCES[appearance],
    ).page
    # By their parts, as the texts are in Arabic on one of the pages.
    turn = _choice(page).locator('[data-themis="turn"]')
    check_by_axe(page, "off")
    turn.click()
    expect(_choice(page)).to_have_attribute("data-state", "on")
    check_by_axe(page, "on")
    width = "[document.documentElement.scrollWidth, innerWidth]"
    needed, there = page.evaluate(width)
    assert needed <= there
    page.evaluate("() => { Notification.said = 'denied'; }")
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    expect(_choice(page)).to_have_attribute("data-state", "denied")
    check_by_axe(page, "denied")
