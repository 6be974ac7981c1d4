"""Threads that read the database for sockets, off the one that requests share."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

from asgiref.sync import sync_to_async
from django.db import InterfaceError, OperationalError, connections

from themis.transactions import is_contention

P = ParamSpec("P")
R = TypeVar("R")

READERS = 4


class Readers:
    """A few threads, each with a database connection that it keeps."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(READERS, thread_name_prefix="themis-reader")

    async def read(
        self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """
        Run *function*, which uses the database, in one of the threads.

        A connection that the database has closed meanwhile is opened again, once.
        """
        job = partial(_read, function, *args, **kwargs)
        reader = sync_to_async(job, thread_sensitive=False, executor=self._threads)
        return await reader()

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


def _read(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    try:
        return function(*args, **kwargs)
    except (InterfaceError, OperationalError) as error:
        if is_contention(error):
            raise
        connections.close_all()
        return function(*args, **kwargs)


def _close_connections(together: threading.Barrier) -> None:
    with contextlib.suppress(threading.BrokenBarrierError):
        together.wait(1)
    connections.close_all()
