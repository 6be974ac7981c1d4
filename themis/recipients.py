"""Whom to tell: checked users, a chunk at a time."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from typing import Any

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.db.models import QuerySet

from themis.drafts import Draft
from themis.models.queryset import in_key_order
from themis.statements import to_key

logger = logging.getLogger("themis")

# How many keys of a queryset are held: asking costs nearly the same for four chunks.
KEYS_PER_QUERY = 1_000


def key_of(user: object) -> Any:
    """
    Return the primary key of *user*.

    Raises:
        ValueError: it is no saved user.
    """
    if not isinstance(user, get_user_model()):
        # Not type(): request.user is a lazy object, which is what it wraps.
        raise no_account(user.__class__.__name__)
    if user.pk is None:
        raise no_account("an unsaved one")
    try:
        # An account that was made from a form may hold the text of its key.
        return to_key(user.pk)
    except ValidationError as error:
        raise no_account(f"one with the key {user.pk!r}") from error


def chunks_of(users: object, draft: Draft, size: int) -> Iterator[list[Any]]:
    """
    Yield the primary keys of *users*, at most *size* at a time, none twice in a chunk.

    Of a queryset each user comes once; another iterable is taken at its word, but for
    None, which is logged.

    Raises:
        ValueError: *users* is neither, or an element is no saved user: at its chunk.
    """
    if isinstance(users, QuerySet):
        # Fetched already, it stands for what the caller has seen.
        if users._result_cache is None:  # noqa: SLF001 -- Django has no other way to tell
            return _chunks_of_queryset(users, size)
        users = {key_of(user): user for user in users}.values()
    if isinstance(users, Iterable):
        return _chunks_of_iterable(users, draft, size)
    raise _no_users(type(users).__name__)


def _chunks_of_queryset(users: QuerySet[Any], size: int) -> Iterator[list[Any]]:
    if not issubclass(users.model, get_user_model()):
        raise _no_users(f"a queryset of {users.model.__name__}")
    if users._fields is not None:  # type: ignore[attr-defined] # Django has no other way to tell
        # Not users; and those whose keys it is made of are often not those it names.
        raise _no_users("a queryset of values")
    query = users.query
    whole = query.is_sliced or query.combinator or query.distinct_fields
    if whole or query.where.contains_over_clause:
        # Filtered further it would be another; keys alone are small.
        yield from _slices(users.values_list("pk", flat=True), size)
        return
    # By keyset, not by a cursor held open: that would tie up a connection behind a
    # pooler, and on SQLite keep reading an old state that can't be written to.
    ordered = in_key_order(users).values_list("pk", flat=True)
    page = list(ordered[:KEYS_PER_QUERY])
    yield from _slices(page, size)
    while len(page) == KEYS_PER_QUERY:
        page = list(ordered.filter(pk__gt=page[-1])[:KEYS_PER_QUERY])
        yield from _slices(page, size)


def _slices(keys: Iterable[Any], size: int) -> Iterator[list[Any]]:
    # A join may name a user more than once.
    once = list(dict.fromkeys(keys))
    for start in range(0, len(once), size):
        yield once[start : start + size]


def _chunks_of_iterable(
    users: Iterable[Any], draft: Draft, size: int
) -> Iterator[list[Any]]:
    chunk: dict[Any, None] = {}
    for user in users:
        if user is None:
            warn_of_nobody(draft)
            continue
        key = key_of(user)
        if key in chunk or len(chunk) == size:
            yield list(chunk)
            chunk = {}
        chunk[key] = None
    if chunk:
        yield list(chunk)


def warn_of_nobody(draft: Draft) -> None:
    """Log that there is nobody to tell, so that a nightly command can go on."""
    logger.warning(
        "Nobody to notify: the user is None (%s).",
        draft.origin,
        extra={"event": "nobody"},
    )


def no_account(found: str) -> ValueError:
    """Return the error of whoever can't be notified."""
    # Where None is nobody, nobody asks for the key of None.
    wanted, found = (" or None", found) if found != "NoneType" else ("", "None")
    return ValueError(
        f"user must be a saved {get_user_model().__name__}{wanted}, not {found}; "
        "nobody can be notified who has no account."
    )


def _no_users(found: str) -> ValueError:
    wanted = get_user_model().__name__
    return ValueError(
        f"users must be a queryset or another iterable of {wanted}, not {found}."
    )
