"""A task that is deleted takes back what it caused."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from demo.models import Announcement, Event, Report, Request, Task, Team
from tests.demo.conftest import shown_to, signed_in
from themis.models import UserNotification
from themis.notifications import notify_user

pytestmark = [pytest.mark.django_db, pytest.mark.urls("server.urls")]


@pytest.fixture
def tasks(ada: User, grace: User) -> list[Task]:
    """Three tasks of ada's that grace has; she was notified of each."""
    tasks = []
    for number in range(3):
        task = Task.objects.create(title=f"Task {number}", created_by=ada)
        task.assignee = grace
        task.save()
        tasks.append(task)
    # The same number, another thing.
    notify_user(grace, "A wish", source_app="requests", source_id=tasks[0].pk)
    return tasks


def state_of(client: Client) -> tuple[int, list[str]]:
    state = client.get("/notifications/api/state").json()
    return state["unread"], [item["title"] for item in state["items"]]


def test_from_its_page(tasks: list[Task], ada: User, grace: User) -> None:
    graces = signed_in(grace)
    assert state_of(graces)[0] == 4
    client = signed_in(ada)
    page = client.get(f"/tasks/{tasks[0].pk}/").content.decode()
    assert "Delete task" in page
    page = client.post(f"/tasks/{tasks[0].pk}/delete/", follow=True).content.decode()
    assert "Task deleted" in page
    left = ["Task assigned: Task 1", "Task assigned: Task 2", "A wish"]
    assert shown_to(grace) == left
    assert state_of(graces)[0] == 3


def test_in_bulk(tasks: list[Task], grace: User) -> None:
    graces = signed_in(grace)
    assert state_of(graces)[0] == 4
    Task.objects.filter(pk__in=[task.pk for task in tasks[:2]]).delete()
    unread, titles = state_of(graces)
    assert unread == 2
    assert set(titles) == {"A wish", "Task assigned: Task 2"}


def test_in_the_admin(tasks: list[Task], grace: User) -> None:
    root = User.objects.create_superuser("root")
    body = {
        "action": "delete_selected",
        "_selected_action": [task.pk for task in tasks],
        "post": "yes",
    }
    assert signed_in(root).post("/admin/demo/task/", body).status_code == 302
    assert shown_to(grace) == ["A wish"]


def test_of_any_other_source_or_its_person(ada: User, grace: User) -> None:
    """Team and announcements are ada's; grace keeps what came from elsewhere."""
    team = Team.objects.create(name="Operations")
    soon = timezone.now() + timedelta(hours=1)
    sources = [
        ("requests", Request.objects.create(title="A desk", requester=ada)),
        ("reports", Report.objects.create(owner=ada)),
        ("events", Event.objects.create(title="x", organizer=ada, start_time=soon)),
        ("teams", Announcement.objects.create(title="x", author=ada, team=team)),
    ]
    for app, source in sources:
        model = type(source).__name__
        notify_user(
            grace, model, source_app=app, source_model=model, source_id=source.pk
        )
    notify_user(grace, "Kept", source_app="tasks", source_model="Task", source_id="1")
    sources[0][1].delete()
    team.delete()
    assert shown_to(grace) == ["Report", "Event", "Kept"]
    ada.delete()
    assert shown_to(grace) == ["Kept"]


def test_not_by_who_has_nothing_to_do_with_it(tasks: list[Task], eve: User) -> None:
    client = signed_in(eve)
    page = client.get(f"/tasks/{tasks[0].pk}/").content.decode()
    assert "Delete task" not in page
    assert client.post(f"/tasks/{tasks[0].pk}/delete/").status_code == 403
    assert Task.objects.count() == 3
    assert UserNotification.objects.count() == 4
