"""The mailbox rows: found, locked and bumped, counted.

These statements run for every notification and every poll, so they are written by
hand (`python -m benchmarks.notify`).
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.contrib.auth import get_user_model
from django.db import IntegrityError, connections
from django.db.models import F
from django.utils import timezone

from themis.models import Mailbox, make_epoch
from themis.statements import key_reader, run, to_key, to_moment
from themis.transactions import own_transaction

logger = logging.getLogger("themis")

# Counts are exact below this, and this number from there on.
COUNT_LIMIT = 10_000
# How many mailboxes one transaction gives new epochs, and how long it waits for one: as
# it holds others, less than PostgreSQL's deadlock_timeout.
EPOCHS_PER_TRANSACTION = 250
EPOCHS_WAIT_MS = 500
# How often making mailboxes is tried, while their users are being deleted.
ATTEMPTS = 3

_DESKTOP = """COALESCE((SELECT browser_notifications_enabled FROM themis_userprofile
    WHERE themis_userprofile.user_id = themis_mailbox.user_id), %(no)s)"""
_BURIED = """EXISTS (SELECT 1 FROM themis_tombstone
    WHERE themis_tombstone.user_id = themis_mailbox.user_id AND revision IS NULL)"""
_WISHED = """EXISTS (SELECT 1 FROM themis_userprofile
    WHERE themis_userprofile.user_id = themis_mailbox.user_id AND pending = %(yes)s)"""
_WRITTEN = """EXISTS (SELECT 1 FROM themis_usernotification
    WHERE themis_usernotification.user_id = themis_mailbox.user_id
    AND pending = %(yes)s)"""
_DUE = "COALESCE(next_expiry_at <= %(now)s, %(no)s)"

_FIND = f"""
SELECT user_id, epoch, revision, unread, {_DESKTOP}, next_expiry_at,
    {_DUE} OR {_WRITTEN} OR {_BURIED} OR {_WISHED}
FROM themis_mailbox WHERE user_id IN (%(users)s)
"""  # noqa: S608 -- of constants

# What is known of a mailbox when it is locked.
_HELD = f"{_DUE}, {_BURIED}, {_WISHED}"
# SQLite has no lock but a write. RETURNING names the table: in a subquery a bare
# `revision` would be the inner one's.
_BUMP = f"""
UPDATE themis_mailbox SET revision = themis_mailbox.revision + 1
WHERE user_id IN (%(users)s){{due}}
RETURNING user_id, epoch, themis_mailbox.revision, {_HELD}
"""  # noqa: S608 -- of constants
# In the order of the users. The row is written once, when it is counted.
_LOCK = f"""
SELECT user_id, epoch, themis_mailbox.revision + 1, {_HELD}
FROM themis_mailbox WHERE user_id IN (%(users)s){{due}}
ORDER BY user_id FOR NO KEY UPDATE{{skip}}
"""  # noqa: S608 -- of constants
_IF_DUE = " AND next_expiry_at <= %(now)s"

_OWNED = """FROM themis_usernotification AS owned
    WHERE owned.user_id = themis_mailbox.user_id
    AND owned.created_revision IS NOT NULL AND owned.dismissed_at IS NULL"""
_COUNT = f"""
UPDATE themis_mailbox SET
    revision = {{new}}, unread = (SELECT COUNT(*) FROM (
        SELECT 1 {_OWNED} AND owned.read_at IS NULL
        AND (owned.expires_at IS NULL OR owned.expires_at > %(now)s)
        LIMIT %(limit)s) AS counted),
    next_expiry_at = (SELECT MIN(owned.expires_at) {_OWNED}
        AND owned.expires_at IS NOT NULL AND owned.expiry_stamped = %(no)s)
