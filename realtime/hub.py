"""The hub: the sockets of this process, behind one channel.

Channels' usual way gives each socket a channel, a task and a thread hop per message.
Here one channel per process joins the groups of the users connected, a push arrives
once, already encoded, and the same text goes to each of the user's sockets.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, ParamSpec, TypeVar

from asgiref.sync import sync_to_async
from channels.layers import InMemoryChannelLayer, get_channel_layer
from django.db import InterfaceError, OperationalError, connections

from themis import mailbox
from themis.conf import settings
from themis.events import Changes, encode
from themis.locking import is_contention

from .groups import group_of
from .protocol import CloseCode, Position, ping_frame
from .sockets import Push, Socket

logger = logging.getLogger("realtime")

P = ParamSpec("P")
R = TypeVar("R")

# How long a push that is ahead waits for the one before it: senders overtake.
HOLD_SECONDS = 0.05
# How long a group is kept for a page that comes right back.
LINGER_SECONDS = 30
# How long the layer may take to join or leave a group.
LAYER_SECONDS = 1
# A ping to each page this often; under the usual 60 s of proxies.
PING_SECONDS = 25
# Threads that read the database for sockets, off the one that requests share.
READERS = 4


def is_local(layer: Any) -> bool:
    """Tell whether *layer* ends at this process, or there is none."""
    return layer is None or isinstance(layer, InMemoryChannelLayer)


class Feed:
    """One user's sockets in this process, and what waits for them."""

    __slots__ = (
        "ahead",
        "key",
        "leaving",
        "lock",
        "member",
        "reading",
        "reread",
        "sockets",
        "timer",
        "user",
    )

    def __init__(self, user: Any) -> None:
        self.user = user
        self.key = str(user)
        self.sockets: list[Socket] = []
        # Pushes that follow what no socket has been told yet.
        self.ahead: list[Push] = []
        self.timer: asyncio.TimerHandle | None = None
        self.reading: asyncio.Task[None] | None = None
        self.reread = False
        # Joins and leaves of the group, one after the other.
        self.lock = asyncio.Lock()
        self.member = False
        self.leaving: asyncio.TimerHandle | None = None

    def is_behind(self, epoch: str, revision: int) -> bool:
        """Tell whether a page of the user has not been told of *revision*."""
        return any(socket.is_behind(epoch, revision) for socket in self.sockets)


