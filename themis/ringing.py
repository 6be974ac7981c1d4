"""After the commit: whose mailbox to stamp, once per transaction."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Any

from django.db import transaction

Stamper = Callable[[Collection[Any], str], object]

_stampers: list[Stamper] = []


def answer_with(stamper: Stamper) -> None:
    """Name the one function that stamps mailboxes; `ThemisConfig.ready` does it."""
    _stampers[:] = [stamper]


class _Batch:
    """Mailboxes touched in one transaction: they share one stamp."""

    def __init__(self) -> None:
        self.users: set[Any] = set()
        self.using = ""

    def stamp(self) -> None:
        users, self.users = self.users, set()
        for stamper in _stampers if users else ():
            stamper(users, self.using)


@contextmanager
def followed(using: str) -> Iterator[set[Any]]:
    """
    Write in an atomic block whose mailboxes are stamped after the commit.

    The block adds the primary keys of the users concerned to the set it is given. It is
    a savepoint where a transaction is open, so an error leaves that one usable. A
    rollback, also of a savepoint around it, rings nobody; an error while stamping is
    logged and left to the reconciler.
    """
    users: set[Any] = set()
    with transaction.atomic(using=using):
        yield users
        _ring(users, using)


def _ring(users: Collection[Any], using: str) -> None:
    if not users:
        return
    connection = transaction.get_connection(using)
    # A loop over a team is stamped in chunks, not once per member. Each call registers
    # the shared batch again, under its own savepoints: a rollback takes back only what
    # it undoes, and captureOnCommitCallbacks sees only what comes after it began. The
    # second run of a batch does nothing, nor does a stamp where nothing waits.
    owners = (
        getattr(callback, "__self__", None)
        for _savepoints, callback, _robust in reversed(connection.run_on_commit)
    )
    batch = next((owner for owner in owners if isinstance(owner, _Batch)), _Batch())
    batch.using = using
    batch.users.update(users)
    transaction.on_commit(batch.stamp, using=using, robust=True)
