"""The hub: what each page is sent, once and in order, and what that costs."""

import asyncio
import logging
import threading
import time
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
from channels.layers import InMemoryChannelLayer
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from pytest_django import Settings

from realtime import broker as broker_module
from realtime import feeds, readers
from realtime import hub as hub_module
from realtime.feeds import Feed
from realtime.groups import EVERY_HUB, group_of
from realtime.hub import PING_SECONDS, Hub, get_hub, running_hubs
from realtime.protocol import CloseCode, Position
from realtime.sockets import Socket
from tests.realtime.harness import (
    EPOCH,
    Box,
    FakeLayer,
    Wire,
    make_message,
    make_text,
)
from tests.waiting import await_until

# Of a user whose key is 1, as make_message() has it.
GROUP = group_of("1")


class Pages:
    """Open pages of one user, all at the same revision."""

    def __init__(self, hub: Hub, user: Any, count: int, revision: int = 0) -> None:
        self.wires = [Wire() for _page in range(count)]
        self.sockets = [Socket(wire) for wire in self.wires]
        for socket in self.sockets:
            self.feed = hub.add(socket, user)
            socket.held = None
            socket.epoch, socket.revision = EPOCH, revision

    @property
    def revisions(self) -> list[list[int]]:
        return [wire.revisions for wire in self.wires]


class TestForwarding:
    async def test_each_page_gets_the_same_text_once(self, hub: Hub, box: Box) -> None:
        pages = Pages(hub, 1, 3)
        others = Pages(hub, 2, 1)
        hub.receive(make_message(1))
        # At once: no await has given a task, a thread or a timer a chance.
        for wire in pages.wires:
            assert wire.messages == [
                {"type": "websocket.send", "text": make_text(1, since=0)}
            ]
        assert len({id(wire.texts[0]) for wire in pages.wires}) == 1
        assert others.revisions == [[]]
        assert box.reads == []

    async def test_a_stream_needs_no_read_and_no_task(self, hub: Hub, box: Box) -> None:
        pages = Pages(hub, 1, 3)
        tasks = len(asyncio.all_tasks())
        for revision in range(1, 101):
            hub.receive(make_message(revision))
        assert len(asyncio.all_tasks()) == tasks
        assert pages.revisions == [list(range(1, 101))] * 3
        assert box.reads == []

    async def test_what_is_repeated_or_older_is_dropped(
        self, hub: Hub, box: Box
    ) -> None:
        pages = Pages(hub, 1, 2, revision=5)
        for revision in (6, 6, 5, 3, 7, 6):
            hub.receive(make_message(revision))
        await asyncio.sleep(2 * feeds.HOLD_SECONDS)
        assert pages.revisions == [[6, 7]] * 2
        assert box.reads == []

    async def test_pushes_of_nobody_here_are_ignored(self, hub: Hub) -> None:
        hub.receive(make_message(1, user="nobody"))
        assert hub.feeds == {}

    @pytest.mark.parametrize(
        "message",
        [
            {},
            {"type": "themis.later"},
            {**make_message(1), "v": 2},
            {**make_message(1), "user": 1},
            {**make_message(1), "since": None},
            {**make_message(1), "revision": "1"},
            {**make_message(1), "text": b"bytes"},
            {"type": "themis.push", "v": 1, "user": "1", "epoch": EPOCH},
        ],
    )
    async def test_what_it_does_not_know_is_ignored(
        self, hub: Hub, message: dict[str, Any]
    ) -> None:
        pages = Pages(hub, 1, 1)
        hub.receive(message)
        hub.receive(make_message(1))
        assert pages.revisions == [[1]]

    async def test_one_page_that_is_behind_does_not_hold_up_the_others(
        self, hub: Hub, box: Box
    ) -> None:
        behind = Pages(hub, 1, 1, revision=3)
        level = Pages(hub, 1, 2, revision=5)
        box.revision = 6
        hub.receive(make_message(6))
        assert level.revisions == [[6], [6]]
        await await_until(lambda: behind.revisions == [[6]])
        assert box.reads == [(1, 3, EPOCH)]
        assert level.revisions == [[6], [6]]


