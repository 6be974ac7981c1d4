"""
What a host's own tests ask: which notifications were made, and for whom.

It needs no test runner, so that it serves `unittest`, Django's `TestCase` and pytest
alike. Everything is read from the table: what was rolled back was never there, and what
another process made counts too.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from types import TracebackType
from typing import Any, Self, TypedDict, Unpack, overload

from asgiref.sync import sync_to_async
from django.contrib.auth.base_user import AbstractBaseUser
from django.db.models import Max

from themis import content
from themis.models import Level, UserNotification
from themis.queries import SOURCE, database, plain, plain_profiles
from themis.recipients import key_of

__all__ = [
    "CapturedNotifications",
    "aassert_not_notified",
    "aassert_notified",
    "assert_not_notified",
    "assert_notified",
    "captured_notifications",
]

# The frames of this module are left out of what a failing test shows: unittest looks
# for this name in a module, pytest for `__tracebackhide__` in a function.
__unittest = True

# How many notifications the message of a failure lists.
SHOWN = 20


class Wanted(TypedDict, total=False):
    """What to look for; a title, message or url may be a compiled pattern."""

    title: str | re.Pattern[str]
    message: str | re.Pattern[str]
    level: str
    url: str | re.Pattern[str]
    source_app: str
    source_model: str
    source_id: object


class CapturedNotifications(Sequence[UserNotification]):
    """
    The notifications that a block made, the oldest first.

    While the block runs it tells what is there at that moment; when the block has ended
    without an error, it stays what it was then.
    """

    def __init__(self) -> None:
        self._after: int | None = None
        self._rows: list[UserNotification] | None = None

    def __enter__(self) -> Self:
        self._rows = None
        self._after = plain(database()).aggregate(last=Max("pk"))["last"] or 0
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # After an error the transaction may be unable to answer now.
        if error is None:
            self._rows = self._read()

    async def __aenter__(self) -> Self:
        return await sync_to_async(self.__enter__)()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await sync_to_async(self.__exit__)(kind, error, traceback)

    @overload
    def __getitem__(self, index: int) -> UserNotification: ...
    @overload
    def __getitem__(self, index: slice) -> list[UserNotification]: ...
    def __getitem__(
        self, index: int | slice
    ) -> UserNotification | list[UserNotification]:
        return self._found()[index]

    def __iter__(self) -> Iterator[UserNotification]:
        return iter(self._found())

    def __len__(self) -> int:
        return len(self._found())

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Sequence):
            return self._found() == [*other]
        return NotImplemented

    __hash__ = None  # type: ignore[assignment] # like a list

    def __repr__(self) -> str:
        return f"[{', '.join(map(describe, self._found()))}]"

    def _found(self) -> list[UserNotification]:
        return self._read() if self._rows is None else self._rows

    def _read(self) -> list[UserNotification]:
        if self._after is None:
            msg = "Nothing is captured before the block begins: use it in a `with`."
            raise RuntimeError(msg)
        rows = plain(database()).filter(pk__gt=self._after).select_related("user")
        return list(rows.order_by("pk"))


def captured_notifications() -> CapturedNotifications:
    """
    Capture the notifications that are made inside a `with` block.

    However they are made: by `notify_user`, `notify_users`, in a nested transaction or
    by another process. What was rolled back or deleted again by the end of the block is
    not among them. Blocks can be nested. In async code it is `async with`; look at the
    notifications when the block has ended.

    Returns:
        A sequence of `UserNotification`, the oldest first, equal to a list of the same.
    """
    return CapturedNotifications()


def assert_notified(
    user: AbstractBaseUser,
    *,
    count: int | None = None,
    among: Iterable[UserNotification] | None = None,
    **wanted: Unpack[Wanted],
) -> UserNotification:
    """
    Assert that *user* has a notification like that, read or not.

    Args:
        user: Whose mailbox to look into.
        count: How many there must be, exactly; None = at least one.
        among: Look only at these, such as what `captured_notifications` gave.
        wanted: `title`, `message`, `level`, `url`, `source_app`, `source_model` and
            `source_id`: those given must be equal. A title, message or url may be a
            compiled pattern, which is searched for.

    Returns:
        The newest one that fits.

    Raises:
        AssertionError: there is none, or another number of them; the message shows
            what *user* got instead.
        ValueError: *count* is below 1, *user* has no account, or what is wanted can't
            be in any notification.
        TypeError: a pattern where there can be none, or an unknown argument.
    """
    __tracebackhide__ = True
    if count is not None and count < 1:
        msg = f"count must be at least 1, not {count}; see assert_not_notified."
        raise ValueError(msg)
    criteria = _Criteria(wanted)
    rows = _rows_of(user, among)
    found = [row for row in rows if criteria.fit(row)]
    if not found:
        failure = f"{user} was not notified{criteria}."
    elif count is not None and len(found) != count:
        failure = f"{user} was notified {_times(len(found))}{criteria}, not {count}."
    else:
        return found[-1]
    reasons = [] if found else _reasons(user, wanted.get("level"))
    raise AssertionError("\n".join([failure, *reasons, *_listing(user, rows)]))


def assert_not_notified(
    user: AbstractBaseUser,
    *,
    among: Iterable[UserNotification] | None = None,
    **wanted: Unpack[Wanted],
) -> None:
    """
    Assert that *user* has no notification like that, or none at all.

    Arguments are those of `assert_notified`.

    Raises:
        AssertionError: there is one; the message shows all that *user* got.
        ValueError: *user* has no account, or what is not wanted can't be in any
            notification.
        TypeError: a pattern where there can be none, or an unknown argument.
    """
    __tracebackhide__ = True
    criteria = _Criteria(wanted)
    rows = _rows_of(user, among)
    found = sum(criteria.fit(row) for row in rows)
    if found:
        failure = f"{user} was notified{criteria} ({_times(found)})."
        raise AssertionError("\n".join([failure, *_listing(user, rows)]))


async def aassert_notified(*args: Any, **kwargs: Any) -> UserNotification:
    """See `assert_notified`."""
    return await sync_to_async(assert_notified, thread_sensitive=True)(*args, **kwargs)


async def aassert_not_notified(*args: Any, **kwargs: Any) -> None:
    """See `assert_not_notified`."""
    await sync_to_async(assert_not_notified, thread_sensitive=True)(*args, **kwargs)


class _Criteria:
    """What a notification must say, as it would be stored."""

    def __init__(self, wanted: Wanted) -> None:
        self._wanted = {name: _stored(name, value) for name, value in wanted.items()}

    def fit(self, row: UserNotification) -> bool:
        return all(
            wanted.search(getattr(row, name)) is not None
            if isinstance(wanted, re.Pattern)
            else getattr(row, name) == wanted
            for name, wanted in self._wanted.items()
        )

    def __str__(self) -> str:
        wanted = (
            f"{name}={value!r}" if isinstance(value, str) else f"{name}: {value!r}"
            for name, value in self._wanted.items()
        )
        return f" with {', '.join(wanted)}" if self._wanted else ""


def _stored(name: str, value: object) -> str | re.Pattern[str]:
    """Return *value* as `notify_user` would have stored it."""
    if name in SOURCE:
        if isinstance(value, re.Pattern):
            # Its text would be what is looked for.
            msg = f"{name} can't be a pattern."
            raise TypeError(msg)
        return content.clean_source(value, name=name)
    if name == "level":
        if value not in Level.values:
            # A test that looks for what can't be there would pass, or fail, for ever.
            msg = f"level must be one of {', '.join(Level.values)}, not {value!r}."
            raise ValueError(msg)
        return Level(value).value
    if isinstance(value, re.Pattern):
        return value
    if name == "title":
        return content.clean_title(value)
    if name == "url":
        return content.clean_url(value)
    if name == "message":
        return content.clean_text(value, name=name, length=content.MESSAGE_LENGTH)
    msg = f"{name!r} is nothing to look for; {', '.join(Wanted.__annotations__)} are."
    raise TypeError(msg)


def _rows_of(
    user: AbstractBaseUser, among: Iterable[UserNotification] | None
) -> list[UserNotification]:
    """Return the notifications of *user*, the oldest first."""
    key = key_of(user)
    if among is not None:
        return [row for row in among if row.user_id == key]
    return list(plain(database()).filter(user=key).order_by("pk"))


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _reasons(user: AbstractBaseUser, level: str | None) -> Iterator[str]:
    """Yield what in the preferences of *user* may be why."""
    profile = plain_profiles(database()).filter(user=user.pk).first()
    if profile is None:
        return
    if not profile.notifications_enabled:
        yield f"{user} has notifications switched off."
    minimum = profile.notification_min_level
    least = Level(minimum if minimum in Level.values else Level.INFO)
    if Level(level or Level.INFO).weight < least.weight:
        yield f"{user} wants nothing below the level {minimum!r}."


def _listing(user: AbstractBaseUser, rows: list[UserNotification]) -> Iterator[str]:
    if not rows:
        yield f"{user} got nothing."
        return
    yield f"{user} got {len(rows)}, the newest last:"
    if len(rows) > SHOWN:
        yield f"  ... {len(rows) - SHOWN} older ones"
    for row in rows[-SHOWN:]:
        yield f"  {describe(row)}"


def describe(row: UserNotification) -> str:
    """Return what a notification says on one line, to be read by a developer."""
    parts = [f"{row.level} {row.title!r}"]
    if row.message:
        parts.append(f"message={row.message!r}")
    if row.url:
        parts.append(f"url={row.url!r}")
    parts += [f"{name}={value!r}" for name in SOURCE if (value := getattr(row, name))]
    return " ".join(parts)
