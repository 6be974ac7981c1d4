"""Lists of a person's notifications, a page at a time: one way for API and HTML."""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal, Self, get_args

from django.db.models import F, Q, QuerySet
from django.utils import timezone

from themis.content import to_number
from themis.models import UserNotification, is_listed, is_open, is_unexpired
from themis.queries import database, plain

State = Literal["all", "unread", "read", "dismissed"]
STATES: Final[tuple[State, ...]] = get_args(State)


@dataclass(frozen=True, slots=True)
class Filters:
    """
    What a list shows; nothing that has expired, whatever the state.

    Args:
        state: "all" = what is not dismissed; "unread" = what the bell counts; "read" =
            what is read and not dismissed; "dismissed" = what is put away.
        level: Narrows to one level.
        source_app: Narrows to one source.
    """

    state: State = "all"
    level: str | None = None
    source_app: str | None = None

    def select(self, now: datetime) -> Q:
        """Return the condition, as of *now*."""
        selected = {
            "all": is_listed(now),
            "unread": is_open(now),
            "read": is_listed(now) & Q(read_at__isnull=False),
            "dismissed": is_unexpired(now) & Q(dismissed_at__isnull=False),
        }[self.state]
        if self.level is not None:
            selected &= Q(level=self.level)
        if self.source_app is not None:
            selected &= Q(source_app=self.source_app)
        return selected


@dataclass(frozen=True, slots=True)
class Cursor:
    """The place of a notification in every list: what comes after it is older."""

    # None = not stamped yet, so newer than all that is.
    revision: int | None
    pk: int

    def __str__(self) -> str:
        return f"{self._place}-{zlib.crc32(self._place.encode()):08x}"

    @property
    def _place(self) -> str:
        return f"{'new' if self.revision is None else self.revision}-{self.pk}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """
        Return the cursor that `str` spelt.

        The checksum in it is no secret: a cursor opens nothing but the person's own
        list. It tells a cut or edited one from a place, so that nobody is shown the
        wrong part of a list as if it were the right one.

        Raises:
            ValueError: *text* is not what `str` returned.
        """
        parts = _CURSOR.fullmatch(text)
        revision, pk = parts.groups() if parts else ("", "")
        numbers = (None if revision == "new" else to_number(revision), to_number(pk))
        if numbers[1] is not None:
            cursor = cls(numbers[0], numbers[1])
            # Numbers that no column holds come out as another place.
            if str(cursor) == text:
                return cursor
        msg = "This is no cursor that a page gave."
        raise ValueError(msg)


_CURSOR = re.compile(r"(new|[0-9]+)-([0-9]+)-[0-9a-f]{8}")


@dataclass(frozen=True, slots=True)
class Page:
    """Some notifications, the newest first, and where the next page begins."""

    items: Sequence[UserNotification]
    next: Cursor | None


def read_page(
    user: Any,
    filters: Filters,
    *,
    before: Cursor | None = None,
    limit: int,
    unstamped: bool = False,
) -> Page:
    """
    Return one page of the notifications of *user*, in one statement.

    The order is (`created_revision`, `id`) descending. A page costs the same however
    many there are and however deep it is, where no more than the state is filtered.

    Args:
        user: The primary key of the user.
        filters: What to show.
        before: `next` of the page before; None = the newest.
        limit: How many at most, from 1.
        unstamped: Show also what is committed and has no revision yet, as the newest.
            The wire shows no such rows; pages without JavaScript do.
    """
    rows = plain(database()).filter(filters.select(timezone.now()), user=user)
    if not unstamped:
        rows = rows.filter(created_revision__isnull=False)
    if before is not None:
        rows = rows.filter(_is_after(before))
    found = list(_newest_first(rows)[: limit + 1])
    items = found[:limit]
    if len(found) == len(items):
        return Page(items, None)
    return Page(items, Cursor(items[-1].created_revision, items[-1].pk))


def _is_after(place: Cursor) -> Q:
    if place.revision is None:
        # A filter from the top of the index: few rows are ever without a revision.
        return Q(created_revision__isnull=False) | Q(pk__lt=place.pk)
    # The first condition bounds the index; the other drops at most what one stamp
    # (`stamping.ROWS_PER_STAMP`) gave the revision of the place.
    return Q(created_revision__lte=place.revision) & (
        Q(created_revision__lt=place.revision) | Q(pk__lt=place.pk)
    )


def _newest_first(rows: QuerySet[UserNotification]) -> QuerySet[UserNotification]:
    return rows.order_by(F("created_revision").desc(nulls_first=True), "-pk")