class TestGaps:
    async def test_what_is_ahead_waits_for_the_one_before_it(
        self, hub: Hub, box: Box
    ) -> None:
        pages = Pages(hub, 1, 2)
        for revision in (3, 2):
            hub.receive(make_message(revision))
        assert pages.revisions == [[], []]
        hub.receive(make_message(1))
        assert pages.revisions == [[1, 2, 3]] * 2
        await asyncio.sleep(2 * feeds.HOLD_SECONDS)
        assert box.reads == []

    async def test_a_gap_is_read_once_for_all_pages_of_the_user(
        self, hub: Hub, box: Box
    ) -> None:
        pages = Pages(hub, 1, 3, revision=4)
        box.revision = 7
        begun = hub.loop.time()
        hub.receive(make_message(6))
        hub.receive(make_message(7))
        await await_until(lambda: pages.revisions == [[7]] * 3)
        waited = hub.loop.time() - begun
        assert box.reads == [(1, 4, EPOCH)]
        assert feeds.HOLD_SECONDS <= waited < 20 * feeds.HOLD_SECONDS
        # One text, encoded once.
        assert len({id(wire.texts[0]) for wire in pages.wires}) == 1

    async def test_pages_at_different_revisions_share_one_read(
        self, hub: Hub, box: Box
    ) -> None:
        low, high = Pages(hub, 1, 1, revision=2), Pages(hub, 1, 1, revision=5)
        box.revision = 9
        hub.receive(make_message(9))
        await await_until(lambda: (low.revisions, high.revisions) == ([[9]], [[9]]))
        assert box.reads == [(1, 2, EPOCH)]

    async def test_a_poke_is_read_at_once_and_once(self, hub: Hub, box: Box) -> None:
        pages = Pages(hub, 1, 3)
        box.revision = 1
        hub.receive(make_message(1, poke=True))
        await await_until(lambda: pages.revisions == [[1]] * 3)
        assert box.reads == [(1, 0, EPOCH)]

    async def test_pokes_that_come_while_one_is_read_are_read_together(
        self, hub: Hub, box: Box
    ) -> None:
        pages = Pages(hub, 1, 2)
        box.revision = 1
        box.may_return.clear()
        hub.receive(make_message(1, poke=True))
        await await_until(lambda: box.reads)
        for revision in range(2, 10):
            box.revision = revision
            hub.receive(make_message(revision, poke=True))
        box.may_return.set()
        await await_until(
            lambda: [revisions[-1:] for revisions in pages.revisions] == [[9], [9]]
        )
        assert len(box.reads) == 2
        assert pages.revisions == [[1, 9]] * 2

    async def test_one_lost_push_in_a_stream_costs_one_read(
        self, hub: Hub, box: Box
    ) -> None:
        """The reads must not go on for as long as the stream does."""
        pages = Pages(hub, 1, 2)
        box.may_return.clear()
        box.revision = 3
        hub.receive(make_message(2))
        hub.receive(make_message(3))
        await await_until(lambda: box.reads)
        # While the database is read, the stream goes on.
        for revision in (4, 5):
            box.revision = revision
            hub.receive(make_message(revision))
        box.may_return.set()
        await await_until(lambda: all(wire.revisions for wire in pages.wires))
        for revision in (6, 7):
            box.revision = revision
            hub.receive(make_message(revision))
        assert pages.revisions == [[3, 4, 5, 6, 7]] * 2
        await asyncio.sleep(2 * feeds.HOLD_SECONDS)
        assert len(box.reads) == 1
        assert pages.revisions == [[3, 4, 5, 6, 7]] * 2

    async def test_another_epoch_is_read(self, hub: Hub, box: Box) -> None:
        pages = Pages(hub, 1, 2, revision=9)
        box.epoch, box.revision = "another", 1
        hub.receive(make_message(1, epoch="another"))
        await await_until(lambda: pages.revisions == [[1]] * 2)
        assert [wire.frames[0]["type"] for wire in pages.wires] == ["snapshot"] * 2
        hub.receive(make_message(2, epoch="another"))
        assert pages.revisions == [[1, 2]] * 2
        assert len(box.reads) == 1

    async def test_a_read_that_fails_is_logged_and_comes_again(
        self, hub: Hub, box: Box, caplog: pytest.LogCaptureFixture
    ) -> None:
        pages = Pages(hub, 1, 1)
        box.error = ValueError("the database is ill")
        hub.receive(make_message(1, poke=True))
        await await_until(lambda: "could not be read" in caplog.text)
        assert pages.revisions == [[]]
        box.error, box.revision = None, 1
        pages.feed.catch_up()
        await await_until(lambda: pages.revisions == [[1]])

    async def test_a_slow_read_of_one_user_holds_up_nobody_else(
        self, hub: Hub, box: Box
    ) -> None:
        slow, quick = Pages(hub, 1, 1), Pages(hub, 2, 1)
        box.may_return.clear()
        hub.receive(make_message(5))
        await await_until(lambda: box.reads)
        hub.receive(make_message(1, user=2))
        assert quick.revisions == [[1]]
        assert slow.revisions == [[]]
        box.may_return.set()


