"""What happens between SIGTERM and the end: pages go, groups are left, time is kept."""

import asyncio
import signal
import threading
from collections.abc import Callable, Iterator
from functools import partial
from types import FrameType
from typing import Any

import pytest
from channels_redis.core import RedisChannelLayer
from channels_redis.pubsub import RedisPubSubChannelLayer

from realtime import broker as broker_module
from realtime import draining, publishing
from realtime.draining import Termination, drain, empty, retry_ms_for
from realtime.groups import EVERY_HUB, group_of
from realtime.hub import Hub, running_hubs
from realtime.publishing import Publisher
from realtime.sockets import Socket
from tests.processes import RedisServer
from tests.realtime.harness import (
    EPOCH,
    Box,
    Connection,
    FakeLayer,
    Wire,
    account,
    make_message,
)
from tests.waiting import await_until

TERMINATED = signal.SIGTERM


class Server:
    """Whoever handles SIGTERM before: as servers do, it only notes that it came."""

    def __init__(self) -> None:
        self.stops = 0

    def handle(self, number: int, frame: FrameType | None) -> None:
        del frame
        assert number == TERMINATED
        self.stops += 1


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    before = signal.signal(TERMINATED, server.handle)
    yield server
    assert signal.getsignal(TERMINATED) == server.handle
    signal.signal(TERMINATED, before)


class Goer(Wire):
    """Of a page that goes when it is told to."""

    def __init__(self, hub: Hub) -> None:
        super().__init__()
        self.go: Callable[[], object] = list
        self._hub = hub

    async def __call__(self, message: dict[str, Any]) -> None:
        await super().__call__(message)
        if message["type"] == "websocket.close":
            self._hub.loop.call_soon(self.go)


class Pages:
    """Pages of as many users, which go when they are told to."""

    def __init__(self, hub: Hub, count: int, *, go: bool = True) -> None:
        self.wires = [Goer(hub) if go else Wire() for _page in range(count)]
        for user, wire in enumerate(self.wires):
            socket = Socket(wire)
            feed = hub.add(socket, user)
            if isinstance(wire, Goer):
                wire.go = partial(hub.remove, socket, feed)
            socket.held = None
            socket.epoch, socket.revision = EPOCH, 0

    @property
    def closed(self) -> int:
        return sum(wire.close_code is not None for wire in self.wires)


class TestTermination:
    async def test_the_first_signal_waits_and_the_second_does_not(
        self, server: Server
    ) -> None:
        with Termination() as termination:
            signal.raise_signal(TERMINATED)
            await termination.heard.wait()
            assert server.stops == 0
            signal.raise_signal(TERMINATED)
            assert server.stops == 1
        # Not once more for the first: Twisted stops only once.
        assert server.stops == 1

    async def test_it_is_passed_on_at_the_end(self, server: Server) -> None:
        with Termination():
            signal.raise_signal(TERMINATED)
            assert server.stops == 0
        assert server.stops == 1
        signal.raise_signal(TERMINATED)
        assert server.stops == 2

    async def test_nothing_is_passed_on_if_nothing_came(self, server: Server) -> None:
        with Termination() as termination:
            assert signal.getsignal(TERMINATED) != server.handle
        assert server.stops == 0
        assert not termination.heard.is_set()

    async def test_who_comes_later_and_calls_it_is_left_in_place(
        self, server: Server
    ) -> None:
        with Termination():
            below: Any = signal.getsignal(TERMINATED)

            def above(number: int, frame: FrameType | None) -> None:
                below(number, frame)

            signal.signal(TERMINATED, above)
        assert signal.getsignal(TERMINATED) == above
        signal.raise_signal(TERMINATED)
        assert server.stops == 1
        signal.signal(TERMINATED, server.handle)

    async def test_who_ignores_the_signal_goes_on_to(self, server: Server) -> None:
        signal.signal(TERMINATED, signal.SIG_IGN)
        with Termination() as termination:
            signal.raise_signal(TERMINATED)
            await asyncio.sleep(0)
            assert not termination.heard.is_set()
        assert signal.getsignal(TERMINATED) == signal.SIG_IGN
        signal.signal(TERMINATED, server.handle)

    async def test_loops_of_other_threads_hear_nothing(self, server: Server) -> None:
        async def look() -> None:
            with Termination():
                assert signal.getsignal(TERMINATED) == server.handle

        await asyncio.to_thread(asyncio.run, look())

    def test_a_loop_that_has_ended_holds_nothing_up(self, server: Server) -> None:
        """daphne's loop stops without a word to the tasks in it."""

        async def enter() -> Termination:
            return Termination().__enter__()

        termination = asyncio.run(enter())
        signal.raise_signal(TERMINATED)
        assert server.stops == 1
        termination.__exit__()


