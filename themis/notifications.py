"""The trigger's one interface: tell a user something."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import nullcontext
from datetime import datetime
from functools import partial
from typing import Any

from asgiref.sync import sync_to_async
from django.contrib.auth import get_user_model
from django.contrib.auth.base_user import AbstractBaseUser
from django.db import OperationalError, transaction
from django.db.models import QuerySet
from django.utils import timezone

from themis import shortcut
from themis.drafts import Draft, clean_whole_source
from themis.holding import USERS_PER_STAMP, Stamp, hold, remove, rewrite
from themis.models import UserNotification, is_open
from themis.queries import database
from themis.recipients import chunks_of, key_of, no_account, warn_of_nobody
from themis.ringing import followed
from themis.signals import notification_created
from themis.stamping import stamp
from themis.store import ClaimTakenError, store
from themis.transactions import in_transaction, is_contention

__all__ = [
    "amark_read",
    "anotify_user",
    "anotify_users",
    "awithdraw",
    "mark_read",
    "notify_user",
    "notify_users",
    "withdraw",
]


def notify_user(
    user: AbstractBaseUser | None,
    title: str,
    message: str = "",
    *,
    level: str = "info",
    url: str = "",
    source_app: str = "",
    source_model: str = "",
    source_id: object = "",
    deduplicate: bool = False,
    expires_at: datetime | None = None,
) -> UserNotification | None:
    """
    Put a notification into the mailbox of *user*, and on their open pages.

    The row belongs to the caller's transaction, if one is open: it is shown after the
    commit and never after a rollback. The call takes no lock on anything shared and
    never waits for a broker; only a claim on a dedup key may wait, at most 500 ms.

    Args:
        user: Whom to tell. None is nobody: logged as a warning, and skipped.
        title: A headline; shortened to 200 characters.
        message: The text below it; shortened to 4,000 characters.
        level: `info`, `success`, `warning` or `danger`.
        url: Where a click leads: a path or an http(s) address, at most 2,000
            characters.
        source_app: The app that this is about, at most 100 characters.
        source_model: The model that this is about, at most 100 characters.
        source_id: The object that this is about; at most 200 characters as a string.
        deduplicate: Skip if the user has an unread notification of the same source,
            or, without any source, one that says the same.
        expires_at: When it vanishes by itself. A naive time is in Django's time zone.

    Returns:
        The notification, or None if it was skipped: the user has notifications
        switched off or wants only higher levels, an unread duplicate exists, or *user*
        is None.

    Raises:
        ValueError: an argument is not what it must be; nothing has been written.
    """
    draft = Draft.of(
        title=title,
        message=message,
        level=level,
        url=url,
        source_app=source_app,
        source_model=source_model,
        source_id=source_id,
        deduplicate=deduplicate,
        expires_at=expires_at,
    )
    if user is None:
        warn_of_nobody(draft)
        return None
    key = key_of(user)
    using = database()
    for row in _deliver(draft, [key], using):
        account: Any = user  # whichever model AUTH_USER_MODEL names
        row.user = account
        return row
    accounts = get_user_model()._base_manager.using(using)
    with transaction.atomic(using=using):
        if not accounts.filter(pk=key).exists():
            # Told now, and not by a foreign key when the caller's transaction commits.
            raise no_account("a deleted or unsaved one")
    return None


def notify_users(
    users: Iterable[AbstractBaseUser | None] | QuerySet[Any],
    title: str,
    message: str = "",
    *,
    level: str = "info",
    url: str = "",
    source_app: str = "",
    source_model: str = "",
    source_id: object = "",
    deduplicate: bool = False,
    expires_at: datetime | None = None,
) -> int:
    """
    Put the same notification into the mailboxes of many users.

    Each user's rules hold as with `notify_user`, for 250 users at a time in a constant
    number of statements; memory is bounded. With no transaction open each chunk commits
    and rings on its own; inside one, all is shown after its commit.

    Args:
        users: Whom to tell. Of a queryset each user once; of another iterable as often
            as it yields them. None is nobody: logged as a warning, and skipped.
            Accounts deleted meanwhile are left out.
        title: As for `notify_user`, like all that follow.
        message: See there.
        level: See there.
        url: See there.
        source_app: See there.
        source_model: See there.
        source_id: See there.
        deduplicate: See there.
        expires_at: See there.

    Returns:
        How many were told; the others were skipped, for the reasons of `notify_user`.

    Raises:
        ValueError: an argument is not what it must be: nothing has been written. An
            element of *users* is no saved user: nothing of its chunk has been written,
            but what came before has.
    """
    draft = Draft.of(
        title=title,
        message=message,
        level=level,
        url=url,
        source_app=source_app,
        source_model=source_model,
        source_id=source_id,
        deduplicate=deduplicate,
        expires_at=expires_at,
    )
    using = database()
    chunks = chunks_of(users, draft, USERS_PER_STAMP)
    return sum(len(_deliver(draft, chunk, using)) for chunk in chunks)


def mark_read(
    user: AbstractBaseUser, *, source_app: str, source_model: str, source_id: object
) -> int:
    """
    Mark as read what the bell of *user* shows of a source: they opened the thing.

    Inside a transaction of the caller it is shown after the commit.

    Args:
        user: Whose bell.
        source_app: The app that the notifications are about.
        source_model: The model that they are about.
        source_id: The object that they are about.

    Returns:
        How many were marked; those that were read, dismissed or expired are not.

    Raises:
        ValueError: *user* has no account, or a source field is empty or too long.
    """
    source = clean_whole_source(
        source_app=source_app, source_model=source_model, source_id=source_id
    )
    key = key_of(user)
    using = database()
    now = timezone.now()
    chosen = UserNotification.objects.using(using).filter(is_open(now), user=key)
    chosen = chosen.filter(**source)
    if in_transaction(using):
        return chosen.update(read_at=now)
    # Of most pages that a person opens the bell has nothing to say: no lock for that.
    if not chosen.exists():
        return 0
    try:
        with hold([key], using) as stamps:
            return sum(
                rewrite(held, chosen, using, read_at=now) for held in stamps.values()
            )
    except OperationalError as error:
        if not is_contention(error):
            raise
    return chosen.update(read_at=now)


def withdraw(*, source_app: str, source_model: str, source_id: object) -> int:
    """
    Delete the notifications of a source for everyone, on open pages too.

    With no transaction open each chunk commits on its own; inside one, all vanish after
    its commit.

    Args:
        source_app: The app that the notifications are about.
        source_model: The model that they are about.
        source_id: The object that they are about.

    Returns:
        How many were deleted, whatever state they were in.

    Raises:
        ValueError: a source field is empty or too long.
    """
    source = clean_whole_source(
        source_app=source_app, source_model=source_model, source_id=source_id
    )
    using = database()
    chosen = UserNotification.objects.using(using).filter(**source)
    if in_transaction(using):
        return _delete(chosen)
    total = last = 0
    owned = chosen.order_by("pk").values_list("pk", "user_id")
    while rows := list(owned.filter(pk__gt=last)[:USERS_PER_STAMP]):
        keys = [pk for pk, _user in rows]
        try:
            with hold({user for _pk, user in rows}, using) as stamps:
                removed = remove(stamps, keys, using)
        except OperationalError as error:
            if not is_contention(error):
                raise
            # Even at the end of the block, whose deletions are rolled back then.
            removed = 0
        if removed < len(keys):
            # What somebody holds, or its mailbox: waited for with no mailbox held.
            removed += _delete(chosen.filter(pk__in=keys))
        total += removed
        last = keys[-1]
    return total


async def anotify_user(*args: Any, **kwargs: Any) -> UserNotification | None:
    """See `notify_user`. A cancelled await does not undo the write."""
    return await sync_to_async(notify_user, thread_sensitive=True)(*args, **kwargs)


async def anotify_users(*args: Any, **kwargs: Any) -> int:
    """See `notify_users`. A cancelled await does not undo the write."""
    return await sync_to_async(notify_users, thread_sensitive=True)(*args, **kwargs)


async def amark_read(*args: Any, **kwargs: Any) -> int:
    """See `mark_read`. A cancelled await does not undo the write."""
    return await sync_to_async(mark_read, thread_sensitive=True)(*args, **kwargs)


async def awithdraw(*args: Any, **kwargs: Any) -> int:
    """See `withdraw`. A cancelled await does not undo the write."""
    return await sync_to_async(withdraw, thread_sensitive=True)(*args, **kwargs)


def _deliver(draft: Draft, users: list[Any], using: str) -> list[UserNotification]:
    """Store *draft* for those of *users*, one chunk, who are to be told; ring."""
    if in_transaction(using):
        rows = _store_pending(draft, users, using)
    elif draft.is_expired_at(timezone.now()):
        with transaction.atomic(using=using):
            rows = store(draft, users, timezone.now(), using, held=False)
    else:
        rows = _store_stamped(draft, users, using)
    if rows and notification_created.has_listeners(UserNotification):
        send = partial(_send_created, [row.pk for row in rows], using)
        # In a block, because with autocommit off Django knows no callbacks without one.
        block = transaction.atomic(using=using, savepoint=False)
        with block if in_transaction(using) else nullcontext():
            transaction.on_commit(send, using=using, robust=True)
    return rows


def _store_pending(
    draft: Draft, users: list[Any], using: str
) -> list[UserNotification]:
    """Store in the caller's transaction; whoever stamps next shows it."""
    # All of it under a savepoint, reading too: an error of ours must not be the end of
    # the caller's transaction.
    with followed(using) as touched:
        rows = store(draft, users, timezone.now(), using, held=False)
        touched.update(row.user_id for row in rows if row.pending)
    return rows


