"""In a host that has a prefix, hashed static files and a hidden CSRF cookie."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.e2e.conftest import Visit
from tests.e2e.sites import Site


@pytest.fixture
def host(make_site: Callable[..., Site], tmp_path: Path) -> Site:
    return make_site(
        DJANGO_SETTINGS_MODULE="tests.e2e.dropin_settings",
        DJANGO_DEBUG="",
        DJANGO_SECRET_KEY="of this test alone, and long enough for the checks",
        DJANGO_ALLOWED_HOSTS="127.0.0.1",
        STATIC_ROOT=str(tmp_path),
    )


def test_all_of_the_bell_works_there(host: Site, visit: Visit) -> None:
    ada = host.person("ada")
    host.notify(ada, "one", "two", url="/shop/tasks/")
    bell = visit(ada, "/shop/", at=host)
    assert "csrftoken" not in bell.page.evaluate("document.cookie")
    host.notify(ada, "three")
    bell.expect_rung("three")
    bell.open()
    bell.mark_read("three")
    bell.expect_count(2)
    bell.page.keyboard.press("Escape")
    bell.expect_transport("open")

    scripts = {request.url for request in bell.asked(".js")}
    assert scripts
    for url in scripts:
        assert re.search(r"/shop/static/themis/[\w-]+\.[0-9a-f]{12}\.js$", url), url

    bell.open()
    bell.row("two").get_by_role("link").click()
    bell.page.wait_for_url("**/shop/tasks/")
    bell.expect_count(1)
    bell.page.goto("/shop/notifications/")
    bell.expect_transport("open")
    main = bell.page.locator("main")
    main.get_by_role("button", name="Dismiss: three").click()
    main.get_by_role("button", name="Undo").first.click()
    expect(main.get_by_role("button", name="Dismiss: three")).to_be_visible()
    assert host.unread(ada) == ["one"]
