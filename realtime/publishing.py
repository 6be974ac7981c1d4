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
import sys
import threading
from collections import deque
from typing import Any, Literal

from channels.layers import get_channel_layer

from . import metrics
from .groups import EVERY_HUB

logger = logging.getLogger("realtime")

# What waits at most: so many messages, and about so much memory. Bundles are large.
QUEUE_LENGTH = 10_000
QUEUE_BYTES = 32 * 1024 * 1024
# What a message takes beside its text, about.
OVERHEAD_BYTES = 1024
# Where so many wait, they go together, to all hubs: a message costs sender and hub much
# the same whatever it holds (docs/why.md has the figures), and a round trip.
BUNDLE = 4
# How much a bundle holds, about, unless one message is more.
BUNDLE_BYTES = 512 * 1024
# A message goes at once unless another has just gone: then it waits so long for more,
# or each call of a loop would pay for a message, and for waking this thread.
PAUSE_SECONDS = 0.005
SEND_SECONDS = 1
# After so many failures in a row, nothing is tried for a while, and then only once.
FAILURES_TO_OPEN = 3
OPEN_SECONDS = 5
# How long a process that ends waits for its last messages.
FLUSH_SECONDS = 2

Reason = Literal["circuit_open", "error", "queue_full", "timeout"]


class _Loop(asyncio.SelectorEventLoop):
    """A loop that needs no executor: a process that ends gives it no more threads."""

    async def getaddrinfo(self, *args: Any, **kwargs: Any) -> Any:
        """Look the broker up in this thread, which has nothing else to do."""
        return socket.getaddrinfo(*args, **kwargs)


class Publisher:
    """Sends messages to groups, in order, from a thread of its own."""

    def __init__(self) -> None:
        self.dropped = 0
        self._queue: deque[tuple[str, dict[str, Any], int]] = deque()
        # The bytes in the queue, about.
        self._held = 0
        # Of the queue and what belongs to it. A signal may interrupt `send`, and its
        # handler notify somebody.
        self._lock = threading.RLock()
        self._thread: threading.Thread | None = None
        # The loop while it sleeps, for want of messages.
        self._sleeping: asyncio.AbstractEventLoop | None = None
        self._wake = asyncio.Event()
        self._idle = threading.Event()
        self._idle.set()
        self._failures = 0
        self._open_until = 0.0

    @property
    def length(self) -> int:
        """How many messages wait."""
        return len(self._queue)

    def send(self, group: str, message: dict[str, Any]) -> None:
        """Queue *message* for *group*; returns at once, and never raises."""
        size = _size_of(message)
        with self._lock:
            is_full = (
                len(self._queue) >= QUEUE_LENGTH or self._held + size > QUEUE_BYTES
            )
            if not is_full:
                self._queue.append((group, message, size))
                self._held += size
                self._idle.clear()
                self._wake_thread()
        if is_full:
            self._drop("queue_full")

    def flush(self, seconds: float = FLUSH_SECONDS) -> bool:
        """Wait until all is sent or dropped, at most *seconds*; tell whether it is."""
        return self._idle.wait(seconds)

    def _wake_thread(self) -> None:
        if self._sleeping is not None:
            self._sleeping.call_soon_threadsafe(self._wake.set)
            self._sleeping = None
        elif self._thread is None:
            self._start()

    def _start(self) -> None:
        thread = threading.Thread(
            target=self._work, name="themis-publisher", daemon=True
        )
        # Before it starts: a signal may come meanwhile, and must not start another.
        self._thread = thread
        try:
            thread.start()
        except RuntimeError as error:
            # The process ends, or may have no more threads.
            self._thread = None
            self._take()
            self._idle.set()
            self._drop("error", error)

    def _work(self) -> None:
        with asyncio.Runner(loop_factory=_Loop) as runner:
            runner.run(self._run())

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        rested_at = 0.0
        while True:
            if self._queue and (pause := rested_at - loop.time()) > 0:
                await asyncio.sleep(pause)
            with self._lock:
                if not self._queue:
                    self._wake.clear()
                    self._sleeping = loop
                    self._idle.set()
                    taken = None
                else:
                    taken = self._take()
            if taken is None:
                await self._wake.wait()
            else:
                await self._publish(*taken)
                rested_at = loop.time() + PAUSE_SECONDS

    def _take(self) -> tuple[str, dict[str, Any], int]:
        """Take the next message, or the next ones as a bundle; and how many it is."""
        if len(self._queue) < BUNDLE:
            group, message, size = self._queue.popleft()
            self._held -= size
            return group, message, 1
        messages: list[dict[str, Any]] = []
        left = BUNDLE_BYTES
        while self._queue and (left >= self._queue[0][2] or not messages):
            _group, message, size = self._queue.popleft()
            self._held -= size
            left -= size
            messages.append(message)
        bundle = {"type": "themis.bundle", "v": 1, "messages": messages}
        return EVERY_HUB, bundle, len(messages)

    async def _publish(self, group: str, message: dict[str, Any], count: int) -> None:
        loop = asyncio.get_running_loop()
        if loop.time() < self._open_until:
            self._drop("circuit_open", count=count)
            return
        try:
            # A layer of its own for each loop, and so one connection.
            layer: Any = get_channel_layer()
            async with asyncio.timeout(SEND_SECONDS):
                await layer.group_send(group, message)
        except Exception as error:  # noqa: BLE001 -- layers raise what they like
            self._failures += 1
            if self._failures >= FAILURES_TO_OPEN:
                self._open_until = loop.time() + OPEN_SECONDS
            # Python's or the client's, whichever is first.
            is_timeout = "Timeout" in type(error).__name__
            if self._failures == 1 and not is_timeout:
                # A connection that the broker has ended shows at the next use.
                await self._publish(group, message, count)
                return
            self._drop("timeout" if is_timeout else "error", error, count)
        else:
            self._failures = 0
            metrics.PUBLISHED.add(count=count)

    def _drop(
        self, reason: Reason, error: Exception | None = None, count: int = 1
    ) -> None:
        with self._lock:
            before = self.dropped
            self.dropped = dropped = before + count
            metrics.DROPPED.add(reason, count)
        # One line at the first, the tenth, the hundredth: enough to see, no flood.
        if not before or len(str(dropped)) > len(str(before)):
            logger.warning(
                "Dropped push number %d (%s): %r; checks of the database repair it.",
                *(dropped, reason, error),
                extra={"event": "dropped", "reason": reason, "count": dropped},
            )


def _size_of(message: dict[str, Any]) -> int:
    """Return about how many bytes *message* keeps in memory."""
    if (messages := message.get("messages")) is not None:
        return sum(map(_size_of, messages))
    return OVERHEAD_BYTES + sys.getsizeof(message.get("text"))


_publishers: list[Publisher] = []


def get_publisher() -> Publisher:
    """Return the publisher of this process."""
    if not _publishers:
        _publishers.append(Publisher())
    return _publishers[0]


@metrics.QUEUE.read_by
def _count_queued() -> int:
    return sum(publisher.length for publisher in _publishers)


def _flush_at_exit() -> None:
    for publisher in _publishers:
        publisher.flush()


atexit.register(_flush_at_exit)
# A forked child has no thread; what the parent had queued is the parent's to send.
os.register_at_fork(after_in_child=_publishers.clear)
