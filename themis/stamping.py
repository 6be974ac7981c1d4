"""Stamping: one number per mailbox, in the order of commits.

Inside a host's transaction rows are only marked `pending`. Stamping is a short
transaction of Themis' own that begins by updating the mailbox row, which is the lock,
gives all pending rows the new revision, counts, and commits. Whoever stamps broadcasts.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any

from django.db import transaction
from django.db.models import (
    BooleanField,
    Case,
    Exists,
    F,
    OuterRef,
    Q,
    QuerySet,
    Subquery,
    Value,
    When,
)
from django.db.models.functions import Coalesce
from django.utils import timezone

from themis import revisions
from themis.broadcasters import get_broadcaster
from themis.conf import settings
from themis.events import Changes
from themis.locking import is_contention, own_transaction
from themis.models import Mailbox, Tombstone, UserNotification, is_open
from themis.queries import (
    SOURCE,
    TEXT,
    database,
    identity_of,
    newest,
    on_wire,
    plain,
    plain_profiles,
    refill,
)
from themis.revisions import Bump, Count
from themis.statements import to_key

logger = logging.getLogger("themis")

# More changed rows than this are told as a snapshot.
CHANGES_LIMIT = 100
# How many mailboxes one stamping transaction locks, and rows of a kind it stamps.
USERS_PER_STAMP = 250
ROWS_PER_STAMP = 1_000
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
    keep their old revision.

    Args:
        users: Their primary keys.
        using: The alias of the database.
        wait_ms: How long each lock is waited for, if not half a second; on SQLite,
            which has but one lock, a second.
        due_only: Leave mailboxes out in which nothing has fallen due, and those that
            somebody else holds.

    Raises:
        OperationalError: a lock was not to be had in time.
    """
    if len(users) > 1 and not due_only:
        revisions.make_missing(users, using)
    if wait_ms is None:
        wait_ms = HOLDING_WAIT_MS if _can_skip(using) else STAMP_WAIT_MS
    with own_transaction(using, wait_ms=wait_ms):
        now = timezone.now()
        boxes = revisions.bump(users, now, using, due_only=due_only)
        if not boxes and not due_only:
            # Nothing is locked yet, so nothing is bumped twice.
            revisions.make_missing(users, using)
            boxes = revisions.bump(users, now, using)
        stamps = {box.user: Stamp(box, now) for box in boxes}
        yield stamps
        idle = [user for user, stamp in stamps.items() if stamp.is_empty]
        busy = [stamp for stamp in stamps.values() if not stamp.is_empty]
        if not busy and not any(stamp.silent for stamp in stamps.values()):
            transaction.set_rollback(True, using=using)
            return
        if idle:
            revisions.rest(idle, using)
        if busy:
            counts = revisions.count([stamp.box.user for stamp in busy], now, using)
            for stamp in busy:
                count = counts[stamp.box.user]
                alone = len(busy) == 1
                stamp.changes = _to_changes(stamp, count, using, alone=alone)
            _announce([stamp.changes for stamp in busy if stamp.changes], using)


def _announce(changes: list[Changes], using: str) -> None:
    """Broadcast *changes* once they are committed."""

    def broadcast() -> None:
        get_broadcaster().broadcast(changes)

    transaction.on_commit(broadcast, using=using, robust=True)


def _to_changes(stamp: Stamp, count: Count, using: str, *, alone: bool) -> Changes:
    items = [row for row in stamp.rows if row.is_listed_at(stamp.now)]
    gone = [row.pk for row in stamp.rows if not row.is_listed_at(stamp.now)]
    # What left the mailbox and came back is not gone.
    removed = sorted({*gone, *stamp.deleted}.difference(row.pk for row in items))
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
        poll_interval=settings.poll_interval,
        desktop=count.desktop,
        next_expiry_at=count.next_expiry_at,
    )


