"""A person's preferences: read and changed in one way by API and HTML."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

from django.db.models import QuerySet
from django.utils.translation import gettext as _

from themis.holding import hold
from themis.models import Level, Mailbox, UserProfile
from themis.models.profile import MAX_RETENTION_DAYS, MIN_RETENTION_DAYS
from themis.queries import database, plain_profiles


@dataclass(frozen=True, slots=True, kw_only=True)
class Preferences:
    """The fields of a `UserProfile` that are the person's to choose."""

    notifications_enabled: bool
    notification_min_level: str
    browser_notifications_enabled: bool
    notification_retention_days: int | None


FIELDS = tuple(field.name for field in fields(Preferences))


class InvalidPreferencesError(ValueError):
    """Nothing was changed; `errors` says of each field what is wrong with it."""

    def __init__(self, errors: dict[str, str]) -> None:
        super().__init__("; ".join(f"{name}: {text}" for name, text in errors.items()))
        self.errors = errors


def read_preferences(user: Any) -> Preferences:
    """
    Return the preferences of *user* (a primary key), in one statement.

    The row is read, never a cached `user.profile`; without one the defaults hold.
    """
    return _read(user, database())


def change_preferences(user: Any, /, **changes: object) -> Preferences:
    """
    Change preferences in one short transaction, and tell every open tab.

    The next `notify_user` in any process goes by them. What changes nothing rings
    nobody. A user without a profile gets one.

    Args:
        user: The primary key of the user.
        changes: At least one of `FIELDS`, with its new value.

    Returns:
        All preferences as they are now.

    Raises:
        InvalidPreferencesError: a field is unknown or its value not allowed.
        ObjectDoesNotExist: there is no such user.
        OperationalError: another transaction held the rows for a second.
    """
    errors = _errors_in(changes)
    if errors:
        raise InvalidPreferencesError(errors)
    using = database()
    mine = plain_profiles(using).filter(user=user)
    with hold([user], using) as stamps:
        if not stamps:
            raise Mailbox.DoesNotExist
        (stamp,) = stamps.values()
        stamp.touched = _write(mine, changes)
        if not stamp.touched and not mine.exists():
            rows = [UserProfile(user_id=user)]
            plain_profiles(using).bulk_create(rows, ignore_conflicts=True)
            # A row that says what no row says is kept, but no page hears of it.
            stamp.silent = True
            stamp.touched = _write(mine, changes)
        return _read(user, using)


def _write(mine: QuerySet[UserProfile], changes: dict[str, Any]) -> bool:
    """Write what differs; tell whether anything did."""
    # Not pending: what else has been written there is told with this change.
    return bool(mine.exclude(**changes).update(**changes, pending=False))


def _read(user: Any, using: str) -> Preferences:
    stored = plain_profiles(using).filter(user=user).values(*FIELDS).first()
    if stored is None:
        defaults = UserProfile()
        stored = {name: getattr(defaults, name) for name in FIELDS}
    if stored["notification_min_level"] not in Level.values:
        # What no form writes asks for everything, as `preferences.wants` has it.
        stored["notification_min_level"] = Level.INFO.value
    return Preferences(**stored)


def _errors_in(changes: dict[str, object]) -> dict[str, str]:
    errors = {}
    for name, value in changes.items():
        check = _CHECKS.get(name)
        error = check(value) if check else _("There is no such preference.")
        if error:
            errors[name] = error
    if not changes:
        nothing = _("Give at least one of these.")
        errors = dict.fromkeys(FIELDS, nothing)
    return errors


def _check_switch(value: object) -> str | None:
    return None if isinstance(value, bool) else _("This must be true or false.")


def _check_level(value: object) -> str | None:
    if value in Level.values:
        return None
    allowed = ", ".join(Level.values)
    return _("This must be one of {allowed}.").format(allowed=allowed)


def _check_retention(value: object) -> str | None:
    days = isinstance(value, int) and not isinstance(value, bool)
    if value is None or (
        days and MIN_RETENTION_DAYS <= value <= MAX_RETENTION_DAYS  # type: ignore[operator] # days
    ):
        return None
    return _("This must be a whole number of days, {least} to {most}, or null.").format(
        least=MIN_RETENTION_DAYS, most=MAX_RETENTION_DAYS
    )


_CHECKS: dict[str, Callable[[object], str | None]] = {
    "notifications_enabled": _check_switch,
    "notification_min_level": _check_level,
    "browser_notifications_enabled": _check_switch,
    "notification_retention_days": _check_retention,
}
