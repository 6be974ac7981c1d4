"""The publisher: one background thread per process that talks to the broker.

``async_to_sync(group_send)`` makes an event loop and a connection for each call, and a
broker that hangs would hang the caller. So callers only queue; one thread with one loop
and one connection sends, drops what can't be sent, and counts it. The reconciler of
each server process repairs what was dropped.
"""

from __future__ import annotations

import asyncio
import atexit
import logging
import os
import socket
import threading
from collections import deque
from typing import Any

from channels.layers import get_channel_layer

logger = logging.getLogger("realtime")

QUEUE_LENGTH = 10_000
SEND_SECONDS = 1
# After so many failures in a row, nothing is tried for a while.
FAILURES_TO_OPEN = 3
OPEN_SECONDS = 5
# How long a process that ends waits for its last messages.
FLUSH_SECONDS = 2

Message = tuple[str, dict[str, Any]]


class _Loop(asyncio.SelectorEventLoop):
    """A loop that needs no executor: a process that ends gives it no more threads."""

    async def getaddrinfo(self, *args: Any, **kwargs: Any) -> Any:
        """Look the broker up in this thread, which has nothing else to do."""
        return socket.getaddrinfo(*args, **kwargs)


class Publisher:
    """Sends messages to groups, in order, from a thread of its own."""

    def __init__(self) -> None:
        self.dropped = 0
        self._queue: deque[Message] = deque()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wake = asyncio.Event()
        self._idle = threading.Event()
        self._failures = 0
        self._open_until = 0.0

    def send(self, group: str, message: dict[str, Any]) -> None:
        """Queue *message* for *group*; returns at once, and never raises."""
        if len(self._queue) >= QUEUE_LENGTH:
            self._drop("the queue is full")
            return
        # In this order: the thread calls itself idle whenever the queue is empty.
        self._queue.append((group, message))
        self._idle.clear()
        if self._thread is None:
            self._start()
        loop = self._loop
        if loop is not None:
            loop.call_soon_threadsafe(self._wake.set)

    def flush(self, seconds: float = FLUSH_SECONDS) -> bool:
        """Wait until all is sent or dropped, at most *seconds*; tell whether it is."""
        if self._thread is None:
            return True
        return self._idle.wait(seconds)

    def _start(self) -> None:
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._work,
                    name="themis-publisher",
                    daemon=True,
                )
                self._thread.start()

    def _work(self) -> None:
        with asyncio.Runner(loop_factory=_Loop) as runner:
            runner.run(self._run())

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        layer = get_channel_layer()
        while True:
            self._wake.clear()
            while self._queue:
                await self._publish(layer, *self._queue.popleft())
            self._idle.set()
            if not self._queue:
                await self._wake.wait()

    async def _publish(self, layer: Any, group: str, message: dict[str, Any]) -> None:
        loop = asyncio.get_running_loop()
        if loop.time() < self._open_until:
            self._drop("the broker failed a moment ago")
            return
        try:
            async with asyncio.timeout(SEND_SECONDS):
                await layer.group_send(group, message)
        except Exception as error:  # noqa: BLE001 -- layers raise what they like
            self._failures += 1
            if self._failures >= FAILURES_TO_OPEN:
                self._open_until = loop.time() + OPEN_SECONDS
            self._drop(repr(error))
        else:
            self._failures = 0

    def _drop(self, reason: str) -> None:
        # One line at the first, the tenth, the hundredth: enough to see, no flood.
        self.dropped += 1
        if str(self.dropped).strip("0") == "1":
            logger.warning("Dropped push number %d: %s.", self.dropped, reason)


_publishers: list[Publisher] = []


def get_publisher() -> Publisher:
    """Return the publisher of this process."""
    if not _publishers:
        _publishers.append(Publisher())
    return _publishers[0]


def _flush_at_exit() -> None:
    for publisher in _publishers:
        publisher.flush()


atexit.register(_flush_at_exit)
# A forked child has no thread; what the parent had queued is the parent's to send.
os.register_at_fork(after_in_child=_publishers.clear)
