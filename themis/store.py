"""The store: one draft for many users, by their rules, in one statement.

An INSERT ... SELECT asks for the preferences and the duplicates of all users where the
rows are made: a chunk of 250 users costs as many statements as one user, and the text
travels once.
"""

from __future__ import annotations

import logging
from collections.abc import Collection
from datetime import datetime
from typing import Any

from django.contrib.auth import get_user_model
from django.db import OperationalError, connections
from django.db.models import Q

from themis.drafts import Draft
from themis.models import UserNotification
from themis.preferences import WANTED, minimums_above
from themis.queries import plain
from themis.revisions import is_written_first
from themis.statements import key_reader, run
from themis.transactions import (
    is_awaited,
    is_contention,
    is_lock_timeout,
    limited_wait,
)

logger = logging.getLogger("themis")

# How long a claim on a dedup key may keep the caller's transaction waiting: less than
# PostgreSQL's `deadlock_timeout`, so that a cycle ends here, without an error.
CLAIM_WAIT_MS = 500
# Who is waited for can be half of a cycle, and PostgreSQL ends that at the expense of
# whoever has waited for a second, just then: so the first look hardly waits.
GLANCE_MS = 1
# And how long a claim may keep waiting whoever else needs the mailboxes that are held.
HELD_WAIT_MS = 20

# In the mailboxes that the caller holds: stamped with the revision just given.
_HELD = """
SELECT {selected} FROM themis_mailbox AS box
LEFT JOIN themis_userprofile AS profile ON profile.user_id = box.user_id
WHERE box.user_id IN (%(users)s) AND {conditions}
ORDER BY box.user_id
"""
# For whoever stamps next.
_LOOSE = """
SELECT {selected} FROM {users_table} AS account
LEFT JOIN themis_userprofile AS profile ON profile.user_id = account.{user_key}
WHERE account.{user_key} IN (%(users)s) AND {conditions}
ORDER BY account.{user_key}
"""
# In the order of the users, so that two chunks claim in the same order.
_INSERT = """
INSERT INTO themis_usernotification ({columns}) {source}
{conflict} RETURNING id, user_id, created_revision
"""
# Names the index, so that no other conflict is taken for a duplicate. SQLite compares
# the condition with that of the index word for word.
_UNLESS_CLAIMED = """ON CONFLICT (user_id, dedup_key) WHERE dedup_key IS NOT NULL
    AND dismissed_at IS NULL AND read_at IS NULL DO NOTHING"""
_NO_DUPLICATE = """NOT EXISTS (SELECT 1 FROM themis_usernotification AS rival
    WHERE rival.user_id = {user} AND rival.read_at IS NULL
    AND rival.dismissed_at IS NULL
    AND (rival.expires_at IS NULL OR rival.expires_at > %(now)s) AND {same})"""


class ClaimTakenError(Exception):
    """Another transaction has not decided yet; nobody waits for that with a mailbox."""


def store(
    draft: Draft, users: Collection[Any], now: datetime, using: str, *, held: bool
) -> list[UserNotification]:
    """
    Store *draft* for those of *users* who want it and have no open duplicate.

    Must be called in a transaction; an error of the claims leaves it usable. Whoever
    has no account is left out.

    Args:
        draft: What to tell.
        users: Primary keys, at most 250.
        now: When it happens.
        using: The alias of the database.
        held: Whether the caller holds the mailboxes, so that the rows are stamped.

    Returns:
        The rows, in no order.

    Raises:
        ClaimTakenError: another transaction claims the same, and mailboxes are held.
    """
    if draft.is_expired_at(now):
        # It had expired before it could be shown: it never takes part.
        return _insert(draft, users, now, using, expiry_stamped=True, pending=False)
    if not draft.deduplicate:
        return _insert(draft, users, now, using, held=held)
    reason = ""
    for lock_ms in (HELD_WAIT_MS,) if held else (GLANCE_MS, None):
        try:
            with limited_wait(using, wait_ms=CLAIM_WAIT_MS // 2, lock_ms=lock_ms):
                if lock_ms is None and is_awaited(using):
                    reason = "somebody waits for the caller"
                    break
                _release_stale_claims(draft, users, now, using)
                return _insert(
                    draft, users, now, using, held=held, dedup_key=draft.dedup_key
                )
        except OperationalError as error:
            if not is_contention(error):
                raise
            if held:
                raise ClaimTakenError from error
            reason = str(error).partition("\n")[0]
            if not is_lock_timeout(error):
                break
    logger.debug(
        "Stored without a claim on its dedup key: %s.",
        reason,
        extra={"event": "unclaimed", "reason": reason},
    )
    # Stamping compares them with what was stamped before, and drops or shows them.
    return _insert(draft, users, now, using)


def _release_stale_claims(
    draft: Draft, users: Collection[Any], now: datetime, using: str
) -> None:
    """Take the key from what has expired, or was edited to be about something else."""
    rivals = plain(using).filter(user__in=users, read_at=None, dismissed_at=None)
    holders = rivals.filter(dedup_key=draft.dedup_key)
    stale = holders.filter(Q(expires_at__lte=now) | ~Q(**draft.identity))
    stale.update(dedup_key=None)


def _insert(
    draft: Draft,
    users: Collection[Any],
    now: datetime,
    using: str,
    *,
    held: bool = False,
    **internal: Any,
) -> list[UserNotification]:
    internal = {"pending": not held} | internal
    values = draft.values | internal
    connection = connections[using]
    parameters = {
        field.attname: field.get_db_prep_save(values[field.attname], connection)
        for field in UserNotification._meta.concrete_fields
        if field.attname not in {"id", "user_id"}
    }
    quote = connection.ops.quote_name
    accounts = get_user_model()._meta
    user_key = quote(str(accounts.pk.column))
    user = "box.user_id" if held else f"account.{user_key}"
    selected = {"user_id": user} | {name: f"%({name})s" for name in parameters}
    if held:
        new = "box.revision" if is_written_first(using) else "box.revision + 1"
        selected |= {"created_revision": new, "revision": new}
    conditions = WANTED
    if draft.deduplicate and not values["expiry_stamped"]:
        # Not the parameters that are stored: PostgreSQL gives each but one type, where
        # it is the server that binds them.
        same = " AND ".join(
            f"rival.{name} = %(same_{name})s" for name in draft.identity
        )
        conditions += " AND " + _NO_DUPLICATE.format(user=user, same=same)
        parameters |= {f"same_{name}": text for name, text in draft.identity.items()}
    statement = _INSERT.format(
        columns=", ".join(selected),
        source=(_HELD if held else _LOOSE).format(
            selected=", ".join(selected.values()),
            users_table=quote(accounts.db_table),
            user_key=user_key,
            conditions=conditions,
        ),
        conflict=_UNLESS_CLAIMED if values["dedup_key"] else "",
    )
    parameters |= {"now": now, **minimums_above(draft.level)}
    read = key_reader(using)
    return [
        draft.stored(
            using,
            id=pk,
            user_id=read(owner),
            created_revision=revision,
            revision=revision,
            **internal,
        )
        for pk, owner, revision in run(statement, users, using, **parameters)
    ]
