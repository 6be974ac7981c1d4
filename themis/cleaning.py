"""Clean-up: what is read, dismissed or expired leaves the tables for good.

What is deleted here leaves no tombstone. Instead the mailbox's floor rises: pages that
stand below it load the state anew. Where open pages may still show what is deleted, the
mailbox gets a new revision, too, and the floor with it, so that they all do.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from itertools import groupby
from operator import itemgetter
from typing import Any

from django.db import OperationalError, connections
from django.db.models import (
    BigIntegerField,
    Case,
    DateTimeField,
    Exists,
    F,
    OuterRef,
    Q,
    QuerySet,
    Subquery,
    Value,
    When,
)
from django.db.models.functions import Greatest
from django.utils import timezone

from themis.conf import settings
from themis.holding import Stamp, hold
from themis.models import Mailbox, Tombstone
from themis.queries import database, plain, plain_profiles
from themis.transactions import is_contention

logger = logging.getLogger("themis")

KINDS = ("read", "dismissed", "expired", "tombstones")

# How long pages that were away may ask what was deleted, and get an answer.
TOMBSTONE_DAYS = 7
# Rows looked through at once: what bounds the memory.
WINDOW = 50_000
# Rows deleted, and mailboxes locked, in one transaction: what bounds the locks.
ROWS_PER_BATCH = 1_000
USERS_PER_BATCH = 250
# How long a batch waits for a lock. SQLite has but one, and who waits there holds none.
WAIT_MS = 500
SQLITE_WAIT_MS = 10_000

# Key of the user, key of the row.
Place = tuple[Any, int]

# What pages know of a row.
_TOLD_BY = (
    *("pk", "user_id", "kind", "created_revision", "revision"),
    *("pending", "dismissed_at", "expiry_stamped"),
)


@dataclass(frozen=True, slots=True)
class _Rule:
    """What is deleted, as of one moment."""

    now: datetime
    ceiling: datetime
    # Of users who keep things for a shorter time: until when, by the number of days.
    shorter: dict[int, datetime]

    @classmethod
    def of(cls, max_age_days: int, using: str) -> _Rule:
        now = timezone.now()
        days = plain_profiles(using).filter(
            notification_retention_days__lt=max_age_days
        )
        distinct = days.values_list("notification_retention_days", flat=True).distinct()
        return cls(
            now=now,
            ceiling=_days_before(now, max_age_days),
            shorter={
                number: _days_before(now, number)
                for number in distinct.order_by()
                if number is not None
            },
        )

    def due(self, using: str) -> QuerySet[Any]:
        """Select what is deleted, with its `kind`."""
        expired = Q(expires_at__lte=self.now)
        done = ~Q(read_at=None) | ~Q(dismissed_at=None)
        return (
            plain(using)
            .filter(expired | (done & self._is_old(using)))
            .annotate(
                kind=Case(
                    When(expired, then=Value("expired")),
                    When(dismissed_at__isnull=False, then=Value("dismissed")),
                    default=Value("read"),
                )
            )
        )

    def _is_old(self, using: str) -> Q:
        old = Q(created_at__lt=self.ceiling)
        if not self.shorter:
            return old
        profile = plain_profiles(using).filter(user=OuterRef("user"))
        kept_until = profile.annotate(
            until=Case(
                *(
                    When(notification_retention_days=days, then=Value(until))
                    for days, until in self.shorter.items()
                ),
                default=None,
                output_field=DateTimeField(),
            )
        )
        return old | Q(created_at__lt=Subquery(kept_until.values("until")))


def _days_before(now: datetime, days: int) -> datetime:
    """Return *now* less *days*; a time before any row's if the calendar ends there."""
    first = now.replace(year=1000, month=1, day=1)
    return now - timedelta(days=days) if days < (now - first).days else first


def clean_up(max_age_days: int | None = None, *, dry_run: bool = False) -> Counter[str]:
    """
    Delete what is read or dismissed and old, what has expired, and old tombstones.

    Old is what was created longer ago than the smaller of the user's own number of days
    and *max_age_days*. What is unread, neither dismissed nor expired, stays.

    Each batch is a short transaction that is right on its own: a clean-up may be killed
    at any moment, and several may run at once. What others are writing is left to the
    next one.

    Args:
        max_age_days: At least 1; the site's ceiling if left out.
        dry_run: Write nothing, only count.

    Returns:
        How many of each kind were deleted, or would be; all kinds are there.

    Raises:
        ValueError: *max_age_days* or the setting is not a whole number above 0.
    """
    days = _to_days(max_age_days)
    using = database()
    rule = _Rule.of(days, using)
    cleared: Counter[str] = Counter(dict.fromkeys(KINDS, 0))
    due = rule.due(using)
    for window in _windows(plain(using)):
        if dry_run:
            cleared.update(due.filter(window).values_list("kind", flat=True))
            continue
        for batch in _batches(due.filter(window).values_list("user_id", "pk")):
            cleared.update(_clear(batch, partial(_clear_rows, rule), using))
    graves = Tombstone.objects.using(using).filter(
        revision__isnull=False, created_at__lt=_days_before(rule.now, TOMBSTONE_DAYS)
    )
    for window in _windows(graves):
        if dry_run:
            cleared["tombstones"] += graves.filter(window).count()
            continue
        # Of users who were deleted: nobody is left to load anything.
        boxes = Mailbox.objects.using(using).filter(pk=OuterRef("user"))
        number, _by_model = graves.filter(window, ~Exists(boxes)).delete()
        cleared["tombstones"] += number
        for batch in _batches(graves.filter(window).values_list("user_id", "pk")):
            cleared.update(_clear(batch, _clear_graves, using))
    return cleared