WHERE user_id IN (%(users)s)
RETURNING user_id, unread, {_DESKTOP}, next_expiry_at
"""  # noqa: S608 -- of constants


# The stored count where it is the present one; else, as without a mailbox, a new one.
_UNREAD = f"""
SELECT COALESCE(
    (SELECT unread FROM themis_mailbox WHERE user_id IN (%(users)s)
        AND NOT ({_DUE} OR {_WRITTEN} OR {_BURIED})),
    (SELECT COUNT(*) FROM (
        SELECT 1 FROM themis_usernotification WHERE user_id IN (%(users)s)
        AND read_at IS NULL AND dismissed_at IS NULL
        AND (expires_at IS NULL OR expires_at > %(now)s)
        LIMIT %(limit)s) AS counted))
"""  # noqa: S608 -- of constants


@dataclass(frozen=True, slots=True)
class Box:
    """A mailbox as a reader finds it."""

    user: Any
    epoch: str
    revision: int
    unread: int
    desktop: bool
    # When the first of what it holds expires; None = nothing does.
    next_expiry_at: datetime | None
    # Something is written but not stamped, or has fallen due.
    waits: bool


@dataclass(frozen=True, slots=True)
class Bump:
    """A mailbox that this transaction holds, at its new revision."""

    user: Any
    epoch: str
    revision: int
    # What waits to be stamped besides written rows.
    has_due: bool
    has_buried: bool
    has_wishes: bool


@dataclass(frozen=True, slots=True)
class Count:
    """What belongs to the new revision of a mailbox."""

    unread: int
    desktop: bool
    next_expiry_at: datetime | None


def find(user: Any, now: datetime, using: str) -> Box | None:
    """Return the mailbox of *user* (a primary key), if there is one."""
    for row in run(_FIND, [user], using, now=now):
        _user, epoch, revision, unread, desktop, expiry, waits = row
        moment = to_moment(expiry, using)
        return Box(user, epoch, revision, unread, bool(desktop), moment, bool(waits))
    return None


def count_unread(user: Any, now: datetime, using: str) -> int:
    """Count what is unread, stamped or not; `COUNT_LIMIT` = that or more."""
    ((unread,),) = run(_UNREAD, [user], using, now=now, limit=COUNT_LIMIT)
    return int(unread)


def is_at(revision: int, user: Any, using: str) -> bool:
    """Tell whether the mailbox of *user* is at *revision*, and nothing waits in it."""
    box = find(user, timezone.now(), using)
    return box is not None and box.revision == revision and not box.waits


def make_missing(users: Collection[Any], using: str) -> None:
    """Make the mailboxes that *users* don't have yet; not of those who are deleted."""
    for _attempt in range(ATTEMPTS):
        try:
            _make_missing(users, using)
        except IntegrityError:
            # Somebody was deleted meanwhile: now there are fewer to make.
            if connections[using].in_atomic_block:
                raise
        else:
            return


def _make_missing(users: Collection[Any], using: str) -> None:
    boxes = Mailbox.objects.using(using)
    missing = set(users) - set(boxes.filter(pk__in=users).values_list("pk", flat=True))
    if missing:
        accounts = get_user_model()._base_manager.using(using)
        keys = accounts.filter(pk__in=missing).order_by("pk")
        boxes.bulk_create(
            (Mailbox(pk=pk) for pk in keys.values_list("pk", flat=True)),
            ignore_conflicts=True,
        )


def bump(
    users: Collection[Any],
    now: datetime,
    using: str,
    *,
    due_only: bool = False,
    free_only: bool = False,
) -> list[Bump]:
    """
    Lock the mailboxes of *users*, in user order, and give each its next revision.

    Must be the first statement of its transaction: it is the lock, on SQLite, too.
    PostgreSQL has the new revision in the table when `count` has written it, and not
    before. Users who no longer exist have none. With *free_only* mailboxes are left out
    that somebody else holds; with *due_only* also those in which nothing has fallen
    due.

    Raises:
        OperationalError: a mailbox was not to be had in time.
    """
    due = _IF_DUE if due_only else ""
    if is_written_first(using):
        statement = _BUMP.format(due=due)
    else:
        skips = due_only or (free_only and len(users) > 1)
        statement = _LOCK.format(due=due, skip=" SKIP LOCKED" if skips else "")
    rows = run(statement, users, using, now=now)
    read = key_reader(using)
    return [
        Bump(read(key), epoch, revision, bool(due), bool(buried), bool(wishes))
        for key, epoch, revision, due, buried, wishes in rows
    ]


