"""The questions that stamping and reading ask of the rows."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from django.db import connections, router
from django.db.models import BooleanField, DateTimeField, Field, QuerySet

from themis.models import UserNotification, UserProfile, is_listed
from themis.statements import key_reader, run, to_moment

# How many items a page holds without asking for more.
WINDOW = 20

SOURCE = ("source_app", "source_model", "source_id")
TEXT = ("level", "title", "message", "url")

_FIELDS = UserNotification._meta.concrete_fields
_NAMES = [field.attname for field in _FIELDS]
# What each page begins with, and what has moved up where something was removed.
_WINDOW = f"""
SELECT {", ".join(_NAMES)} FROM themis_usernotification
WHERE user_id IN (%(users)s) AND created_revision <= %(revision)s
    AND dismissed_at IS NULL AND (expires_at IS NULL OR expires_at > %(now)s)
ORDER BY created_revision DESC, id DESC LIMIT %(window)s
"""  # noqa: S608 -- of constants


def database() -> str:
    """Return the alias of the one database that holds Themis' tables."""
    return router.db_for_write(UserNotification)


def plain(using: str) -> QuerySet[UserNotification]:
    """Return all notifications, with writes that nothing follows."""
    return QuerySet(UserNotification, using=using)


def plain_profiles(using: str) -> QuerySet[UserProfile]:
    """Return all profiles, with writes that nothing follows."""
    return QuerySet(UserProfile, using=using)


def on_wire(using: str) -> QuerySet[UserNotification]:
    """Return what the wire may show: notifications that have been stamped."""
    return plain(using).filter(created_revision__isnull=False)


def newest(user: Any, now: datetime, using: str) -> QuerySet[UserNotification]:
    """Return what pages list of *user*, the newest first."""
    rows = on_wire(using).filter(is_listed(now), user=user)
    return rows.order_by("-created_revision", "-id")


def read_window(
    user: Any, revision: int, now: datetime, using: str
) -> list[UserNotification]:
    """Return the first `WINDOW` of the `newest` that there were at *revision*."""
    rows = run(_WINDOW, [user], using, revision=revision, now=now, window=WINDOW)
    if connections[using].vendor == "sqlite":
        rows = [
            tuple(_to_python(*pair, using) for pair in zip(_FIELDS, row, strict=True))
            for row in rows
        ]
    items = [UserNotification.from_db(using, _NAMES, row) for row in rows]
    read = key_reader(using)
    for item in items:
        item.user_id = read(item.user_id)
    return items


def _to_python(field: Field[Any, Any], value: Any, using: str) -> Any:
    """Return a value as Python code knows it; SQLite has few types."""
    match field:
        case DateTimeField():
            return to_moment(value, using)
        case BooleanField():
            return bool(value)
        case _:
            return value


def refill(
    items: list[UserNotification],
    removed: int,
    newest_first: Callable[[], QuerySet[UserNotification] | list[UserNotification]],
    is_settled: Callable[[], bool],
) -> list[UserNotification]:
    """
    Return *items* with what has moved up into the window in place of the *removed*.

    A page that holds the newest 20 and loses k of them gets the last k of the current
    newest 20, so its window stays right. Queries are made only if there is a need.

    Args:
        items: What has changed.
        removed: How many the page is told to remove.
        newest_first: What the mailbox lists now.
        is_settled: Tells, after that was read, whether pages have been told of all
            that was removed. If not, they hold what is missing there, and k is not
            enough: they get the whole window.
    """
    if not removed and len(items) < 2:  # noqa: PLR2004 -- one is in order
        return items
    known = {row.pk: row for row in items}
    if removed:
        window = list(newest_first()[:WINDOW])
        moved_up = min(removed, WINDOW) if is_settled() else WINDOW
        known |= {row.pk: row for row in window[-moved_up:]}
    return sorted(
        known.values(), key=lambda row: (row.created_revision, row.pk), reverse=True
    )


def identity_of(told: object) -> dict[str, str]:
    """
    Return what makes another notification of the user a duplicate of *told*.

    Args:
        told: A notification, or the draft of one.
    """
    source = {name: getattr(told, name) for name in SOURCE}
    if any(source.values()):
        return source
    return source | {name: getattr(told, name) for name in TEXT}
