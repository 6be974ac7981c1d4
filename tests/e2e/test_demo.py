"""One person fires the triggers from the demo's pages, without JavaScript; another
watches the bell in another window.
"""

from collections.abc import Callable
from datetime import date, timedelta

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.bells import Bell
from tests.e2e.conftest import Visit, on_embedded_site
from tests.e2e.sites import Person, Site
from tests.e2e.test_accessibility import APPEARANCES, check_by_axe


@pytest.fixture
def ada(site: Site) -> Person:
    return speaker(site)


def speaker(site: Site) -> Person:
    """Somebody who may speak to everybody."""
    person = site.person("ada")
    site.shell.run(
        "from django.contrib.auth.models import Permission\n"
        "permission = Permission.objects.get(codename='announce_to_everybody')\n"
        "permission.user_set.add(pk)",
        pk=person.pk,
    )
    return person


@pytest.fixture
def grace(site: Site) -> Person:
    return site.person("grace")


@pytest.fixture
def page(visit: Visit, ada: Person) -> Page:
    """Ada's window."""
    return visit(ada, transport=None, java_script_enabled=False).page


@pytest.fixture
def bell(visit: Visit, grace: Person) -> Bell:
    """Grace's window."""
    return visit(grace)


def press(page: Page, name: str) -> None:
    page.locator("main").get_by_role("button", name=name, exact=True).click()


def fill(page: Page, label: str, text: str) -> None:
    page.get_by_label(label, exact=True).fill(text)


@on_embedded_site
def test_an_overdue_task_then_its_deletion(
    page: Page, bell: Bell, grace: Person
) -> None:
    page.goto("/tasks/")
    fill(page, "Title", "Renew the domain")
    fill(page, "Due date", str(date.today() - timedelta(days=2)))  # noqa: DTZ011
    press(page, "Create task")
    task = page.locator("main li", has_text="Renew the domain").first
    task.get_by_label("Assignee").select_option(label=grace.username)
    task.get_by_role("button", name="Assign").click()
    bell.expect_rung("Task assigned: Renew the domain")

    # She opens the task, and knows of it.
    bell.open()
    bell.page.goto(page.locator("main li a").first.get_attribute("href") or "")
    bell.expect_count(0)
    press(page, "Run check_overdue")
    bell.expect_rung("Overdue: Renew the domain")
    bell.expect_count(1)

    page.locator("main li a").first.click()
    press(page, "Delete task")
    expect(page.locator("main")).to_contain_text("Task deleted")
    bell.expect_count(0)
    bell.open()
    expect(bell.panel).to_contain_text("all caught up")


@on_embedded_site
def test_tasks_deleted_in_bulk_by_another_process(
    site: Site, bell: Bell, grace: Person
) -> None:
    assign = (
        "from demo.models import Task\n"
        "for number in range(3):\n"
        "    task = Task.objects.create(title=f'Task {number}')\n"
        "    task.assignee = User.objects.get(pk=pk)\n"
        "    task.save()"
    )
    site.shell.run(assign, pk=grace.pk)
    bell.open()
    bell.expect_count(3)
    delete = "from demo.models import Task\nTask.objects.filter(assignee=pk).delete()"
    site.shell.run(delete, pk=grace.pk)
    bell.expect_count(0)
    expect(bell.panel).to_contain_text("all caught up")


@on_embedded_site
def test_a_report_rings_who_ordered_it(visit: Visit, page: Page, ada: Person) -> None:
    bell = visit(ada)
    page.goto("/reports/")
    press(page, "Make a report")
    bell.expect_rung("Report ready")
    bell.open()
    bell.row("Report ready").get_by_role("link").click()
    bell.page.wait_for_url("**/reports/*/")
    expect(bell.page.locator("main")).to_contain_text("tasks created")
    with bell.page.expect_download() as download:
        bell.page.get_by_role("link", name="Download").click()
    assert download.value.suggested_filename.startswith("weekly-")


@on_embedded_site
def test_a_reminder_vanishes_when_the_event_starts(
    site: Site, page: Page, bell: Bell
) -> None:
    address = plan_event(page, bell, "Stand-up")
    start = (
        "from demo.models import Event\n"
        "soon = timezone.now() + timedelta(seconds=5)\n"
        "Event.objects.filter(pk=pk).update(start_time=soon)"
    )
    site.shell.run(start, pk=int(address.split("/")[2]))
    press(page, "Remind all who take part")
    bell.expect_rung("Starting soon: Stand-up")
    bell.expect_count(1)
    bell.expect_count(0)
    bell.open()
    expect(bell.panel).to_contain_text("all caught up")
    page.reload()
    expect(page.locator("main .tag")).to_have_text("started")
    expect(page.locator("main").get_by_role("button")).to_have_count(0)


