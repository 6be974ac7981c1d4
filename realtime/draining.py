"""Draining: before the process stops, its pages are told to come back elsewhere.

No server asks an application before it cuts the sockets: daphne has no lifespan, and
others end it only after them. So SIGTERM is heard here first, and the handler that was
there, which is the server's, is called when the pages have gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import signal
import threading
import time
from types import FrameType
from typing import Any, Self

from . import metrics
from .hub import Hub
from .protocol import CloseCode, restart_frame
from .publishing import get_publisher
from .sockets import Socket

logger = logging.getLogger("realtime")

# Another process takes about 450 handshakes a second: pages that come back within this
# for each of them keep it half busy.
RETRY_MS_PER_SOCKET = 4
SHORTEST_RETRY_MS = 1_000
LONGEST_RETRY_MS = 15_000

# Docker gives a container 10 s, and the server wants some of them. So pages are closed
# within the first of these, and given the second to go; then the publisher has the
# third, while the broker has LAYER_SECONDS.
CLOSING_SECONDS = 1.5
GOING_SECONDS = 1.0
FLUSH_SECONDS = 1.0
# More than all of it: a bound for what nobody has thought of.
LONGEST_SECONDS = 6
BATCH_SECONDS = 0.1
# A loop that does not run for so long is left for good.
LEFT_SECONDS = 0.5
# So few are closed at once.
SMALLEST_BATCH = 50
# How many are told before the loop turns to others.
TOLD_AT_ONCE = 200


async def drain(hub: Hub) -> None:
    """
    Wait for SIGTERM, send the pages of *hub* away, and let the server stop.

    A second SIGTERM lets it stop at once. Does nothing where the signal can't be heard:
    Python lets only the main thread handle signals.
    """
    with Termination() as termination:
        await termination.heard.wait()
        try:
            async with asyncio.timeout(LONGEST_SECONDS):
                await empty(hub)
        except Exception:
            logger.exception("The server stops without having sent all pages away.")


async def empty(hub: Hub) -> None:
    """Send the pages of *hub* away, then leave its groups: some 3.5 s at most."""
    begun = hub.loop.time()
    count = len(_open_sockets(hub))
    hub.retry_ms = retry_ms_for(count)
    logger.info(
        "Stopping: %d sockets are told to come back.",
        count,
        extra={"event": "draining", "sockets": count},
    )
    await _close_sockets(hub, count)
    await _wait_for_pages(hub)
    # Here too, because uvicorn ends by the signal, and then nothing is flushed at exit.
    flush = asyncio.to_thread(get_publisher().flush, FLUSH_SECONDS)
    flushing = asyncio.create_task(flush)
    await hub.broker.leave_all()
    await asyncio.wait([flushing], timeout=FLUSH_SECONDS)
    took = hub.loop.time() - begun
    extra = {"event": "drained", "seconds": round(took, 1)}
    logger.info("The sockets are closed after %.1f s.", took, extra=extra)


def send_away(hub: Hub, socket: Socket) -> None:
    """Tell the page to come back, and close *socket*: *hub* is draining."""
    if hub.retry_ms is not None:
        socket.send_text(restart_frame(hub.retry_ms))
        metrics.FRAMES.add("restart")
    socket.close(CloseCode.RESTART)


def retry_ms_for(sockets: int) -> int:
    """Return the time within which the pages of so many sockets should come back."""
    wished = RETRY_MS_PER_SOCKET * sockets
    return max(SHORTEST_RETRY_MS, min(wished, LONGEST_RETRY_MS))


async def _close_sockets(hub: Hub, count: int) -> None:
    # All are told first: who is cut off before its turn waits as long as the others.
    told = _open_sockets(hub)
    for start in range(0, count, TOLD_AT_ONCE):
        for socket in told[start : start + TOLD_AT_ONCE]:
            socket.send_text(restart_frame(hub.retry_ms or 0))
        metrics.FRAMES.add("restart", len(told[start : start + TOLD_AT_ONCE]))
        await asyncio.sleep(0)
    size = max(SMALLEST_BATCH, math.ceil(count * BATCH_SECONDS / CLOSING_SECONDS))
    # Looked up again each time: some go by themselves, and some were just coming in.
    while batch := _open_sockets(hub)[:size]:
        for socket in batch:
            socket.close(CloseCode.RESTART)
        await asyncio.sleep(BATCH_SECONDS)


async def _wait_for_pages(hub: Hub) -> None:
    """Let the closing handshakes end: a server that stops breaks them off."""
    deadline = hub.loop.time() + GOING_SECONDS
    while hub.loop.time() < deadline:
        if not any(feed.sockets for feed in hub.feeds.values()):
            return
        await asyncio.sleep(BATCH_SECONDS / 5)
    logger.warning(
        "Not all pages have gone that were told to come back.",
        extra={"event": "pages_stay"},
    )


def _open_sockets(hub: Hub) -> list[Socket]:
    feeds = hub.feeds.values()
    return [one for feed in feeds for one in feed.sockets if not one.closed]


class Termination:
    """
    SIGTERM, heard before whoever handled it until now.

    A context manager: inside, the first SIGTERM only sets `heard`, and every other is
    passed on to the handler that was there. If none was, that is done at the end.
    """

    def __init__(self) -> None:
        self.heard = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._previous: Any = None
        self._came = False
        # Whether the handler that was there has yet to be told.
        self._owed = False

    def __enter__(self) -> Self:
        previous = signal.getsignal(signal.SIGTERM)
        # Who ignores the signal does not stop; what is not Python's can't be called.
        if previous is None or previous == signal.SIG_IGN:
            return self
        if threading.current_thread() is threading.main_thread():
            self._previous = previous
            signal.signal(signal.SIGTERM, self._hear)
        return self

    def __exit__(self, *args: object) -> None:
        if self._previous is None:
            return
        # Unless somebody has put another one on top, which may call this one.
        if signal.getsignal(signal.SIGTERM) == self._hear:
            signal.signal(signal.SIGTERM, self._previous)
        if self._owed:
            self._pass_on(signal.SIGTERM, None)
        self._came = True

    def _hear(self, number: int, frame: FrameType | None) -> None:
        if self._came or not self._loop.is_running():
            self._pass_on(number, frame)
            return
        self._came = self._owed = True
        self._loop.call_soon_threadsafe(self.heard.set)

    def _pass_on(self, number: int, frame: FrameType | None) -> None:
        self._owed = False
        threading.Thread(target=_run_on, args=(self._loop,), daemon=True).start()
        if callable(self._previous):
            self._previous(number, frame)
        else:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)


def _run_on(loop: asyncio.AbstractEventLoop) -> None:
    """
    Run *loop* on once its server has left it, until the process has ended.

    daphne stops the loop while requests are under way. Their threads may wait for it
    (asgiref's `AsyncToSync`, under a synchronous middleware), and Python, before it
    ends, waits for the threads: for ever.
    """
    left = 0.0
    while left < LEFT_SECONDS:
        time.sleep(LEFT_SECONDS / 5)
        if loop.is_closed():
            return
        # A server may run it more than once.
        left = 0 if loop.is_running() else left + LEFT_SECONDS / 5
    with contextlib.suppress(RuntimeError):  # it has been closed, or runs
        loop.run_forever()
