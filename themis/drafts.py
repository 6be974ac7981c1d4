"""What is to be told, checked and mended, before anybody's mailbox is touched."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import cached_property
from typing import Any

from django.conf import settings as django_settings
from django.db.models.base import ModelState
from django.utils import timezone

from themis import content
from themis.models import Level, UserNotification
from themis.queries import identity_of


@dataclass(frozen=True, kw_only=True)
class Draft:
    """The checked arguments of a notification; the same for all who are told."""

    title: str
    message: str
    level: Level
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
        level: str,
        url: object,
        deduplicate: object,
        expires_at: object,
        **source: object,
    ) -> Draft:
        """
        Return the draft that host code asks for.

        Raises:
            ValueError: an argument is not what it must be.
        """
        try:
            known = Level(level)
        except ValueError as error:
            allowed = ", ".join(Level.values)
            msg = f"level must be one of {allowed}, not {level!r}."
            raise ValueError(msg) from error
        return cls(
            title=content.clean_title(title),
            message=content.clean_text(
                message, name="message", length=content.MESSAGE_LENGTH
            ),
            level=known,
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

    def is_expired_at(self, now: datetime) -> bool:
        """Tell whether its time is over before anybody has been told."""
        return self.expires_at is not None and self.expires_at <= now

    @cached_property
    def values(self) -> dict[str, Any]:
        """What each column gets, unless the store knows better."""
        given = {name: getattr(self, name) for name in self.__dataclass_fields__}
        given["level"] = self.level.value
        columns = UserNotification._meta.concrete_fields
        rest = (column for column in columns if column.attname not in given)
        return given | {column.attname: column.get_default() for column in rest}

    def stored(self, using: str, **columns: Any) -> UserNotification:
        """Return the notification as the database *using* has it, with *columns*."""
        # As `from_db` makes it, whose way through all fields takes ten times as long.
        state = ModelState()
        state.adding, state.db = False, using
        row = UserNotification.__new__(UserNotification)
        row.__dict__ |= {"_state": state} | self.values | columns
        return row

    @cached_property
    def identity(self) -> dict[str, str]:
        """What makes another notification of the same user a duplicate."""
        return identity_of(self)

    @cached_property
    def dedup_key(self) -> str:
        """The identity, short enough for a unique index."""
        identity = json.dumps(list(self.identity.items()))
        return hashlib.sha256(identity.encode()).hexdigest()


def clean_whole_source(**source: object) -> dict[str, str]:
    """
    Return source fields that say which source is meant, as stored.

    Raises:
        ValueError: one is empty, None or too long.
    """
    cleaned = {
        name: content.clean_source(value, name=name) for name, value in source.items()
    }
    for name, value in cleaned.items():
        if not value:
            msg = f"{name} must not be empty: it says whose notifications are meant."
            raise ValueError(msg)
    return cleaned


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
