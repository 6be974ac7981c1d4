"""Take the pictures of docs/images again: see scripts/screenshots.

With a folder as argument the pictures go there, and there are more: what is to be
looked at but not for the documentation.
"""

import sys
import tempfile
from pathlib import Path
from typing import Any

from playwright.sync_api import BrowserContext, expect, sync_playwright

from tests import programs
from tests.e2e.bells import OBSERVE, Bell
from tests.e2e.sites import Person, Site
from tests.processes import ROOT, manage

WIDE = {"viewport": {"width": 1040, "height": 680}}
NARROW = {"viewport": {"width": 360, "height": 680}}
APPEARANCES: dict[str, dict[str, Any]] = {
    "light": {**WIDE, "color_scheme": "light"},
    "dark": {**WIDE, "color_scheme": "dark"},
    "narrow": {**NARROW, "color_scheme": "light"},
}
MORE_APPEARANCES: dict[str, dict[str, Any]] = {
    "rtl": {**WIDE, "locale": "ar"},
    "forced-colors": {**WIDE, "forced_colors": "active"},
}

FILL = """
from demo.models import Task

user = User.objects.get(pk=pk)
user.username = "ada"
user.save()
now = timezone.now()
for title, days in [("Renew the domain", -1), ("Read the minutes", 3)]:
    due = (now + timedelta(days=days)).date()
    Task.objects.create(title=title, due_date=due, assignee=user, created_by=user)
for minutes, is_read, title, arguments in [
    (60 * 26, True, "Nightly backup finished", {"level": "success", "url": "/tasks/"}),
    (60 * 5, False, "Task overdue: Renew the domain", {
        "message": "It was due yesterday.", "level": "warning", "url": "/tasks/",
    }),
    (47, True, "Request approved", {
        "message": "Your request 'A quieter fan' has been approved.",
        "level": "success", "url": "/requests/",
    }),
    (12, False, "Deployment of api-gateway failed", {
        "message": "Two of five checks did not pass. The previous version is still "
        "being served; nothing was rolled out.",
        "level": "danger", "url": "https://ci.example.com/builds/4711",
    }),
    (0, False, "Task assigned: Read the minutes", {
        "message": "You've been assigned to 'Read the minutes'", "url": "/tasks/",
    }),
]:
    row = notify_user(user, title, **arguments)
    row.created_at = now - timedelta(minutes=minutes)
    row.read_at = row.created_at if is_read else None
    row.save()
"""


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "images"
    folder.mkdir(parents=True, exist_ok=True)
    appearances = APPEARANCES | (MORE_APPEARANCES if len(sys.argv) > 1 else {})
    with tempfile.TemporaryDirectory() as directory, sync_playwright() as playwright:
        url = f"sqlite:///{directory}/db.sqlite3"
        manage("migrate", "-v0", env={"DATABASE_URL": url, "DJANGO_DEBUG": "1"})
        site = Site(database_url=url)
        person = site.person()
        site.shell.run(FILL, pk=person.pk)
        site.start()
        browser = playwright.chromium.launch(
            executable_path=programs.require("chromium"),
            args=["--no-sandbox", "--disable-gpu", "--font-render-hinting=none"],
        )
        try:
            for name, options in appearances.items():
                with browser.new_context(
                    base_url=site.url,
                    device_scale_factor=2,
                    reduced_motion="reduce",
                    **options,
                ) as context:
                    bell = open_page(context, site, person)
                    shoot(bell, folder, name)
        finally:
            browser.close()
            site.close()


def open_page(context: BrowserContext, site: Site, person: Person) -> Bell:
    context.add_init_script(OBSERVE)
    context.add_cookies(
        [{"name": "sessionid", "value": person.session, "url": site.url}]
    )
    return Bell(context.new_page())


def shoot(bell: Bell, folder: Path, name: str) -> None:
    bell.page.goto("/tasks/")
    bell.expect_transport("open")
    bell.open()
    expect(bell.rows).to_have_count(5)
    bell.page.screenshot(path=folder / f"bell-{name}.png")
    bell.page.goto("/notifications/")
    bell.expect_transport("open")
    bell.page.screenshot(path=folder / f"list-{name}.png", full_page=True)
    bell.page.goto("/notifications/preferences/")
    bell.expect_transport("open")
    bell.page.screenshot(path=folder / f"preferences-{name}.png", full_page=True)


if __name__ == "__main__":
    main()
