"""What a page says: taken as it comes, answered in order, and not without end."""

import asyncio

import pytest

from realtime import conversation, sockets
from realtime.conversation import BURST, SYNC_COST, Allowance
from realtime.hub import running_hubs
from tests.realtime.harness import EPOCH, Box, Connection, account, make_message
from tests.waiting import await_until

pytestmark = pytest.mark.usefixtures("hubs")


class TestAllowance:
    def test_a_flood_is_stopped(self) -> None:
        allowance = Allowance(0)
        taken = sum(allowance.take(1, now=0.01, sent=0) for _frame in range(2_000))
        assert BURST <= taken <= BURST + 1

    def test_a_flood_of_syncs_is_stopped_sooner(self) -> None:
        allowance = Allowance(0)
        taken = 0
        while allowance.take(SYNC_COST, now=0, sent=0):
            taken += 1
        assert taken == BURST // SYNC_COST

    def test_a_sync_a_second_and_probes_go_on_for_ever(self) -> None:
        allowance = Allowance(0)
        for second in range(1_000):
            assert allowance.take(SYNC_COST, now=second, sent=0)
            for probe in range(5):
                assert allowance.take(1, now=second + probe / 10, sent=0)

    def test_acks_of_a_fast_stream_go_on_for_ever(self) -> None:
        """The smallest frames, an ack for each 32, and no time passes."""
        allowance = Allowance(0)
        for ack in range(1, 5_000):
            assert allowance.take(1, now=0, sent=ack * 32 * 180)

    def test_acks_that_a_line_held_up_come_together(self) -> None:
        allowance = Allowance(0)
        for _ack in range(sockets.FULL_BYTES // (32 * 180)):
            assert allowance.take(1, now=10, sent=sockets.FULL_BYTES)

    def test_nothing_is_saved_up(self) -> None:
        allowance = Allowance(0)
        assert allowance.take(1, now=10**6, sent=10**9)
        taken = sum(allowance.take(1, now=10**6, sent=10**9) for _ in range(2_000))
        assert taken < BURST


class TestWhileTheStateIsRead:
    async def test_a_flood_is_ended_at_once(self, box: Box) -> None:
        box.may_return.clear()
        page = Connection(account())
        page.start()
        await await_until(lambda: box.reads)
        for _frame in range(5_000):
            page.say({"type": "ping"})
        assert await page.close_code() == 4408
        # Nothing was said before the state, and the read still is not over.
        assert page.wire.texts == []
        assert page.inbox_size == 0
        (hub,) = running_hubs()
        assert hub.feeds["1"].sockets == []
        box.may_return.set()

    async def test_what_is_malformed_is_ended_at_once(self, box: Box) -> None:
        box.may_return.clear()
        page = Connection(account())
        page.start()
        await await_until(lambda: box.reads)
        page.say("not JSON")
        assert await page.close_code() == 4400
        box.may_return.set()

    async def test_the_state_comes_first_and_then_each_pong(self, box: Box) -> None:
        box.may_return.clear()
        async with Connection(account()) as page:
            await await_until(lambda: box.reads)
            for _ping in range(3):
                page.say({"type": "ping"})
            await await_until(lambda: page.inbox_size == 0)
            assert page.wire.texts == []
            box.may_return.set()
            frames = await page.frames(4)
        assert [frame["type"] for frame in frames] == ["snapshot", *["pong"] * 3]
        assert frames[1]["epoch"] == EPOCH

    async def test_of_the_syncs_that_come_meanwhile_the_last_is_answered(
        self, box: Box
    ) -> None:
        box.may_return.clear()
        async with Connection(account()) as page:
            await await_until(lambda: box.reads)
            for since in range(10):
                page.say({"type": "sync", "since": since, "epoch": EPOCH})
            await await_until(lambda: page.inbox_size == 0)
            box.revision = 9
            box.may_return.set()
            frames = await page.frames(2)
            page.say({"type": "ping"})
            frames = await page.frames(3)
        assert [frame["type"] for frame in frames] == ["snapshot", "changes", "pong"]
        assert frames[1]["since"] == 9
        assert len(box.reads) == 2

    async def test_a_page_that_goes_ends_it_though_the_read_goes_on(
        self, box: Box
    ) -> None:
        box.may_return.clear()
        page = Connection(account())
        page.start()
        await await_until(lambda: box.reads)
        await page.leave()
        (hub,) = running_hubs()
        assert hub.feeds["1"].sockets == []
        box.may_return.set()


class TestAfterAClose:
    async def test_a_page_that_does_not_answer_is_not_waited_for(
        self, box: Box, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(conversation, "GOING_SECONDS", 0.1)
        page = Connection(account())
        page.answers_close = False
        page.start()
        await page.frames(1)
        (hub,) = running_hubs()
        (socket,) = hub.feeds["1"].sockets
        socket.close(4429)
        for _frame in range(1_000):
            page.say({"type": "sync"})
        assert await page.close_code() == 4429
        assert page.inbox_size == 0
        assert len(box.reads) == 1
        assert hub.feeds["1"].sockets == []
        assert not any(hub._beats)

    async def test_until_the_page_has_gone_it_counts_as_there(self, box: Box) -> None:
        """A server that stops waits for it, lest the page never sees the code."""
        page = Connection(account())
        page.answers_close = False
        page.start()
        await page.frames(1)
        (hub,) = running_hubs()
        (socket,) = hub.feeds["1"].sockets
        socket.close(4012)
        await asyncio.sleep(0.05)
        assert hub.feeds["1"].sockets == [socket]
        await page.leave()
        assert hub.feeds["1"].sockets == []


class TestFullPages:
    @pytest.fixture(autouse=True)
    def _small(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sockets, "SLOW_BYTES", 500)
        monkeypatch.setattr(sockets, "FULL_BYTES", 2_000)

    async def test_it_alone_waits_and_one_read_brings_it_up_to_date(
        self, box: Box
    ) -> None:
        async with Connection(account()) as full, Connection(account()) as other:
            await full.frames(1)
            await other.frames(1)
            full.say({"type": "ack", "revision": 0})
            await await_until(lambda: full.inbox_size == 0)
            reads = len(box.reads)
            (hub,) = running_hubs()
            for revision in range(1, 201):
                hub.receive(make_message(revision))
                box.revision = revision
                if revision % 10 == 0:
                    other.say({"type": "ack", "revision": revision})
                    await await_until(lambda: other.inbox_size == 0)
            assert other.wire.revisions == list(range(201))
            told = len(full.wire.revisions)
            assert 5 < told < 100
            assert full.wire.revisions == list(range(told))
            # Neither a gap that is read, now or after 50 ms, nor a loss to repair.
            feed = hub.feeds["1"]
            assert feed._timer is None
            assert feed._ahead == []
            assert not feed.is_behind(EPOCH, 200)
            feed.catch_up()
            await await_until(lambda: feed._reading is None)
            # For the other one.
            assert box.reads[-1] == (1, 200, EPOCH)
            full.say({"type": "ping"})
            assert len(full.wire.revisions) == told
            full.say({"type": "ack", "revision": told - 1})
            await await_until(lambda: full.wire.revisions[-1] == 200)
            assert full.wire.revisions == [*range(told), 200]
            assert len(box.reads) - reads <= 2
            hub.receive(make_message(201))
            for page in (full, other):
                assert page.wire.revisions[-1] == 201

    async def test_one_that_only_syncs_and_pings_is_sent_all(self, box: Box) -> None:
        """A sync is no ack: a program may ask once, and then only say that it lives."""
        async with Connection(account()) as page:
            await page.frames(1)
            page.say({"type": "sync", "since": 0, "epoch": EPOCH})
            await page.frames(2)
            (hub,) = running_hubs()
            for revision in range(1, 101):
                hub.receive(make_message(revision))
                box.revision = revision
                if revision % 10 == 0:
                    page.say({"type": "ping"})
                    await await_until(lambda: page.inbox_size == 0)
            assert page.wire.revisions == [0, *range(101)]

    async def test_what_it_asks_for_comes_when_it_has_read(self, box: Box) -> None:
        async with Connection(account()) as page:
            await page.frames(1)
            page.say({"type": "ack", "revision": 0})
            await await_until(lambda: page.inbox_size == 0)
            (hub,) = running_hubs()
            (socket,) = hub.feeds["1"].sockets
            revision = 0
            while not socket.is_full:
                revision += 1
                hub.receive(make_message(revision))
            box.revision = revision
            reads = len(box.reads)
            page.say({"type": "sync"})
            page.say({"type": "sync", "since": revision - 1, "epoch": EPOCH})
            await await_until(lambda: page.inbox_size == 0)
            await asyncio.sleep(0.01)
            assert len(box.reads) == reads
            page.say({"type": "sync", "since": revision, "epoch": EPOCH})
            await await_until(lambda: page.wire.frames[-1].get("since") == revision)