class TestLoading:
    async def test_the_state_comes_first_then_what_was_pushed_meanwhile(
        self, hub: Hub, box: Box
    ) -> None:
        box.revision = 5
        box.may_return.clear()
        wire = Wire()
        feed = hub.add(socket := Socket(wire), 1)
        loading = asyncio.create_task(feed.load(socket, Position()))
        await await_until(lambda: box.reads)
        for revision in (4, 5, 6, 7):
            hub.receive(make_message(revision))
        assert wire.messages == []
        box.may_return.set()
        await loading
        assert [frame["type"] for frame in wire.frames] == [
            "snapshot",
            *["changes"] * 2,
        ]
        assert wire.revisions == [5, 6, 7]
        assert len(box.reads) == 1

    async def test_pushes_that_overtook_each_other_meanwhile_are_put_in_order(
        self, hub: Hub, box: Box
    ) -> None:
        box.revision = 5
        box.may_return.clear()
        wire = Wire()
        feed = hub.add(socket := Socket(wire), 1)
        loading = asyncio.create_task(feed.load(socket, Position(5, EPOCH)))
        await await_until(lambda: box.reads)
        for revision in (8, 7, 6):
            hub.receive(make_message(revision))
        box.may_return.set()
        await loading
        assert wire.revisions == [5, 6, 7, 8]
        assert len(box.reads) == 1

    async def test_a_gap_in_what_was_pushed_meanwhile_is_closed(
        self, hub: Hub, box: Box
    ) -> None:
        box.revision = 5
        box.may_return.clear()
        wire = Wire()
        feed = hub.add(socket := Socket(wire), 1)
        loading = asyncio.create_task(feed.load(socket, Position()))
        await await_until(lambda: box.reads)
        hub.receive(make_message(7))
        box.revision = 7
        box.may_return.set()
        await loading
        await await_until(lambda: wire.revisions == [5, 7])

    async def test_a_page_that_asks_again_is_told_from_where_it_stands(
        self, hub: Hub, box: Box
    ) -> None:
        pages = Pages(hub, 1, 2, revision=9)
        box.revision = 9
        await pages.feed.load(pages.sockets[0], Position(4, EPOCH))
        assert pages.revisions == [[9], []]
        assert pages.wires[0].frames[0]["since"] == 4
        hub.receive(make_message(10))
        assert pages.revisions == [[9, 10], [10]]


class TestLimit:
    async def test_the_oldest_over_the_limit_is_closed(
        self, hub: Hub, settings: Settings
    ) -> None:
        settings.THEMIS_REALTIME_MAX_CONNECTIONS_PER_USER = 2
        pages = Pages(hub, 1, 4)
        Pages(hub, 2, 2)
        codes = [wire.close_code for wire in pages.wires]
        assert codes == [CloseCode.TOO_MANY, CloseCode.TOO_MANY, None, None]
        hub.receive(make_message(1))
        assert pages.revisions == [[], [], [1], [1]]
        for socket in pages.sockets:
            hub.remove(socket, pages.feed)
        assert pages.feed.sockets == []

    async def test_a_page_closed_while_its_state_is_read_gets_nothing_more(
        self, hub: Hub, box: Box, settings: Settings
    ) -> None:
        settings.THEMIS_REALTIME_MAX_CONNECTIONS_PER_USER = 1
        box.may_return.clear()
        wire = Wire()
        feed = hub.add(socket := Socket(wire), 1)
        loading = asyncio.create_task(feed.load(socket, Position()))
        await await_until(lambda: box.reads)
        hub.add(Socket(Wire()), 1)
        box.may_return.set()
        await loading
        assert wire.messages == [{"type": "websocket.close", "code": 4429}]


