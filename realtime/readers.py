"""Threads that read the database for sockets, off the one that requests share."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

from asgiref.sync import sync_to_async
from django.db import InterfaceError, OperationalError, connections

from themis.transactions import is_contention

logger = logging.getLogger("realtime")

P = ParamSpec("P")
R = TypeVar("R")

READERS = 4
# What Django raises for a connection that has ended, or can't be made.
LOST = (InterfaceError, OperationalError)


class DatabaseLostError(Exception):
    """The database does not answer, or not in time. The log has it already."""


class Readers:
    """
    A few threads, each with a database connection that it keeps.

    Where requests share a pool of connections, these are not of it: kept for ever, they
    would leave a small pool empty.

    Args:
        on_return: Told, in the event loop, when the database answers again that had
            ended a connection. It may be another database than before.
    """

    def __init__(self, on_return: Callable[[], object] = lambda: None) -> None:
        self._threads = ThreadPoolExecutor(
            READERS,
            thread_name_prefix="themis-reader",
            initializer=_leave_pools,
        )
        self._on_return = on_return
        # Connections ended since the last answer.
        self._lost = False
        # Whether the database does not even answer new connections.
        self.is_down = False
        self._door = asyncio.Semaphore(READERS)

    async def read(
        self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """
        Run *function*, which uses the database, in one of the threads.

        A connection that the database has closed meanwhile is opened again, once.

        Raises:
            DatabaseLostError: the database does not answer, or not in time.
        """
        job = partial(self._read, function, *args, **kwargs)
        reader = sync_to_async(job, thread_sensitive=False, executor=self._threads)
        try:
            answer = await reader()
        except LOST as error:
            if is_contention(error):
                logger.warning("The database did not answer in time: %r", error)
            else:
                self._go_down(error)
            raise DatabaseLostError from error
        self._come_back()
        return answer

    async def admit(
        self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """
        Read as `read()` does, for a page that is not in yet.

        Only as many of these as there are threads stand in line, so that of a crowd
        those who are in are served before the next come in. Else all would get their
        state when the last has been identified: too late for every one of them.

        Raises:
            DatabaseLostError: the database does not answer, or not in time.
        """
        async with self._door:
            return await self.read(function, *args, **kwargs)

    def _read(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except LOST as error:
            if is_contention(error):
                raise
            self._lost = True
            connections.close_all()
            return function(*args, **kwargs)

    def _go_down(self, error: Exception) -> None:
        # Once, however many pages ask meanwhile.
        if not self.is_down:
            self.is_down = True
            logger.error(
                "The database does not answer: %r",
                error,
                extra={"event": "database_lost"},
            )

    def _come_back(self) -> None:
        if self.is_down:
            self.is_down = False
            logger.warning(
                "The database answers again.", extra={"event": "database_back"}
            )
        if self._lost:
            self._lost = False
            self._on_return()

    async def close(self) -> None:
        """End the threads and their connections."""
        # Each waits for the others, so that each thread gets one.
        together = threading.Barrier(READERS)
        closings = [
            asyncio.wrap_future(self._threads.submit(_close_connections, together))
            for _reader in range(READERS)
        ]
        self._threads.shutdown(wait=False)
        await asyncio.wait(closings)


def _leave_pools() -> None:
    """Let this thread make its own connections, whatever pools the settings name."""
    for alias in connections:
        if connections.settings[alias]["OPTIONS"].get("pool"):
            own = connections[alias].copy()
            del own.settings_dict["OPTIONS"]["pool"]
            connections[alias] = own


def _close_connections(together: threading.Barrier) -> None:
    with contextlib.suppress(threading.BrokenBarrierError):
        together.wait(1)
    connections.close_all()
