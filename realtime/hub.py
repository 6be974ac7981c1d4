"""The hub: the sockets of this process, behind one channel.

Channels' usual way gives each socket a channel, a task and a thread hop per message.
Here one channel per process joins the groups of the users connected, a push arrives
once, already encoded, and the same text goes to each of the user's sockets.
"""

from __future__ import annotations

import asyncio
import logging
import time
import weakref
from collections.abc import Callable
from functools import partial
from typing import Any

from themis.conf import settings

from . import metrics, tasks
from .broker import Broker
from .endings import Endings
from .feeds import Feed
from .protocol import CloseCode, ping_frame
from .readers import Readers
from .sockets import Push, Socket

logger = logging.getLogger("realtime")

# How long a group is kept for a page that comes right back.
LINGER_SECONDS = 30
# When a task that was to end is asked again; later than such a task asks its own.
CANCEL_SECONDS = 0.5
# A ping to each page this often; under the usual 60 s of proxies.
PING_SECONDS = 25
# How many pings go out together. A push waits for them and for their answers: a ping
# takes daphne a seventh of a millisecond, and hundreds may be due in a second. Ten were
# the slowest hundredth of all pushes (`make bench WORKS=latency`).
PINGS_AT_ONCE = 4


class Hub:
    """All sockets of one event loop."""

    def __init__(self, alias: str = "default") -> None:
        self.loop = asyncio.get_running_loop()
        self.feeds: dict[str, Feed] = {}
        self.broker = Broker(self.feeds, self.receive, alias)
        # Losses that the reconciler has repaired: they tell of a sick broker.
        self.repairs = 0
        # When the next mailbox has something that expires, as far as the task knows
        # that waits for it; and what wakes that task if it is to be earlier.
        self.next_due: float | None = None
        self.due_earlier = asyncio.Event()
        # Within how many milliseconds pages should come back; None = they may stay.
        self.retry_ms: int | None = None
        # Set when connections to the database were lost, or the broker failed: what has
        # the database to say?
        self.suspicion = asyncio.Event()
        # The question to the database that a probe of it waits for.
        self.probing: asyncio.Task[None] | None = None
        # What has been heard of sessions that end.
        self.endings = Endings(self.loop.time)
        self._readers = Readers(self.suspicion.set)
        self.read = self._readers.read
        self.admit = self._readers.admit
        self._beats: list[set[Socket]] = [set() for _second in range(PING_SECONDS)]
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def draining(self) -> bool:
        """Whether its pages are sent away, because the process is about to stop."""
        return self.retry_ms is not None

    @property
    def socket_count(self) -> int:
        """How many sockets are open."""
        return sum(map(len, self._beats))

    @property
    def is_database_down(self) -> bool:
        """Whether the database did not answer when it was asked last."""
        return self._readers.is_down

    def start(self, *companions: Callable[[Hub], Any]) -> None:
        """Run the hub's own tasks, and *companions*, until `stop`."""
        _HUBS.add(self)
        jobs = [self._beat(), *(companion(self) for companion in companions)]
        if not self.broker.is_local:
            jobs.append(self.broker.listen())
        self._tasks = [self.loop.create_task(job) for job in jobs]

    async def stop(self) -> None:
        """End the hub's tasks, and its threads with their connections."""
        _HUBS.discard(self)
        await tasks.end(self._tasks, again_after=CANCEL_SECONDS)
        await self._readers.close()

    # Sockets come and go

    def add(self, socket: Socket, user: Any) -> Feed:
        """
        Count *socket* among those of *user*, whose pushes it holds from now on.

        Over the limit per user, the oldest is closed. The caller goes on with
        `Broker.join` and `Feed.load`, and ends with `remove`.
        """
        feed = self.feeds.get(str(user))
        if feed is None:
            feed = self.feeds[str(user)] = Feed(user, self.read, self._note_due)
        if feed.leaving is not None:
            feed.leaving.cancel()
            feed.leaving = None
        feed.sockets.append(socket)
        for oldest in feed.sockets[: -settings.max_connections_per_user]:
            oldest.close(CloseCode.TOO_MANY)
            feed.sockets.remove(oldest)
        socket.beat = min(range(PING_SECONDS), key=lambda n: len(self._beats[n]))
        self._beats[socket.beat].add(socket)
        return feed

    def remove(self, socket: Socket, feed: Feed) -> None:
        """Forget *socket*; the last one's group is left after a while."""
        socket.end()
        self._beats[socket.beat].discard(socket)
        if socket in feed.sockets:
            feed.sockets.remove(socket)
        if not feed.sockets and feed.leaving is None:
            self._linger(feed)

    def _linger(self, feed: Feed) -> None:
        leave = partial(self._leave_soon, feed)
        feed.leaving = self.loop.call_later(LINGER_SECONDS, leave)

    def _leave_soon(self, feed: Feed) -> None:
        self._tasks = [task for task in self._tasks if not task.done()]
        self._tasks.append(self.loop.create_task(self._leave(feed)))

    async def _leave(self, feed: Feed) -> None:
        async with feed.lock:
            if feed.sockets or self.feeds.get(feed.key) is not feed:
                return
            is_left = await self.broker.leave(feed)
            # Only now, so that a page that came back meanwhile joins after the leave.
            if feed.sockets:
                return
            if is_left:
                del self.feeds[feed.key]
                # It holds the feed, which then goes without the garbage collector.
                feed.leaving = None
            else:
                # Else the broker would send it here for as long as the process lives.
                self._linger(feed)

    def _note_due(self, due: float) -> None:
        if self.next_due is None or due < self.next_due:
            self.next_due = due
            self.due_earlier.set()

    # The layer

    def receive(self, message: dict[str, Any]) -> None:
        """Take one message of the layer; what another version sends is ignored."""
        match message:
            case {
                "type": "themis.push",
                "v": 1,
                "user": str(user),
                "epoch": str(epoch),
                "since": int(since),
                "revision": int(revision),
                "text": str() | None as text,
            }:
                if (feed := self.feeds.get(user)) is not None:
                    feed.push(Push(epoch, since, revision, text))
                    _note_times(feed, message)
            case {"type": "themis.bundle", "v": 1, "messages": list(messages)}:
                for one in messages:
                    self.receive(one)
            case {"type": "themis.disconnect", "v": 1, "user": str(user)}:
                if (feed := self.feeds.get(user)) is not None:
                    feed.sign_out()
            case {"type": "themis.echo", "name": str(name)}:
                self.broker.hear_echo(name)
            case _:
                self._receive_ending(message)

    def _receive_ending(self, message: dict[str, Any]) -> None:
        """Take a message about sessions."""
        match message:
            case {"type": "themis.logout", "v": 1, "session": str(digest)}:
                self.endings.end(digest)
                for feed in self.feeds.values():
                    feed.sign_out(lambda login: login.digest == digest)
            case {"type": "themis.account", "v": 1, "user": str(user)}:
                self.endings.doubt(user)

    # The heartbeat

    async def _beat(self) -> None:
        """Ping each page every 25 s, a few pages at a time, evenly over the time."""
        second = 0
        moment = self.loop.time()
        while True:
            second = (second + 1) % PING_SECONDS
            # What a machine slept through is not made up for.
            moment = max(moment, self.loop.time() - 1)
            due = [s for s in self._beats[second] if s.revision is not None]
            starts = range(0, len(due) or 1, PINGS_AT_ONCE)
            for start in starts:
                moment += 1 / len(starts)
                await asyncio.sleep(moment - self.loop.time())
                for socket in due[start : start + PINGS_AT_ONCE]:
                    socket.send_text(ping_frame(socket.epoch, socket.revision or 0))
            metrics.FRAMES.add("ping", len(due))


