"""The trigger's one interface: tell a user something."""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from asgiref.sync import sync_to_async
from django.conf import settings as django_settings
from django.contrib.auth import get_user_model
from django.contrib.auth.base_user import AbstractBaseUser
from django.core.exceptions import ObjectDoesNotExist
from django.db import IntegrityError, OperationalError, models, transaction
from django.db.models import Q
from django.utils import timezone

from themis import content, preferences
from themis.locking import is_contention, limited_wait
from themis.models import Level, UserNotification
from themis.queries import database, identity_of, plain
from themis.ringing import followed
from themis.stamping import hold

__all__ = ["anotify_user", "notify_user"]

logger = logging.getLogger("themis")

# How long a claim on a dedup key may keep the caller's transaction waiting: less than
# PostgreSQL's `deadlock_timeout`, so that a cycle ends here, without an error.
CLAIM_WAIT_MS = 500


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
    draft = _Draft.of(
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
        logger.warning("Nobody to notify: the user is None (%s).", draft.origin)
        return None
    _check_user(user)
    using = database()
    connection = transaction.get_connection(using)
    if connection.in_atomic_block or not connection.get_autocommit():
        return _store_pending(draft, user, using)
    if not _wants(user, draft, using):
        return None
    try:
        return _store_stamped(draft, user, using)
    except OperationalError as error:
        if not is_contention(error):
            raise
    # The mailbox is busy; whoever stamps it next shows this one, too.
    with transaction.atomic(using=using):
        row = draft.row(user)
        return row if _insert(row, using) else None


async def anotify_user(*args: Any, **kwargs: Any) -> UserNotification | None:
    """See `notify_user`. A cancelled await does not undo the write."""
    return await sync_to_async(notify_user, thread_sensitive=True)(*args, **kwargs)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Draft:
    """Checked and mended arguments of a notification."""

    title: str
    message: str
    level: str
    url: str
    source_app: str
    source_model: str
    source_id: str
    deduplicate: bool
    expires_at: datetime | None

    @classmethod
    def of(
        cls,
        *,
        title: object,
        message: object,
        level: object,
        url: object,
        deduplicate: object,
        expires_at: object,
        **source: object,
    ) -> _Draft:
        if level not in Level.values:
            allowed = ", ".join(Level.values)
            msg = f"level must be one of {allowed}, not {level!r}."
            raise ValueError(msg)
        return cls(
            title=content.clean_title(title),
            message=content.clean_text(
                message, name="message", length=content.MESSAGE_LENGTH
            ),
            level=Level(level).value,
            url=content.clean_url(url),
            deduplicate=bool(deduplicate),
            expires_at=_clean_expiry(expires_at),
            **{
                name: content.clean_source(value, name=name)
                for name, value in source.items()
            },
        )

    @property
    def origin(self) -> str:
        """The source, for logs that must not hold what a notification says."""
        source = f"{self.source_app}.{self.source_model} {self.source_id}".strip(" .")
        return f"source: {source}" if source else "no source"

    def row(self, user: AbstractBaseUser) -> UserNotification:
        """Return the notification of *user*, not yet stored."""
        account: Any = user  # whichever model AUTH_USER_MODEL names
        return UserNotification(
            user=account,
            title=self.title,
            message=self.message,
            level=self.level,
            url=self.url,
            source_app=self.source_app,
            source_model=self.source_model,
            source_id=self.source_id,
            deduplicate=self.deduplicate,
            expires_at=self.expires_at,
        )


def _clean_expiry(value: object) -> datetime | None:
    if value is None:
        return None
    if not isinstance(value, datetime):
        kind = "date" if isinstance(value, date) else type(value).__name__
        msg = f"expires_at must be a datetime or None, not a {kind}."
        raise ValueError(msg)  # noqa: TRY004 -- one error type for every bad argument
    try:
        # Warns of a naive time and makes it aware, as every model field does.
        field = UserNotification._meta.get_field("expires_at")
        moment: datetime = field.get_prep_value(value)
        if timezone.is_aware(moment):
            moment.astimezone(UTC)
            if not django_settings.USE_TZ:
                moment = timezone.make_naive(moment, timezone.get_default_timezone())
    except OverflowError as error:
        msg = f"expires_at must be a time that exists in UTC, not {value!r}."
        raise ValueError(msg) from error
    return moment


def _check_user(user: object) -> None:
    if not isinstance(user, get_user_model()):
        # Not type(): request.user is a lazy object, which is what it wraps.
        raise _no_account(user.__class__.__name__)
    if user.pk is None:
        raise _no_account("an unsaved one")


def _no_account(found: str) -> ValueError:
    return ValueError(
        f"user must be a saved {get_user_model().__name__} or None, not {found}; "
        "nobody can be notified who has no account."
    )


def _wants(user: AbstractBaseUser, draft: _Draft, using: str) -> bool:
    try:
        return preferences.wants(user.pk, draft.level, using)
    except ObjectDoesNotExist as error:
        # Told now, and not by a foreign key when the caller's transaction commits.
        raise _no_account("a deleted or unsaved one") from error


def _store_stamped(
    draft: _Draft, user: AbstractBaseUser, using: str
) -> UserNotification | None:
    """Store in one short transaction with the stamp, as none is open."""
    row = draft.row(user)
    if row.is_expired_at(timezone.now()):
        return _insert_unseen(row, using)
    with hold([user.pk], using) as stamps:
        held = stamps[user.pk]
        row.pending = False
        row.created_revision = row.revision = held.box.revision
        if not _insert(row, using):
            return None
        held.rows.append(row)
    return row


def _store_pending(
    draft: _Draft, user: AbstractBaseUser, using: str
) -> UserNotification | None:
    """Store in the caller's transaction; whoever stamps next shows it."""
    # All of it under a savepoint, reading too: an error of ours must not be the end of
    # the caller's transaction.
    with followed(using) as users:
        if not _wants(user, draft, using):
            return None
        row = draft.row(user)
        if row.is_expired_at(timezone.now()):
            return _insert_unseen(row, using)
        if not _insert(row, using):
            return None
        users.add(user.pk)
    return row


def _insert_unseen(row: UserNotification, using: str) -> UserNotification:
    """Store what had expired before it could be shown: it never takes part."""
    row.pending = False
    row.expiry_stamped = True
    models.Model.save(row, force_insert=True, using=using)
    return row


def _insert(row: UserNotification, using: str) -> bool:
    """Insert *row*; tell whether, as a duplicate that is open forbids it."""
    if not row.deduplicate:
        models.Model.save(row, force_insert=True, using=using)
        return True
    now = timezone.now()
    row.dedup_key = _key_of(row)
    rivals = plain(using).filter(
        Q(**identity_of(row)) | Q(dedup_key=row.dedup_key),
        user=row.user_id,
        read_at=None,
        dismissed_at=None,
    )
    stale_holder = None
    for rival in rivals:
        if not rival.is_expired_at(now) and identity_of(rival) == identity_of(row):
            return False
        # Expired, or host code has edited what its claim was about.
        if rival.dedup_key == row.dedup_key:
            stale_holder = rival.pk
    try:
        if stale_holder is not None:
            holder = plain(using).filter(pk=stale_holder)
            with limited_wait(using, wait_ms=CLAIM_WAIT_MS // 2):
                holder.update(dedup_key=None)
        with limited_wait(using, wait_ms=CLAIM_WAIT_MS // 2):
            models.Model.save(row, force_insert=True, using=using)
    except IntegrityError as error:
        if "dedup_key" not in str(error):
            raise
        return False
    except OperationalError as error:
        if not is_contention(error):
            raise
        # Stamping compares it with what was stamped before, and drops it or shows it.
        row.dedup_key = row.pk = None
        models.Model.save(row, force_insert=True, using=using)
    return True


def _key_of(row: UserNotification) -> str:
    identity = json.dumps(list(identity_of(row).items()))
    return hashlib.sha256(identity.encode()).hexdigest()