def is_written_first(using: str) -> bool:
    """Tell whether the new revision of a held mailbox is in the table at once."""
    return connections[using].vendor != "postgresql"


def count(users: Collection[Any], now: datetime, using: str) -> dict[Any, Count]:
    """Count under the lock: what is counted belongs to the revision just given."""
    new = "revision" if is_written_first(using) else "revision + 1"
    rows = run(_COUNT.format(new=new), users, using, now=now, limit=COUNT_LIMIT)
    read = key_reader(using)
    return {
        read(key): Count(unread, bool(desktop), to_moment(expiry, using))
        for key, unread, desktop, expiry in rows
    }


def rest(users: Collection[Any], using: str) -> None:
    """Leave mailboxes at the old revision in which nothing has changed."""
    if is_written_first(using):
        boxes = Mailbox.objects.using(using).filter(pk__in=users)
        boxes.update(revision=F("revision") - 1)


def renew_epochs(seen: Mapping[Any, tuple[str, int]], using: str) -> None:
    """
    Give mailboxes new epochs: pages hold revisions that these have not reached.

    So they did once, and give them out again. Nothing happens to a mailbox that has
    another epoch or has reached the revision meanwhile: whoever else has noticed was
    first. Of several, those are left that somebody else holds.

    Args:
        seen: The epoch and the revision that a page has been told, by the user's
            primary key.
        using: The alias of the database.

    Raises:
        OperationalError: the only mailbox was held for half a second.
    """
    boxes = Mailbox.objects.using(using)
    # Callers may name a user by the text of a key, too.
    claims = {to_key(user): claim for user, claim in seen.items()}
    users = sorted(claims)
    for start in range(0, len(users), EPOCHS_PER_TRANSACTION):
        chunk = users[start : start + EPOCHS_PER_TRANSACTION]
        with own_transaction(using, wait_ms=EPOCHS_WAIT_MS) as connection:
            skip = connection.features.has_select_for_update_skip_locked
            locked = (
                boxes.filter(pk__in=chunk)
                .order_by("pk")
                .select_for_update(skip_locked=skip and len(users) > 1, no_key=True)
            )
            back = [
                box
                for box in locked
                if box.epoch == claims[box.pk][0] and box.revision < claims[box.pk][1]
            ]
            for box in back:
                box.epoch = make_epoch()
            boxes.bulk_update(back, ["epoch"])
        if back:
            logger.error(
                "%d mailboxes went back to before revisions that pages hold: was an "
                "older database restored? These have new epochs; manage.py "
                "themis_new_epoch gives them to all. The first is that of user %s, "
                "which went back to %d from %d.",
                len(back),
                back[0].pk,
                back[0].revision,
                claims[back[0].pk][1],
                extra={"event": "rewound", "mailboxes": len(back)},
            )


def renew_all_epochs(using: str) -> int:
    """
    Give every mailbox a new epoch, so that every page loads its state anew.

    For an older database that was restored: pages may hold revisions that are given out
    a second time. Runs in short transactions; returns how many mailboxes there were.

    Raises:
        OperationalError: another transaction held a mailbox for half a second.
    """
    boxes = Mailbox.objects.using(using)
    rest = boxes.order_by("pk")
    renewed = 0
    while True:
        with own_transaction(using, wait_ms=EPOCHS_WAIT_MS):
            locked = rest.select_for_update(no_key=True).values_list("pk", flat=True)
            keys = list(locked[:EPOCHS_PER_TRANSACTION])
            new = [Mailbox(pk=key, epoch=make_epoch()) for key in keys]
            boxes.bulk_update(new, ["epoch"])
        renewed += len(keys)
        if len(keys) < EPOCHS_PER_TRANSACTION:
            return renewed
        rest = rest.filter(pk__gt=keys[-1])
