"""The bell of a page, in the words of who uses it."""

from collections.abc import Callable
from typing import Any

from playwright.sync_api import Locator, Page, Request, expect

from tests.waiting import wait_until

# What the page tells the tests: violations of the policy as console errors, which fail
# the test, and every notification that rang, in its order.
OBSERVE = """
addEventListener("securitypolicyviolation", (event) => {
  console.error(`${event.violatedDirective} violated by ${event.blockedURI}`);
});
globalThis.observed = { rung: [] };
document.addEventListener("themis:new", ({ items }) => {
  observed.rung.push(...items.map((item) => item.title).reverse());
});
"""

# What a screen reader is told, from the beginning.
LISTEN = """
globalThis.said = [];
globalThis.regions = () =>
  [...document.querySelectorAll("[aria-live]")].map((region) => region.textContent);
new MutationObserver((changes) => {
  const region = document.querySelector("[data-themis-live]");
  const spoken = changes.some(({ target }) => region?.contains(target));
  if (spoken) said.push(region.textContent);
}).observe(document, { subtree: true, childList: true, characterData: true });
"""

# Where a test drives the clock, it has to know when the page has dealt with an answer
# and set the timers that follow from it: then `pending` is zero.
COUNT_REQUESTS = """
observed.pending = 0;
{
  const { fetch } = globalThis;
  const { text } = Response.prototype;
  const settle = () => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => { observed.pending -= 1; port1.close(); };
    port2.postMessage(null);
  };
  globalThis.fetch = async (...args) => {
    observed.pending += 1;
    let isRead = false;
    try {
      const response = await fetch(...args);
      isRead = response.ok;
      return response;
    } finally {
      if (!isRead) settle();
    }
  };
  Response.prototype.text = function () {
    return text.call(this).finally(settle);
  };
}
"""

# Shorter than any timeout of a request.
_STEP_MS = 4_000


class Bell:
    """The bell of a page, its panel, and what the page asked of the server."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.button = page.locator("themis-bell button.themis-bell")
        self.badge = self.button.locator('[data-themis="count"]')
        self.panel = page.locator("themis-bell .themis-panel")
        self.rows = self.panel.locator("li")
        self.unread_rows = self.panel.locator("li[data-unread]")
        self.read_all = self.panel.locator('[data-themis="read-all"]')
        self.note = self.panel.locator('> [data-themis="note"]')
        self.pill = self.panel.locator('[data-themis="pill"]')
        self.more = self.panel.locator('[data-themis="more"]')
        self.stale = self.panel.locator('[data-themis="stale"]')
        self.requests: list[Request] = []
        page.on("request", self._note)

    def open(self) -> None:
        """Open the panel, unless it is open."""
        if not self.panel.is_visible():
            self.button.click()
        expect(self.panel).to_be_visible()

    def row(self, title: str) -> Locator:
        return self.rows.filter(has=self.page.locator("bdi", has_text=title))

    def mark_read(self, title: str) -> None:
        self.press("read", title)

    def press(self, verb: str, title: str) -> None:
        """Press the button of a row."""
        self.row(title).locator(f'button[value="{verb}"]').click()

    def titles(self) -> list[str]:
        """The titles in the panel, from top to bottom."""
        return self.rows.locator('[data-themis="title"]').all_text_contents()

    def expect_titles(self, *titles: str) -> None:
        expect(self.rows.locator('[data-themis="title"]')).to_have_text(list(titles))

    def expect_count(self, count: int) -> None:
        """Badge and accessible name agree on `count` (up to 99)."""
        name = f"Notifications, {count} unread" if count else "Notifications"
        if count:
            expect(self.badge).to_have_text(str(count))
        else:
            expect(self.badge).to_be_hidden()
        expect(self.button).to_have_accessible_name(name)

    @property
    def rung(self) -> list[str]:
        """The titles that rang in this page, in their order."""
        return list(self.page.evaluate("observed.rung"))

    def expect_rung(self, *titles: str) -> None:
        """Exactly these rang, in this order."""
        wait_until(lambda: len(self.rung) >= len(titles))
        assert self.rung == list(titles)

    def wait_for(
        self, condition: Callable[[], object], *, within: float = 10.0
    ) -> None:
        """Wait for what routes and events of the page bring about: they are handed
        over only while Playwright is asked for something.
        """
        wait_until(lambda: self.page.evaluate("true") and condition(), within=within)

    def advance(self, seconds: float) -> None:
        """Let the page's time pass, if the visit stopped the clock. What the page asks
        on the way is answered before more than a moment has passed.
        """
        for passed in range(0, round(seconds * 1000), _STEP_MS):
            self._settle()
            self.page.clock.run_for(min(_STEP_MS, round(seconds * 1000) - passed))
        self._settle()

    def sleep(self, seconds: float) -> None:
        """Let the computer sleep: the time passes, and no timer is run meanwhile."""
        self._settle()
        self.page.clock.fast_forward(round(seconds * 1000))

    def _settle(self) -> None:
        wait_until(lambda: self.page.evaluate("observed.pending") == 0)

    @property
    def transport(self) -> str:
        return str(self._property("transport"))

    def expect_transport(self, state: str) -> None:
        wait_until(lambda: self.transport == state)

    def asked(self, part: str) -> list[Request]:
        """The requests of this page whose URL has `part`."""
        return [request for request in self.requests if part in request.url]

    @property
    def polls(self) -> int:
        return len(self.asked("/api/state"))

    def _note(self, request: Request) -> None:
        self.requests.append(request)

    def _property(self, name: str) -> Any:
        # locator.evaluate would wait for the bell of the next page, and then tell that.
        script = "(name) => document.querySelector('themis-bell')?.[name] ?? null"
        return self.page.evaluate(script, name)