def _store_stamped(
    draft: Draft, users: list[Any], using: str
) -> list[UserNotification]:
    """Store in one short transaction with the stamp, as none is open."""
    rows: list[UserNotification] = []
    stamps: dict[Any, Stamp] = {}
    try:
        if shortcut.leads_to(users, draft, using):
            stored = shortcut.store_at_once(draft, users[0], using)
            if stored is not None:
                return stored
        with hold(users, using) as stamps:
            if stamps:
                now = next(iter(stamps.values())).now
                rows = store(draft, list(stamps), now, using, held=True)
            for row in rows:
                stamps[row.user_id].rows.append(row)
    except ClaimTakenError:
        # Wait for it without the mailboxes, which others need meanwhile.
        return _store_pending(draft, users, using)
    except OperationalError as error:
        if not is_contention(error):
            raise
        rows, stamps = [], {}
    busy = [user for user in users if user not in stamps]
    if not busy:
        return rows
    # Whoever stamps their mailboxes next shows these, too.
    with transaction.atomic(using=using):
        waiting = store(draft, busy, timezone.now(), using, held=False)
    if len(users) > 1 and waiting:
        stamp([row.user_id for row in waiting], using)
    return rows + waiting


def _send_created(keys: list[int], using: str) -> None:
    rows = UserNotification.objects.using(using).filter(pk__in=keys).order_by("pk")
    for row in rows:
        notification_created.send_robust(sender=UserNotification, notification=row)


def _delete(chosen: QuerySet[UserNotification]) -> int:
    _total, by_model = chosen.delete()
    return by_model.get(UserNotification._meta.label, 0)
