"""Stamping: one number per mailbox, in the order of commits.

Inside a host's transaction rows are only marked `pending`. Stamping is a short
transaction of Themis' own that begins by locking the mailbox row, gives all pending
rows the new revision, counts, and commits. Whoever stamps broadcasts.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from datetime import datetime
from time import monotonic
from typing import Any

from django.db.models import (
    Exists,
    F,
    OuterRef,
    Q,
    Subquery,
    Value,
)
from django.utils import timezone

from themis.holding import (
    STAMP_WAIT_MS,
    USERS_PER_STAMP,
    Stamp,
    can_skip,
    hold,
    in_held,
    stamped_fields,
)
from themis.models import Mailbox, Tombstone, UserNotification, is_open
from themis.queries import (
    SOURCE,
    TEXT,
    database,
    identity_of,
    on_wire,
    plain,
    plain_profiles,
)
from themis.revisions import is_written_first
from themis.statements import to_key
from themis.transactions import is_contention

logger = logging.getLogger("themis")

# How many rows of a kind one transaction stamps.
ROWS_PER_STAMP = 1_000


def stamp(
    users: Collection[Any], using: str | None = None, *, due_only: bool = False
) -> None:
    """
    Give all that is pending or due in the mailboxes of *users* a revision.

    Safe to call at any time, by anyone, any number of times: what others are stamping
    or still writing is left to them. Contention is logged, not raised. Mailboxes that
    others hold come last, and are waited for one by one, a second in all. With
    *due_only*, they are left out, as are those in which nothing has fallen due.
    """
    using = using or database()
    # Host code may name a user by the text of a key, too.
    ordered = sorted({to_key(user) for user in users})
    until = monotonic() + STAMP_WAIT_MS / 1000
    busy: list[Any] = []
    for start in range(0, len(ordered), USERS_PER_STAMP):
        chunk = ordered[start : start + USERS_PER_STAMP]
        busy += _stamp_chunk(chunk, using, wait_ms=STAMP_WAIT_MS, due_only=due_only)
    # Where there is one lock, or one mailbox, it has waited already.
    if due_only or len(ordered) == 1 or not can_skip(using):
        return
    # Without those who have no mailbox any more.
    boxes = Mailbox.objects.using(using).filter(pk__in=busy).order_by("pk")
    for user in boxes.values_list("pk", flat=True) if busy else ():
        left_ms = max(1, int(1000 * (until - monotonic())))
        _stamp_chunk([user], using, wait_ms=left_ms)


def _stamp_chunk(
    users: list[Any], using: str, *, wait_ms: int, due_only: bool = False
) -> list[Any]:
    """Stamp what waits there; return those of *users* whose mailboxes are busy."""
    busy: list[Any] = []
    rest = users
    try:
        while rest:
            with hold(rest, using, wait_ms=wait_ms, due_only=due_only) as stamps:
                busy += [user for user in rest if user not in stamps]
                rest = list(stamps) if _stamp_held(stamps, using) else []
    except Exception as error:
        if not is_contention(error):
            raise
        logger.warning(
            "Stamping is left to the reconciler: %s",
            error,
            extra={"event": "stamping_left"},
        )
        busy += rest
    return busy


def _stamp_held(stamps: dict[Any, Stamp], using: str) -> bool:
    """Stamp at most `ROWS_PER_STAMP` rows of a kind; tell whether more may wait."""
    if not stamps:
        return False
    fetched = max(
        _stamp_rows(stamps, using),
        _stamp_expired(stamps, using),
        _stamp_deleted(stamps, using),
        _stamp_profiles(stamps, using),
    )
    return fetched >= ROWS_PER_STAMP


def _revision_of(stamps: dict[Any, Stamp], using: str) -> Value | Subquery:
    """Return the new revision of a row's mailbox, for one UPDATE over many users."""
    if len(stamps) == 1:
        (only,) = stamps.values()
        return Value(only.box.revision)
    new = F("revision") if is_written_first(using) else F("revision") + 1
    boxes = Mailbox.objects.filter(pk=OuterRef("user"))
    return Subquery(boxes.annotate(new=new).values("new"))


def _stamp_rows(stamps: dict[Any, Stamp], using: str) -> int:
    """Stamp what was created or written since the last stamp."""
    waiting = plain(using).filter(in_held(stamps), pending=True).order_by("pk")
    locked = waiting.select_for_update(skip_locked=can_skip(using), no_key=True)
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
        stamped = stamped_fields(_revision_of(stamps, using), now)
        plain(using).filter(pk__in=keys).update(**stamped)


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
        skip_locked=can_skip(using), no_key=True
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
    waiting = tombstones.filter(in_held(stamps), revision=None).order_by("pk")
    rows = list(waiting[:ROWS_PER_STAMP])
    if rows:
        keys = [row.pk for row in rows]
        tombstones.filter(pk__in=keys).update(revision=_revision_of(stamps, using))
    for row in rows:
        stamps[row.user_id].deleted.append(row.notification_id)
    return len(rows)


def _stamp_profiles(stamps: dict[Any, Stamp], using: str) -> int:
    if not any(stamp.box.has_wishes for stamp in stamps.values()):
        return 0
    wishes = plain_profiles(using).filter(in_held(stamps), pending=True)
    locked = wishes.order_by("pk").select_for_update(
        skip_locked=can_skip(using), no_key=True
    )
    rows = list(locked[:ROWS_PER_STAMP])
    if rows:
        told = plain_profiles(using).filter(pk__in=[row.pk for row in rows])
        told.update(pending=False)
    for row in rows:
        stamps[row.user_id].touched = True
    return len(rows)