def stamp(
    users: Collection[Any], using: str | None = None, *, due_only: bool = False
) -> bool:
    """
    Give all that is pending or due in the mailboxes of *users* a revision.

    Safe to call at any time, by anyone, any number of times: what others are stamping
    or still writing is left to them. Contention is logged, not raised. With *due_only*,
    mailboxes are left out in which nothing has fallen due or that others hold.

    Returns whether all of it was done.
    """
    done = True
    using = using or database()
    # Host code may name a user by the text of a key, too.
    ordered = sorted({to_key(user) for user in users})
    for start in range(0, len(ordered), USERS_PER_STAMP):
        chunk = ordered[start : start + USERS_PER_STAMP]
        try:
            while _stamp_chunk(chunk, using, due_only=due_only):
                pass
        except Exception as error:
            if not is_contention(error):
                raise
            logger.warning("Stamping is left to the reconciler: %s", error)
            done = False
    return done


def _stamp_chunk(users: list[Any], using: str, *, due_only: bool) -> bool:
    """Stamp at most `ROWS_PER_STAMP` rows of a kind; tell whether more may wait."""
    # With one mailbox it waits for nothing else: what is locked there is skipped.
    wait_ms = STAMP_WAIT_MS if len(users) == 1 else None
    with hold(users, using, wait_ms=wait_ms, due_only=due_only) as stamps:
        if not stamps:
            return False
        fetched = max(
            _stamp_rows(stamps, using),
            _stamp_expired(stamps, using),
            _stamp_deleted(stamps, using),
            _stamp_profiles(stamps, using),
        )
    return fetched >= ROWS_PER_STAMP


def _of(stamps: dict[Any, Stamp]) -> Q:
    return Q(user__in=list(stamps))


def _revision_of(stamps: dict[Any, Stamp]) -> Value | Subquery:
    """Return the new revision of a row's mailbox, for one UPDATE over many users."""
    if len(stamps) == 1:
        (only,) = stamps.values()
        return Value(only.box.revision)
    return Subquery(Mailbox.objects.filter(pk=OuterRef("user")).values("revision"))


def _stamp_rows(stamps: dict[Any, Stamp], using: str) -> int:
    """Stamp what was created or written since the last stamp."""
    waiting = plain(using).filter(_of(stamps), pending=True).order_by("pk")
    locked = waiting.select_for_update(skip_locked=_can_skip(using), no_key=True)
    rows = list(locked[:ROWS_PER_STAMP])
    if not rows:
        return 0
    now = next(iter(stamps.values())).now
    unseen: list[UserNotification] = []
    fresh: list[UserNotification] = []
    for row in rows:
        first = row.created_revision is None
        (unseen if first and row.is_expired_at(now) else fresh).append(row)
    twins = _drop_duplicates(fresh, using)
    if unseen:
        # Expired before any page could show it: it never takes part.
        late = plain(using).filter(pk__in=[row.pk for row in unseen])
        late.update(pending=False, expiry_stamped=True)
    for row in rows:
        stamps[row.user_id].silent = True
    kept = [row for row in fresh if row.pk not in twins]
    _forget_other_counts(kept, stamps, using)
    restamp([row.pk for row in kept], stamps, now, using)
    for row in kept:
        stamp = stamps[row.user_id]
        _mark(row, stamp)
        stamp.rows.append(row)
    return len(rows)


def _forget_other_counts(
    rows: Collection[UserNotification], stamps: dict[Any, Stamp], using: str
) -> None:
    """Make new what another mailbox had counted before a fixture brought it here."""
    strange = [
        row
        for row in rows
        if row.created_revision is not None
        and row.created_revision > stamps[row.user_id].box.revision
    ]
    if strange:
        keys = [row.pk for row in strange]
        plain(using).filter(pk__in=keys).update(created_revision=None)
    for row in strange:
        row.created_revision = None


