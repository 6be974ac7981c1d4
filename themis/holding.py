"""Holding mailboxes: one transaction, one new revision each, and what it changes.

A short transaction of Themis' own that begins by locking the mailbox rows, writes,
counts, and commits. Whoever holds mailboxes tells what changed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any

from django.db import transaction
from django.db.models import BooleanField, Case, F, Q, QuerySet, Subquery, Value, When
from django.db.models.functions import Coalesce
from django.utils import timezone

from themis import revisions
from themis.broadcasters import get_broadcaster
from themis.conf import settings
from themis.events import Changes
from themis.models import Tombstone, UserNotification
from themis.queries import newest, on_wire, plain, refill
from themis.revisions import Bump, Count
from themis.transactions import own_transaction

# More changed rows than this are told as a snapshot.
CHANGES_LIMIT = 100
# How many mailboxes one transaction holds.
USERS_PER_STAMP = 250
# How long stamping waits for a lock before it leaves the work to the reconciler.
STAMP_WAIT_MS = 1_000
# And who may hold one lock while waiting for another: well below PostgreSQL's
# deadlock_timeout, so that a cycle ends here and not at a host's expense.
HOLDING_WAIT_MS = 500


@dataclass(slots=True)
class Stamp:
    """One mailbox under its lock, and what this revision changes in it."""

    box: Bump
    now: datetime
    rows: list[UserNotification] = field(default_factory=list)
    deleted: list[int] = field(default_factory=list)
    # The profile changed: no row shows it, but pages hear of it.
    touched: bool = False
    # Rows that pages may show went without tombstones: pages load the state anew.
    cleared: bool = False
    # Something was written that no page hears of.
    silent: bool = False
    # What open pages are told; known once the block of `hold` has been left.
    changes: Changes | None = None

    @property
    def is_empty(self) -> bool:
        """Whether nothing happened, so that the revision must not rise."""
        return not (self.rows or self.deleted or self.touched or self.cleared)


@contextmanager
def hold(
    users: Collection[Any],
    using: str,
    *,
    wait_ms: int | None = None,
    due_only: bool = False,
) -> Iterator[dict[Any, Stamp]]:
    """
    Lock and bump the mailboxes of *users*; on leaving, count, commit and broadcast.

    Yields a `Stamp` per user, with the new revision. Mailboxes whose stamp stays empty
    keep their old revision. Of several users, those are left out whose mailboxes
    somebody else holds, as are users without an account: whoever holds a mailbox never
    waits for another. SQLite has but one lock.

    Args:
        users: Their primary keys.
        using: The alias of the database.
        wait_ms: How long each lock is waited for, if not half a second; on SQLite,
            which has but one lock, a second.
        due_only: Leave mailboxes out in which nothing has fallen due, and one that
            somebody else holds.

    Raises:
        OperationalError: a lock was not to be had in time.
    """
    if wait_ms is None:
        wait_ms = HOLDING_WAIT_MS if can_skip(using) else STAMP_WAIT_MS
    # Nearly always all are there: that is not asked before. Where due is looked for,
    # those that are missing hold nothing.
    knows_missing = due_only
    while True:
        with own_transaction(using, wait_ms=wait_ms):
            now = timezone.now()
            boxes = revisions.bump(users, now, using, due_only=due_only, free_only=True)
            if knows_missing or len(boxes) == len(users):
                stamps = {box.user: Stamp(box, now) for box in boxes}
                yield stamps
                _finish(stamps, now, using)
                return
            # Whoever makes mailboxes may wait for somebody, and so must hold none.
            transaction.set_rollback(True, using=using)
        revisions.make_missing(users, using)
        knows_missing = True


def _finish(stamps: dict[Any, Stamp], now: datetime, using: str) -> None:
    """Count what was changed in the held mailboxes, and have it broadcast."""
    idle = [user for user, stamp in stamps.items() if stamp.is_empty]
    busy = [stamp for stamp in stamps.values() if not stamp.is_empty]
    if not busy and not any(stamp.silent for stamp in stamps.values()):
        transaction.set_rollback(True, using=using)
        return
    if idle:
        revisions.rest(idle, using)
    if not busy:
        return
    counts = revisions.count([stamp.box.user for stamp in busy], now, using)
    # A setting that is not set is looked for in vain each time.
    poll_interval = settings.poll_interval
    for stamp in busy:
        stamp.changes = to_changes(
            stamp,
            counts[stamp.box.user],
            using,
            alone=len(busy) == 1,
            poll_interval=poll_interval,
        )
    announce([stamp.changes for stamp in busy if stamp.changes], using)


def announce(changes: list[Changes], using: str) -> None:
    """Broadcast *changes* once they are committed."""

    def broadcast() -> None:
        get_broadcaster().broadcast(changes)

    transaction.on_commit(broadcast, using=using, robust=True)


def to_changes(
    stamp: Stamp, count: Count, using: str, *, alone: bool, poll_interval: int
) -> Changes:
    """Return what open pages are told; *alone*: of no other user at the same time."""
    items = [row for row in stamp.rows if row.is_listed_at(stamp.now)]
    removed: list[int] = []
    if stamp.deleted or len(items) < len(stamp.rows):
        # What left the mailbox and came back is not gone.
        touched = {*stamp.deleted, *(row.pk for row in stamp.rows)}
        removed = sorted(touched.difference(row.pk for row in items))
    # What moves up in the place of what is gone is a question for each user. Of many,
    # those with an open page ask it: the others' changes are only good for numbers.
    whole = not stamp.cleared and (alone or not removed)
    whole = whole and len(stamp.rows) + len(stamp.deleted) <= CHANGES_LIMIT
    window = partial(newest, stamp.box.user, stamp.now, using)
    is_settled = partial(revisions.is_at, stamp.box.revision, stamp.box.user, using)
    return Changes(
        user_key=str(stamp.box.user),
        epoch=stamp.box.epoch,
        since=stamp.box.revision - 1,
        revision=stamp.box.revision,
        unread=count.unread,
        items=refill(items, len(removed), window, is_settled) if whole else [],
        removed=removed,
        whole=whole,
        now=stamp.now,
        poll_interval=poll_interval,
        desktop=count.desktop,
        next_expiry_at=count.next_expiry_at,
    )


def rewrite(
    held: Stamp, chosen: QuerySet[UserNotification], using: str, **fields: Any
) -> int:
    """
    Write `read_at` or `dismissed_at` into the *chosen* rows of a held mailbox.

    They get its new revision, and no longer claim a dedup key; what is opened again
    never takes it back. Returns how many there were.
    """
    revision = held.box.revision
    fields |= stamped_fields(Value(revision), held.now) | {"dedup_key": None}
    # Not the followed update of `UserNotification.objects`.
    written = QuerySet.update(chosen, **fields)
    if written:
        changed = on_wire(using).filter(user=held.box.user, revision=revision)
        held.rows.extend(changed[: CHANGES_LIMIT + 1])
    return written


def remove(stamps: dict[Any, Stamp], keys: Collection[int], using: str) -> int:
    """
    Delete the notifications of *keys* from the held mailboxes, but those in use.

    Open pages hear of it with the new revision; returns how many were deleted.
    """
    leaving = plain(using).filter(in_held(stamps), pk__in=keys).order_by("pk")
    rows = list(leaving.select_for_update(skip_locked=can_skip(using)))
    told = [row for row in rows if row.created_revision is not None]
    Tombstone.objects.using(using).bulk_create(
        Tombstone(
            notification_id=row.pk,
            user_id=row.user_id,
            revision=stamps[row.user_id].box.revision,
        )
        for row in told
    )
    for row in rows:
        stamps[row.user_id].silent = True
    for row in told:
        stamps[row.user_id].deleted.append(row.pk)
    plain(using).filter(pk__in=[row.pk for row in rows]).delete()
    return len(rows)


def stamped_fields(revision: Value | Subquery, now: datetime) -> dict[str, Any]:
    """Return what an UPDATE writes into a row that gets *revision*."""
    return {
        "created_revision": Coalesce(F("created_revision"), revision),
        "revision": revision,
        "pending": False,
        "expiry_stamped": Case(
            When(expires_at__lte=now, then=True),
            default=False,
            output_field=BooleanField(),
        ),
    }


def in_held(stamps: dict[Any, Stamp]) -> Q:
    """Select what is in the held mailboxes."""
    return Q(user__in=list(stamps))


def can_skip(using: str) -> bool:
    """Tell whether rows can be locked one by one; SQLite has one writer anyway."""
    features = transaction.get_connection(using).features
    return bool(features.has_select_for_update_skip_locked)
