"""What leaves the process: the wire format, version 1, has its shape here alone."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import MAXYEAR, MINYEAR, UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar

from django.conf import settings as django_settings
from django.utils import timezone

from themis.content import is_safe_url

if TYPE_CHECKING:
    from themis.models import UserNotification

VERSION = 1

# Made once: `json.dumps` makes one for each call that has options.
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
orjson: Any = None
with contextlib.suppress(ImportError):  # the extra `speed`: a tenth of the time
    import orjson
_TIME = re.compile(
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:\d\d)", re.ASCII
)


def wire_time(moment: datetime | None) -> str | None:
    """Return *moment* as ISO 8601 in UTC; a naive one is in Django's time zone."""
    if moment is None:
        return None
    if moment.tzinfo is not UTC:
        if timezone.is_naive(moment):
            moment = timezone.make_aware(moment, timezone.get_default_timezone())
        try:
            moment = moment.astimezone(UTC)
        except OverflowError:
            # "Never", spelt as the last moment of the calendar, has none in UTC.
            moment = moment.replace(tzinfo=UTC)
    return _spell(moment)


# The frames of one call share their times. Of times in UTC alone: in other zones two
# can be equal that are an hour apart, when the clocks are put back.
@lru_cache(maxsize=64)
def _spell(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


def parse_time(text: str) -> datetime:
    """
    Return the moment that `wire_time` spelt, in any zone, as the tables hold it.

    Raises:
        ValueError: it did not; or the moment is at the end of the calendar.
    """
    if not _TIME.fullmatch(text):
        msg = "This is no time with its zone."
        raise ValueError(msg)
    try:
        moment = datetime.fromisoformat(text).astimezone(UTC)
    except OverflowError as error:
        msg = "This is outside the calendar."
        raise ValueError(msg) from error
    # Not at its ends either, where another zone would be another year.
    if not MINYEAR < moment.year < MAXYEAR:
        msg = "Nothing happened then."
        raise ValueError(msg)
    if django_settings.USE_TZ:
        return moment
    return timezone.make_naive(moment, timezone.get_default_timezone())


def encode(frame: dict[str, Any]) -> str:
    """Return *frame* as the JSON text that sockets and responses carry."""
    if orjson is None:
        return _encode(frame)
    text: str = orjson.dumps(frame).decode()
    return text


def to_item(row: UserNotification) -> dict[str, Any]:
    """
    Return a notification as pages know it.

    A link that isn't safe, which only a write past Themis can have stored, is left out.
    """
    return {
        "id": str(row.pk),
        "title": row.title,
        "message": row.message,
        "level": row.level,
        "url": row.url if is_safe_url(row.url) else "",
        # Relative to the mount, because a sender knows no request.
        "open_url": f"{row.pk}/open/",
        "source": {
            "app": row.source_app,
            "model": row.source_model,
            "id": row.source_id,
        },
        "created_at": wire_time(row.created_at),
        "read_at": wire_time(row.read_at),
        "expires_at": wire_time(row.expires_at),
        "created_revision": row.created_revision,
        "revision": row.revision,
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """The state of one mailbox at one revision, or the way to it."""

    type: ClassVar[str]

    user_key: str
    epoch: str
    revision: int
    unread: int
    items: Sequence[UserNotification]
    now: datetime
    poll_interval: int
    desktop: bool
    # When the first of what the mailbox holds expires. Not on the wire: pages know it
    # of the items that they have.
    next_expiry_at: datetime | None = None

    def to_wire(self) -> dict[str, Any]:
        """Return the frame as design section 6 spells it."""
        return {
            "type": self.type,
            "v": VERSION,
            "epoch": self.epoch,
            "revision": self.revision,
            "unread": self.unread,
            "items": [to_item(row) for row in self.items],
            "now": wire_time(self.now),
            "poll_interval": self.poll_interval,
            "desktop": self.desktop,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot(Frame):
    """All that a page needs to begin: the newest items and the counts."""

    type: ClassVar[str] = "snapshot"


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes(Frame):
    """All that happened to a mailbox after `since`, up to `revision`."""

    type: ClassVar[str] = "changes"

    since: int
    removed: Sequence[int]
    # False where so much changed that the frame is only good for its numbers.
    whole: bool = True

    def to_wire(self) -> dict[str, Any]:
        """Return the frame as design section 6 spells it."""
        return {
            # Named: a slotted dataclass is a new class, which plain super() misses.
            **Frame.to_wire(self),
            "since": self.since,
            "removed": [str(pk) for pk in self.removed],
        }
