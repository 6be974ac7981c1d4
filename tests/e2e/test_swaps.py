"""Pages that replace their body, and pages with more than one bell."""

from playwright.sync_api import expect

from tests.e2e.conftest import Visit
from tests.e2e.proxies import Proxy
from tests.e2e.sites import Site
from tests.waiting import wait_until


def test_40_swapping_the_body_keeps_one_socket(
    site: Site, proxy: Proxy, visit: Visit
) -> None:
    ada = site.person("ada")
    site.notify(ada, "before")
    bell = visit(ada, at=proxy)
    for _ in range(10):
        bell.page.evaluate("document.body.replaceWith(document.body.cloneNode(true))")
    bell.expect_transport("open")
    bell.expect_count(1)
    assert bell.button.count() == 1
    assert bell.page.locator("[data-themis-live]").count() == 1

    site.notify(ada, "after")

    bell.expect_count(2)
    bell.expect_rung("after")
    bell.open()
    bell.expect_titles("after", "before")
    bell.mark_read("after")
    bell.expect_count(1)
    assert len(proxy.attempts) == 1
    assert proxy.standing == 1


def test_40_a_bell_taken_out_lets_go_of_its_socket(
    site: Site, proxy: Proxy, visit: Visit
) -> None:
    ada = site.person("ada")
    bell = visit(ada, at=proxy)
    bell.page.evaluate(
        "globalThis.taken = document.querySelector('themis-bell'); taken.remove()"
    )
    wait_until(lambda: proxy.standing == 0)
    site.notify(ada, "while it was out")
    bell.page.evaluate("document.querySelector('.account').prepend(taken)")
    bell.expect_transport("open")
    bell.expect_count(1)
    assert len(proxy.attempts) == 2


def test_40_two_bells_agree_and_ring_once(
    site: Site, proxy: Proxy, visit: Visit
) -> None:
    ada = site.person("ada")
    first = visit(ada, at=proxy)
    first.page.evaluate(
        """() => {
          const copy = document.querySelector("themis-bell").cloneNode(true);
          const place = document.createElement("div");
          place.id = "second";
          place.append(copy);
          document.querySelector("main").prepend(place);
        }"""
    )
    buttons = first.page.locator("themis-bell button.themis-bell")
    expect(buttons).to_have_count(2)

    site.notify(ada, "one", "two")

    for button in buttons.all():
        expect(button).to_have_accessible_name("Notifications, 2 unread")
    first.expect_rung("one", "two")
    second = first.page.locator("#second")
    second.locator("button.themis-bell").click()
    second.get_by_role("button", name="Mark read: one").click()
    for button in buttons.all():
        expect(button).to_have_accessible_name("Notifications, 1 unread")
    assert len(proxy.attempts) == 1