class TestPages:
    async def test_are_told_when_to_come_back_and_closed(
        self, hub: Hub, server: Server
    ) -> None:
        pages = Pages(hub, 3)
        draining_of = asyncio.create_task(drain(hub))
        await asyncio.sleep(0)
        signal.raise_signal(TERMINATED)
        assert server.stops == 0
        async with asyncio.timeout(10):
            await draining_of
        assert hub.draining
        for wire in pages.wires:
            assert wire.frames == [{"type": "restart", "retry_ms": 1000}]
            assert wire.close_code == 4012
        assert server.stops == 1

    async def test_without_any_the_server_stops_at_once(
        self, hub: Hub, server: Server
    ) -> None:
        task = asyncio.create_task(drain(hub))
        await asyncio.sleep(0)
        signal.raise_signal(TERMINATED)
        begun = hub.loop.time()
        await task
        # Less than one batch takes.
        assert hub.loop.time() - begun < draining.BATCH_SECONDS
        assert server.stops == 1

    async def test_go_in_batches_and_hear_of_pushes_until_then(
        self, hub: Hub, box: Box
    ) -> None:
        pages = Pages(hub, 4 * draining.SMALLEST_BATCH)
        task = asyncio.create_task(empty(hub))
        await await_until(lambda: pages.closed)
        assert pages.closed == draining.SMALLEST_BATCH
        # All know by then: whatever cuts them off now, they spread.
        assert all(wire.frames for wire in pages.wires)
        for user in range(len(pages.wires)):
            hub.receive(make_message(1, user=user))
        told = sum(wire.revisions == [1] for wire in pages.wires)
        assert told == 3 * draining.SMALLEST_BATCH
        await task
        assert pages.closed == len(pages.wires)
        for wire in pages.wires:
            assert wire.messages[-1]["type"] == "websocket.close"
        assert box.reads == []

    async def test_of_a_crowd_are_all_gone_in_time(self, hub: Hub) -> None:
        pages = Pages(hub, 3_000)
        begun = hub.loop.time()
        await empty(hub)
        took = hub.loop.time() - begun
        assert pages.closed == 3_000
        assert draining.CLOSING_SECONDS <= took < 5 * draining.CLOSING_SECONDS
        assert pages.wires[0].frames == [{"type": "restart", "retry_ms": 12_000}]

    async def test_that_do_not_go_are_waited_for_only_so_long(
        self, hub: Hub, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(draining, "GOING_SECONDS", 0.2)
        pages = Pages(hub, 2, go=False)
        # One doesn't take what it is sent, as a reader that has stopped.
        pages.wires[0].open.clear()
        begun = hub.loop.time()
        await empty(hub)
        assert 0.2 <= hub.loop.time() - begun < 2
        assert pages.wires[1].close_code == 4012
        pages.wires[0].open.set()

    async def test_that_come_meanwhile_are_sent_away_unseen(
        self, hub: Hub, box: Box
    ) -> None:
        hub.retry_ms = 1234
        for user in (account(), None):
            connection = Connection(user)
            connection.start()
            assert await connection.close_code() == 4012
            assert connection.wire.frames == [{"type": "restart", "retry_ms": 1234}]
        assert hub.feeds == {}
        assert box.reads == []

    async def test_that_were_coming_in_are_sent_away_too(
        self, hub: Hub, box: Box
    ) -> None:
        box.may_return.clear()
        async with Connection(account()) as connection:
            await await_until(lambda: box.reads)
            task = asyncio.create_task(empty(hub))
            await await_until(lambda: connection.wire.close_code)
            box.may_return.set()
        await task
        assert connection.wire.close_code == 4012
        assert connection.wire.frames == [{"type": "restart", "retry_ms": 1000}]

    @pytest.mark.parametrize(
        ("sockets", "milliseconds"),
        [(0, 1000), (250, 1000), (500, 2000), (3000, 12_000), (100_000, 15_000)],
    )
    def test_come_back_the_later_the_more_they_are(
        self, sockets: int, milliseconds: int
    ) -> None:
        assert retry_ms_for(sockets) == milliseconds


@pytest.mark.usefixtures("hubs", "box")
class TestApplication:
    async def test_hears_the_signal_from_its_first_socket_on(
        self, server: Server
    ) -> None:
        async with Connection(account()) as connection:
            await connection.frames(1)
            signal.raise_signal(TERMINATED)
            await await_until(lambda: connection.wire.close_code)
            assert server.stops == 0
        await await_until(lambda: server.stops)
        assert connection.wire.close_code == 4012
        assert connection.wire.frames[-1]["type"] == "restart"

    async def test_a_hub_that_stops_gives_the_signal_back(self, server: Server) -> None:
        async with Connection(account()) as connection:
            await connection.frames(1)
            assert signal.getsignal(TERMINATED) != server.handle
            [hub] = running_hubs()
            await hub.stop()
            assert signal.getsignal(TERMINATED) == server.handle
        assert server.stops == 0

    async def test_a_hub_that_stops_meanwhile_swallows_no_signal(
        self, server: Server
    ) -> None:
        async with Connection(account()) as connection:
            await connection.frames(1)
            [hub] = running_hubs()
            signal.raise_signal(TERMINATED)
            await await_until(lambda: hub.draining)
            assert server.stops == 0
            await hub.stop()
            assert server.stops == 1


class TestGroups:
    async def test_all_are_left(self, hub: Hub, layer: FakeLayer) -> None:
        for user in range(30):
            socket = Socket(Wire())
            feed = hub.add(socket, user)
            await hub.broker.join(feed)
            # Some of them are only kept for a page that comes right back.
            hub.remove(socket, feed)
        assert layer.groups == {EVERY_HUB, *(group_of(str(n)) for n in range(30))}
        await empty(hub)
        assert layer.groups == set()

    async def test_none_is_joined_again(self, hub: Hub, layer: FakeLayer) -> None:
        feed = hub.add(Socket(Wire()), 1)
        await hub.broker.join(feed)
        await hub.broker.leave_all()
        await hub.broker.join(feed)
        await asyncio.sleep(0)
        assert layer.groups == set()
        # Nor for a broker that comes back.
        await hub.broker.join_again()
        assert layer.groups == set()

    @pytest.mark.parametrize("trouble", ["hangs", "fails"])
    async def test_a_broker_in_trouble_holds_nothing_up(
        self,
        hub: Hub,
        layer: FakeLayer,
        monkeypatch: pytest.MonkeyPatch,
        trouble: str,
    ) -> None:
        monkeypatch.setattr(broker_module, "LAYER_SECONDS", 0.2)
        for user in range(30):
            await hub.broker.join(hub.add(Socket(Wire()), user))
        hub.feeds["7"].sockets.clear()
        if trouble == "hangs":
            layer.gates["group_discard"].clear()
        else:
            layer.errors["group_discard"] = ConnectionError()
        begun = hub.loop.time()
        await hub.broker.leave_all()
        assert hub.loop.time() - begun < 2
        assert group_of("7") in layer.groups

    @pytest.mark.parametrize("kind", [RedisChannelLayer, RedisPubSubChannelLayer])
    async def test_nothing_is_left_in_redis(
        self, redis_server: RedisServer, kind: type[Any], box: Box
    ) -> None:
        del box
        hub = Hub()
        hub.broker.layer = kind(
            hosts=[{"address": redis_server.url, "socket_timeout": None}]
        )
        hub.start()
        try:
            pages = Pages(hub, 20)
            for feed in hub.feeds.values():
                await hub.broker.join(feed)
            with redis_server.client() as client:

                def left() -> Any:
                    return client.keys("*group*") + client.pubsub_channels("*group*")

                await await_until(lambda: len(left()) >= 21)
                await empty(hub)
                assert pages.closed == 20
                await await_until(lambda: not left())
        finally:
            await hub.stop()
            if kind is RedisChannelLayer:
                await hub.broker.layer.close_pools()
            else:
                await hub.broker.layer.flush()


async def test_what_is_yet_to_be_sent_is_sent(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """uvicorn ends by the signal, and a process that does runs nothing at its exit."""
    sent = threading.Event()

    class SlowLayer:
        async def group_send(self, group: str, message: dict[str, Any]) -> None:
            del group, message
            await asyncio.sleep(0.2)
            sent.set()

    monkeypatch.setattr(publishing, "get_channel_layer", SlowLayer)
    publisher = Publisher()
    monkeypatch.setattr(draining, "get_publisher", lambda: publisher)
    publisher.send("group", {})
    await empty(hub)
    assert sent.is_set()
