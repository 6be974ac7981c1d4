"""The short way on PostgreSQL: it does what the long way does, in one statement."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from importlib import import_module
from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth.models import User
from django.db import connection
from django.utils import timezone

from tests.themis.colleague import dying_after_the_commit
from tests.themis.conftest import make_user
from tests.themis.statements import statements, transactions
from themis import mailbox, shortcut
from themis.events import Changes
from themis.models import Level, Mailbox, UserNotification, UserProfile
from themis.notifications import notify_user
from themis.queries import plain, plain_profiles

pytestmark = [pytest.mark.only("postgres"), pytest.mark.django_db(transaction=True)]

NOW = datetime(2030, 1, 1, tzinfo=UTC)


@pytest.fixture
def moments(monkeypatch: pytest.MonkeyPatch) -> list[datetime]:
    """What time it is: the last of them."""
    moments = [NOW]
    monkeypatch.setattr(timezone, "now", lambda: moments[-1])
    return moments


@pytest.fixture
def long_way(monkeypatch: pytest.MonkeyPatch) -> Callable[..., object]:
    """Notify without the function."""

    def notify(*args: Any, **kwargs: Any) -> object:
        with monkeypatch.context() as patch:
            patch.setattr(shortcut, "leads_to", lambda *_: False)
            return notify_user(*args, **kwargs)

    return notify


def _nothing(user: User) -> None:
    """A mailbox that has just been made."""
    mailbox.look(user.pk)


def _no_mailbox(user: User) -> None:
    """Nor that."""


def _no_profile(user: User) -> None:
    mailbox.look(user.pk)
    plain_profiles("default").filter(user=user).delete()


def _switched_off(user: User) -> None:
    mailbox.look(user.pk)
    plain_profiles("default").filter(user=user).update(notifications_enabled=False)


def _with_desktop(user: User) -> None:
    mailbox.look(user.pk)
    profiles = plain_profiles("default").filter(user=user)
    profiles.update(browser_notifications_enabled=True)


def _busy(user: User) -> None:
    """Read, dismissed, expiring, deleted and unstamped ones."""
    read, dismissed, deleted = (notify_user(user, title) for title in "abc")
    assert read
    assert dismissed
    assert deleted
    rows = UserNotification.objects
    rows.filter(pk=read.pk).update(read_at=NOW)
    rows.filter(pk=dismissed.pk).update(dismissed_at=NOW)
    notify_user(user, "d", expires_at=NOW + timedelta(hours=1))
    notify_user(user, "e", expires_at=NOW + timedelta(hours=3))
    with dying_after_the_commit():
        rows.create(user=user, title="f")
        rows.filter(pk=deleted.pk).delete()
        UserProfile.objects.get(user=user).save()


PASTS = [_no_mailbox, _nothing, _no_profile, _switched_off, _with_desktop, _busy]
TEXTS: list[dict[str, Any]] = [
    {"title": "Title"},
    {"title": "é%s{}'\\", "message": "\n", "url": "/x?y=%20", "level": "danger"},
    {
        "title": "T",
        "level": "success",
        "source_app": "a",
        "source_model": "b",
        "source_id": 5,
        "expires_at": NOW + timedelta(hours=4),
    },
]


def _columns(rows: Any, *but: str) -> list[dict[str, Any]]:
    left_out = {"id", "user_id", "created_at", *but}
    return [
        {name: value for name, value in row.items() if name not in left_out}
        for row in rows.values()
    ]


def _told(changes: list[Changes]) -> list[dict[str, Any]]:
    """What pages were told, but for what no two users have in common."""
    frames = [change.to_wire() for change in changes]
    for frame in frames:
        del frame["epoch"]
        for item in frame["items"]:
            del item["id"], item["open_url"], item["created_at"]
    return frames


@pytest.mark.parametrize("texts", TEXTS, ids=str)
@pytest.mark.parametrize("past", PASTS)
def test_both_ways_do_the_same(
    past: Callable[[User], None],
    texts: dict[str, Any],
    moments: list[datetime],
    sent: list[Changes],
    long_way: Callable[..., Any],
) -> None:
    """Whatever is in the mailbox: the rows, the count, the frame, the answer."""
    seen = []
    for username, notify in (("ada", notify_user), ("grace", long_way)):
        moments.append(NOW)
        user = make_user(username)
        past(user)
        # One of those that expire is over, and nobody has stamped that.
        moments.append(NOW + timedelta(hours=2))
        sent.clear()
        row: Any = notify(user, **texts)
        if row is not None:
            fresh = UserNotification.objects.get(pk=row.pk)
            assert row.__dict__.keys() - {"_user"} >= fresh.__dict__.keys() - {"_user"}
            for field in UserNotification._meta.concrete_fields:
                assert getattr(row, field.attname) == getattr(fresh, field.attname)
        seen.append(
            {
                "skipped": row is None,
                "rows": _columns(plain("default").filter(user=user).order_by("pk")),
                "box": _columns(Mailbox.objects.filter(pk=user.pk), "epoch"),
                "profile": _columns(plain_profiles("default").filter(user=user)),
                "told": _told(sent),
            }
        )
    short, long = seen
    assert short == long


@pytest.mark.parametrize("minimum", Level.values)
@pytest.mark.parametrize("level", Level.values)
def test_both_ways_have_the_same_rules(
    level: str, minimum: str, ada: User, long_way: Callable[..., object]
) -> None:
    """Who wants less than they are told is left alone."""
    mailbox.look(ada.pk)
    plain_profiles("default").update(notification_min_level=minimum)
    told = notify_user(ada, "Title", level=level) is not None
    assert told == (long_way(ada, "Title", level=level) is not None)
    assert told == (Level(level).weight >= Level(minimum).weight)


def test_it_is_one_statement_and_no_transaction_of_the_connection(ada: User) -> None:
    """Whether or not the user wants it."""
    mailbox.look(ada.pk)
    with statements() as spent, transactions() as begun:
        assert notify_user(ada, "Title")
    assert len(spent) == 1, spent
    assert not begun


@pytest.fixture
def without_function(transactional_db: None) -> Iterator[None]:
    """A database whose tables were made without migrations."""
    migration = import_module("themis.migrations.0004_store_function")
    with connection.schema_editor() as editor:
        migration.drop(apps, editor)
    yield
    shortcut._closed.clear()
    with connection.schema_editor() as editor:
        migration.create(apps, editor)


@pytest.mark.usefixtures("without_function")
def test_without_the_function_there_is_the_long_way(
    ada: User, sent: list[Changes], caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing is missed but time, and that is said once."""
    mailbox.look(ada.pk)
    spent = []
    for number in range(3):
        with statements() as found:
            row = notify_user(ada, "Title")
        spent.append(len(found))
        assert row is not None
        assert row.revision == number + 1
    assert [change.unread for change in sent] == [1, 2, 3]
    assert spent == [4, 3, 3]
    (said,) = caplog.records
    assert "themis_store_1" in said.getMessage()