def _note_times(feed: Feed, message: dict[str, Any]) -> None:
    """Take from a push that was forwarded what is not for the pages."""
    match message.get("due"):
        case int(due) | float(due):
            feed.note_due(due)
    metrics.PUSHES.add()
    match message.get("at"):
        # A process of an older version does not say.
        case int(at) | float(at):
            metrics.COMMIT_TO_SEND.observe(time.time() - at)


_HUBS: weakref.WeakSet[Hub] = weakref.WeakSet()


def running_hubs() -> list[Hub]:
    """Return the hubs of this process: one for each event loop that has sockets."""
    return list(_HUBS)


@metrics.SOCKETS.read_by
def _count_sockets() -> int:
    return sum(hub.socket_count for hub in running_hubs())


@metrics.USERS.read_by
def _count_users() -> int:
    # A copy: a host's own exporter asks from a thread.
    return sum(
        bool(feed.sockets) for hub in running_hubs() for feed in [*hub.feeds.values()]
    )


def get_hub(*companions: Callable[[Hub], Any]) -> Hub:
    """Return the hub of the running loop, started with *companions* if it is new."""
    loop = asyncio.get_running_loop()
    for hub in _HUBS:
        if hub.loop is loop:
            return hub
    hub = Hub()
    hub.start(*companions)
    return hub
