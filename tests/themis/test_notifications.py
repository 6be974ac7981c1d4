"""notify_user() keeps every sentence of design section 3."""

import asyncio
import logging
import threading
import uuid
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.db import DatabaseError, IntegrityError, connection, transaction
from django.utils import timezone as django_timezone
from django.utils.functional import SimpleLazyObject
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext_lazy, override
from pytest_django import Settings

from tests.themis.conftest import Clock, make_user
from themis import mailbox
from themis.events import Changes
from themis.models import Level, UserNotification, UserProfile
from themis.notifications import anotify_user, notify_user
from themis.store import store

REPLACED = "\N{REPLACEMENT CHARACTER}"
SOURCE: dict[str, Any] = {
    "source_app": "tasks",
    "source_model": "Task",
    "source_id": "42",
}


@pytest.fixture(
    params=[
        pytest.param("own", marks=pytest.mark.django_db(transaction=True)),
        pytest.param("host", marks=pytest.mark.django_db),
    ]
)
def way(request: pytest.FixtureRequest) -> str:
    """Both ways through: with no transaction open, and inside the caller's."""
    assert connection.in_atomic_block is (request.param == "host")
    return str(request.param)


def refuse(message: str, *args: Any, **kwargs: Any) -> None:
    """notify_user(...) raises ValueError, saying `message`, and writes nothing."""
    with pytest.raises(ValueError, match=message):
        notify_user(*args, **kwargs)
    assert not UserNotification.objects.exists()


def notified(*args: Any, **kwargs: Any) -> UserNotification:
    """What notify_user(...) has stored, as it is in the database."""
    row = notify_user(*args, **kwargs)
    assert row is not None
    stored = UserNotification.objects.get()
    assert stored == row
    return stored