@pytest.fixture
def without_privilege(transactional_db: None) -> Iterator[None]:
    """A role that may use the tables, and not call the function."""
    with connection.cursor() as cursor:
        cursor.execute("REVOKE EXECUTE ON FUNCTION themis_store_1 FROM PUBLIC")
        cursor.execute("CREATE ROLE clerk IN ROLE pg_read_all_data, pg_write_all_data")
        cursor.execute("SET ROLE clerk")
    yield
    shortcut._closed.clear()
    with connection.cursor() as cursor:
        cursor.execute("RESET ROLE")
        cursor.execute("DROP ROLE clerk")
        cursor.execute("GRANT EXECUTE ON FUNCTION themis_store_1 TO PUBLIC")


@pytest.mark.usefixtures("without_privilege")
def test_whoever_may_not_call_the_function_goes_the_long_way(
    ada: User, sent: list[Changes], caplog: pytest.LogCaptureFixture
) -> None:
    """What is denied is said once; the notifications are there and are told."""
    mailbox.look(ada.pk)
    rows = [notify_user(ada, "Title") for _ in range(3)]
    assert [row and row.revision for row in rows] == [1, 2, 3]
    assert UserNotification.objects.filter(user=ada, pending=False).count() == 3
    assert [change.unread for change in sent] == [1, 2, 3]
    (said,) = caplog.records
    assert said.levelname == "WARNING"
    assert "permission denied for function themis_store_1" in said.getMessage()


def test_callers_at_once_have_the_counts_of_their_revisions(
    ada: User, sent: list[Changes]
) -> None:
    """Each step of the function sees what was committed while it waited."""
    mailbox.look(ada.pk)

    def call() -> None:
        for _time in range(25):
            notify_user(ada, "Title")
        connection.close()

    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(call) for _ in range(4)]:
            done.result()
    told = sorted((change.revision, change.unread) for change in sent)
    assert told == [(number, number) for number in range(1, 101)]