class Hub:
    """All sockets of one event loop."""

    def __init__(self, alias: str = "default") -> None:
        self.loop = asyncio.get_running_loop()
        self.layer: Any = get_channel_layer(alias)
        self.feeds: dict[str, Feed] = {}
        self.channel: str | None = None
        # Set when the channel has been asked for once, whatever the answer.
        self._asked = asyncio.Event()
        # When the process last heard itself through the broker.
        self.echoed_at = self.loop.time()
        # Losses that the reconciler has repaired: they tell of a sick broker.
        self.repairs = 0
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="themis-reader")
        self._beats: list[set[Socket]] = [set() for _second in range(PING_SECONDS)]
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def is_local(self) -> bool:
        """Whether the layer ends at this process, or there is none."""
        return is_local(self.layer)

    def start(self, *companions: Callable[[Hub], Any]) -> None:
        """Run the hub's own tasks, and *companions*, until `stop`."""
        _HUBS.add(self)
        jobs = [self._beat(), *(companion(self) for companion in companions)]
        if not self.is_local:
            jobs.append(self._listen())
        self._tasks = [self.loop.create_task(job) for job in jobs]

    async def stop(self) -> None:
        """End the hub's tasks, and its threads with their connections."""
        _HUBS.discard(self)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        # Each waits for the others, so that each thread gets one.
        together = threading.Barrier(READERS)
        closings = [
            asyncio.wrap_future(self._readers.submit(_close_connections, together))
            for _reader in range(READERS)
        ]
        self._readers.shutdown(wait=False)
        await asyncio.wait(closings)

    async def read(
        self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """Run *function*, which reads the database, in one of the hub's threads."""
        job = partial(_read, function, *args, **kwargs)
        reader = sync_to_async(job, thread_sensitive=False, executor=self._readers)
        return await reader()

    # Sockets come and go

    def add(self, socket: Socket, user: Any) -> Feed:
        """
        Count *socket* among those of *user*, whose pushes it holds from now on.

        Over the limit per user, the oldest is closed. The caller goes on with
        `join_group` and `load`, and ends with `remove`.
        """
        feed = self.feeds.get(str(user))
        if feed is None:
            feed = self.feeds[str(user)] = Feed(user)
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
        socket.closed = True
        self._beats[socket.beat].discard(socket)
        if socket in feed.sockets:
            feed.sockets.remove(socket)
        if not feed.sockets and feed.leaving is None:
            leave = partial(self._leave_soon, feed)
            feed.leaving = self.loop.call_later(LINGER_SECONDS, leave)

    async def join_group(self, feed: Feed) -> None:
        """Hear of the user's pushes; a broker that fails is tried again later."""
        if self.is_local:
            return
        async with feed.lock:
            if feed.member:
                return
            try:
                async with asyncio.timeout(LAYER_SECONDS):
                    # The first pages of a process come before its channel.
                    await self._asked.wait()
                    if self.channel is None:
                        return
                    await self.layer.group_add(group_of(feed.key), self.channel)
            except Exception as error:  # noqa: BLE001 -- layers raise what they like
                logger.warning("The broker refuses a group: %r", error)
            else:
                feed.member = True

    def _leave_soon(self, feed: Feed) -> None:
        self._tasks.append(self.loop.create_task(self._leave_group(feed)))

    async def _leave_group(self, feed: Feed) -> None:
        self._tasks = [task for task in self._tasks if not task.done()]
        async with feed.lock:
            if feed.sockets:
                return
            if feed.member and self.channel is not None:
                feed.member = False
                try:
                    async with asyncio.timeout(LAYER_SECONDS):
                        await self.layer.group_discard(group_of(feed.key), self.channel)
                except Exception as error:  # noqa: BLE001 -- layers raise what they like
                    logger.warning("The broker keeps a group that is left: %r", error)
            # Only now, so that a page that came back meanwhile joins after the leave.
            if not feed.sockets and self.feeds.get(feed.key) is feed:
                del self.feeds[feed.key]

    # State

    async def load(self, socket: Socket, feed: Feed, position: Position) -> None:
        """Read and send what a page needs that stands at *position*."""
        socket.held = socket.held or []
        frame = await self.read(
            mailbox.read_state,
            feed.user,
            since=position.since,
            epoch=position.epoch,
        )
        socket.tell(frame.epoch, frame.revision, encode(frame.to_wire()))
        held, socket.held = socket.held, None
        # Senders overtake each other.
        for push in sorted(held or (), key=lambda push: push.since):
            if not socket.offer(push):
                self._wait_for_gap(feed, push)

    def push(self, user_key: str, push: Push) -> None:
        """Give *push* to the user's sockets that it follows; the others wait a bit."""
        feed = self.feeds.get(user_key)
        if feed is None:
            return
        if not _offer(push, feed):
            self._wait_for_gap(feed, push)
        elif feed.ahead:
            self._offer_ahead(feed)

    def _wait_for_gap(self, feed: Feed, push: Push) -> None:
        if push.text is None:
            self.catch_up(feed)
            return
        feed.ahead.append(push)
        if feed.timer is None:
            close_gap = partial(self._close_gap, feed)
            feed.timer = self.loop.call_later(HOLD_SECONDS, close_gap)

    def _offer_ahead(self, feed: Feed) -> None:
        """Offer what came too early again, the earliest first."""
        waiting = sorted(feed.ahead, key=lambda push: push.since)
        feed.ahead = [push for push in waiting if not _offer(push, feed)]

    def _close_gap(self, feed: Feed) -> None:
        feed.timer = None
        ahead, feed.ahead = feed.ahead, []
        if any(feed.is_behind(push.epoch, push.revision) for push in ahead):
            self.catch_up(feed)

    def catch_up(self, feed: Feed) -> None:
        """Read what the user's sockets have missed, once for all of them."""
        if feed.reading is not None:
            feed.reread = True
            return
        feed.reading = self.loop.create_task(self._catch_up(feed))

    async def _catch_up(self, feed: Feed) -> None:
        try:
            feed.reread = True
            while feed.reread:
                feed.reread = False
                for epoch in {socket.epoch for socket in _told(feed)}:
                    await self._send_difference(feed, epoch)
        except Exception:
            # The reconciler sees that they are behind, and comes back to it.
            logger.exception("The changes of a mailbox could not be read.")
        finally:
            feed.reading = None

    async def _send_difference(self, feed: Feed, epoch: str) -> None:
        told = [socket for socket in _told(feed) if socket.epoch == epoch]
        if not told:
            return
        lowest = min(socket.revision or 0 for socket in told)
        frame = await self.read(
            mailbox.read_state, feed.user, since=lowest, epoch=epoch
        )
        text = encode(frame.to_wire())
        for socket in told:
            if not socket.is_behind(frame.epoch, frame.revision):
                continue
            # Those that a push has brought beyond `lowest` meanwhile can use it too.
            if not isinstance(frame, Changes) or frame.since <= (socket.revision or 0):
                socket.tell(frame.epoch, frame.revision, text)
        # What was pushed during the read may follow it now: one lost push must not
        # cost another read for each that comes after it.
        self._offer_ahead(feed)

    # The layer

    async def _listen(self) -> None:
        """Receive what the layer brings, for ever; a dead broker is tried again."""
        while True:
            try:
                self.channel = await self.layer.new_channel("themis-hub.")
                self._asked.set()
                for feed in list(self.feeds.values()):
                    feed.member = False
                    await self.join_group(feed)
                    # Pages that were here before heard nothing until now.
                    self.catch_up(feed)
                while True:
                    self.receive(await self.layer.receive(self.channel))
            except Exception as error:  # noqa: BLE001 -- layers raise what they like
                logger.warning("The broker can't be listened to: %r", error)
                self.channel = None
                self._asked.set()
                await asyncio.sleep(LAYER_SECONDS)

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
                self.push(user, Push(epoch, since, revision, text))
            case {"type": "themis.echo"}:
                self.echoed_at = self.loop.time()

    # The heartbeat

    async def _beat(self) -> None:
        """Ping each page every 25 s, a twenty-fifth of them each second."""
        second = 0
        while True:
            await asyncio.sleep(1)
            second = (second + 1) % PING_SECONDS
            for socket in self._beats[second].copy():
                if socket.revision is not None:
                    socket.send_text(ping_frame(socket.epoch, socket.revision))


def _offer(push: Push, feed: Feed) -> bool:
    """Offer *push* to all sockets of the user; tell whether none missed one before."""
    # A list, because all() would stop at the first that did.
    return all([socket.offer(push) for socket in feed.sockets])  # noqa: C419


def _told(feed: Feed) -> list[Socket]:
    return [
        socket
        for socket in feed.sockets
        if socket.held is None and not socket.closed and socket.revision is not None
    ]


def _read(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """
    Run *function* on a connection that is kept.

    A connection that the database has closed meanwhile is opened again, once.
    """
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


_HUBS: weakref.WeakSet[Hub] = weakref.WeakSet()


def running_hubs() -> list[Hub]:
    """Return the hubs of this process: one for each event loop that has sockets."""
    return list(_HUBS)


def get_hub(*companions: Callable[[Hub], Any]) -> Hub:
    """Return the hub of the running loop, started with *companions* if it is new."""
    loop = asyncio.get_running_loop()
    for hub in _HUBS:
        if hub.loop is loop:
            return hub
    hub = Hub()
    hub.start(*companions)
    return hub
