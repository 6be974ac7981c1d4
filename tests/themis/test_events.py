"""Frames have the shape of design section 6; both languages read tests/wire."""

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.contrib.auth.models import User
from django.db import connection
from hypothesis import given
from hypothesis import strategies as st
from pytest_django import Settings

from tests.mirror import Mirror, over_the_wire
from themis import events, mailbox
from themis.events import Changes, Snapshot, encode, to_item, wire_time
from themis.models import UserNotification, UserProfile
from themis.notifications import notify_user

WIRE = Path(__file__).parents[1] / "wire"
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{6})?Z")


def sample(name: str) -> dict[str, Any]:
    """A frame of tests/wire, which the JavaScript tests read, too."""
    return dict(json.loads((WIRE / f"{name}.json").read_text(encoding="utf-8")))


def shape(value: Any) -> Any:
    """Keys and kinds of a JSON value; a list has the shape of its first element."""
    if isinstance(value, dict):
        return {name: shape(each) for name, each in value.items()}
    if isinstance(value, list):
        return [shape(each) for each in value[:1]]
    if isinstance(value, str) and TIME.fullmatch(value):
        return "time"
    return type(value).__name__


def make(
    user: User, title: str = "Title", message: str = "", **fields: Any
) -> UserNotification:
    row = notify_user(user, title, message, **fields)
    assert row is not None
    return row


