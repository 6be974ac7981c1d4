"""The questions that stamping and reading ask of the rows."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from django.db import router
from django.db.models import QuerySet

from themis.models import UserNotification, UserProfile, is_listed

# How many items a page holds without asking for more.
WINDOW = 20

SOURCE = ("source_app", "source_model", "source_id")
TEXT = ("level", "title", "message", "url")


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


def refill(
    items: list[UserNotification],
    removed: int,
    newest_first: Callable[[], QuerySet[UserNotification]],
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
    known = {row.pk: row for row in items}
    if removed:
        window = list(newest_first()[:WINDOW])
        moved_up = min(removed, WINDOW) if is_settled() else WINDOW
        known |= {row.pk: row for row in window[-moved_up:]}
    return sorted(
        known.values(), key=lambda row: (row.created_revision, row.pk), reverse=True
    )


def identity_of(row: UserNotification) -> dict[str, str]:
    """Return what makes another notification of the user a duplicate of *row*."""
    source = {name: getattr(row, name) for name in SOURCE}
    if any(source.values()):
        return source
    return source | {name: getattr(row, name) for name in TEXT}
