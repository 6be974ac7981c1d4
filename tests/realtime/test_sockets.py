"""One socket: what it is offered, and what leaves it, in order, whatever the server."""

import asyncio

import pytest
from autobahn.exception import Disconnected

from realtime.sockets import Socket
from tests.realtime.harness import Wire, make_push, make_text, open_socket
from tests.waiting import await_until


@pytest.fixture
def wire() -> Wire:
    return Wire()


class TestOffer:
    async def test_what_follows_is_sent_as_it_is(self, wire: Wire) -> None:
        socket = open_socket(wire, 4)
        assert socket.offer(make_push(5))
        assert wire.texts == [make_text(5, since=4)]
        assert socket.revision == 5

    async def test_what_overlaps_follows_too(self, wire: Wire) -> None:
        socket = open_socket(wire, 4)
        assert socket.offer(make_push(6, since=2))
        assert wire.revisions == [6]

    @pytest.mark.parametrize("revision", [3, 4])
    async def test_what_is_older_is_ignored(self, wire: Wire, revision: int) -> None:
        socket = open_socket(wire, 4)
        assert socket.offer(make_push(revision))
        assert wire.messages == []
        assert socket.revision == 4

    async def test_what_is_ahead_is_not_sent(self, wire: Wire) -> None:
        socket = open_socket(wire, 4)
        assert not socket.offer(make_push(6))
        assert wire.messages == []
        assert socket.revision == 4

    async def test_what_is_of_another_epoch_is_not_sent(self, wire: Wire) -> None:
        socket = open_socket(wire, 4)
        assert not socket.offer(make_push(5, epoch="another"))
        assert not socket.offer(make_push(3, epoch="another"))
        assert wire.messages == []

    async def test_a_poke_says_that_something_is_missing(self, wire: Wire) -> None:
        socket = open_socket(wire, 4)
        assert not socket.offer(make_push(5, poke=True))
        assert socket.offer(make_push(4, poke=True))
        assert wire.messages == []

    async def test_before_the_state_is_sent_all_is_held(self, wire: Wire) -> None:
        socket = Socket(wire)
        for revision in (7, 5):
            assert socket.offer(make_push(revision))
        assert wire.messages == []
        assert [push.revision for push in socket.held or ()] == [7, 5]

    async def test_a_closed_one_is_never_behind(self, wire: Wire) -> None:
        socket = open_socket(wire, 4)
        socket.close(4429)
        assert socket.offer(make_push(9))
        assert not socket.is_behind("another", 9)
        assert wire.texts == []


class TestSending:
    async def test_a_send_that_need_not_wait_is_done_at_once(self, wire: Wire) -> None:
        socket = open_socket(wire)
        tasks = len(asyncio.all_tasks())
        socket.send_text("a")
        socket.close(4400)
        assert len(asyncio.all_tasks()) == tasks
        assert [message["type"] for message in wire.messages] == [
            "websocket.send",
            "websocket.close",
        ]

    async def test_order_is_kept_when_the_server_makes_it_wait(
        self, wire: Wire
    ) -> None:
        socket = open_socket(wire)
        wire.open.clear()
        for text in "abc":
            socket.send_text(text)
        wire.open.set()
        # The first still waits for its turn in the loop: this must not overtake it.
        socket.send_text("d")
        await await_until(lambda: len(wire.texts) == 4)
        socket.send_text("e")
        assert wire.texts == list("abcde")

    async def test_a_server_that_yields_at_every_send_is_no_different(self) -> None:
        texts: list[str] = []

        async def send(message: dict[str, str]) -> None:
            await asyncio.sleep(0)
            texts.append(message["text"])
            await asyncio.sleep(0)

        socket = open_socket(Wire())
        socket._send = send
        for number in range(50):
            socket.send_text(str(number))
            if number % 7 == 0:
                await asyncio.sleep(0)
        await await_until(lambda: len(texts) == 50)
        assert texts == [str(number) for number in range(50)]

    async def test_nothing_follows_a_close(self, wire: Wire) -> None:
        socket = open_socket(wire)
        wire.open.clear()
        socket.send_text("a")
        socket.close(4429)
        socket.send_text("b")
        socket.close(4400)
        wire.open.set()
        await await_until(lambda: wire.close_code)
        await asyncio.sleep(0)
        assert wire.texts == ["a"]
        assert wire.close_code == 4429
        assert len(wire.messages) == 2

    @pytest.mark.parametrize("waits", [False, True])
    async def test_a_send_that_raises_closes_it(
        self, wire: Wire, *, waits: bool
    ) -> None:
        socket = open_socket(wire)
        wire.error = ConnectionResetError("gone")
        if waits:
            wire.open.clear()
        socket.send_text("a")
        socket.send_text("b")
        wire.open.set()
        await await_until(lambda: socket.closed)
        wire.error = None
        socket.send_text("c")
        assert wire.messages == []

    @pytest.mark.parametrize(
        ("error", "records"),
        [
            (ConnectionResetError("gone"), 0),
            (Disconnected("gone"), 0),
            (TypeError("bug"), 1),
        ],
    )
    async def test_a_page_that_went_is_no_fault_and_a_bug_is(
        self,
        wire: Wire,
        caplog: pytest.LogCaptureFixture,
        error: Exception,
        records: int,
    ) -> None:
        wire.error = error
        open_socket(wire).send_text("a")
        assert [r.levelname for r in caplog.records] == ["ERROR"] * records
