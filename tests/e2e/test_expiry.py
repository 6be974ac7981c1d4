"""What expires leaves row and badge at the second, however the page hears of things."""

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.e2e.bells import Bell
from tests.e2e.conftest import Visit
from tests.e2e.sites import Person, Site
from tests.processes import RedisServer
from tests.waiting import wait_until

# Nothing that these pages are told comes from a check.
NEVER = "3600"
# A machine that does other things besides; a check or a poll would take far longer.
LATEST_MS = 2_500

NO_SOCKET = "delete globalThis.WebSocket; Math.random = () => 0.05;"

# What the page showed since when.
WATCH = """
observed.shown = [];
document.addEventListener("themis:change", ({ unread, items }) => {
  observed.shown.push({ at: Date.now(), unread, count: items.length });
});
"""

_REMIND = """
at = timezone.now() + timedelta(seconds=seconds)
notify_user(User.objects.get(pk=pk), "a reminder", expires_at=at)
result = at.timestamp()
"""
_EXTEND = """
row = UserNotification.objects.get(user=pk, title="a reminder")
row.expires_at = timezone.now() + timedelta(hours=1)
row.save()
"""


def remind(site: Site, person: Person, *, seconds: float) -> float:
    """Notify of what expires then; when that is, in milliseconds since 1970."""
    return float(site.shell.run(_REMIND, pk=person.pk, seconds=seconds)) * 1000


def shown(bell: Bell, unread: int) -> dict[str, Any]:
    """What the page showed when it first had this count, having had a higher one."""
    found: dict[str, Any] | None = wait_until(
        lambda: bell.page.evaluate(
            """(unread) => {
              const from = observed.shown.findIndex((shown) => shown.unread > unread);
              if (from < 0) return null;
              const later = observed.shown.slice(from);
              return later.find((shown) => shown.unread === unread) ?? null;
            }""",
            unread,
        ),
        within=30,
    )
    assert found is not None
    return found


@pytest.fixture
def quiet_site(
    # In this order: the server must not outlive its broker.
    redis_server: RedisServer,
    make_site: Callable[..., Site],
) -> Callable[[], Site]:
    def make() -> Site:
        return make_site(
            redis_url=redis_server.url, THEMIS_REALTIME_CHECK_INTERVAL=NEVER
        )

    return make


def test_over_a_socket(quiet_site: Callable[[], Site], visit: Visit) -> None:
    site = quiet_site()
    ada = site.person("ada")
    bell = visit(ada, at=site, script=WATCH)
    bell.open()
    site.notify(ada, "stays")
    at = remind(site, ada, seconds=4)
    bell.expect_titles("a reminder", "stays")
    bell.expect_count(2)
    bell.expect_titles("stays")
    assert 0 <= shown(bell, 1)["at"] - at < LATEST_MS
    bell.expect_count(1)
    # Longer after all: it is back, and no news.
    site.shell.run(_EXTEND, pk=ada.pk)
    bell.expect_titles("a reminder", "stays")
    bell.expect_count(2)
    # Whatever else had rung would have rung before this.
    site.notify(ada, "the end")
    bell.expect_titles("the end", "a reminder", "stays")
    bell.expect_rung("stays", "a reminder", "the end")


def test_by_polling(quiet_site: Callable[[], Site], visit: Visit) -> None:
    site = quiet_site()
    ada = site.person("ada")
    site.notify(ada, "stays")
    at = remind(site, ada, seconds=8)
    bell = visit(ada, at=site, transport="polling", script=WATCH + NO_SOCKET)
    bell.open()
    bell.expect_titles("a reminder", "stays")
    bell.expect_count(2)
    assert 0 <= shown(bell, 1)["at"] - at < LATEST_MS
    bell.expect_titles("stays")
    bell.expect_count(1)
    # One poll at the beginning, one for this.
    assert bell.polls == 2


def test_what_the_page_does_not_hold_leaves_the_count(
    quiet_site: Callable[[], Site], visit: Visit
) -> None:
    site = quiet_site()
    ada = site.person("ada")
    at = remind(site, ada, seconds=10)
    site.notify(ada, *[f"number {number}" for number in range(25)])
    bell = visit(ada, at=site, script=WATCH)
    bell.open()
    bell.expect_count(26)
    expect(bell.row("a reminder")).to_have_count(0)
    assert 0 <= shown(bell, 25)["at"] - at < LATEST_MS
    bell.expect_count(25)
    assert len(bell.titles()) == 20


def test_a_deleted_person_is_signed_out(
    quiet_site: Callable[[], Site], visit: Visit
) -> None:
    site = quiet_site()
    ada = site.person("ada")
    site.notify(ada, "for ada")
    bell = visit(ada, at=site)
    other = Bell(bell.page.context.new_page())
    other.page.goto("/")
    for tab in (bell, other):
        tab.expect_transport("open")
        tab.expect_count(1)
    site.shell.run("User.objects.get(pk=pk).delete()", pk=ada.pk)
    for tab in (bell, other):
        tab.expect_transport("stopped")
        tab.expect_count(0)
        tab.open()
        tab.expect_titles()
