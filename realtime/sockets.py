"""One open socket: what its page has been told, and how it is told more."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Generator
from dataclasses import dataclass
from typing import Any

from autobahn.exception import Disconnected

from . import metrics
from .sessions import Login

logger = logging.getLogger("realtime")

# What servers raise for a page that went without a word: daphne's own error, and what
# the ASGI specification wants.
GONE = (Disconnected, OSError)

Send = Callable[[dict[str, Any]], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Push:
    """One stamped change as the channel layer carries it, already encoded."""

    epoch: str
    since: int
    revision: int
    # None = a poke: too much to carry, read it from the database.
    text: str | None


class Socket:
    """
    An accepted socket of one user.

    `revision` is the last that its page was sent, None until the first state frame.
    """

    __slots__ = (
        "_outbox",
        "_send",
        "_sending",
        "beat",
        "closed",
        "epoch",
        "held",
        "login",
        "revision",
    )

    def __init__(self, send: Send) -> None:
        self._send = send
        self._outbox: deque[dict[str, Any]] = deque()
        self._sending: asyncio.Task[None] | None = None
        # The second of the heartbeat in which its page is pinged.
        self.beat = 0
        self.closed = False
        # Who opened it; None = not asked.
        self.login: Login | None = None
        self.epoch = ""
        self.revision: int | None = None
        # Pushes that came while the state was being read; None = nothing is read.
        self.held: list[Push] | None = []

    def is_behind(self, epoch: str, revision: int) -> bool:
        """Tell whether the page has not been told of *revision* of *epoch*."""
        if self.held is not None or self.revision is None or self.closed:
            return False
        return self.epoch != epoch or self.revision < revision

    def offer(self, push: Push) -> bool:
        """
        Send *push* if it follows what was sent last; ignore it if it is older.

        Returns False if the page has missed something before it.
        """
        if self.held is not None:
            self.held.append(push)
            return True
        if not self.is_behind(push.epoch, push.revision):
            return True
        # Narrowed by is_behind: a socket that is behind has a revision.
        if push.epoch != self.epoch or push.since > (self.revision or 0):
            return False
        if push.text is None:
            return False
        self.revision = push.revision
        self.send_text(push.text)
        return True

    def tell(self, epoch: str, revision: int, text: str) -> None:
        """Send a state frame that brings the page to *revision* of *epoch*."""
        self.epoch, self.revision = epoch, revision
        self.send_text(text)

    def send_text(self, text: str) -> None:
        """Send a text frame; returns at once, in order, whatever the server does."""
        self._submit({"type": "websocket.send", "text": text})

    def close(self, code: int) -> None:
        """Close the socket; nothing is sent after."""
        if not self.closed:
            metrics.count_close(code)
        # A plain int: daphne can't close with a member of an enum.
        self._submit({"type": "websocket.close", "code": int(code)})
        self.closed = True

    async def flush(self) -> None:
        """Wait until the server has taken all that was sent."""
        if self._sending is not None:
            await asyncio.wait([self._sending])

    def _submit(self, message: dict[str, Any]) -> None:
        if self.closed:
            return
        if self._sending is not None:
            self._outbox.append(message)
            return
        # Most servers only buffer, so most sends end at their first step: a task for
        # each would cost more than the send.
        sending = self._send(message).__await__()
        try:
            waiting = next(sending)
        except StopIteration:
            return
        except Exception as error:  # noqa: BLE001 -- servers raise what they like
            self._give_up(error)
            return
        self._sending = asyncio.create_task(self._finish(_Rest(sending, waiting)))

    async def _finish(self, rest: _Rest) -> None:
        """Wait for a send that could not end at once, then send what came after."""
        try:
            await rest
            while self._outbox:
                await self._send(self._outbox.popleft())
        except Exception as error:  # noqa: BLE001 -- servers raise what they like
            self._give_up(error)
        finally:
            self._sending = None

    def _give_up(self, error: Exception) -> None:
        """Send nothing more; what is no page that just went is a fault to be seen."""
        level = logging.DEBUG if isinstance(error, GONE) else logging.ERROR
        logger.log(level, "A frame could not be sent.", exc_info=error)
        self.closed = True


class _Rest:
    """The rest of a coroutine that has been begun outside a task."""

    def __init__(self, begun: Generator[Any, Any, None], waiting: Any) -> None:
        self._begun = begun
        self._waiting = waiting

    def __await__(self) -> Generator[Any, Any, None]:
        yield self._waiting
        yield from self._begun
