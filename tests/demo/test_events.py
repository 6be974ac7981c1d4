"""Events: a reminder that vanishes at the start, or with the event."""

from datetime import datetime, timedelta

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from demo.models import Event
from tests.demo.conftest import shown_to, signed_in, unread_of
from themis.models import UserNotification

pytestmark = [pytest.mark.django_db, pytest.mark.urls("server.urls")]


class Clock:
    """Django's time, which moves when a test says so."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.time = timezone.now()
        monkeypatch.setattr(timezone, "now", lambda: self.time)

    def __call__(self) -> datetime:
        return self.time

    def advance(self, **span: float) -> None:
        self.time += timedelta(**span)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


@pytest.fixture
def event(ada: User, grace: User, clock: Clock) -> Event:
    """Organized by ada, who doesn't come, but grace does; it starts in ten minutes."""
    event = Event.objects.create(
        title="Stand-up", organizer=ada, start_time=clock() + timedelta(minutes=10)
    )
    event.attendees.add(grace)
    return event


def test_the_organizer_reminds_whoever_comes(
    event: Event, ada: User, grace: User
) -> None:
    client = signed_in(ada)
    page = client.post(f"/events/{event.pk}/remind/", follow=True).content.decode()
    assert "1 person reminded." in page
    notification = UserNotification.objects.get()
    assert notification.user == grace
    assert notification.title == "Starting soon: Stand-up"
    assert notification.expires_at == event.start_time
    assert notification.url == f"/events/{event.pk}/"

    page = client.post(f"/events/{event.pk}/remind/", follow=True).content.decode()
    assert "0 people reminded." in page
    assert UserNotification.objects.count() == 1


def test_when_it_starts_the_reminder_is_gone_from_counts_lists_and_the_api(
    event: Event, ada: User, grace: User, clock: Clock
) -> None:
    signed_in(ada).post(f"/events/{event.pk}/remind/")
    graces = signed_in(grace)
    before = graces.get("/notifications/api/state")
    assert before.json()["unread"] == 1
    assert "Starting soon" in graces.get("/notifications/").content.decode()

    clock.advance(minutes=10)
    assert shown_to(grace) == []
    assert unread_of(grace) == 0
    etag = {"If-None-Match": before["ETag"]}
    after = graces.get("/notifications/api/state", headers=etag)
    assert (after.status_code, after.json()["unread"]) == (200, 0)
    assert after.json()["items"] == []
    assert "Starting soon" not in graces.get("/notifications/").content.decode()
    assert UserNotification.objects.count() == 1


def test_after_the_start_there_is_nothing_to_do(
    event: Event, ada: User, grace: User, eve: User, clock: Clock
) -> None:
    clock.advance(minutes=11)
    for verb in ("remind", "cancel", "attend"):
        for user in (ada,) if verb != "attend" else (ada, eve):
            page = signed_in(user).post(f"/events/{event.pk}/{verb}/", follow=True)
            assert "Too late" in page.content.decode()
    event.refresh_from_db()
    assert event.cancelled_at is None
    assert [*event.attendees.all()] == [grace]
    assert not UserNotification.objects.exists()


def test_cancelling_withdraws_the_reminders(
    event: Event, ada: User, grace: User
) -> None:
    client = signed_in(ada)
    client.post(f"/events/{event.pk}/remind/")
    assert shown_to(grace) == ["Starting soon: Stand-up"]
    page = client.post(f"/events/{event.pk}/cancel/", follow=True).content.decode()
    assert "cancelled" in page
    assert not UserNotification.objects.exists()


@pytest.mark.parametrize("verb", ["remind", "cancel"])
def test_only_the_organizer_does(event: Event, grace: User, verb: str) -> None:
    response = signed_in(grace).post(f"/events/{event.pk}/{verb}/")
    assert response.status_code == 403
    event.refresh_from_db()
    assert event.cancelled_at is None
    assert not UserNotification.objects.exists()


def test_who_takes_part_may_leave(event: Event, eve: User) -> None:
    client = signed_in(eve)
    client.post(f"/events/{event.pk}/attend/")
    assert event.attendees.contains(eve)
    client.post(f"/events/{event.pk}/attend/", {"leave": ""})
    assert not event.attendees.contains(eve)


def test_planning_counts_from_now(ada: User, clock: Clock) -> None:
    client = signed_in(ada)
    client.post("/events/", {"title": "Stand-up", "minutes": "2"})
    event = Event.objects.get()
    assert event.start_time == clock() + timedelta(minutes=2)
    assert [*event.attendees.all()] == [ada]
    for minutes in ("0", "soon", "99999"):
        assert client.post("/events/", {"title": "x", "minutes": minutes}).context
    assert Event.objects.count() == 1
