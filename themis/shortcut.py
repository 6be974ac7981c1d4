"""The short way into one mailbox: PostgreSQL stores, stamps and counts in one function.

With no transaction open, a call in a loop is mostly round trips: this one makes of six
of them one (`python -m benchmarks.notify`). The function is that of migration 0004; it
does what `hold`, `store` and `count` do, and a test compares them.
"""

from __future__ import annotations

import logging
from collections.abc import Collection
from functools import cache
from typing import Any

from django.db import ProgrammingError, transaction
from django.utils import timezone

from themis import holding, revisions
from themis.conf import settings
from themis.drafts import Draft
from themis.holding import Stamp, announce, to_changes
from themis.models import Level, UserNotification
from themis.preferences import minimums_above
from themis.revisions import Bump, Count
from themis.statements import run
from themis.transactions import is_isolated, is_unusable

logger = logging.getLogger("themis")

# Aliases of databases in which this process has missed the function.
_closed: set[str] = set()

_STORE = """
SELECT id, epoch, revision, unread, desktop, next_expiry_at FROM themis_store_1(
    %(users)s, %(title)s, %(message)s, %(level)s, %(url)s, %(source_app)s,
    %(source_model)s, %(source_id)s, %(created_at)s, %(expires_at)s, %(now)s,
    %(higher_minimums)s, %(count_limit)s, %(wait_ms)s)
"""
_GIVEN = (
    "title",
    "message",
    "level",
    "url",
    "source_app",
    "source_model",
    "source_id",
    "created_at",
    "expires_at",
)


def leads_to(users: Collection[Any], draft: Draft, using: str) -> bool:
    """Tell whether the short way exists: claims on dedup keys need the long one."""
    connection = transaction.get_connection(using)
    return (
        connection.vendor == "postgresql"
        and len(users) == 1
        and not draft.deduplicate
        # Its statements must see what was committed while it waited for the lock.
        and not is_isolated(connection)
        and using not in _closed
    )


def store_at_once(draft: Draft, user: Any, using: str) -> list[UserNotification] | None:
    """
    Store *draft* in the mailbox of *user*, stamped, and broadcast it.

    Must be called with no transaction open: the call is one.

    Args:
        draft: What to tell; it has not expired.
        user: A primary key.
        using: The alias of the database.

    Returns:
        The row; nothing if the user does not want it; None, and nothing is written, if
        there is no mailbox yet, or no function that this role may call.

    Raises:
        OperationalError: the mailbox was not to be had in half a second.
    """
    now = timezone.now()
    try:
        answer = run(
            _STORE,
            [user],
            using,
            **{name: draft.values[name] for name in _GIVEN},
            now=now,
            higher_minimums=_higher_minimums(draft.level),
            count_limit=revisions.COUNT_LIMIT,
            wait_ms=holding.HOLDING_WAIT_MS,
        )
    except ProgrammingError as error:
        if not is_unusable(error):
            raise
        _closed.add(using)
        logger.warning(
            "Each notify_user takes five more round trips: %s",
            str(error).partition("\n")[0],
            extra={"event": "no_function"},
        )
        return None
    for pk, epoch, revision, unread, desktop, next_expiry_at in answer:
        if pk is None:
            return []
        row = draft.stored(
            using,
            id=pk,
            user_id=user,
            created_revision=revision,
            revision=revision,
            pending=False,
        )
        box = Bump(
            user, epoch, revision, has_due=False, has_buried=False, has_wishes=False
        )
        count = Count(unread, desktop, next_expiry_at)
        stamp = Stamp(box, now, rows=[row])
        changes = to_changes(
            stamp, count, using, alone=True, poll_interval=settings.poll_interval
        )
        announce([changes], using)
        return [row]
    return None


# As an array's text: psycopg would look at each of a list anew.
@cache
def _higher_minimums(level: Level) -> str:
    return "{" + ",".join(filter(None, minimums_above(level).values())) + "}"
