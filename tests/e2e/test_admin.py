"""The admin under the strict policy, and open bells that follow what is done there."""

import pytest
from playwright.sync_api import Page, expect

from tests.conftest import PageErrors
from tests.e2e.conftest import Visit, on_embedded_site
from tests.e2e.sites import Person, Site

LIST = "/admin/themis/usernotification/"


@pytest.fixture(autouse=True)
def _icon(page_errors: PageErrors) -> None:
    # Django's admin names no icon, and the project has none at this address.
    page_errors.ignore("/favicon.ico")


_PROMOTE = "User.objects.filter(pk=pk).update(is_staff=True, is_superuser=True)"


def open_admin(site: Site, visit: Visit, path: str = LIST) -> tuple[Person, Page]:
    """A superuser, and a tab of theirs in the admin."""
    root = site.person("root")
    site.shell.run(_PROMOTE, pk=root.pk)
    page = visit(root).page.context.new_page()
    page.goto(path)
    return root, page


def run_action(page: Page) -> None:
    """Press the button of the list's actions, whose label Django 6.1 has changed."""
    page.locator("button[name=index]").click()


@on_embedded_site
def test_sending_to_users_found_by_search_rings_their_bells(
    site: Site, visit: Visit
) -> None:
    ada = site.person("ada")
    bell = visit(ada)
    _root, page = open_admin(site, visit, f"{LIST}add/")
    page.locator(".select2-search__field").fill(ada.username)
    page.locator(".select2-results__option", has_text=ada.username).click()
    page.get_by_label("Title").fill("Maintenance")
    page.get_by_role("button", name="Send").click()
    expect(page.locator(".messagelist")).to_have_text("Sent to 1 user.")
    bell.expect_rung("Maintenance")


@on_embedded_site
def test_sending_to_users_selected_in_their_list(site: Site, visit: Visit) -> None:
    ada = site.person("ada")
    bell = visit(ada)
    _root, page = open_admin(site, visit, f"/admin/auth/user/?q={ada.username}")
    page.locator("tbody input[type=checkbox]").check()
    page.get_by_label("Action:").select_option("send_notification")
    run_action(page)
    page.get_by_label("Title").fill("Maintenance")
    page.get_by_label("URL").fill("javascript:alert(1)")
    page.get_by_role("button", name="Send").click()
    expect(page.locator(".errorlist")).to_contain_text("Enter a path such as")
    page.get_by_label("URL").fill("/tasks/")
    page.get_by_role("button", name="Send").click()
    expect(page.locator(".messagelist")).to_have_text("Sent to 1 user.")
    bell.expect_rung("Maintenance")


@on_embedded_site
def test_open_bells_follow_the_actions_of_the_list(site: Site, visit: Visit) -> None:
    ada = site.person("ada")
    site.notify(ada, "first", "second", "third")
    bell = visit(ada)
    bell.expect_count(3)
    _root, page = open_admin(site, visit, f"{LIST}?q={ada.username}")
    first = page.get_by_role("row", name="first")
    first.get_by_role("checkbox").check()
    page.get_by_label("Action:").select_option("mark_as_read")
    run_action(page)
    expect(page.locator(".messagelist")).to_contain_text("1 notification was marked")
    bell.expect_count(2)

    page.get_by_role("row", name="third").get_by_role("checkbox").check()
    page.get_by_label("Action:").select_option("delete_selected")
    run_action(page)
    page.get_by_role("button", name="sure").click()
    expect(page.locator(".messagelist")).to_contain_text("1 notification was deleted.")
    bell.expect_count(1)

    page.get_by_role("link", name="second").click()
    page.get_by_label("Title").fill("mended")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.locator(".messagelist")).to_contain_text("was changed")
    bell.open()
    bell.expect_titles("mended", "first")
