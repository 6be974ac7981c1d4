"""What one page says, and what it is answered."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from django.core.exceptions import ObjectDoesNotExist

from . import metrics, protocol
from .feeds import Feed
from .inbox import Receive
from .protocol import Ack, CloseCode, MalformedFrameError, Ping, Position, Sync
from .readers import DatabaseLostError
from .sockets import Socket

# What a page may say: so many frames at once, so many a second, and more for what it is
# sent, because it acknowledges that. A page that does as the protocol says stays below:
# a sync a second, probes, an ack for every 32 frames however fast they come.
BURST = 256
FRAMES_PER_SECOND = 20
BYTES_PER_FRAME = 2 * 1024
# A sync costs a read.
SYNC_COST = 10
# How long a page that is closed may take to go: daphne gives it a second.
GOING_SECONDS = 3


class Allowance:
    """How much one page may still say: a token bucket."""

    __slots__ = ("_at", "_left", "_sent")

    def __init__(self, now: float) -> None:
        self._left: float = BURST
        self._at = now
        self._sent = 0

    def take(self, cost: int, *, now: float, sent: int) -> bool:
        """
        Pay for a frame of the page; tell whether that could be paid.

        Args:
            cost: In frames.
            now: The loop's time, in seconds.
            sent: How many bytes the page has been sent so far.
        """
        earned = (now - self._at) * FRAMES_PER_SECOND
        earned += (sent - self._sent) / BYTES_PER_FRAME
        self._left = min(BURST, self._left + earned) - cost
        self._at, self._sent = now, sent
        return self._left >= 0


class Conversation:
    """
    One page's frames, which are taken as they come, whatever a read waits for.

    So a page that floods is closed at once, and nothing piles up in the server. One
    read is under way for the page, and of the syncs that come meanwhile the last is
    remembered.

    Args:
        socket: The page.
        feed: Of its user; the socket is among the feed's.
        join: Lets the feed hear of pushes. Awaited before the first read.
    """

    def __init__(
        self, socket: Socket, feed: Feed, join: Callable[[Feed], Awaitable[None]]
    ) -> None:
        self._socket = socket
        self._feed = feed
        self._join = join
        self._loop = asyncio.get_running_loop()
        self._allowance = Allowance(self._loop.time())
        self._wanted: Position | None = None
        self._loading: asyncio.Task[None] | None = None
        # Pings that came before the state, which is to be first.
        self._unanswered = 0
        self._error: Exception | None = None
        self._end = asyncio.timeout(None)

    async def hold(self, receive: Receive, position: Position) -> None:
        """
        Send what a page needs that stands at *position*, then answer what it says.

        Returns when the page has gone, or should have: a page that does not read does
        not see that it is closed.

        Raises:
            Exception: whatever a read raised.
        """
        try:
            async with self._end:
                self._socket.on_end = self._stop
                self._want(position)
                while (event := await receive())["type"] != "websocket.disconnect":
                    # What comes after a close is only taken out of the server's queue.
                    if not self._socket.closed:
                        self._take(event.get("text"))
                if not self._socket.closed:
                    metrics.count_close(event.get("code"))
        except TimeoutError:
            # Only this one is what _stop() does.
            if not self._end.expired():
                raise
        finally:
            self._socket.on_end = None
            if self._loading is not None:
                self._loading.cancel()
                await asyncio.wait([self._loading])
        if self._error is not None:
            raise self._error

    def _stop(self) -> None:
        """Let the wait for what the page says end."""
        seconds = GOING_SECONDS if self._error is None else 0
        self._end.reschedule(self._loop.time() + seconds)

    def _take(self, text: str | None) -> None:
        socket = self._socket
        try:
            frame = protocol.parse(text)
        except MalformedFrameError as error:
            refuse(socket, error)
            return
        cost = SYNC_COST if isinstance(frame, Sync) else 1
        now = self._loop.time()
        if not self._allowance.take(cost, now=now, sent=socket.sent):
            socket.close(CloseCode.TOO_SLOW)
            return
        if socket.hear(self._acknowledged(frame)):
            self._feed.catch_up()
        if isinstance(frame, Sync):
            self._want(frame.position)
        elif isinstance(frame, Ping):
            self._unanswered += 1
            self._answer_pings()
        self._load_soon()

    def _acknowledged(self, frame: Sync | Ping | Ack) -> int | None:
        if isinstance(frame, Ack):
            return frame.revision
        # A program may ask once and never send an ack: that is none.
        if (
            isinstance(frame, Sync)
            and self._socket.acknowledges
            and frame.position.epoch == self._socket.epoch
        ):
            return frame.position.since
        return None

    def _answer_pings(self) -> None:
        socket = self._socket
        if socket.revision is None:
            return
        for _ping in range(self._unanswered):
            socket.send_text(protocol.pong_frame(socket.epoch, socket.revision))
            metrics.FRAMES.add("pong")
        self._unanswered = 0

    def _want(self, position: Position) -> None:
        self._wanted = position
        self._load_soon()

    def _load_soon(self) -> None:
        """Read what the page wants, unless it has to read first what it was sent."""
        if self._loading is None and (position := self._next()) is not None:
            self._loading = asyncio.create_task(self._load(position))

    def _next(self) -> Position | None:
        if self._socket.is_full:
            return None
        position, self._wanted = self._wanted, None
        return position

    async def _load(self, wanted: Position) -> None:
        position: Position | None = wanted
        try:
            if self._socket.revision is None:
                # Join, then read, then send: what is stamped in between is pushed and
                # held.
                await self._join(self._feed)
            while position is not None:
                await self._feed.load(self._socket, position)
                self._answer_pings()
                position = self._next()
        except ObjectDoesNotExist:
            # Deleted since the session was looked up.
            self._socket.close(CloseCode.SIGNED_OUT)
        except DatabaseLostError:
            self._socket.close(CloseCode.UNAVAILABLE)
        except Exception as error:  # noqa: BLE001 -- hold() raises it
            self._error = error
            self._socket.end()
        finally:
            self._loading = None


def refuse(socket: Socket, error: MalformedFrameError) -> None:
    """Tell the page what it did wrong, and close."""
    metrics.FRAMES.add("error")
    socket.send_text(protocol.error_frame(f"{error}."))
    socket.close(CloseCode.MALFORMED)