def restamp(
    keys: Collection[int], stamps: dict[Any, Stamp], now: datetime, using: str
) -> None:
    """Write the new revision of their mailboxes into the rows of *keys*."""
    if keys:
        stamped = stamped_fields(_revision_of(stamps), now)
        plain(using).filter(pk__in=keys).update(**stamped)


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
    Delete the notifications of *keys* from the held mailboxes.

    Open pages hear of it with the new revision; returns how many there were.
    """
    leaving = plain(using).filter(_of(stamps), pk__in=keys).order_by("pk")
    rows = list(leaving.select_for_update())
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
    leaving.delete()
    return len(rows)


def _mark(row: UserNotification, stamp: Stamp) -> None:
    """Bring *row* to what `restamp` wrote."""
    row.revision = stamp.box.revision
    row.created_revision = row.created_revision or row.revision
    row.pending = False
    row.expiry_stamped = row.is_expired_at(stamp.now)


def _drop_duplicates(rows: Sequence[UserNotification], using: str) -> set[int]:
    """
    Delete, unseen, new rows that asked not to be a second one and would be.

    Such a row is without a claim on its dedup key: the claim would have waited too
    long. Whichever was stamped first stays.
    """
    unseen = [
        row
        for row in rows
        if row.created_revision is None and not (row.is_read or row.is_dismissed)
    ]
    asking = [row.pk for row in unseen if row.deduplicate]
    if not asking:
        return set()
    rivals = on_wire(using).filter(is_open(timezone.now()), user=OuterRef("user"))
    same_source = {name: OuterRef(name) for name in SOURCE}
    same_text = Q(**{name: OuterRef(name) for name in TEXT})
    has_source = ~Q(**dict.fromkeys(SOURCE, ""))
    rivals = rivals.filter(has_source | same_text, **same_source)
    late = plain(using).filter(Exists(rivals), pk__in=asking)
    twins = set(late.values_list("pk", flat=True))
    first: set[tuple[Any, ...]] = set()
    for row in unseen:
        identity = (row.user_id, *identity_of(row).items())
        if row.deduplicate and identity in first:
            twins.add(row.pk)
        first.add(identity)
    if twins:
        plain(using).filter(pk__in=twins).delete()
    return twins


def _stamp_expired(stamps: dict[Any, Stamp], using: str) -> int:
    """Stamp what has expired since the last stamp: a removal without any write."""
    now = next(iter(stamps.values())).now
    due = [user for user, stamp in stamps.items() if stamp.box.has_due]
    if not due:
        return 0
    expired = on_wire(using).filter(
        user__in=due, dismissed_at=None, expires_at__lte=now, expiry_stamped=False
    )
    locked = expired.order_by("pk").select_for_update(
        skip_locked=_can_skip(using), no_key=True
    )
    rows = list(locked[:ROWS_PER_STAMP])
    restamp([row.pk for row in rows], stamps, now, using)
    for row in rows:
        stamp = stamps[row.user_id]
        _mark(row, stamp)
        stamp.rows.append(row)
    return len(rows)


def _stamp_deleted(stamps: dict[Any, Stamp], using: str) -> int:
    if not any(stamp.box.has_buried for stamp in stamps.values()):
        return 0
    tombstones = Tombstone.objects.using(using)
    waiting = tombstones.filter(_of(stamps), revision=None).order_by("pk")
    rows = list(waiting[:ROWS_PER_STAMP])
    if rows:
        keys = [row.pk for row in rows]
        tombstones.filter(pk__in=keys).update(revision=_revision_of(stamps))
    for row in rows:
        stamps[row.user_id].deleted.append(row.notification_id)
    return len(rows)


def _stamp_profiles(stamps: dict[Any, Stamp], using: str) -> int:
    if not any(stamp.box.has_wishes for stamp in stamps.values()):
        return 0
    wishes = plain_profiles(using).filter(_of(stamps), pending=True)
    locked = wishes.order_by("pk").select_for_update(
        skip_locked=_can_skip(using), no_key=True
    )
    rows = list(locked[:ROWS_PER_STAMP])
    if rows:
        told = plain_profiles(using).filter(pk__in=[row.pk for row in rows])
        told.update(pending=False)
    for row in rows:
        stamps[row.user_id].touched = True
    return len(rows)


def _can_skip(using: str) -> bool:
    """Tell whether rows can be locked one by one; SQLite has one writer anyway."""
    features = transaction.get_connection(using).features
    return bool(features.has_select_for_update_skip_locked)
