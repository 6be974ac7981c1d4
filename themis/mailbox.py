"""One user's mailbox: its state, the changes since a revision, and reading it.

Reads go to the database that is written, the mailbox first, then the rows, then the
floor again: so what is sent belongs to the revision it names, whoever writes meanwhile.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from datetime import datetime
from functools import partial
from typing import Any, Literal, NamedTuple

from django.contrib.auth import get_user_model
from django.core.exceptions import ObjectDoesNotExist
from django.db import OperationalError
from django.db.models import Q, QuerySet
from django.utils import timezone

from themis import holding, revisions
from themis.conf import settings
from themis.events import Changes, Snapshot
from themis.holding import hold, rewrite
from themis.models import Mailbox, Tombstone, UserNotification, is_listed
from themis.queries import (
    database,
    on_wire,
    plain,
    plain_profiles,
    read_window,
    refill,
)
from themis.revisions import Box
from themis.stamping import stamp
from themis.transactions import is_contention

logger = logging.getLogger("themis")

# How many changes that wait are told from more.
COUNTED_WAITING = 1_000

Verb = Literal["read", "unread", "dismiss", "restore"]


class Standing(NamedTuple):
    """Where a mailbox stands, and when the first of what it holds expires."""

    epoch: str
    revision: int
    next_expiry_at: datetime | None


def look(user: Any) -> Box:
    """
    Return the mailbox of *user* (a primary key), stamped as of now.

    What is pending or has fallen due is stamped first. One statement where nothing is.

    Raises:
        ObjectDoesNotExist: there is no such user.
    """
    using = database()
    box = revisions.find(user, timezone.now(), using)
    if box is None:
        revisions.make_missing([user], using)
    if box is None or box.waits:
        stamp([user], using)
        box = revisions.find(user, timezone.now(), using)
    if box is None:
        raise Mailbox.DoesNotExist
    return box


def read_state(
    user: Any,
    *,
    since: int | None = None,
    epoch: str | None = None,
    box: Box | None = None,
) -> Snapshot | Changes:
    """
    Return what a page of *user* needs that stands at revision *since* of *epoch*.

    Args:
        user: The primary key of the user.
        since: The revision that the page holds, if any.
        epoch: The epoch that *since* counts in.
        box: What `look` has just returned, if the caller has looked already.

    Returns:
        `Changes` from *since* where these are known to be whole and at most 100 rows;
        else a `Snapshot`.
    """
    using = database()
    box = box or look(user)
    if since is None or epoch is None or epoch != box.epoch:
        return _snapshot(box, using)
    if since > box.revision:
        revisions.renew_epochs({user: (epoch, since)}, using)
        return _snapshot(look(user), using)
    return _changes(box, since, using) or _snapshot(look(user), using)


def _snapshot(box: Box, using: str) -> Snapshot:
    now = timezone.now()
    return Snapshot(
        user_key=str(box.user),
        epoch=box.epoch,
        revision=box.revision,
        unread=box.unread,
        items=read_window(box.user, box.revision, now, using),
        now=now,
        poll_interval=settings.poll_interval,
        desktop=box.desktop,
        next_expiry_at=box.next_expiry_at,
    )


def _changes(box: Box, since: int, using: str) -> Changes | None:
    """Return the changes in (since, revision], or None if they may not be whole."""
    now = timezone.now()
    rows: list[UserNotification] = []
    buried: list[int] = []
    # What was created after this revision comes with the next one, as new. What was
    # changed after it comes now and again: else an item created and then changed
    # would first be told by a frame in which it is no longer new.
    known = on_wire(using).filter(user=box.user, created_revision__lte=box.revision)
    limit = holding.CHANGES_LIMIT
    if since < box.revision:
        rows = list(known.filter(revision__gt=since)[: limit + 1])
        graves = Tombstone.objects.using(using)
        deleted = graves.filter(user=box.user, revision__gt=since)
        buried = list(deleted.values_list("notification_id", flat=True)[: limit + 1])
    if len(rows) + len(buried) > limit:
        return None
    items = [row for row in rows if row.is_listed_at(now)]
    gone = [row.pk for row in rows if not row.is_listed_at(now)]
    # What left the mailbox and came back is not gone.
    removed = sorted({*buried, *gone}.difference(row.pk for row in items))
    window = partial(read_window, box.user, box.revision, now, using)
    is_settled = partial(revisions.is_at, box.revision, box.user, using)
    items = refill(items, len(removed), window, is_settled)
    still = Mailbox.objects.using(using).filter(
        pk=box.user, epoch=box.epoch, floor_revision__lte=since
    )
    if not still.exists():
        return None
    return Changes(
        user_key=str(box.user),
        epoch=box.epoch,
        since=since,
        revision=box.revision,
        unread=box.unread,
        items=items,
        removed=removed,
        now=now,
        poll_interval=settings.poll_interval,
        desktop=box.desktop,
        next_expiry_at=box.next_expiry_at,
    )


def positions(users: Collection[Any]) -> dict[Any, Standing]:
    """
    Return where the mailboxes of *users* stand, in one statement.

    Users who are not in the answer no longer exist.
    """
    using = database()
    found = _find_positions(users, using)
    missing = set(users).difference(found)
    if missing:
        revisions.make_missing(missing, using)
        found |= _find_positions(missing, using)
    return found


def _find_positions(users: Collection[Any], using: str) -> dict[Any, Standing]:
    boxes = Mailbox.objects.using(using).filter(pk__in=users)
    columns = boxes.values_list("pk", "epoch", "revision", "next_expiry_at")
    return {
        user: Standing(epoch, revision, due) for user, epoch, revision, due in columns
    }


def renew_epochs(seen: Mapping[Any, tuple[str, int]]) -> None:
    """
    Give new epochs to mailboxes that have gone back; contention is logged, not raised.

    Args:
        seen: The epoch and the revision that a page has been told, by the user's
            primary key. Both must have been known before the mailbox was looked at.
    """
    try:
        revisions.renew_epochs(seen, database())
    except OperationalError as error:
        if not is_contention(error):
            raise
        logger.warning(
            "New epochs are left to the next check: %s",
            error,
            extra={"event": "epochs_left"},
        )


def stamp_due(users: Collection[Any]) -> dict[Any, Standing]:
    """
    Stamp what has fallen due in the mailboxes of *users*, and return their positions.

    Any number of processes may do so at once: each takes what no other holds. What is
    still due in the answer is being stamped by somebody else. Two statements where
    nothing is due.
    """
    using = database()
    boxes = Mailbox.objects.using(using).filter(pk__in=users)
    due = boxes.filter(next_expiry_at__lte=timezone.now())
    stamp(list(due.values_list("pk", flat=True)), using, due_only=True)
    return positions(users)


def probe() -> None:
    """
    Ask the database for next to nothing: whether it and its mailboxes are there.

    Raises:
        DatabaseError: they are not.
    """
    Mailbox.objects.using(database()).order_by().values_list("revision").first()


def count_waiting() -> int:
    """
    Return how many committed changes nobody has stamped; 1,000 = that or more.

    One statement, from indices that are normally empty.
    """
    kinds = [kind.order_by().values_list("pk") for kind in _waiting(database())]
    return kinds[0].union(*kinds[1:], all=True)[:COUNTED_WAITING].count()


def _waiting(using: str) -> tuple[QuerySet[Any], QuerySet[Any], QuerySet[Any]]:
    """Return what is written, deleted and wished for, and has no revision yet."""
    return (
        plain(using).filter(pending=True),
        Tombstone.objects.using(using).filter(revision=None),
        plain_profiles(using).filter(pending=True),
    )


def stamp_waiting() -> None:
    """
    Stamp what nobody has stamped, and what has fallen due, in any mailbox.

    Two statements where nothing waits. Each call does a bounded part of the work.
    """
    using = database()
    written, buried, wishing = _waiting(using)
    waiting = (
        written.order_by()
        .values_list("user_id")
        .union(
            buried.order_by().values_list("user_id"),
            wishing.order_by().values_list("user_id"),
        )
    )
    users = {user for (user,) in waiting[: holding.USERS_PER_STAMP]}
    due = Mailbox.objects.using(using).filter(next_expiry_at__lte=timezone.now())
    expiring = due.values_list("pk", flat=True)[: holding.USERS_PER_STAMP]
    stamp(set(expiring) - users, using, due_only=True)
    if not users:
        return
    stamp(users, using)
    accounts = get_user_model()._base_manager.using(using)
    gone = users - set(accounts.filter(pk__in=users).values_list("pk", flat=True))
    if gone:
        # Of users deleted before their deletions were told: nobody is left to tell.
        buried.filter(user__in=gone).delete()


def count_unread(user: Any) -> int:
    """
    Return how many notifications of *user* are unread; 10,000 = that or more.

    One statement, which stamps nothing: what waits to be stamped is counted.
    """
    return revisions.count_unread(user, timezone.now(), database())


class EpochChangedError(Exception):
    """The caller's revisions count in another epoch; it must load the state again."""