@on_embedded_site
def test_a_reminder_goes_with_the_event(page: Page, bell: Bell) -> None:
    plan_event(page, bell, "Retrospective")
    press(page, "Remind all who take part")
    bell.expect_rung("Starting soon: Retrospective")
    press(page, "Cancel the event")
    expect(page.locator("main .tag")).to_have_text("cancelled")
    bell.expect_count(0)


def plan_event(page: Page, bell: Bell, title: str) -> str:
    """Ada plans an event, grace takes part; its address."""
    page.goto("/events/")
    fill(page, "Title", title)
    fill(page, "Starts in minutes", "5")
    press(page, "Plan event")
    bell.page.goto(page.url)
    press(bell.page, "Take part")
    bell.expect_transport("open")
    page.reload()
    return page.evaluate("location.pathname") or ""


@on_embedded_site
def test_a_team(page: Page, bell: Bell, grace: Person) -> None:
    page.goto("/teams/")
    fill(page, "Name", f"Friends of {grace.username}")
    press(page, "Found team")
    bell.page.goto(page.url)
    press(bell.page, "Join the team")
    bell.expect_transport("open")

    fill(page, "Title", "Lunch at one")
    fill(page, "Message", "In the yard.")
    press(page, "Announce")
    bell.expect_rung("Lunch at one")
    page.get_by_role("link", name="Lunch at one").click()
    press(page, "Take it back")
    bell.expect_count(0)


def test_everybody(make_site: Callable[..., Site], visit: Visit) -> None:
    # The people of the shared site are in other tests.
    site = make_site()
    person = speaker(site)
    bells = [visit(site.person(), at=site) for _ in range(2)]
    page = visit(person, "/teams/", at=site, transport=None).page
    page.get_by_role("link", name="Announce to everybody").click()
    fill(page, "Title", "The lift works again")
    press(page, "Announce")
    for bell in bells:
        bell.expect_rung("The lift works again")
        bell.expect_count(1)


LISTS = ["/", "/tasks/", "/requests/", "/reports/", "/events/", "/teams/"]
THINGS = [
    *["/tasks/{}/", "/requests/{}/", "/reports/{}/", "/events/{}/"],
    *["/teams/{}/", "/teams/everybody/", "/announcements/{}/"],
]
# Between them they have whatever the others have.
TELLING = ["/", "/reports/", "/reports/{}/", "/events/", "/teams/{}/"]


@pytest.mark.parametrize(
    ("appearance", "paths"),
    [("light", LISTS), ("light", THINGS), ("dark", TELLING), ("narrow", TELLING)],
    ids=["lists", "things", "dark", "narrow"],
)
@on_embedded_site
def test_axe_finds_nothing_on_the_pages(
    site: Site, visit: Visit, ada: Person, appearance: str, paths: list[str]
) -> None:
    pk = site.shell.run(FILL, pk=ada.pk)
    page = visit(ada, reduced_motion="reduce", **APPEARANCES[appearance]).page
    for path in paths:
        page.goto(path.format(pk))
        check_by_axe(page, path)
        too_wide = "document.documentElement.scrollWidth > innerWidth"
        assert not page.evaluate(too_wide), path


@on_embedded_site
def test_axe_finds_nothing_on_a_form_with_an_error(visit: Visit, ada: Person) -> None:
    page = visit(ada, "/events/").page
    page.locator("main form").evaluate("(form) => { form.noValidate = true; }")
    press(page, "Plan event")
    expect(page.locator(".errorlist")).to_be_visible()
    check_by_axe(page, "a form with an error")


FILL = """
from demo.models import Announcement, Event, Report, Request, Task, Team

user = User.objects.get(pk=pk)
result = 100_000 + 100 * pk
soon = timezone.now() + timedelta(hours=1)
Task.objects.create(pk=result, title="A task", assignee=user)
Request.objects.create(pk=result, title="A wish", requester=user)
report = Report.objects.create(pk=result, owner=user)
report.make()
Report.objects.create(owner=user)
event = Event(pk=result, title="An event", organizer=user, start_time=soon)
event.save()
Event.objects.create(title="Off", organizer=user, start_time=soon, cancelled_at=soon)
event.attendees.add(user)
team = Team.objects.create(pk=result, name=f"Team {pk}")
team.members.add(user)
Announcement.objects.create(
    pk=result, title="News", message="First.\\n\\nSecond.", author=user, team=team
)
"""
