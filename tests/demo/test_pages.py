"""What all pages of the demo have in common."""

from datetime import timedelta

import pytest
from django.apps import apps
from django.contrib.auth.models import Permission, User
from django.core import serializers
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from demo import urls
from demo.models import Announcement, Event, Report, Request, Task, Team
from tests.demo.conftest import signed_in, unread_of
from themis.notifications import notify_user

pytestmark = [pytest.mark.django_db, pytest.mark.urls("server.urls")]

LISTS = ["/tasks/", "/requests/", "/reports/", "/events/", "/teams/"]
DETAILS = [
    ("/tasks/{}/", "tasks", "Task"),
    ("/requests/{}/", "requests", "Request"),
    ("/reports/{}/", "reports", "Report"),
    ("/events/{}/", "events", "Event"),
    ("/announcements/{}/", "teams", "Announcement"),
]
ALL = [*LISTS, *(path for path, *_ in DETAILS), "/teams/{}/", "/teams/everybody/"]
WRITES = [
    "/tasks/check-overdue/",
    "/tasks/{}/assign/",
    "/tasks/{}/delete/",
    "/requests/{}/approve/",
    "/events/{}/attend/",
    "/events/{}/remind/",
    "/events/{}/cancel/",
    "/teams/{}/join/",
    "/teams/{}/announce/",
    "/announcements/{}/take-back/",
]


@pytest.fixture
def ada(ada: User) -> User:
    """She has one of everything, with the number 1000."""
    fill(ada, 1000)
    permission = Permission.objects.get(codename="announce_to_everybody")
    ada.user_permissions.add(permission)
    return ada


def fill(user: User, pk: int) -> None:
    soon = timezone.now() + timedelta(hours=1)
    Task.objects.create(pk=pk, title="A task", created_by=user, assignee=user)
    Request.objects.create(pk=pk, title="A wish", requester=user)
    Report.objects.create(pk=pk, owner=user)
    event = Event.objects.create(
        pk=pk, title="An event", organizer=user, start_time=soon
    )
    event.attendees.add(user)
    team = Team.objects.create(pk=pk, name=f"Team {pk}")
    team.members.add(user)
    Announcement.objects.create(pk=pk, title="News", author=user, team=team)


def everything() -> str:
    models = apps.get_app_config("demo").get_models()
    rows = [row for model in models for row in model._default_manager.order_by("pk")]
    return str(serializers.serialize("json", rows))


def test_the_lists_above_are_whole() -> None:
    known = {path.format(1).lstrip("/") for path in [*ALL, *WRITES]}
    known |= {"", "sign-in/ada/", "reports/1/download/"}
    patterns = {str(pattern.pattern) for pattern in urls.urlpatterns}
    assert known == {
        path.replace("<int:pk>", "1").replace("<str:username>", "ada")
        for path in patterns
    }


@pytest.mark.parametrize("path", ALL)
def test_looking_changes_nothing_of_the_demo(path: str, ada: User) -> None:
    before = everything()
    for method in ("get", "head"):
        response = getattr(signed_in(ada), method)(path.format(1000))
        assert response.status_code == 200
    assert everything() == before


@pytest.mark.parametrize("path", WRITES)
def test_a_link_does_nothing(path: str, ada: User) -> None:
    before = everything()
    assert signed_in(ada).get(path.format(1000)).status_code == 405
    assert everything() == before


@pytest.mark.parametrize("path", WRITES)
def test_another_site_does_nothing(path: str, ada: User) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(ada)
    before = everything()
    assert client.post(path.format(1000)).status_code == 403
    assert everything() == before


@pytest.mark.parametrize("path", [*ALL, *WRITES])
@pytest.mark.usefixtures("ada")
def test_nothing_is_for_people_who_are_not_signed_in(path: str) -> None:
    before = everything()
    write = path in WRITES
    path = path.format(1000)
    response = Client().post(path) if write else Client().get(path)
    assert response["Location"] == f"/accounts/login/?next={path}"
    assert everything() == before


@pytest.mark.parametrize("path", [path for path, *_ in DETAILS])
def test_what_is_not_there_is_a_404(path: str, ada: User) -> None:
    assert signed_in(ada).get(path.format(1)).status_code == 404


@pytest.mark.parametrize(("path", "app", "model"), DETAILS)
def test_who_looks_at_the_thing_has_read_of_it(
    path: str, app: str, model: str, ada: User, grace: User
) -> None:
    for user in (ada, grace):
        notify_user(user, "News", source_app=app, source_model=model, source_id="1000")
    client = signed_in(ada)
    client.head(path.format(1000))
    client.get(path.format(1000), headers={"Sec-Purpose": "prefetch;prerender"})
    assert unread_of(ada) == 1
    page = client.get(path.format(1000)).content.decode()
    assert unread_of(ada) == 0
    assert 'data-unread="0"' in page
    assert unread_of(grace) == 1


@pytest.mark.parametrize("path", LISTS)
def test_a_list_takes_the_same_queries_however_long_it_is(path: str, ada: User) -> None:
    client = signed_in(ada)

    def queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            assert client.get(path).status_code == 200
        return len(captured)

    few = queries()
    for number in range(2, 7):
        fill(ada, number)
    assert queries() == few


def test_names_of_people_are_text(ada: User) -> None:
    User.objects.filter(pk=ada.pk).update(username="<b>ada</b>")
    page = signed_in(ada).get("/teams/1000/").content.decode()
    assert "&lt;b&gt;ada" in page
    assert "<b>ada" not in page
