"""What a page says, taken as it comes, so that nobody waits for one that has gone."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

T = TypeVar("T")

Event = dict[str, Any]
Receive = Callable[[], Awaitable[Event]]


class GoneError(Exception):
    """The page has gone before the server was done with it."""


class Inbox:
    """
    The events of one socket, by the ASGI specification.

    Args:
        receive: The server's.
    """

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        # An event that is awaited already, or has come while something was done.
        self._next: asyncio.Future[Event] | None = None

    async def receive(self) -> Event:
        """Return the next event."""
        if self._next is None:
            return await self._receive()
        event = await self._next
        self._next = None
        return event

    async def unless_gone(self, work: Awaitable[T]) -> T:
        """
        Await *work* as long as the page is there.

        A crowd that comes at once may have given up before its turn comes. What still
        waits for a thread then is dropped, or the next crowd would wait for it.

        Raises:
            GoneError: the page went; *work* has been cancelled.
        """
        following = self._next = asyncio.ensure_future(self._receive())
        end = asyncio.timeout(None)

        is_done = False

        def look(event: asyncio.Future[Event]) -> None:
            # The loop may have this in its hands already when the work is done.
            if _is_end(event) and not is_done:
                end.reschedule(0)

        try:
            async with end:
                following.add_done_callback(look)
                try:
                    return await work
                finally:
                    is_done = True
        except TimeoutError:
            # Only this one is ours.
            if not end.expired():
                raise
            raise GoneError from None

    def close(self) -> None:
        """Await nothing more."""
        if self._next is not None:
            self._next.cancel()


def _is_end(event: asyncio.Future[Event]) -> bool:
    if event.cancelled() or event.exception() is not None:
        return False
    return bool(event.result()["type"] == "websocket.disconnect")