@pytest.mark.django_db
class TestShape:
    def test_a_snapshot(self, ada: User) -> None:
        """The same keys in the same order, the same kinds of values."""
        expires_at = datetime(2040, 1, 1, tzinfo=UTC)
        make(ada, "Title", "Message", url="/x", expires_at=expires_at)
        frame = mailbox.read_state(ada.pk)
        assert isinstance(frame, Snapshot)
        wire = over_the_wire(frame)
        assert shape(wire) == shape(sample("snapshot"))
        assert list(wire) == list(sample("snapshot"))
        assert list(wire["items"][0]) == list(sample("snapshot")["items"][0])

    def test_changes(self, ada: User) -> None:
        """One item that was read."""
        start = mailbox.look(ada.pk)
        row = make(ada, "Title")
        mailbox.look(ada.pk)
        mailbox.change(ada.pk, "read", ids=[row.pk])
        frame = mailbox.read_state(ada.pk, since=0, epoch=start.epoch)
        assert isinstance(frame, Changes)
        wire = over_the_wire(frame)
        expected = sample("changes")
        assert shape(wire) == shape(expected)
        assert wire["items"][0]["read_at"] is not None

    def test_changes_with_a_removal(self, ada: User) -> None:
        """Ids are strings there, too."""
        make(ada, "Stays").save()
        row = make(ada, "Goes")
        box = mailbox.look(ada.pk)
        mailbox.change(ada.pk, "dismiss", ids=[row.pk])
        frame = mailbox.read_state(ada.pk, since=box.revision, epoch=box.epoch)
        wire = over_the_wire(frame)
        expected = sample("changes-removed")
        expected["items"][0]["read_at"] = None
        assert shape(wire) == shape(expected)
        assert wire["removed"] == [str(row.pk)]

    def test_what_is_pushed_is_what_is_read(
        self,
        transactional_db: None,
        ada: User,
        sent: list[Changes],
    ) -> None:
        """A broadcast has the shape of an answer."""
        del transactional_db
        make(ada)
        assert shape(over_the_wire(sent[0])).keys() == shape(sample("changes")).keys()
        assert not sent[0].removed

    def test_the_version_is_one(self, ada: User) -> None:
        """In every frame of state."""
        frame = mailbox.read_state(ada.pk)
        wire = frame.to_wire()
        assert (wire["type"], wire["v"]) == ("snapshot", 1)
        again = mailbox.read_state(ada.pk, since=0, epoch=frame.epoch)
        wire = again.to_wire()
        assert (wire["type"], wire["v"], wire["since"]) == ("changes", 1, 0)

    def test_an_item_says_everything(self, ada: User) -> None:
        """Field by field."""
        row = make(
            ada,
            "Title",
            "Message",
            level="danger",
            url="/tasks/42/",
            source_app="tasks",
            source_model="Task",
            source_id="42",
            expires_at=datetime(2040, 1, 2, 3, 4, 5, tzinfo=UTC),
        )
        (item,) = over_the_wire(mailbox.read_state(ada.pk))["items"]
        created_at = item.pop("created_at")
        assert datetime.fromisoformat(created_at) == row.created_at
        assert item == {
            "id": str(row.pk),
            "title": "Title",
            "message": "Message",
            "level": "danger",
            "url": "/tasks/42/",
            "open_url": f"{row.pk}/open/",
            "source": {"app": "tasks", "model": "Task", "id": "42"},
            "read_at": None,
            "expires_at": "2040-01-02T03:04:05Z",
            "created_revision": 1,
            "revision": 1,
        }

    def test_settings_and_preferences_are_in_the_frame(
        self, ada: User, settings: Settings
    ) -> None:
        """So that they reach every tab."""
        assert mailbox.read_state(ada.pk).to_wire()["poll_interval"] == 60
        settings.THEMIS_NOTIFICATION_POLL_INTERVAL = 0
        UserProfile.objects.update(browser_notifications_enabled=True)
        wire = mailbox.read_state(ada.pk).to_wire()
        assert (wire["poll_interval"], wire["desktop"]) == (0, True)

    def test_without_a_profile_the_defaults_hold(self, ada: User) -> None:
        """No row means no desktop notifications."""
        UserProfile.objects.all().delete()
        assert mailbox.read_state(ada.pk).desktop is False

    def test_the_wire_shows_only_what_was_stamped(self, ada: User) -> None:
        """A row without a `created_revision` is not shown."""
        box = mailbox.look(ada.pk)
        make(ada, "Pending")
        frame = mailbox.read_state(ada.pk, since=0, epoch=box.epoch, box=box)
        assert (frame.items, frame.unread) == ([], 0)

    def test_what_is_made_after_the_revision_comes_with_the_next(
        self, ada: User
    ) -> None:
        """Else the page would have it already, and it would not ring."""
        make(ada, "One")
        box = mailbox.look(ada.pk)
        make(ada, "Two")
        assert mailbox.look(ada.pk).revision == box.revision + 1
        since: dict[str, Any] = {"since": box.revision - 1, "epoch": box.epoch}
        for position in ({}, since):
            frame = mailbox.read_state(ada.pk, **position, box=box)
            assert [row.title for row in frame.items] == ["One"]
            assert frame.revision == box.revision

    def test_the_samples_of_the_wire_are_understood(self) -> None:
        """By the Python twin of the page."""
        mirror = Mirror()
        assert mirror.apply(sample("snapshot"))[0] == "applied"
        assert mirror.apply(sample("changes"))[0] == "applied"
        assert mirror.apply(sample("changes-removed"))[0] == "applied"
        now = datetime(2026, 11, 22, 10, tzinfo=UTC)
        assert [item["id"] for item in mirror.shown(now)] == ["41", "12"]


class TestText:
    def test_text_is_sent_as_it_is(self) -> None:
        """UTF-8, no escapes, no space."""
        assert encode({"a": "ü🕑<b>", "b": [1, None]}) == '{"a":"ü🕑<b>","b":[1,null]}'

    @given(
        st.dictionaries(
            st.text(),
            st.none()
            | st.booleans()
            | st.integers(-(2**63), 2**63 - 1)
            | st.text()
            | st.lists(st.text()),
        )
    )
    def test_both_encoders_say_the_same(self, frame: dict[str, Any]) -> None:
        """So that nobody sees which of them a process has."""
        assert events.orjson is not None
        with pytest.MonkeyPatch.context() as patch:
            fast = encode(frame)
            patch.setattr(events, "orjson", None)
            assert encode(frame) == fast

    @pytest.mark.django_db
    def test_what_is_sent_is_always_utf_8(self, ada: User) -> None:
        """Whatever a caller put in."""
        make(ada, "a\ud800\x00\u2028b", "\udfff" * 3)
        text = encode(mailbox.read_state(ada.pk).to_wire())
        assert json.loads(text.encode()) == json.loads(text)