class TestReturn:
    def test_it_returns_the_row_that_it_stored(self, way: str, ada: User) -> None:
        """All arguments end up in the row, and the row is what the caller gets."""
        del way
        expires_at = datetime(2040, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
        row = notify_user(
            user=ada,
            title="Task overdue",
            message="Due yesterday.",
            level="warning",
            url="/tasks/42/",
            **SOURCE,
            deduplicate=True,
            expires_at=expires_at,
        )
        assert isinstance(row, UserNotification)
        stored = UserNotification.objects.get()
        for seen in (row, stored):
            assert seen.user == ada
            assert seen.title == "Task overdue"
            assert seen.message == "Due yesterday."
            assert seen.level == "warning"
            assert seen.url == "/tasks/42/"
            assert seen.source_app == "tasks"
            assert seen.source_model == "Task"
            assert seen.source_id == "42"
            assert seen.expires_at == expires_at
            assert not seen.is_read
            assert not seen.is_dismissed
        assert row.pk == stored.pk
        assert row.created_at == stored.created_at

    def test_user_title_and_message_may_be_positional(
        self, way: str, ada: User
    ) -> None:
        """The first three go by position; the rest has defaults."""
        del way
        row = notified(ada, "Title", "Message")
        assert (row.title, row.message, row.level, row.url) == (
            "Title",
            "Message",
            "info",
            "",
        )
        assert (row.source_app, row.source_model, row.source_id) == ("", "", "")
        assert row.expires_at is None

    def test_the_rest_goes_by_keyword_only(self, db: None, ada: User) -> None:
        """A level by position is a mistake."""
        del db
        with pytest.raises(TypeError):
            notify_user(ada, "Title", "Message", "warning")  # type: ignore[call-arg]

    def test_created_at_is_now(self, way: str, ada: User) -> None:
        """The row is as old as the call."""
        del way
        before = django_timezone.now()
        row = notified(ada, "Title")
        assert before <= row.created_at <= django_timezone.now()

    def test_the_lazy_user_of_a_request_is_a_user(self, way: str, ada: User) -> None:
        """request.user works without being unpacked."""
        del way
        assert notified(SimpleLazyObject(lambda: ada), "Title").user == ada

    def test_a_deferred_user_is_a_user(self, way: str, ada: User) -> None:
        """An account of which only the key was loaded works."""
        del way
        assert notified(User.objects.only("pk").get(), "Title").user == ada

    def test_an_inactive_user_is_a_user(self, way: str, ada: User) -> None:
        """Whether an account may sign in is none of its business."""
        del way
        User.objects.update(is_active=False)
        ada.refresh_from_db()
        notified(ada, "Title")


class TestNobody:
    def test_no_user_is_skipped_with_a_warning(
        self, way: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A nightly command survives an unassigned task."""
        del way
        with caplog.at_level(logging.DEBUG, logger="themis"):
            assert notify_user(None, "Secret", "Words", **SOURCE) is None
        (record,) = caplog.records
        assert record.levelname == "WARNING"
        assert "tasks.Task 42" in record.getMessage()
        assert "Secret" not in record.getMessage()
        assert not UserNotification.objects.exists()

    def test_bad_arguments_are_errors_even_for_nobody(self, db: None) -> None:
        """What a programmer gets wrong doesn't hide behind the data."""
        del db
        refuse("level", None, "Title", level="urgent")


class TestRefused:
    def test_unknown_level(self, way: str, ada: User) -> None:
        """The message lists the levels there are."""
        del way
        for level in ("error", "INFO", "", None, 1, ["info"]):
            refuse(
                "level must be one of info, success, warning, danger",
                ada,
                "Title",
                level=level,
            )

    @pytest.mark.parametrize("title", ["", " ", "\n", " \n ", gettext_lazy("")])
    def test_empty_title(self, db: None, ada: User, title: str) -> None:
        """Blank is empty, too."""
        del db
        refuse("title", ada, title)

    @pytest.mark.parametrize("title", [None, 7, b"bytes", ["Title"]])
    def test_title_that_is_no_text(self, db: None, ada: User, title: Any) -> None:
        """It says what it got."""
        del db
        refuse(f"title must be a string, not {type(title).__name__}", ada, title)

    @pytest.mark.parametrize("message", [None, 7, b"bytes"])
    def test_message_that_is_no_text(self, db: None, ada: User, message: Any) -> None:
        """It says what it got."""
        del db
        refuse(
            f"message must be a string, not {type(message).__name__}",
            ada,
            "Title",
            message,
        )

    def test_anonymous_user(self, way: str) -> None:
        """Nobody can be notified who has no account."""
        del way
        refuse("user must be .* not AnonymousUser", AnonymousUser(), "Title")
        lazy = SimpleLazyObject(AnonymousUser)
        refuse("user must be .* not AnonymousUser", lazy, "Title")

    def test_unsaved_user(self, way: str) -> None:
        """The account must be in the database."""
        del way
        refuse("user must be a saved User", User(username="new"), "Title")

    def test_user_with_a_key_that_was_never_saved(self, way: str) -> None:
        """A key alone is no account; models with UUIDs have one from the start."""
        del way
        refuse("user must be a saved User", User(pk=4711), "Title")

    def test_user_with_a_key_that_is_none(self, way: str) -> None:
        with pytest.raises(ValueError, match=r"^user must be .* 'number seven'"):
            notify_user(User(pk="number seven", username="new"), "Title")

    def test_deleted_user(self, way: str, ada: User) -> None:
        """Another instance of an account that is gone is no account."""
        del way
        User.objects.all().delete()
        refuse("user must be a saved User", ada, "Title")

    def test_a_stand_in_for_a_saved_user_is_one(self, way: str, ada: User) -> None:
        """A host that knows only the key needn't load the account."""
        del way
        assert notified(User(pk=ada.pk), "Title").user_id == ada.pk

    @pytest.mark.parametrize("user", [1, "ada", object(), User])
    def test_what_is_no_user_at_all(self, db: None, user: Any) -> None:
        """A primary key isn't a user."""
        del db
        refuse("user must be", user, "Title")

    @pytest.mark.parametrize(
        ("name", "length"),
        [("source_app", 100), ("source_model", 100), ("source_id", 200)],
    )
    def test_source_that_is_too_long(
        self, db: None, ada: User, name: str, length: int
    ) -> None:
        """Cutting it would make others of it."""
        del db
        refuse(
            f"{name} must have at most {length} characters, not {length + 1}",
            ada,
            "Title",
            **{name: "x" * (length + 1)},
        )
        assert getattr(notified(ada, "Title", **{name: "x" * length}), name)

    @pytest.mark.parametrize("name", ["source_app", "source_model", "source_id"])
    def test_source_that_is_none(self, db: None, ada: User, name: str) -> None:
        """A field left out is empty; None is a mistake."""
        del db
        refuse(f"{name} must not be None", ada, "Title", **{name: None})

    @pytest.mark.parametrize(
        ("value", "kind"),
        [(date(2040, 1, 1), "date"), ("2040-01-01", "str"), (1, "int")],
    )
    def test_expiry_that_is_no_time(
        self, db: None, ada: User, value: Any, kind: str
    ) -> None:
        """A date has no time: midnight where?"""
        del db
        refuse(
            f"expires_at must be a datetime or None, not a.? {kind}",
            ada,
            "Title",
            expires_at=value,
        )

    def test_expiry_outside_of_time(self, db: None, ada: User) -> None:
        """The ends of the calendar don't exist in UTC for all zones."""
        del db
        west, east = timezone(timedelta(hours=-1)), timezone(timedelta(hours=1))
        for value in (
            datetime.max.replace(tzinfo=west),
            datetime.min.replace(tzinfo=east),
        ):
            refuse("expires_at", ada, "Title", expires_at=value)


class TestMended:
    def test_a_long_title_is_shortened(self, way: str, ada: User) -> None:
        """200 characters stay, 201 become 199 and an ellipsis."""
        del way
        assert notified(ada, "é" * 200).title == "é" * 200
        UserNotification.objects.all().delete()
        assert notified(ada, "é" * 201).title == "é" * 199 + "…"

    def test_a_long_message_is_shortened(self, way: str, ada: User) -> None:
        """4,000 characters stay, 4,001 become 3,999 and an ellipsis."""
        del way
        assert notified(ada, "Title", "🕑" * 4_000).message == "🕑" * 4_000
        UserNotification.objects.all().delete()
        assert notified(ada, "Title", "🕑" * 4_001).message == "🕑" * 3_999 + "…"

    def test_control_characters_are_replaced(self, way: str, ada: User) -> None:
        """All but the newline: also NUL, which PostgreSQL can't store."""
        del way
        row = notified(ada, "a\x00b\x1bc", "1\n2\x003\t4\x7f5\x85\x9f\r\n6\r7")
        assert row.title == f"a{REPLACED}b{REPLACED}c"
        assert row.message.replace(REPLACED, "?") == "1\n2?3?4?5??\n6?7"

    def test_lone_surrogates_are_replaced(self, way: str, ada: User) -> None:
        """They can't be stored or sent; whole characters beyond the BMP can."""
        del way
        row = notified(ada, "a\ud83d b🕑", "\udfff\ud800")
        assert row.title == f"a{REPLACED} b🕑"
        assert row.message == REPLACED * 2

    def test_what_people_write_stays(self, way: str, ada: User) -> None:
        """Markup, quotes, right-to-left and joined characters are text like any."""
        del way
        text = (
            "<b>\"'&amp; Größe שלום \N{RIGHT-TO-LEFT OVERRIDE}x 👩‍💻 \N{NO-BREAK SPACE}"
        )
        row = notified(ada, text, text)
        assert (row.title, row.message) == (text, text)

    def test_lazy_and_safe_strings_become_plain(self, way: str, ada: User) -> None:
        """Exactly `str`, in the language of the call, in the row that is returned."""
        del way
        with override("de"):
            row = notify_user(
                ada,
                gettext_lazy("Yes"),  # type: ignore[arg-type]
                mark_safe("<b>bold</b>"),
                url=SafeString("/tasks/"),
                source_app=SafeString("tasks"),
                source_model=gettext_lazy("Yes"),  # type: ignore[arg-type]
                source_id=SafeString("42"),
            )
        assert row is not None
        assert (row.title, row.message) == ("Ja", "<b>bold</b>")
        for name in (
            *("title", "message", "level", "url"),
            *("source_app", "source_model", "source_id"),
        ):
            assert type(getattr(row, name)) is str, name

    def test_the_level_may_be_an_enum_member(self, way: str, ada: User) -> None:
        """It is stored as the plain word."""
        del way
        row = notify_user(ada, "Title", level=Level.DANGER)
        assert row is not None
        assert type(row.level) is str
        assert UserNotification.objects.get().level == "danger"

    def test_control_characters_in_a_source_are_replaced(
        self, way: str, ada: User
    ) -> None:
        """What no database stores doesn't break the call."""
        del way
        assert notified(ada, "Title", source_id="a\x00b").source_id == f"a{REPLACED}b"

    @pytest.mark.parametrize(
        ("value", "stored"),
        [
            (42, "42"),
            (0, "0"),
            (uuid.UUID(int=7), "00000000-0000-0000-0000-000000000007"),
            ("a b/ü", "a b/ü"),
        ],
    )
    def test_ids_go_through_str(
        self, db: None, ada: User, value: object, stored: str
    ) -> None:
        """Any primary key will do."""
        del db
        assert notified(ada, "Title", source_id=value).source_id == stored


SAFE_URLS = [
    "",
    "/",
    "/tasks/42/",
    "/tasks/42/?a=1&b=//x#y",
    "/a b/ü/@x:y",
    "/a//b",
    "/a/\\b",
    "/./host",
    "http://example.org",
    "https://example.org/",
    "HTTPS://EXAMPLE.ORG/x",
    "https://example.org:8443/x?a=b@c#d",
    "http://[::1]:8000/",
    "https://müller.example/ä",
    "http://localhost/x",
    "/" + "x" * 1_999,
]
UNSAFE_URLS = [
    "javascript:alert(1)",
    "JaVaScRiPt:alert(1)",
    "\tjava\nscript:alert(1)",
    "java\nscript:alert(1)",
    " javascript:alert(1)",
    "\x01javascript:alert(1)",
    "javascript://example.org/%0aalert(1)",
    "data:text/html,<script>alert(1)</script>",
    "vbscript:msgbox(1)",
    "file:///etc/passwd",
    "blob:https://example.org/1",
    "mailto:ada@example.org",
    "ftp://example.org/",
    "ws://example.org/",
    "//example.org/",
    "///example.org/",
    "/\\example.org/",
    "\\\\example.org/",
    "\\/example.org/",
    "/\t/example.org/",
    "/\n/example.org/",
    "/x\r\nSet-Cookie: a=b",
    "/x\x00",
    "/x\x7f",
    "/x\x85",
    "/x\ud800",
    "https://ada@example.org/",
    "https://ada:secret@example.org/",
    "https://@example.org/",
    "https://example.org\\@evil.example/",
    "https://example.org\uff20evil.example/",
    "https:example.org",
    "https:/example.org",
    "https:///example.org",
    "https:\\\\example.org",
    "https://",
    "https://:443/",
    "https://[::1/",
    "https://example.org:port/",
    "https://example.org:99999/",
    "http\t://example.org/",
    " https://example.org/",
    "tasks/42/",
    "./tasks/",
    "?page=2",
    "#top",
    "example.org",
    " ",
    "/" + "x" * 2_000,
    "https://example.org/" + "x" * 1_981,
]


def _can_be_stored(url: str) -> bool:
    return len(url) <= 2_000 and "\0" not in url and "\ud800" not in url


class TestLinks:
    @pytest.mark.parametrize("url", SAFE_URLS)
    def test_a_path_or_an_address_is_stored(
        self, db: None, ada: User, url: str
    ) -> None:
        """As it was given, and put on the wire."""
        del db
        row = notified(ada, "Title", url=url)
        assert row.url == url
        (item,) = mailbox.read_state(ada.pk).to_wire()["items"]
        assert item["url"] == url

    @pytest.mark.parametrize("url", UNSAFE_URLS)
    def test_an_unsafe_one_is_refused(self, db: None, ada: User, url: str) -> None:
        """The message says what is allowed."""
        del db
        refuse("url must be a path such as '/tasks/42/' or an http", ada, "T", url=url)

    @pytest.mark.parametrize("url", [url for url in UNSAFE_URLS if _can_be_stored(url)])
    def test_an_unsafe_one_in_the_table_is_no_link(
        self, db: None, ada: User, url: str
    ) -> None:
        """What somebody wrote past Themis doesn't reach a page."""
        del db
        notified(ada, "Title")
        UserNotification.objects.update(url=url)
        (item,) = mailbox.read_state(ada.pk).to_wire()["items"]
        assert item["url"] == ""

    @pytest.mark.parametrize("url", [None, 7, b"/x"])
    def test_what_is_no_text_is_refused(self, db: None, ada: User, url: Any) -> None:
        """It says what it got."""
        del db
        refuse(f"url must be a string, not {type(url).__name__}", ada, "T", url=url)


class TestExpiry:
    def test_an_aware_time_is_kept(self, way: str, ada: User) -> None:
        """In whatever zone it came."""
        del way
        zone = ZoneInfo("Europe/Vienna")
        moment = datetime(2040, 7, 1, 12, tzinfo=zone)
        assert notified(ada, "Title", expires_at=moment).expires_at == moment

    def test_a_naive_time_is_in_djangos_zone(
        self, way: str, ada: User, settings: Settings
    ) -> None:
        """With the warning that Django gives for any field."""
        del way
        settings.TIME_ZONE = "Europe/Vienna"
        with pytest.warns(RuntimeWarning, match="received a naive datetime"):
            row = notified(ada, "Title", expires_at=datetime(2040, 7, 1, 12))  # noqa: DTZ001
        assert row.expires_at == datetime(2040, 7, 1, 10, tzinfo=UTC)

    def test_the_last_moment_is_kept(self, way: str, ada: User) -> None:
        """Some hosts say "never" so."""
        del way
        moment = datetime.max.replace(tzinfo=UTC)
        assert notified(ada, "Title", expires_at=moment).expires_at == moment
        (item,) = mailbox.read_state(ada.pk).to_wire()["items"]
        assert item["expires_at"] == "9999-12-31T23:59:59.999999Z"

    def test_an_expired_one_is_stored_and_never_shown(
        self, way: str, ada: User, sent: list[Changes]
    ) -> None:
        """Never counted, listed or pushed, and nothing waits for ever."""
        del way
        row = notified(ada, "Title", expires_at=django_timezone.now())
        assert mailbox.count_unread(ada.pk) == 0
        state = mailbox.read_state(ada.pk)
        assert (state.unread, state.items, state.revision) == (0, [], 0)
        assert not UserNotification.objects.listed().exists()
        assert not UserNotification.objects.unread().exists()
        row.refresh_from_db()
        assert row.created_revision is None
        assert not row.pending
        assert not sent

    def test_one_that_expires_before_its_stamp_is_never_shown(
        self, db: None, ada: User, sent: list[Changes], clock: Clock
    ) -> None:
        """The host's transaction lasted longer than the notification."""
        del db
        row = notified(ada, "Title", expires_at=clock.time + timedelta(seconds=1))
        clock.advance(seconds=2)
        state = mailbox.read_state(ada.pk)
        assert (state.unread, state.items, state.revision) == (0, [], 0)
        row.refresh_from_db()
        assert row.created_revision is None
        assert not row.pending
        assert not sent

    def test_it_vanishes_at_its_time_without_a_write(
        self, way: str, ada: User, clock: Clock
    ) -> None:
        """The first read at that time stamps it: gone from list and count."""
        del way
        row = notified(ada, "Title", expires_at=clock.time + timedelta(seconds=9))
        before = mailbox.read_state(ada.pk)
        assert before.unread == 1
        clock.advance(seconds=9)
        assert mailbox.count_unread(ada.pk) == 0
        after = mailbox.read_state(ada.pk, since=before.revision, epoch=before.epoch)
        assert isinstance(after, Changes)
        assert (after.unread, after.items, after.removed) == (0, [], [row.pk])
        assert after.revision == before.revision + 1


class TestWithoutTimeZones:
    @pytest.fixture(autouse=True)
    def _naive(self, settings: Settings, transactional_db: None) -> Iterator[None]:
        """The host stores naive local time."""
        del transactional_db
        settings.USE_TZ = False
        settings.TIME_ZONE = "Europe/Vienna"
        connection.close()
        yield
        connection.close()

    def test_a_naive_time_is_local(self, ada: User) -> None:
        """And UTC on the wire."""
        moment = datetime(2040, 7, 1, 12)  # noqa: DTZ001
        assert notified(ada, "Title", expires_at=moment).expires_at == moment
        (item,) = mailbox.read_state(ada.pk).to_wire()["items"]
        assert item["expires_at"] == "2040-07-01T10:00:00Z"

    def test_the_last_moment_is_kept(self, ada: User) -> None:
        """It has none in UTC, and is sent all the same."""
        moment = datetime.max  # noqa: DTZ901
        assert notified(ada, "Title", expires_at=moment).expires_at == moment
        (item,) = mailbox.read_state(ada.pk).to_wire()["items"]
        assert item["expires_at"].startswith("9999-12-31T")

    def test_an_aware_time_becomes_local(self, ada: User) -> None:
        """It is the same moment."""
        moment = datetime(2040, 7, 1, 10, tzinfo=UTC)
        stored = notified(ada, "Title", expires_at=moment).expires_at
        assert stored == datetime(2040, 7, 1, 12)  # noqa: DTZ001
        (item,) = mailbox.read_state(ada.pk).to_wire()["items"]
        assert item["expires_at"] == "2040-07-01T10:00:00Z"

    def test_reading_has_a_time_on_the_wire(self, ada: User) -> None:
        """All times are UTC with a Z, `now` included."""
        row = notified(ada, "Title")
        frame, at = mailbox.change(ada.pk, "read", ids=[row.pk])
        assert at is not None
        wire = frame.to_wire()
        (item,) = wire["items"]
        for text in (wire["now"], item["read_at"], item["created_at"]):
            moment = datetime.fromisoformat(text)
            assert text.endswith("Z")
            assert abs(moment - datetime.now(UTC)) < timedelta(minutes=1)


class TestPreferences:
    def test_switched_off_means_none(self, way: str, ada: User) -> None:
        """Nothing is stored, whatever the level."""
        del way
        ada.profile.notifications_enabled = False
        ada.profile.save()
        assert notify_user(ada, "Title", level="danger") is None
        assert not UserNotification.objects.exists()

    @pytest.mark.parametrize(
        ("minimum", "told"),
        [
            ("info", {"info", "success", "warning", "danger"}),
            ("success", {"info", "success", "warning", "danger"}),
            ("warning", {"warning", "danger"}),
            ("danger", {"danger"}),
        ],
    )
    def test_levels_below_the_minimum_are_skipped(
        self, db: None, ada: User, minimum: str, told: set[str]
    ) -> None:
        """Info and success weigh the same."""
        del db
        UserProfile.objects.filter(user=ada).update(notification_min_level=minimum)
        for level in Level.values:
            row = notify_user(ada, "Title", level=level)
            assert (row is not None) is (level in told), level

    def test_a_minimum_that_is_no_level_asks_for_everything(
        self, db: None, ada: User
    ) -> None:
        """What somebody wrote past the form doesn't fail the business."""
        del db
        UserProfile.objects.update(notification_min_level="error")
        assert notify_user(ada, "Title")

    def test_the_row_counts_and_not_a_cached_profile(self, way: str, ada: User) -> None:
        """user.profile may have been loaded long ago."""
        del way
        assert ada.profile.notifications_enabled
        UserProfile.objects.filter(user=ada).update(notifications_enabled=False)
        assert notify_user(ada, "Title") is None
        stale = ada.profile
        assert stale.notifications_enabled
        UserProfile.objects.filter(user=ada).update(notifications_enabled=True)
        stale.notifications_enabled = False
        assert notify_user(ada, "Title") is not None

    def test_no_row_means_the_defaults(self, way: str, ada: User) -> None:
        """And none is made."""
        del way
        UserProfile.objects.all().delete()
        assert notify_user(User.objects.get(), "Title") is not None
        assert not UserProfile.objects.exists()


class TestDeduplication:
    def test_an_unread_duplicate_means_none(self, way: str, ada: User) -> None:
        """Same three source fields; what it says doesn't matter."""
        del way
        assert notify_user(ada, "Overdue", **SOURCE, deduplicate=True)
        assert notify_user(ada, "Still overdue", **SOURCE, deduplicate=True) is None
        assert UserNotification.objects.count() == 1

    def test_however_it_was_created(self, way: str, ada: User) -> None:
        """By a call without deduplicate, or by the ORM."""
        del way
        notify_user(ada, "One", **SOURCE)
        assert notify_user(ada, "Two", **SOURCE, deduplicate=True) is None
        UserNotification.objects.create(user=ada, title="Own", source_id="7")
        assert notify_user(ada, "Two", source_id="7", deduplicate=True) is None

    def test_only_calls_that_ask_are_skipped(self, way: str, ada: User) -> None:
        """Without deduplicate there may be any number."""
        del way
        assert notify_user(ada, "One", **SOURCE, deduplicate=True)
        assert notify_user(ada, "One", **SOURCE)
        assert notify_user(ada, "One", **SOURCE)
        assert UserNotification.objects.count() == 3

    @pytest.mark.parametrize("name", SOURCE)
    def test_all_three_source_fields_count(
        self, db: None, ada: User, name: str
    ) -> None:
        """One that differs is another source."""
        del db
        notify_user(ada, "One", **SOURCE, deduplicate=True)
        assert notify_user(ada, "One", **{**SOURCE, name: "x"}, deduplicate=True)
        assert notify_user(ada, "One", **{**SOURCE, name: ""}, deduplicate=True)

    def test_source_fields_do_not_run_together(self, db: None, ada: User) -> None:
        """("a", "bc") isn't ("ab", "c")."""
        del db
        notify_user(ada, "One", source_app="a", source_model="bc", deduplicate=True)
        assert notify_user(
            ada, "One", source_app="ab", source_model="c", deduplicate=True
        )

    def test_another_users_does_not_matter(self, way: str, ada: User) -> None:
        """Each has a mailbox of their own."""
        del way
        grace = make_user("grace")
        assert notify_user(ada, "One", **SOURCE, deduplicate=True)
        assert notify_user(grace, "One", **SOURCE, deduplicate=True)

    def test_without_a_source_what_it_says_counts(self, way: str, ada: User) -> None:
        """Level, title, message and url."""
        del way
        said: dict[str, Any] = {"message": "M", "level": "warning", "url": "/x"}
        assert notify_user(ada, "T", **said, deduplicate=True)
        assert notify_user(ada, "T", **said, deduplicate=True) is None
        for name, value in {"message": "N", "level": "info", "url": "/y"}.items():
            other: dict[str, Any] = {**said, name: value}
            assert notify_user(ada, "T", **other, deduplicate=True), name
        assert notify_user(ada, "U", **said, deduplicate=True)

    def test_what_it_says_is_compared_as_stored(self, way: str, ada: User) -> None:
        """After mending, so that the same long text is the same."""
        del way
        long: dict[str, Any] = {"title": "x" * 300, "message": "a\x00" + "y" * 5_000}
        assert notify_user(ada, **long, deduplicate=True)
        assert notify_user(ada, **long, deduplicate=True) is None

    def test_one_with_a_source_is_no_duplicate_of_one_without(
        self, way: str, ada: User
    ) -> None:
        """Even if they say the same."""
        del way
        assert notify_user(ada, "T", **SOURCE, deduplicate=True)
        assert notify_user(ada, "T", deduplicate=True)

    @pytest.mark.parametrize("verb", ["read", "dismiss"])
    @pytest.mark.parametrize("by", ["person", "update", "save"])
    def test_a_read_or_dismissed_one_never_blocks(
        self, way: str, ada: User, verb: Any, by: str
    ) -> None:
        """Not even one that holds the key."""
        del way
        row = notified(ada, "One", **SOURCE, deduplicate=True)
        name = "read_at" if verb == "read" else "dismissed_at"
        if by == "person":
            mailbox.look(ada.pk)
            mailbox.change(ada.pk, verb, ids=[row.pk])
        elif by == "update":
            UserNotification.objects.update(**{name: django_timezone.now()})
        else:
            setattr(row, name, django_timezone.now())
            row.save()
        assert notify_user(ada, "Two", **SOURCE, deduplicate=True)
        assert notify_user(ada, "Three", **SOURCE, deduplicate=True) is None

    @pytest.mark.parametrize("by", ["person", "update", "save"])
    def test_a_reopened_one_takes_no_key_back(
        self, way: str, ada: User, by: str
    ) -> None:
        """Two are open then, and no error anywhere."""
        del way
        row = notified(ada, "One", **SOURCE, deduplicate=True)
        mailbox.look(ada.pk)
        mailbox.change(ada.pk, "read", ids=[row.pk])
        second = notify_user(ada, "Two", **SOURCE, deduplicate=True)
        assert second is not None
        if by == "person":
            mailbox.change(ada.pk, "unread", ids=[row.pk])
        elif by == "update":
            UserNotification.objects.filter(pk=row.pk).update(read_at=None)
        else:
            row.refresh_from_db()
            row.read_at = None
            row.save()
        assert mailbox.count_unread(ada.pk) == 2
        assert notify_user(ada, "Three", **SOURCE, deduplicate=True) is None
        second.refresh_from_db()
        second.read_at = django_timezone.now()
        second.save()
        assert notify_user(ada, "Three", **SOURCE, deduplicate=True) is None

    def test_a_stale_instance_takes_no_key_back(self, way: str, ada: User) -> None:
        """The instance that notify_user returned may be saved at any time."""
        del way
        row = notify_user(ada, "One", **SOURCE, deduplicate=True)
        assert row is not None
        UserNotification.objects.filter(pk=row.pk).update(read_at=django_timezone.now())
        assert notify_user(ada, "Two", **SOURCE, deduplicate=True)
        row.save()
        assert mailbox.count_unread(ada.pk) == 2

    def test_an_expired_holder_gives_its_key_away(
        self, way: str, ada: User, clock: Clock
    ) -> None:
        """At the next call, and again."""
        del way
        for _ in range(3):
            row = notify_user(
                ada,
                "One",
                **SOURCE,
                deduplicate=True,
                expires_at=clock.time + timedelta(seconds=5),
            )
            assert row is not None
            assert notify_user(ada, "Two", **SOURCE, deduplicate=True) is None
            clock.advance(seconds=5)
        assert mailbox.count_unread(ada.pk) == 0
        assert UserNotification.objects.count() == 3

    def test_a_holder_that_was_edited_gives_its_key_away(
        self, way: str, ada: User
    ) -> None:
        """None means that there is a duplicate, not that there was one."""
        del way
        row = notified(ada, "One", **SOURCE, deduplicate=True)
        row.source_id = "43"
        row.save()
        assert notify_user(ada, "Two", **SOURCE, deduplicate=True)
        assert notify_user(ada, "Two", **SOURCE, deduplicate=True) is None
        assert (
            notify_user(ada, "3", **{**SOURCE, "source_id": "43"}, deduplicate=True)
            is None
        )

    def test_an_expired_one_at_birth_never_blocks(self, way: str, ada: User) -> None:
        """It was never there."""
        del way
        past = django_timezone.now() - timedelta(days=1)
        assert notify_user(ada, "T", **SOURCE, deduplicate=True, expires_at=past)
        assert notify_user(ada, "T", **SOURCE, deduplicate=True, expires_at=past)
        assert notify_user(ada, "T", **SOURCE, deduplicate=True)

    def test_a_deleted_one_never_blocks(self, way: str, ada: User) -> None:
        """The source's clean-up frees the place."""
        del way
        notify_user(ada, "One", **SOURCE, deduplicate=True)
        UserNotification.objects.filter(**SOURCE).delete()
        assert notify_user(ada, "Two", **SOURCE, deduplicate=True)


@pytest.mark.only("postgres")
def test_a_clash_of_ids_is_no_duplicate(way: str, ada: User) -> None:
    """A sequence that an import left behind is an error, and nothing is lost.

    SQLite never gives an id that is taken.
    """
    row = notify_user(ada, "Title")
    assert row
    UserNotification.objects.create(pk=row.pk + 1, user=ada, title="With an id")
    with pytest.raises(IntegrityError):
        notify_user(ada, "Other", deduplicate=True)
    assert notify_user(ada, "Other", deduplicate=True)


@pytest.mark.django_db(transaction=True)
class TestTransactions:
    def test_a_rollback_leaves_nothing(self, ada: User, sent: list[Changes]) -> None:
        """Neither a row, nor a revision, nor a push."""
        with transaction.atomic():
            assert notify_user(ada, "Title", **SOURCE, deduplicate=True)
            transaction.set_rollback(True)
        state = mailbox.read_state(ada.pk)
        assert (state.revision, state.unread, state.items) == (0, 0, [])
        assert not UserNotification.objects.exists()
        assert not sent

    def test_a_savepoints_rollback_leaves_nothing(
        self, ada: User, sent: list[Changes]
    ) -> None:
        """What was written around it is pushed, alone."""
        with transaction.atomic():
            notify_user(ada, "Before")
            with transaction.atomic():
                notify_user(ada, "Inside")
                transaction.set_rollback(True)
            notify_user(ada, "After")
        (change,) = sent
        assert [row.title for row in change.items] == ["After", "Before"]
        assert change.unread == 2

    def test_a_rolled_back_claim_does_not_block(self, ada: User) -> None:
        """The key goes with the row."""
        with transaction.atomic():
            with transaction.atomic():
                assert notify_user(ada, "One", **SOURCE, deduplicate=True)
                transaction.set_rollback(True)
            assert notify_user(ada, "Two", **SOURCE, deduplicate=True)

    @pytest.mark.parametrize("deduplicate", [False, True])
    def test_an_error_of_its_own_leaves_the_transaction_usable(
        self, ada: User, monkeypatch: pytest.MonkeyPatch, *, deduplicate: bool
    ) -> None:
        """The host may catch it and go on."""
        with transaction.atomic():
            make_user("before")
            with monkeypatch.context() as patch:
                patch.setattr("themis.store._INSERT", "INSERT {columns} {source}")
                with pytest.raises(DatabaseError):
                    notify_user(ada, "Title", **SOURCE, deduplicate=deduplicate)
            make_user("after")
            assert notify_user(ada, "Title")
        assert User.objects.count() == 3
        assert mailbox.read_state(ada.pk).unread == 1

    def test_an_error_while_explaining_leaves_the_transaction_usable(
        self, ada: User, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Whether a skipped user exists is Themis' own question, too."""
        UserProfile.objects.update(notifications_enabled=False)
        with transaction.atomic():
            with monkeypatch.context() as patch:
                patch.setattr(User._meta, "db_table", "themis_nowhere")
                patch.setattr("themis.notifications._deliver", lambda *_: [])
                with pytest.raises(DatabaseError):
                    notify_user(ada, "Title")
            make_user("after")
        assert User.objects.count() == 2

    def test_an_error_after_the_commit_does_not_reach_the_host(
        self,
        ada: User,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        """Stamping failed: the row is there, and the next look shows it."""
        reached = []
        with monkeypatch.context() as patch:
            patch.setattr("themis.stamping._stamp_rows", _fail)
            with transaction.atomic():
                notify_user(ada, "Title")
                transaction.on_commit(lambda: reached.append(True))
        assert reached
        assert "Stamping is broken" in caplog.text
        assert mailbox.read_state(ada.pk).unread == 1

    def test_a_broadcaster_that_fails_does_not_reach_the_host(
        self,
        ada: User,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        """On both ways the notification is stored and returned."""
        monkeypatch.setattr(
            "tests.themis.broadcasting.CollectingBroadcaster.broadcast", _fail
        )
        assert notify_user(ada, "One")
        with transaction.atomic():
            assert notify_user(ada, "Two")
        assert "Stamping is broken" in caplog.text
        assert mailbox.read_state(ada.pk).unread == 2


def _fail(*args: object) -> None:
    del args
    raise RuntimeError("Stamping is broken")


@pytest.mark.django_db(transaction=True)
class TestAsync:
    async def test_it_does_the_same(self) -> None:
        """One line of its own: arguments and results are those of the twin."""
        ada = await User.objects.acreate(username="ada")
        row = await anotify_user(ada, "Title", level="danger", **SOURCE)
        assert row is not None
        assert await UserNotification.objects.aget() == row
        assert await anotify_user(ada, "T", **SOURCE, deduplicate=True) is None
        with pytest.raises(ValueError, match="level"):
            await anotify_user(user=ada, title="Title", level="x")

    async def test_a_cancelled_await_does_not_undo_the_write(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The thread finishes what it has begun."""
        ada = await User.objects.acreate(username="ada")
        begun, released = threading.Event(), threading.Event()

        def store_slowly(*args: Any, **kwargs: Any) -> list[UserNotification]:
            begun.set()
            assert released.wait(timeout=10)
            return store(*args, **kwargs)

        monkeypatch.setattr("themis.notifications.store", store_slowly)
        task = asyncio.create_task(anotify_user(ada, "Title"))
        assert await asyncio.to_thread(begun.wait, 10)
        task.cancel()
        released.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        # Behind it, in the same thread.
        assert await UserNotification.objects.acount() == 1
