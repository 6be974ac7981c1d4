"""Trouble: somebody else at work in the same database, and a process that dies."""

import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from types import TracebackType
from typing import Any, ParamSpec, Self, TypeVar

from django.db import OperationalError, connection, connections, transaction

from tests.waiting import wait_until
from themis import ringing

P = ParamSpec("P")
T = TypeVar("T")


class Colleague:
    """
    Does what it is told, one thing after the other, while the test goes on.

    A transaction that it begins stays open until it is told to end it.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1)
        self._block: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._block is not None:
            self.roll_back()
        self.run(connections.close_all)
        self._thread.shutdown()

    def start(
        self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> Future[T]:
        """Begin with it; the future tells what came of it."""
        return self._thread.submit(work, *args, **kwargs)

    def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Do it, while the test waits."""
        return self.start(work, *args, **kwargs).result(timeout=20)

    def begin(self) -> None:
        self._block = transaction.atomic()
        self.run(self._block.__enter__)

    def commit(self) -> None:
        self.commit_when(lambda: True).result(timeout=20)

    def commit_when(self, condition: Callable[[], bool]) -> Future[None]:
        """Commit as soon as it is the case."""
        block, self._block = self._block, None

        def commit() -> None:
            wait_until(condition)
            block.__exit__(None, None, None)

        return self.start(commit)

    def roll_back(self) -> None:
        self.roll_back_when(lambda: True).result(timeout=20)

    def roll_back_when(self, condition: Callable[[], bool]) -> Future[None]:
        """Roll back as soon as it is the case."""
        block, self._block = self._block, None

        def roll_back() -> None:
            wait_until(condition)
            transaction.set_rollback(True)
            block.__exit__(None, None, None)

        return self.start(roll_back)


def somebody_waits(*, seconds: float = 0) -> bool:
    """Whether anybody has waited so long for a lock, on PostgreSQL (14 or later)."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT EXISTS (SELECT 1 FROM pg_locks WHERE NOT granted"
            " AND clock_timestamp() >= COALESCE(waitstart, clock_timestamp())"
            " + %s * interval '1 second')",
            [seconds],
        )
        return bool(cursor.fetchone()[0])


@contextmanager
def dying_after_the_commit() -> Iterator[None]:
    """The process is killed between a commit and its stamp."""
    stampers = list(ringing._stampers)
    ringing._stampers[:] = []
    try:
        yield
    finally:
        ringing._stampers[:] = stampers


def give_way(*_: object) -> None:
    """Stand for a statement that somebody else was in the way of, or a commit."""
    busy = sqlite3.OperationalError("database is locked")
    busy.sqlite_errorname = "SQLITE_BUSY"
    raise OperationalError(str(busy)) from busy
