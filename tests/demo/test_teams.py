"""Teams and announcements: the loop, and everybody in bulk."""

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from pytest_django import Settings

from demo.models import Announcement, Team
from demo.tasks import announce
from tests.demo.conftest import shown_to, signed_in, unread_of
from themis.models import UserNotification

# Announcements are made after the commit.
pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.urls("server.urls"),
]

WORDS = {"title": "Maintenance", "message": "From eight to nine."}


@pytest.fixture
def team(ada: User, grace: User) -> Team:
    team = Team.objects.create(name="Operations")
    team.members.add(ada, grace)
    return team


@pytest.fixture
def permitted(ada: User) -> User:
    permission = Permission.objects.get(codename="announce_to_everybody")
    ada.user_permissions.add(permission)
    return ada


def test_a_member_tells_all_members(
    team: Team, ada: User, grace: User, eve: User
) -> None:
    response = signed_in(ada).post(f"/teams/{team.pk}/announce/", WORDS)
    assert response["Location"] == f"/teams/{team.pk}/"
    announcement = Announcement.objects.get()
    for member in (ada, grace):
        notification = UserNotification.objects.get(user=member)
        assert notification.title == "Maintenance"
        assert notification.message == "From eight to nine."
        assert notification.url == f"/announcements/{announcement.pk}/"
        assert notification.source_id == str(announcement.pk)
    assert shown_to(eve) == []


def test_others_announce_nothing_and_read_nothing(
    team: Team, ada: User, eve: User
) -> None:
    client = signed_in(eve)
    assert client.post(f"/teams/{team.pk}/announce/", WORDS).status_code == 403
    assert not Announcement.objects.exists()
    made = Announcement.objects.create(author=ada, team=team, **WORDS)
    assert client.get(f"/announcements/{made.pk}/").status_code == 404
    assert "Maintenance" not in client.get(f"/teams/{team.pk}/").content.decode()
    assert client.post(f"/announcements/{made.pk}/take-back/").status_code == 403
    client.post(f"/teams/{team.pk}/join/")
    assert "Maintenance" in client.get(f"/teams/{team.pk}/").content.decode()
    assert client.get(f"/announcements/{made.pk}/").status_code == 200


def test_a_task_that_runs_twice_tells_once(team: Team, ada: User, grace: User) -> None:
    made = Announcement.objects.create(author=ada, team=team, **WORDS)
    everybody = Announcement.objects.create(author=ada, **WORDS)
    for one in (made, everybody, made, everybody):
        announce(one.pk)
    assert shown_to(grace) == ["Maintenance"] * 2


def test_everybody_is_told_in_bulk(permitted: User, grace: User, eve: User) -> None:
    User.objects.create_user("gone", is_active=False)
    eve.profile.notification_min_level = "warning"
    eve.profile.save()
    response = signed_in(permitted).post("/teams/everybody/", WORDS)
    assert response["Location"] == "/teams/"
    told = UserNotification.objects.values_list("user__username", flat=True)
    assert sorted(told) == ["ada", "grace"]
    made = Announcement.objects.get()
    assert made.team is None
    page = signed_in(grace).get(f"/announcements/{made.pk}/").content.decode()
    assert "From eight to nine." in page
    assert "Take it back" not in page
    assert unread_of(grace) == 0


def test_telling_everybody_takes_a_permission(eve: User) -> None:
    client = signed_in(eve)
    assert "/teams/everybody/" not in client.get("/teams/").content.decode()
    assert client.get("/teams/everybody/").status_code == 403
    assert client.post("/teams/everybody/", WORDS).status_code == 403
    assert not Announcement.objects.exists()


def test_the_demo_users_have_it(settings: Settings) -> None:
    settings.DEBUG = True
    client = Client()
    client.post("/sign-in/grace/")
    assert client.get("/teams/everybody/").status_code == 200


def test_taking_it_back_withdraws_it_from_everybody(
    team: Team, ada: User, grace: User
) -> None:
    client = signed_in(ada)
    client.post(f"/teams/{team.pk}/announce/", WORDS)
    client.post(f"/teams/{team.pk}/announce/", {"title": "Another"})
    first = Announcement.objects.order_by("pk")[0]
    response = client.post(f"/announcements/{first.pk}/take-back/")
    assert response["Location"] == f"/teams/{team.pk}/"
    assert shown_to(grace) == shown_to(ada) == ["Another"]
    assert Announcement.objects.get().title == "Another"
    announce(first.pk)  # a worker that comes to it late
    assert UserNotification.objects.count() == 2


def test_an_announcement_without_a_title_is_refused(team: Team, ada: User) -> None:
    response = signed_in(ada).post(f"/teams/{team.pk}/announce/", {"title": " "})
    assert response.status_code == 200
    assert "This field is required." in response.content.decode()
    assert not Announcement.objects.exists()


def test_founding_joining_leaving(ada: User, eve: User) -> None:
    signed_in(ada).post("/teams/", {"name": "Operations"})
    team = Team.objects.get()
    assert [*team.members.all()] == [ada]
    client = signed_in(eve)
    assert "already exists" in client.post("/teams/", {"name": team}).content.decode()
    client.post(f"/teams/{team.pk}/join/")
    assert "2 members" in client.get("/teams/").content.decode()
    client.post(f"/teams/{team.pk}/join/", {"leave": ""})
    assert [*team.members.all()] == [ada]
