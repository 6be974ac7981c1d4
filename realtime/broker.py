"""The broker as one hub knows it: a channel, the groups it has joined, and trouble."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from channels.layers import (
    InMemoryChannelLayer,
    channel_layers,
    get_channel_layer,
)
from channels_redis.pubsub import RedisPubSubChannelLayer

from . import tasks
from .feeds import Feed
from .groups import EVERY_HUB, group_of

logger = logging.getLogger("realtime")

# How long the layer may take to join or leave a group.
LAYER_SECONDS = 1
# When what listens is asked again to end.
CANCEL_SECONDS = 0.1
# How many groups are left beside each other when all are.
LEAVES_AT_ONCE = 10
# How soon a broker that fails is tried again, and how rarely if it stays away.
SHORTEST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 8


def is_local(layer: Any) -> bool:
    """Tell whether *layer* ends at this process, or there is none."""
    return layer is None or isinstance(layer, InMemoryChannelLayer)


def _make_layer(alias: str) -> Any:
    """Return the channel layer; Redis pub/sub with connections of the hub's own."""
    layer: Any = get_channel_layer(alias)
    if isinstance(layer, RedisPubSubChannelLayer):
        return channel_layers.make_backend(alias)
    return layer


class Broker:
    """
    The way to other processes, if there are any.

    Args:
        feeds: Whose groups are to be joined, by the text of the user's key.
        receive: Takes each message that comes.
        alias: Of the channel layer.
    """

    def __init__(
        self,
        feeds: Mapping[str, Feed],
        receive: Callable[[dict[str, Any]], object],
        alias: str = "default",
    ) -> None:
        self.layer: Any = _make_layer(alias)
        self.channel: str | None = None
        # Whether it took what it was last asked to: groups are joined then.
        self.answers = False
        # Whether the canary has noticed a failure, and does not trust it again.
        self.is_failing = False
        # Messages to this process that are under way, by name.
        self.echoes: dict[str, asyncio.Future[None]] = {}
        self._alias = alias
        self._feeds = feeds
        self._receive = receive
        self._listening: asyncio.Task[None] | None = None
        # Set when the channel has been asked for once, whatever the answer.
        self._asked = asyncio.Event()
        self._has_left = False
        # How often it has refused what, since the process began.
        self._troubles: dict[str, int] = {}

    @property
    def is_local(self) -> bool:
        """Whether the layer ends at this process, or there is none."""
        return is_local(self.layer)

    async def find_channel(self) -> str:
        """
        Return the hub's channel, waiting for it at most `LAYER_SECONDS`.

        Raises:
            ConnectionError: the broker gives none.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LAYER_SECONDS):
                await self._asked.wait()
        if self.channel is None:
            raise ConnectionError("no channel")
        return self.channel

    async def listen(self) -> None:
        """Receive what the layer brings, for ever; a dead broker is tried again."""
        while True:
            self._listening = asyncio.create_task(self._listen())
            try:
                await asyncio.wait([self._listening])
            finally:
                await tasks.end([self._listening], again_after=CANCEL_SECONDS)

    async def renew(self) -> None:
        """
        Let go of a connection that brings nothing, and listen by another.

        Only of Redis pub/sub, which keeps one. A connection may be dead without anybody
        saying so; or the kernel does after a quarter of an hour, which redis-py takes
        for a time-out of its own: it tries at once, for ever, and nothing else runs.
        """
        old = self.layer
        if self._has_left or not isinstance(old, RedisPubSubChannelLayer):
            return
        try:
            self.layer = _make_layer(self._alias)
            self.channel, self.answers = None, False
            async with asyncio.timeout(LAYER_SECONDS):
                await old.flush()
        except Exception as error:  # noqa: BLE001 -- layers raise what they like
            self._warn("let go of a connection", error)
        if self._listening is not None:
            self._listening.cancel()

    async def _listen(self) -> None:
        pause = SHORTEST_PAUSE_SECONDS
        while True:
            try:
                # It stays, whatever breaks: another would be one more member of each
                # group, for a broker that remembers those.
                if self.channel is None:
                    self.channel = await self.layer.new_channel("themis-hub.")
                await self.join_again()
                while True:
                    self._receive(await self.layer.receive(self.channel))
                    pause = SHORTEST_PAUSE_SECONDS
            except Exception as error:  # noqa: BLE001 -- layers raise what they like
                self._warn("listen to it", error)
                self.answers = False
                self._asked.set()
                await asyncio.sleep(pause)
                # The pub/sub layer keeps a queue for each channel it failed to make.
                pause = min(2 * pause, LONGEST_PAUSE_SECONDS)

    def hear_echo(self, name: str) -> None:
        """Take a message of this process to itself."""
        if (arrival := self.echoes.pop(name, None)) is not None:
            arrival.set_result(None)

    async def join(self, feed: Feed) -> None:
        """Hear of the user's pushes; a broker that fails is tried again later."""
        if self.is_local:
            return
        async with feed.lock:
            # Of one that is no more nobody would leave the group.
            if feed.member or self._feeds.get(feed.key) is not feed:
                return
            try:
                async with asyncio.timeout(LAYER_SECONDS):
                    # The first pages of a process come before its channel.
                    await self._asked.wait()
                    # One that is known to fail would cost each page a second.
                    if self._has_left or not self.answers:
                        return
                    await self.layer.group_add(group_of(feed.key), self.channel)
            except Exception as error:  # noqa: BLE001 -- layers raise what they like
                # It may have done so all the same.
                feed.kept = True
                self._warn("join a group", error)
            else:
                feed.member = True

    async def join_again(self) -> None:
        """
        Join every group once more: the broker may have forgotten them.

        Raises:
            Exception: it refuses; layers raise what they like.
        """
        if self._has_left:
            return
        async with asyncio.timeout(LAYER_SECONDS):
            await self.layer.group_add(EVERY_HUB, self.channel)
        self.answers = True
        self._asked.set()
        for feed in self._feeds.values():
            # Forgotten perhaps, or not.
            feed.kept = feed.kept or feed.member
            feed.member = False
        await self.join_missing()

    async def join_missing(self) -> None:
        """Join the groups that were refused or left out, up to the first refusal."""
        for feed in [feed for feed in self._feeds.values() if not feed.member]:
            await self.join(feed)
            if not feed.member:
                return
            # Pages that were here before heard nothing until now.
            feed.catch_up()

    async def leave(self, feed: Feed) -> bool:
        """
        Hear no more of the user's pushes. The caller holds the feed's lock.

        Returns whether the group is left; if not, the caller is to try it again.
        """
        if not (feed.member or feed.kept) or self.channel is None or self._has_left:
            return True
        group, is_member = group_of(feed.key), feed.member
        feed.member, feed.kept = False, True
        try:
            async with asyncio.timeout(LAYER_SECONDS):
                if not is_member:
                    # A layer whose broker failed half-way knows of nothing to leave.
                    await self.layer.group_add(group, self.channel)
                await self.layer.group_discard(group, self.channel)
        except Exception as error:  # noqa: BLE001 -- layers raise what they like
            self._warn("leave a group", error)
            return False
        feed.kept = False
        return True

    async def leave_all(self) -> None:
        """
        Leave all groups, and join none any more.

        A layer may keep who is in a group beyond the end of the process. One whose
        broker fails does so: that is logged, and given up after a second.
        """
        self._has_left = True
        if self.channel is None:
            return
        feeds = iter(list(self._feeds.values()))
        try:
            async with asyncio.timeout(LAYER_SECONDS), asyncio.TaskGroup() as group:
                group.create_task(self.layer.group_discard(EVERY_HUB, self.channel))
                for _queue in range(LEAVES_AT_ONCE):
                    group.create_task(self._leave_each(feeds))
        except Exception as error:  # noqa: BLE001 -- layers raise what they like
            logger.warning(
                "The broker keeps groups that are left: %r",
                error,
                extra={"event": "broker_keeps_groups"},
            )

    async def _leave_each(self, feeds: Iterator[Feed]) -> None:
        for feed in feeds:
            async with feed.lock:
                # Also where the hub doesn't know whether it is a member.
                feed.member = False
                await self.layer.group_discard(group_of(feed.key), self.channel)

    def _warn(self, what: str, error: Exception) -> None:
        # At the first, the tenth, the hundredth: enough to see, no flood.
        self._troubles[what] = count = self._troubles.get(what, 0) + 1
        if str(count).strip("0") == "1":
            logger.warning(
                "The broker does not let this process %s (%d so far): %r",
                *(what, count, error),
                extra={"event": "broker_refuses", "what": what, "count": count},
            )