class TestTime:
    @pytest.mark.parametrize(
        ("moment", "text"),
        [
            (None, None),
            (datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC), "2030-01-02T03:04:05Z"),
            (
                datetime(2030, 1, 2, 3, 4, 5, 60, tzinfo=UTC),
                "2030-01-02T03:04:05.000060Z",
            ),
            (
                datetime(2030, 7, 2, 3, tzinfo=ZoneInfo("Europe/Vienna")),
                "2030-07-02T01:00:00Z",
            ),
            (
                datetime(2030, 1, 1, tzinfo=timezone(timedelta(hours=14))),
                "2029-12-31T10:00:00Z",
            ),
            (
                datetime.max.replace(tzinfo=UTC),
                "9999-12-31T23:59:59.999999Z",
            ),
        ],
    )
    def test_it_is_utc_with_a_z(
        self, moment: datetime | None, text: str | None
    ) -> None:
        """In ISO 8601."""
        assert wire_time(moment) == text

    def test_the_hour_that_comes_twice_is_two_hours(self) -> None:
        """The clocks are put back: Python takes its first and second time for equal."""
        first = datetime(2030, 10, 27, 2, 30, tzinfo=ZoneInfo("Europe/Vienna"))
        again = first.replace(fold=1)
        assert first == again
        assert wire_time(first) == "2030-10-27T00:30:00Z"
        assert wire_time(again) == "2030-10-27T01:30:00Z"

    def test_a_naive_one_is_in_djangos_zone(self, settings: Settings) -> None:
        """Hosts with USE_TZ=False have such."""
        settings.TIME_ZONE = "Europe/Vienna"
        assert wire_time(datetime(2030, 7, 2, 3)) == "2030-07-02T01:00:00Z"  # noqa: DTZ001

    @pytest.mark.parametrize(
        "moment",
        [datetime.max, datetime.min],  # noqa: DTZ901
    )
    def test_the_ends_of_the_calendar_are_no_error(
        self, settings: Settings, moment: datetime
    ) -> None:
        """A naive last day may be next year in UTC; a frame is sent all the same."""
        for zone in ("America/Chicago", "Asia/Tokyo"):
            settings.TIME_ZONE = zone
            assert TIME.fullmatch(str(wire_time(moment)))


@pytest.mark.django_db(transaction=True)
class TestWithoutTimeZones:
    @pytest.fixture(autouse=True)
    def _naive(self, settings: Settings) -> Iterator[None]:
        settings.USE_TZ = False
        settings.TIME_ZONE = "America/Chicago"
        connection.close()
        yield
        connection.close()

    def test_all_times_are_utc(self, ada: User) -> None:
        """The shape is the same, and the moments are right."""
        row = make(ada, "Title")
        mailbox.change(ada.pk, "read", ids=[row.pk])
        wire = over_the_wire(mailbox.read_state(ada.pk))
        (item,) = wire["items"]
        now = datetime.now(UTC)
        for text in (wire["now"], item["created_at"], item["read_at"]):
            assert TIME.fullmatch(text)
            assert abs(datetime.fromisoformat(text) - now) < timedelta(minutes=1)

    def test_an_expiry_is_found_by_local_time(self, ada: User) -> None:
        """Counts and frames agree on when it is over."""
        now = datetime.now()  # noqa: DTZ005
        make(ada, "Over", expires_at=now - timedelta(seconds=1))
        make(ada, "Not over", expires_at=now + timedelta(hours=1))
        state = mailbox.read_state(ada.pk)
        assert ([row.title for row in state.items], state.unread) == (["Not over"], 1)
        assert mailbox.count_unread(ada.pk) == 1


def test_a_row_that_was_never_saved_has_no_place(settings: Settings) -> None:
    """An item is made of the row alone: no query, no request, no setting."""
    del settings
    row = UserNotification(pk=2**63 - 1, user_id=1, title="T", url="javascript:x")
    row.created_revision = row.revision = 7
    item = to_item(row)
    assert (item["id"], item["url"]) == ("9223372036854775807", "")
    assert item["open_url"] == "9223372036854775807/open/"
