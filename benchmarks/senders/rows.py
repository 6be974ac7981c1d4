"""The bare row of the peers' site, and what it looks like on the wire."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from benchmarks.senders.texts import FIELDS
from benchmarks.site.models import Notification

# As notify_users() does, by the same number.
CHUNK = 250


def insert(user: int, title: str) -> dict[str, Any]:
    """Insert a row by the ORM; return what a page is told."""
    row = Notification.objects.create(user_id=user, title=title, **FIELDS)
    return row.to_page()


def insert_all(users: range, title: str) -> Iterator[list[tuple[int, dict[str, Any]]]]:
    """Insert rows by the ORM, chunk by chunk; give who is told what."""
    for start in range(0, len(users), CHUNK):
        chunk = users[start : start + CHUNK]
        rows = Notification.objects.bulk_create(
            Notification(user_id=user, title=title, **FIELDS) for user in chunk
        )
        yield [(user, row.to_page()) for user, row in zip(chunk, rows, strict=True)]