def _to_days(value: object) -> int:
    name = "max_age_days"
    if value is None:
        name = "THEMIS_NOTIFICATION_MAX_AGE_DAYS"
        try:
            value = settings.max_age_days
        except (TypeError, ValueError, OverflowError) as error:
            msg = f"{name} must be a whole number above 0: {error}"
            raise ValueError(msg) from error
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        msg = f"{name} must be a whole number above 0, not {value!r}."
        raise ValueError(msg)
    return value


def _windows(rows: QuerySet[Any]) -> Iterator[Q]:
    """Divide the table into ranges of keys with at most `WINDOW` of *rows* in each."""
    keys = rows.order_by("pk").values_list("pk", flat=True)
    last = 0
    while ends := list(keys.filter(pk__gt=last)[WINDOW - 1 : WINDOW]):
        yield Q(pk__gt=last, pk__lte=ends[0])
        last = ends[0]
    yield Q(pk__gt=last)


def _batches(places: Iterable[Place]) -> Iterator[list[Place]]:
    """Put together what one transaction clears; each mailbox is touched rarely."""
    batch: list[Place] = []
    users: set[Any] = set()
    for user, key in sorted(places):
        full = len(users) == USERS_PER_BATCH and user not in users
        if full or len(batch) == ROWS_PER_BATCH:
            yield batch
            batch, users = [], set()
        batch.append((user, key))
        users.add(user)
    if batch:
        yield batch


def _clear(
    batch: list[Place],
    clear: Callable[[dict[Any, Stamp], list[int], str], Counter[str]],
    using: str,
) -> Counter[str]:
    """Run *clear* with the mailboxes of *batch* held; what is busy is left."""
    users = {user for user, _key in batch}
    can_skip = connections[using].features.has_select_for_update_skip_locked
    stamps: dict[Any, Stamp]
    cleared: Counter[str]
    try:
        wait_ms = WAIT_MS if can_skip else SQLITE_WAIT_MS
        with hold(users, using, wait_ms=wait_ms) as stamps:
            held = [key for user, key in batch if user in stamps]
            cleared = clear(stamps, held, using)
    except OperationalError as error:
        if not is_contention(error):
            raise
        if len(users) == 1 or not can_skip:
            logger.warning(
                "Rows are left to the next clean-up: %s",
                error,
                extra={"event": "cleanup_left"},
            )
            return Counter()
        # Even at the end of the block, whose deletions are rolled back then.
        stamps, cleared = {}, Counter()
    if len(users) == 1:
        return cleared
    # Each of the others is waited for with no other held.
    busy = [place for place in batch if place[0] not in stamps]
    for _user, places in groupby(busy, key=itemgetter(0)):
        cleared.update(_clear(list(places), clear, using))
    return cleared


def _clear_rows(
    rule: _Rule, stamps: dict[Any, Stamp], keys: list[int], using: str
) -> Counter[str]:
    """Delete those notifications of *keys* that are due now that they are locked."""
    # Not by user, too: the database would look through all that the users have.
    due = rule.due(using).filter(pk__in=keys).order_by("pk")
    skip = connections[using].features.has_select_for_update_skip_locked
    locked = due.select_for_update(skip_locked=skip).values_list(*_TOLD_BY)
    # What has moved to another user meanwhile is left.
    rows = [row for row in locked if row[1] in stamps]
    floors: Counter[Any] = Counter()
    for _pk, user, _kind, created, revision, pending, dismissed_at, expired in rows:
        stamp = stamps[user]
        stamp.silent = True
        if created is None:
            continue  # no page has seen it
        if pending or not (dismissed_at or expired):
            # Pages show it, or what it was before: they must hear that it is gone.
            stamp.cleared = True
        floor = stamp.box.revision if stamp.cleared else revision
        floors[user] = max(floors[user], floor)
    _raise_floors(floors, using)
    if rows:
        # Not the followed delete of `UserNotification.objects`.
        plain(using).filter(pk__in=[pk for pk, *_rest in rows]).delete()
    return Counter(kind for _pk, _user, kind, *_rest in rows)


def _clear_graves(
    stamps: dict[Any, Stamp], keys: list[int], using: str
) -> Counter[str]:
    """Delete the tombstones of *keys*."""
    graves = Tombstone.objects.using(using).filter(user__in=list(stamps), pk__in=keys)
    floors: Counter[Any] = Counter()
    for user, revision in graves.values_list("user_id", "revision"):
        stamps[user].silent = True
        floors[user] = max(floors[user], revision or 0)
    _raise_floors(floors, using)
    number, _by_model = graves.delete()
    return Counter(tombstones=number)


def _raise_floors(floors: Mapping[Any, int], using: str) -> None:
    """Let pages below *floors* load the state anew; the mailboxes are held."""
    if not floors:
        return
    raised = Case(
        *(When(pk=user, then=Value(floor)) for user, floor in floors.items()),
        output_field=BigIntegerField(),
    )
    boxes = Mailbox.objects.using(using).filter(pk__in=list(floors))
    boxes.update(floor_revision=Greatest(F("floor_revision"), raised))