def change(
    user: Any,
    verb: Verb,
    *,
    ids: Collection[int] | None = None,
    up_to: int | None = None,
    epoch: str | None = None,
    level: str | None = None,
    source_app: str | None = None,
    at: datetime | None = None,
) -> tuple[Snapshot | Changes, datetime | None]:
    """
    Read, unread, dismiss or restore notifications of *user*, and stamp at once.

    Args:
        user: The primary key of the user.
        verb: What to do.
        ids: Which, by primary key; those of others are ignored.
        up_to: Which, by all that the mailbox listed at this `created_revision`.
        epoch: The epoch that *up_to* counts in, if the caller knows it.
        level: Narrows *up_to* to one level.
        source_app: Narrows *up_to* to one source.
        at: Which, by the time that an earlier operation wrote: undoes it.

    Returns:
        What changed, and the time that was written: the handle to undo it; None where
        there was nothing to do, or for an undo.

    Raises:
        ObjectDoesNotExist: none of *ids* is a notification of *user*.
        EpochChangedError: the mailbox is in another epoch.
        OperationalError: another transaction held the rows too long (see `hold`).
    """
    using = database()
    box = look(user)
    if epoch is not None and epoch != box.epoch:
        raise EpochChangedError
    mine = on_wire(using).filter(user=user)
    field = "read_at" if verb in {"read", "unread"} else "dismissed_at"
    doing = verb in {"read", "dismiss"}
    if ids is not None:
        mine = mine.filter(pk__in=ids)
        if not mine.exists():
            raise ObjectDoesNotExist
    elif at is not None:
        mine = mine.filter(**{field: at})
    else:
        mine = mine.filter(is_listed(timezone.now()), created_revision__lte=up_to)
        mine = mine.filter(Q(level=level) if level else Q())
        mine = mine.filter(Q(source_app=source_app) if source_app else Q())
    with hold([user], using) as stamps:
        if not stamps:
            raise Mailbox.DoesNotExist
        (held,) = stamps.values()
        mine = mine.filter(**{f"{field}__isnull": doing})
        rewrite(held, mine, using, **{field: held.now if doing else None})
    if held.changes is None:
        return read_state(user, since=box.revision, epoch=box.epoch), None
    at = held.now if doing else None
    if held.changes.whole:
        return held.changes, at
    return read_state(user), at
