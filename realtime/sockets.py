"""One open socket: what its page has been told, and how it is told more."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Generator
from dataclasses import dataclass, field
from typing import Any

from autobahn.exception import Disconnected

from . import metrics
from .protocol import CloseCode, ping_frame
from .sessions import Login

logger = logging.getLogger("realtime")

# A page that was sent more since its last frame, and is silent for so long, is slow.
SLOW_BYTES = 256 * 1024
SLOW_SECONDS = 30
# Servers may buffer without a limit, so this is it: how much a page is sent beyond what
# it has acknowledged. More it gets when it has acknowledged all but half.
FULL_BYTES = 1024 * 1024
# How long a server may take for what is sent last.
FLUSH_SECONDS = 5

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
    # Of the text in bytes: counted once, not by each socket.
    size: int = field(init=False)

    def __post_init__(self) -> None:
        """Count the bytes."""
        object.__setattr__(self, "size", size_of(self.text or ""))


def size_of(text: str) -> int:
    """Return how many bytes *text* has in UTF-8."""
    if text.isascii():
        return len(text)
    return len(text.encode(errors="surrogatepass"))


class Socket:
    """
    An accepted socket of one user.

    `revision` is the last that its page was sent, None until the first state frame.

    What its page is sent is counted, because servers buffer without limit and don't
    tell what arrives. Over `SLOW_BYTES` since the page's last frame it is pinged; after
    `SLOW_SECONDS` without an answer it is closed with `CloseCode.TOO_SLOW`. Over
    `FULL_BYTES` beyond the last revision that the page has acknowledged it is *full*:
    nothing is sent but what the page asks for, and it is closed as well if it stays so
    for `SLOW_SECONDS`. Of a page that never acknowledges, any frame stands for that.
    """

    __slots__ = (
        "_alarm",
        "_alarm_at",
        "_full_since",
        "_mark",
        "_outbox",
        "_read",
        "_send",
        "_sending",
        "acknowledges",
        "beat",
        "closed",
        "epoch",
        "held",
        "login",
        "on_end",
        "revision",
        "sent",
    )

    def __init__(self, send: Send) -> None:
        self._send = send
        self._outbox: deque[dict[str, Any]] = deque()
        self._sending: asyncio.Task[None] | None = None
        # Called once when nothing is sent any more: closed from here, or given up.
        self.on_end: Callable[[], object] | None = None
        # How many bytes; how many of them the page has surely read; and the revision
        # that proves more once it is acknowledged, with how many that would be.
        self.sent = 0
        self._read = 0
        self._mark = (0, 0)
        # Whether it has sent an ack: then only that proves what it has read.
        self.acknowledges = False
        # With how many sent something has to be done, and what is done when it is late.
        self._alarm_at: float = SLOW_BYTES
        self._alarm: asyncio.TimerHandle | None = None
        self._full_since: float | None = None
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
        """
        Tell whether the page has not been told of *revision* of *epoch*, and can be.

        It can't while its state is being read, nor while it is full.
        """
        # Written out: this is asked for each push and socket.
        if (
            self.held is not None
            or self.revision is None
            or self._full_since is not None
            or self.closed
        ):
            return False
        return self.epoch != epoch or self.revision < revision

    @property
    def is_full(self) -> bool:
        """Whether the page has to read before it is sent more."""
        return self._full_since is not None

    @property
    def is_open(self) -> bool:
        """Whether the page takes what follows the state that it was sent."""
        return (
            self.held is None
            and self.revision is not None
            and self._full_since is None
            and not self.closed
        )

    def offer(self, push: Push) -> bool:
        """
        Send *push* if it follows what was sent last; ignore it if it is older.

        Returns False if the page has missed something before it. What a page misses
        that is full doesn't count: it is brought up to date when it has read.
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
        self._send_counted(push.text, push.size)
        return True

    def tell(self, epoch: str, revision: int, text: str) -> None:
        """Send a state frame that brings the page to *revision* of *epoch*."""
        is_new = epoch != self.epoch
        self.epoch, self.revision = epoch, revision
        self.send_text(text)
        if is_new:
            # Revisions of another epoch prove nothing in this one.
            self._mark = (revision, self.sent)

    def send_text(self, text: str) -> None:
        """Send a text frame; returns at once, in order, whatever the server does."""
        self._send_counted(text, size_of(text))

    def hear(self, revision: int | None = None) -> bool:
        """
        Take a sign of life of the page, which may say up to where it has read.

        Returns whether the page was full and no longer is: then it may have missed
        something.
        """
        if revision is None and not self.acknowledges:
            self._read = self.sent
        elif revision is not None and self.revision is not None:
            self.acknowledges = True
            has_all = revision >= self.revision
            if has_all or revision >= self._mark[0]:
                self._read = self.sent if has_all else self._mark[1]
                self._mark = (self.revision, self.sent)
        was_full = self.is_full
        if self._full_since is not None:
            if self.sent - self._read > FULL_BYTES // 2:
                # Not silent, but it has not read for this long.
                self._set_alarm(self._full_since + SLOW_SECONDS)
                return False
            self._full_since = None
        self._clear_alarm()
        self._alarm_at = min(self.sent + SLOW_BYTES, self._read + FULL_BYTES)
        return was_full

    def close(self, code: int) -> None:
        """Close the socket; nothing is sent after."""
        if not self.closed:
            metrics.count_close(code)
        # A plain int: daphne can't close with a member of an enum.
        self._submit({"type": "websocket.close", "code": int(code)})
        self.end()

    def end(self) -> None:
        """Send nothing more: the page has gone, or is as good as gone."""
        self.closed = True
        self._clear_alarm()
        on_end, self.on_end = self.on_end, None
        if on_end is not None:
            on_end()

    async def flush(self) -> None:
        """
        Wait until the server has taken all that was sent, at most `FLUSH_SECONDS`.

        What it has not taken then, because the page doesn't read, is dropped with the
        connection.
        """
        if self._sending is None:
            return
        _done, late = await asyncio.wait([self._sending], timeout=FLUSH_SECONDS)
        for sending in late:
            sending.cancel()
            await asyncio.wait([sending])
            self._abort()

    def _send_counted(self, text: str, size: int) -> None:
        self._submit({"type": "websocket.send", "text": text})
        self.sent += size
        if self.sent > self._alarm_at:
            self._ask_for_life()

    def _ask_for_life(self) -> None:
        """Ping a page that has been sent a lot, and stop if it is too much."""
        if self.closed:
            return
        now = asyncio.get_running_loop().time()
        if self.sent - self._read > FULL_BYTES:
            self._full_since = now
            self._alarm_at = float("inf")
        else:
            self._alarm_at = self._read + FULL_BYTES
        if self._alarm is None:
            self._set_alarm(now + SLOW_SECONDS)
        # A page says of itself what it has read only after every 32 frames.
        metrics.FRAMES.add("ping")
        self.send_text(ping_frame(self.epoch, self.revision or 0))

    def _set_alarm(self, moment: float) -> None:
        self._clear_alarm()
        loop = asyncio.get_running_loop()
        self._alarm = loop.call_at(moment, self._close_slow)

    def _clear_alarm(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None

    def _close_slow(self) -> None:
        logger.info(
            "A page that does not read what it is sent is closed.",
            extra={"event": "too_slow"},
        )
        # Nobody reads that any more, and the close would have to wait for it.
        self._outbox.clear()
        self.close(CloseCode.TOO_SLOW)

    def _abort(self) -> None:
        """
        Drop the connection with what the server holds for it.

        ASGI has no word for that. daphne drops a page by itself that does not answer a
        close within a second; uvicorn waits for ever for it to read, so the connection
        is taken from it if no middleware stands between.
        """
        server = getattr(self._send, "__self__", None)
        abort = getattr(getattr(server, "transport", None), "abort", None)
        if abort is not None:
            abort()

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
        logger.log(
            level,
            "A frame could not be sent.",
            exc_info=error,
            extra={"event": "send_failed"},
        )
        self.end()


class _Rest:
    """The rest of a coroutine that has been begun outside a task."""

    def __init__(self, begun: Generator[Any, Any, None], waiting: Any) -> None:
        self._begun = begun
        self._waiting = waiting

    def __await__(self) -> Generator[Any, Any, None]:
        try:
            yield self._waiting
        except BaseException as error:  # noqa: BLE001 -- what has begun has to know
            try:
                waiting = self._begun.throw(error)
            except StopIteration:
                # It takes that for its end, as the close of websockets does.
                return
            yield from _Rest(self._begun, waiting).__await__()
        else:
            yield from self._begun
