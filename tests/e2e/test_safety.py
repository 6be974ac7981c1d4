"""Text is text, whatever is found in the table, and only safe addresses are links."""

import pytest
from playwright.sync_api import Page, expect

from tests.conftest import PageErrors
from tests.e2e.conftest import Visit, on_embedded_site
from tests.e2e.sites import Site

TEXTS = [
    "<img src=x onerror=\"globalThis.pwned = 'img'\">",
    "<script>globalThis.pwned = 'script'</script>",
    "</bdi></a><svg onload=\"globalThis.pwned = 'svg'\">",
    '" autofocus onfocus="globalThis.pwned = 1" x="',
    "{{ 7|add:7 }} {unread} {count}",
    "<b>bold</b> &amp; &lt;",
    "\u202egnp.exe",
    "</template></themis-bell><h1>outside</h1>",
]
ADDRESSES = [
    "javascript:globalThis.pwned='url'",
    "JaVaScRiPt:globalThis.pwned='url'",
    "\tjava\nscript:globalThis.pwned='url'",
    "data:text/html,<script>pwned=1</script>",
    "vbscript:pwned",
    "//evil.example/",
    "/\\evil.example/",
    "https://user:secret@evil.example/",
]

_STORE = """
from django.db import connection

for title, url in pairs:
    row = notify_user(User.objects.get(pk=pk), "to be replaced")
    with connection.cursor() as cursor:
        table = UserNotification._meta.db_table
        columns = "title = %s, message = %s, url = %s"
        values = [title, title, url, row.pk]
        cursor.execute(f"UPDATE {table} SET {columns} WHERE id = %s", values)
"""


@pytest.fixture
def pairs() -> list[tuple[str, str]]:
    return list(zip(TEXTS, ADDRESSES, strict=True))


@on_embedded_site
def test_38_nothing_from_the_table_runs(
    site: Site, visit: Visit, pairs: list[tuple[str, str]]
) -> None:
    ada = site.person("ada")
    site.shell.run(_STORE, pk=ada.pk, pairs=pairs)
    bell = visit(ada)
    bell.open()
    assert bell.titles() == TEXTS[::-1]
    messages = bell.rows.locator('[data-themis="message-text"]').all_text_contents()
    assert messages == TEXTS[::-1]
    _assert_harmless(bell.page, site, "themis-bell li")
    expect(bell.rows.locator('[data-themis="host"]:visible')).to_have_count(0)

    page = bell.page
    page.goto("/notifications/")
    titles = page.locator("main .themis-row-title bdi").all_text_contents()
    assert titles == TEXTS[::-1]
    _assert_harmless(page, site, "main li.themis-row")
    for row in site.rows(ada):
        opened = page.request.get(f"/notifications/{row['id']}/open/", max_redirects=0)
        assert opened.status == 302
        assert opened.headers["location"] == f"/notifications/#n-{row['id']}"


def _assert_harmless(page: Page, site: Site, rows: str) -> None:
    assert page.evaluate("globalThis.pwned ?? null") is None
    assert page.locator(f"{rows} :is(img, script, b, h1)").count() == 0
    links = page.locator(f"{rows} a")
    hrefs = links.evaluate_all("(links) => links.map((link) => link.href)")
    assert len(hrefs) == len(TEXTS)
    assert all(href.startswith(f"{site.url}/notifications/") for href in hrefs)


@on_embedded_site
def test_another_sites_address_names_its_host(site: Site, visit: Visit) -> None:
    ada = site.person("ada")
    site.notify(ada, "away", url="https://example.com/x")
    site.notify(ada, "here", url="/tasks/")
    bell = visit(ada)
    bell.open()
    expect(bell.row("away").locator('[data-themis="host"]')).to_have_text("example.com")
    expect(bell.row("here").locator('[data-themis="host"]')).to_be_hidden()


@on_embedded_site
def test_a_violation_of_the_policy_would_be_seen(
    site: Site, visit: Visit, page_errors: PageErrors
) -> None:
    bell = visit(site.person())
    bell.page.evaluate(
        "document.body.append(Object.assign(new Image(), {src: 'data:,'}))"
    )
    bell.wait_for(lambda: page_errors.found)
    assert any("img-src violated" in message for message in page_errors.found)
    page_errors.ignore("img-src")
    bell.page.evaluate("(() => { try { document.body.innerHTML = '' } catch {} })()")
    bell.wait_for(lambda: page_errors.found)
    page_errors.ignore("require-trusted-types-for", "TrustedHTML")
