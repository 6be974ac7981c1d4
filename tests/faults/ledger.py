"""The database as it is, and each revision as it was: what pages are compared with."""

import contextlib
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple

import psycopg

WINDOW = 20


class Row(NamedTuple):
    id: str
    user: str
    title: str
    is_read: bool
    is_listed: bool
    created_revision: int | None
    revision: int | None
    pending: bool


class Box(NamedTuple):
    epoch: str
    revision: int
    unread: int


class Moment(NamedTuple):
    """A revision when it was made."""

    at: float  # seconds since 1970
    unread: int


@dataclass(frozen=True)
class Books:
    """All that the database knows, of one moment."""

    boxes: dict[str, Box]
    rows: list[Row]
    # user -> (epoch, revision) -> what was true then.
    moments: dict[str, dict[tuple[str, int], Moment]] = field(default_factory=dict)

    @property
    def pending(self) -> int:
        return sum(row.pending for row in self.rows)

    def rows_of(self, user: str) -> list[Row]:
        return [row for row in self.rows if row.user == user]

    def newest(self, user: str) -> list[Row]:
        """What a page of the user has to show, the newest first."""
        listed = [
            row
            for row in self.rows_of(user)
            if row.is_listed and row.created_revision is not None
        ]
        listed.sort(key=lambda row: (row.created_revision, int(row.id)), reverse=True)
        return listed[:WINDOW]

    def unread(self, user: str) -> int:
        """Counted anew, and not as the mailbox says."""
        return sum(
            row.is_listed and not row.is_read and row.created_revision is not None
            for row in self.rows_of(user)
        )


_BOXES = """SELECT username, epoch, revision, unread
    FROM themis_mailbox JOIN auth_user ON auth_user.id = user_id"""
_ROWS = """SELECT n.id, username, title, read_at, dismissed_at, expires_at,
        created_revision, revision, pending
    FROM themis_usernotification AS n JOIN auth_user ON auth_user.id = n.user_id"""
_MOMENTS = """SELECT username, epoch, revision, unread, at
    FROM test_moments JOIN auth_user ON auth_user.id = user_id ORDER BY test_moments.id
"""

# Each revision is written down in the transaction that makes it.
_WATCH_POSTGRES = """
CREATE TABLE test_moments (id bigserial PRIMARY KEY, user_id bigint, epoch text,
    revision bigint, unread bigint, at double precision);
CREATE FUNCTION test_note_moment() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO test_moments (user_id, epoch, revision, unread, at) VALUES (
        NEW.user_id, NEW.epoch, NEW.revision, NEW.unread,
        extract(epoch FROM clock_timestamp()));
    RETURN NULL;
END $$;
CREATE TRIGGER test_note_moment AFTER INSERT OR UPDATE ON themis_mailbox
    FOR EACH ROW EXECUTE FUNCTION test_note_moment();
"""
_NOTE_SQLITE = """INSERT INTO test_moments (user_id, epoch, revision, unread, at)
    VALUES (NEW.user_id, NEW.epoch, NEW.revision, NEW.unread,
        (julianday('now') - 2440587.5) * 86400.0);"""
_WATCH_SQLITE = f"""
CREATE TABLE test_moments (id integer PRIMARY KEY, user_id, epoch, revision, unread,
    at);
CREATE TRIGGER test_note_made AFTER INSERT ON themis_mailbox BEGIN {_NOTE_SQLITE} END;
CREATE TRIGGER test_note_bumped AFTER UPDATE ON themis_mailbox
    BEGIN {_NOTE_SQLITE} END;
"""


class Ledger:
    """The database of the servers, by a way of its own."""

    def __init__(self, url: str) -> None:
        self._url = url

    def watch(self) -> None:
        """Have each revision written down from now on."""
        with self._connect() as connection:
            if isinstance(connection, sqlite3.Connection):
                connection.executescript(_WATCH_SQLITE)
            else:
                connection.execute(_WATCH_POSTGRES)

    def read(self) -> Books:
        """Read everything, at one moment."""
        with self._connect() as connection:
            if not isinstance(connection, sqlite3.Connection):
                connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            now = datetime.now(UTC)
            boxes = connection.execute(_BOXES).fetchall()
            rows = connection.execute(_ROWS).fetchall()
            moments = connection.execute(_MOMENTS).fetchall()
        books = Books(
            {user: Box(*box) for user, *box in boxes},
            [_to_row(row, now) for row in rows],
        )
        for user, epoch, revision, unread, at in moments:
            # The last one of a revision: a bump comes first, its count after.
            known = books.moments.setdefault(user, {})
            known[epoch, revision] = Moment(at, unread)
        return books

    def glance(self) -> tuple[dict[str, Box], int]:
        """Where the mailboxes stand, and how much waits to be stamped."""
        with self._connect() as connection:
            counts = [
                connection.execute(f"SELECT count(*) FROM {table}").fetchall()  # noqa: S608 -- constants
                for table in (
                    "themis_usernotification WHERE pending",
                    "themis_tombstone WHERE revision IS NULL",
                    "themis_userprofile WHERE pending",
                )
            ]
            rows = connection.execute(_BOXES).fetchall()
        boxes = {user: Box(*box) for user, *box in rows}
        return boxes, sum(count for [(count,)] in counts)

    @contextlib.contextmanager
    def _connect(self) -> Iterator[Any]:
        if self._url.startswith("sqlite:///"):
            path = self._url.removeprefix("sqlite:///")
            with contextlib.closing(sqlite3.connect(path)) as connection:
                connection.execute("PRAGMA busy_timeout = 10000")
                yield connection
                connection.commit()
            return
        with psycopg.connect(self._url) as connection_:
            yield connection_


def _to_row(row: Any, now: datetime) -> Row:
    pk, user, title, read_at, dismissed_at, expires_at, created, revision, pending = row
    if isinstance(expires_at, str):
        expires_at = datetime.fromisoformat(expires_at).replace(tzinfo=UTC)
    return Row(
        str(pk),
        user,
        title,
        is_read=read_at is not None,
        is_listed=dismissed_at is None and (expires_at is None or expires_at > now),
        created_revision=created,
        revision=revision,
        pending=bool(pending),
    )