@pytest.fixture
def short_linger(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_module, "LINGER_SECONDS", 0.05)


class TestGroups:
    async def join(self, hub: Hub, user: object = 1) -> tuple[Socket, Feed]:
        feed = hub.add(socket := Socket(Wire()), user)
        await hub.broker.join(feed)
        return socket, feed

    async def test_one_group_per_user_is_joined_once(
        self, hub: Hub, layer: FakeLayer
    ) -> None:
        for _page in range(3):
            await self.join(hub)
        await self.join(hub, user="ada@example.com")
        joined = [group for name, group in layer.user_calls if name == "group_add"]
        assert joined == [GROUP, group_of("ada@example.com")]

    async def test_the_first_page_of_a_process_is_in_the_group_when_it_reads(
        self, idle_hub: Hub, layer: FakeLayer
    ) -> None:
        """The hub's own channel may take a moment to come; the page waits for it."""
        layer.gates["new_channel"].clear()
        idle_hub.start()
        joining = asyncio.create_task(self.join(idle_hub))
        await await_until(lambda: ("new_channel", "themis-hub.") in layer.user_calls)
        assert not joining.done()
        layer.gates["new_channel"].set()
        await joining
        assert GROUP in layer.groups

    @pytest.mark.parametrize("hangs", [True, False])
    async def test_a_broker_that_does_not_answer_holds_up_no_page(
        self,
        idle_hub: Hub,
        layer: FakeLayer,
        monkeypatch: pytest.MonkeyPatch,
        *,
        hangs: bool,
    ) -> None:
        monkeypatch.setattr(broker_module, "LAYER_SECONDS", 0.1)
        if hangs:
            layer.gates["group_add"].clear()
            layer.gates["new_channel"].clear()
        else:
            layer.errors["new_channel"] = ConnectionRefusedError()
            layer.errors["group_add"] = ConnectionRefusedError()
        idle_hub.start()
        begun = idle_hub.loop.time()
        await self.join(idle_hub)
        assert idle_hub.loop.time() - begun < 1
        assert layer.groups == set()

    async def test_a_broker_that_comes_later_is_joined_and_nothing_is_missed(
        self,
        idle_hub: Hub,
        layer: FakeLayer,
        box: Box,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(broker_module, "LAYER_SECONDS", 0.05)
        layer.errors["new_channel"] = ConnectionRefusedError()
        (hub := idle_hub).start()
        wire = Wire()
        feed = hub.add(socket := Socket(wire), 1)
        await hub.broker.join(feed)
        await feed.load(socket, Position())
        box.revision = 1  # told to nobody
        layer.errors.clear()
        await await_until(lambda: GROUP in layer.groups)
        await await_until(lambda: wire.revisions == [0, 1])

    async def test_the_group_is_left_a_while_after_the_last_page(
        self, hub: Hub, layer: FakeLayer, short_linger: None
    ) -> None:
        (first, feed), (second, _) = await self.join(hub), await self.join(hub)
        hub.remove(first, feed)
        await asyncio.sleep(0.1)
        assert GROUP in layer.groups
        hub.remove(second, feed)
        assert GROUP in layer.groups
        await await_until(lambda: GROUP not in layer.groups)
        assert hub.feeds == {}

    async def test_a_reload_costs_the_broker_nothing(
        self, hub: Hub, layer: FakeLayer
    ) -> None:
        socket, feed = await self.join(hub)
        hub.remove(socket, feed)
        await asyncio.sleep(0.1)
        await self.join(hub)
        assert [name for name, _group in layer.user_calls] == [
            "new_channel",
            "group_add",
        ]
        assert hub_module.LINGER_SECONDS == 30

    async def test_a_page_that_comes_back_finds_the_group_joined(
        self, hub: Hub, layer: FakeLayer, short_linger: None
    ) -> None:
        socket, feed = await self.join(hub)
        hub.remove(socket, feed)
        _, again = await self.join(hub)
        assert again is feed
        await asyncio.sleep(0.15)
        assert [name for name, _group in layer.user_calls] == [
            "new_channel",
            "group_add",
        ]

    async def test_joining_waits_for_a_leave_that_has_begun(
        self, hub: Hub, layer: FakeLayer, short_linger: None
    ) -> None:
        socket, feed = await self.join(hub)
        layer.gates["group_discard"].clear()
        hub.remove(socket, feed)
        await await_until(lambda: ("group_discard", GROUP) in layer.user_calls)
        joining = asyncio.create_task(self.join(hub))
        await asyncio.sleep(0.05)
        assert not joining.done()
        layer.gates["group_discard"].set()
        _, feed = await joining
        assert GROUP in layer.groups
        assert [name for name, group in layer.done if group != EVERY_HUB] == [
            "new_channel",
            "group_add",
            "group_discard",
            "group_add",
        ]
        # And it hears of what comes.
        pages = Pages(hub, 1, 1)
        await layer.group_send(GROUP, make_message(1))
        await await_until(lambda: pages.revisions == [[1]])
        assert hub.feeds == {"1": feed}

    async def test_a_page_that_came_and_went_during_a_leave_keeps_nothing(
        self, hub: Hub, layer: FakeLayer, short_linger: None
    ) -> None:
        socket, feed = await self.join(hub)
        layer.gates["group_discard"].clear()
        hub.remove(socket, feed)
        await await_until(lambda: ("group_discard", GROUP) in layer.user_calls)
        passing = hub.add(Socket(Wire()), 1)
        hub.remove(passing.sockets[0], passing)
        layer.gates["group_discard"].set()
        await await_until(lambda: hub.feeds == {})
        await asyncio.sleep(0.15)
        socket, feed = await self.join(hub)
        await asyncio.sleep(0.15)
        assert hub.feeds == {"1": feed}
        assert GROUP in layer.groups

    async def test_a_leave_that_fails_is_tried_again(
        self, hub: Hub, layer: FakeLayer, short_linger: None
    ) -> None:
        """The pub/sub layer has forgotten by then what its broker still has."""
        socket, feed = await self.join(hub)
        layer.errors["group_discard"] = TimeoutError()
        hub.remove(socket, feed)
        leaves = ("group_discard", GROUP)
        await await_until(lambda: layer.user_calls.count(leaves) == 2)
        assert hub.feeds == {"1": feed}
        del layer.errors["group_discard"]
        await await_until(lambda: hub.feeds == {})
        assert GROUP not in layer.groups
        assert layer.user_calls[-2:] == [("group_add", GROUP), leaves]

    async def test_a_page_that_comes_back_after_a_leave_that_failed_is_told(
        self,
        hub: Hub,
        layer: FakeLayer,
        short_linger: None,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        socket, feed = await self.join(hub)
        layer.errors["group_discard"] = TimeoutError()
        hub.remove(socket, feed)
        # The next try is far away.
        monkeypatch.setattr(hub_module, "LINGER_SECONDS", 30)
        await await_until(lambda: ("group_discard", GROUP) in layer.user_calls)
        del layer.errors["group_discard"]
        socket, again = await self.join(hub)
        assert again is feed
        assert feed.member
        assert GROUP in layer.groups
        monkeypatch.setattr(hub_module, "LINGER_SECONDS", 0.05)
        hub.remove(socket, feed)
        await await_until(lambda: hub.feeds == {})
        assert GROUP not in layer.groups

    async def test_a_group_is_left_that_is_about_to_be_joined_again(
        self, hub: Hub, layer: FakeLayer, short_linger: None
    ) -> None:
        """The broker may have forgotten it, or not."""
        await self.join(hub, user=2)
        socket, feed = await self.join(hub)
        first = layer.gates["group_add"]
        first.clear()
        joining = asyncio.create_task(hub.broker.join_again())
        await await_until(lambda: layer.calls[-1] == ("group_add", EVERY_HUB))
        layer.gates["group_add"] = asyncio.Event()
        first.set()
        await await_until(lambda: layer.user_calls[-1] == ("group_add", group_of("2")))
        layer.gates.clear()
        hub.remove(socket, feed)
        await await_until(lambda: "1" not in hub.feeds)
        joining.cancel()
        assert GROUP not in layer.groups

    async def test_a_group_is_left_whose_join_has_failed(
        self, hub: Hub, layer: FakeLayer, short_linger: None
    ) -> None:
        """The answer may be what got lost."""
        await await_until(lambda: hub.broker.answers)
        layer.errors["group_add"] = TimeoutError()
        socket, feed = await self.join(hub)
        assert not feed.member
        layer.groups.add(GROUP)
        layer.errors.clear()
        hub.remove(socket, feed)
        await await_until(lambda: hub.feeds == {})
        assert GROUP not in layer.groups

    async def test_the_group_of_a_feed_that_is_no_more_is_not_joined(
        self, hub: Hub, layer: FakeLayer, short_linger: None
    ) -> None:
        await self.join(hub, user=2)
        socket, feed = await self.join(hub)
        layer.gates["group_add"].clear()
        hub.feeds["2"].member = feed.member = False
        layer.groups.clear()
        joining = asyncio.create_task(hub.broker.join_missing())
        await await_until(lambda: layer.user_calls[-1] == ("group_add", group_of("2")))
        hub.remove(socket, feed)
        await await_until(lambda: "1" not in hub.feeds)
        layer.gates["group_add"].set()
        await joining
        assert layer.groups == {group_of("2")}

    async def test_a_layer_within_the_process_has_no_groups(
        self, hub: Hub, layer: FakeLayer
    ) -> None:
        hub.broker.layer = InMemoryChannelLayer()
        await self.join(hub)
        assert [name for name, _group in layer.user_calls if name == "group_add"] == []


class TestListening:
    async def test_what_the_layer_brings_is_forwarded(
        self, hub: Hub, layer: FakeLayer
    ) -> None:
        pages = Pages(hub, 1, 2)
        await hub.broker.join(pages.feed)
        for revision in (1, 2, 3):
            await layer.group_send(GROUP, make_message(revision))
        await await_until(lambda: pages.revisions == [[1, 2, 3]] * 2)

    async def test_a_layer_that_fails_is_listened_to_again(
        self,
        idle_hub: Hub,
        layer: FakeLayer,
        box: Box,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(broker_module, "LAYER_SECONDS", 0.05)
        failures = [RuntimeError("gone"), OSError("gone")]
        receive = layer.receive

        async def fail_first(channel: str) -> dict[str, Any]:
            if failures:
                raise failures.pop()
            return await receive(channel)

        monkeypatch.setattr(layer, "receive", fail_first)
        pages = Pages(idle_hub, 1, 1)
        idle_hub.start()
        await await_until(lambda: not failures)
        await await_until(lambda: idle_hub.broker.channel and pages.feed.member)
        await layer.group_send(GROUP, make_message(1))
        await await_until(lambda: pages.revisions == [[1]])


class TestHeartbeat:
    async def test_every_page_is_pinged_once_a_round(
        self, idle_hub: Hub, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        users = range(2 * PING_SECONDS)
        wires = [Pages(idle_hub, user, 1, revision=7).wires[0] for user in users]
        idle_hub.add(Socket(silent := Wire()), 2)  # has been told nothing yet
        sleep, seconds = asyncio.sleep, 0

        async def pass_quickly(delay: float) -> None:
            nonlocal seconds
            seconds += 1
            await sleep(0 if seconds <= PING_SECONDS else 60 * delay)

        monkeypatch.setattr(asyncio, "sleep", pass_quickly)
        beating = asyncio.create_task(idle_hub._beat())
        while seconds <= PING_SECONDS:
            await sleep(0)
        beating.cancel()
        ping = {"type": "ping", "epoch": EPOCH, "revision": 7}
        assert [wire.frames for wire in wires] == [[ping]] * len(users)
        assert silent.messages == []

    async def test_a_push_waits_for_few_pings(
        self, idle_hub: Hub, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """However many have their turn in a second, they are spread over it."""
        monkeypatch.setattr(hub_module, "PING_SECONDS", 1)
        idle_hub._beats = [set()]
        wires = [Pages(idle_hub, user, 1, revision=7).wires[0] for user in range(35)]
        sleep, delays = asyncio.sleep, []

        async def pass_quickly(delay: float) -> None:
            delays.append(delay)
            await sleep(0)

        monkeypatch.setattr(asyncio, "sleep", pass_quickly)
        # As if nothing took any time: each wait is for its own moment.
        monkeypatch.setattr(idle_hub, "loop", SimpleNamespace(time=lambda: 0.0))
        beating = asyncio.create_task(idle_hub._beat())
        pinged = [0]
        while pinged[-1] < len(wires):
            await sleep(0)
            pinged.append(sum(bool(wire.frames) for wire in wires))
        beating.cancel()
        steps = [after - before for before, after in pairwise(pinged)]
        assert max(steps) == hub_module.PINGS_AT_ONCE
        # Nine groups of four.
        assert delays[:9] == pytest.approx([turn / 9 for turn in range(1, 10)])

    async def test_what_a_machine_slept_through_is_not_made_up_for(
        self, idle_hub: Hub, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        now, delays = 1000.0, []
        sleep = asyncio.sleep

        async def sleep_long(delay: float) -> None:
            nonlocal now
            delays.append(delay)
            now += 3600 if len(delays) == 1 else max(delay, 0)
            await sleep(0)

        monkeypatch.setattr(idle_hub, "loop", SimpleNamespace(time=lambda: now))
        monkeypatch.setattr(asyncio, "sleep", sleep_long)
        beating = asyncio.create_task(idle_hub._beat())
        while len(delays) < 4:
            await sleep(0)
        beating.cancel()
        assert delays[:4] == pytest.approx([1, 0, 1, 1])


class TestTheEnd:
    async def test_a_task_that_has_lost_its_cancellation_is_asked_again(self) -> None:
        """As redis-py may do, in `asyncio.wait_for` of Python 3.11."""
        lost: list[bool] = []

        async def companion(_hub: Hub) -> None:
            while True:
                try:
                    await asyncio.sleep(3600)
                except asyncio.CancelledError:
                    if lost:
                        raise
                    lost.append(True)

        hub = Hub()
        hub.start(companion)
        await asyncio.sleep(0)
        await hub.stop()
        assert lost == [True]


class TestHubs:
    async def test_a_loop_has_one_hub(self, hubs: None) -> None:
        started: list[Hub] = []

        async def companion(hub: Hub) -> None:
            started.append(hub)

        hub = get_hub(companion)
        assert get_hub(companion) is hub
        assert running_hubs() == [hub]
        await await_until(lambda: started)
        assert started == [hub]
        await hub.stop()
        assert running_hubs() == []

    async def test_warnings_name_no_user(
        self, hub: Hub, layer: FakeLayer, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG)
        layer.errors["group_add"] = ConnectionRefusedError("refused")
        await hub.broker.join(hub.add(Socket(Wire()), "ada@example.com"))
        await hub.broker.join(hub.add(Socket(Wire()), "ada@example.com"))
        assert "ada" not in caplog.text


async def test_reads_run_in_threads_of_their_own(idle_hub: Hub) -> None:
    """So that a slow request, on the thread that Django's views share, stalls none."""
    names = {
        await idle_hub.read(lambda: threading.current_thread().name) for _ in range(8)
    }
    assert all(name.startswith("themis-reader") for name in names)


@pytest.mark.django_db(transaction=True)
async def test_a_hub_that_stops_closes_its_connections() -> None:
    hub = Hub()
    kept = await asyncio.gather(*(hub.read(connect_slowly) for _ in range(8)))
    assert 1 < len(set(kept)) <= readers.READERS
    assert None not in {wrapper.connection for wrapper in kept}
    await hub.stop()
    assert {wrapper.connection for wrapper in kept} == {None}


def connect_slowly() -> BaseDatabaseWrapper:
    wrapper = connections["default"]
    wrapper.ensure_connection()
    time.sleep(0.02)
    assert isinstance(wrapper, BaseDatabaseWrapper)
    return wrapper
