"""One socket: what it is offered, and what leaves it, in order, whatever the server."""

import asyncio
import contextlib

import pytest
from autobahn.exception import Disconnected

from realtime import sockets
from realtime.sockets import Push, Socket
from tests.realtime.harness import EPOCH, Wire, make_push, make_text, open_socket
from tests.waiting import await_until
from themis.events import encode


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

    async def test_a_server_that_takes_nothing_is_not_waited_for(
        self, wire: Wire, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sockets, "FLUSH_SECONDS", 0.01)
        server = StuckServer()
        socket = Socket(server.send)
        socket.send_text("a")
        socket.close(4408)
        await socket.flush()
        assert server.transport.aborted
        assert server.cancelled
        # Another's, whose connection it can't reach.
        socket = Socket(wire)
        wire.open.clear()
        socket.send_text("a")
        await socket.flush()


class StuckServer:
    """uvicorn, as far as it matters, with a page that does not read."""

    def __init__(self) -> None:
        self.transport = self
        self.aborted = self.cancelled = False

    def abort(self) -> None:
        self.aborted = True

    async def send(self, message: dict[str, object]) -> None:
        del message
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise


async def test_a_send_that_takes_a_cancelled_wait_for_its_end_has_ended(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """As websockets' close does, when uvicorn stops while it waits for the page's."""
    task = asyncio.create_task(asyncio.Event().wait())
    sent: list[dict[str, object]] = []

    async def send(message: dict[str, object]) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await task
        sent.append(message)

    socket = Socket(send)
    socket.close(4012)
    task.cancel()
    await socket.flush()
    assert sent == [{"type": "websocket.close", "code": 4012}]
    assert caplog.records == []


def sized(size: int) -> str:
    """A frame of so many bytes."""
    return encode({"type": "of no matter", "x": ""}).replace(
        '""', f'"{"x" * (size - 30)}"'
    )


class TestSlowPages:
    @pytest.fixture(autouse=True)
    def _small_and_short(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sockets, "SLOW_BYTES", 1_000)
        monkeypatch.setattr(sockets, "FULL_BYTES", 4_000)
        monkeypatch.setattr(sockets, "SLOW_SECONDS", 0.2)

    async def test_one_that_was_sent_a_lot_is_asked_for_life_and_closed(
        self, wire: Wire
    ) -> None:
        socket = open_socket(wire, 4)
        socket.send_text(sized(1_000))
        assert len(wire.texts) == 1
        begun = asyncio.get_running_loop().time()
        socket.send_text(sized(20))
        assert wire.frames[2] == {"type": "ping", "epoch": EPOCH, "revision": 4}
        # Until it answers, it is sent what there is.
        assert socket.offer(make_push(5))
        assert wire.revisions == [5]
        await await_until(lambda: wire.close_code)
        assert wire.close_code == 4408
        assert asyncio.get_running_loop().time() - begun >= 0.2
        assert [frame["type"] for frame in wire.frames[2:]] == ["ping", "changes"]

    async def test_any_frame_of_the_page_is_a_sign_of_life(self, wire: Wire) -> None:
        socket = open_socket(wire)
        for _time in range(2):
            socket.send_text(sized(1_001))
            assert not socket.hear()
            assert socket._alarm is None
        socket.send_text(sized(900))
        assert socket._alarm is None
        await asyncio.sleep(0.3)
        assert wire.close_code is None

    async def test_one_that_speaks_and_never_acknowledges_is_sent_all(
        self, wire: Wire
    ) -> None:
        socket = open_socket(wire)
        self.fill(socket)
        assert socket.hear()
        for revision in range(1_000, 1_400):
            socket.offer(make_push(revision + 1, since=socket.revision))
            socket.hear()
        assert wire.revisions[-400:] == list(range(1_001, 1_401))
        await asyncio.sleep(0.3)
        assert wire.close_code is None

    async def test_what_is_sent_is_counted_in_bytes(self, wire: Wire) -> None:
        socket = open_socket(wire)
        socket.send_text("𝄞\ud800" * 10)
        assert socket.sent == 70
        socket.offer(Push(EPOCH, 0, 1, "é" * 10))
        assert socket.sent == 90

    async def test_one_that_reads_nothing_is_sent_no_more_than_so_much(
        self, wire: Wire
    ) -> None:
        socket = open_socket(wire)
        socket.hear(0)
        for revision in range(1, 400):
            # What it misses is no gap, and nothing for the reconciler to repair.
            assert socket.offer(make_push(revision))
            # Frames alone prove nothing: it may read one and be sent two.
            socket.hear()
        assert 4_000 < socket.sent < 4_300
        assert not socket.is_behind(EPOCH, 400)
        assert not socket.is_behind("another", 1)
        assert wire.frames[-1]["type"] == "ping"
        assert wire.frames[-1]["revision"] == wire.revisions[-1]
        await await_until(lambda: wire.close_code == 4408)

    async def test_silent_or_not_it_is_closed_if_it_does_not_read(
        self, wire: Wire
    ) -> None:
        socket = open_socket(wire)
        full_at = self.fill(socket)
        loop = asyncio.get_running_loop()
        while wire.close_code is None:
            assert loop.time() < full_at + 5
            assert not socket.hear(0)
            await asyncio.sleep(0.01)
        assert wire.close_code == 4408
        assert loop.time() >= full_at + 0.2

    @pytest.mark.parametrize("ahead", [0, 5])
    async def test_when_it_has_read_all_it_goes_on(
        self, wire: Wire, ahead: int
    ) -> None:
        """`ahead`: its own action has brought it further than the socket did."""
        socket = open_socket(wire)
        self.fill(socket)
        revision = socket.revision or 0
        assert not socket.hear(revision - 1)
        assert socket.hear(revision + ahead)
        assert not socket.hear(revision + ahead)
        assert socket.is_behind(EPOCH, revision + 1)
        assert socket.offer(make_push(revision + 1))
        assert wire.revisions[-1] == revision + 1
        await asyncio.sleep(0.3)
        assert wire.close_code is None

    async def test_acks_that_lag_behind_a_stream_let_it_flow(self, wire: Wire) -> None:
        socket = open_socket(wire)
        for revision in range(1, 500):
            socket.offer(make_push(revision))
            if revision % 10 == 0:
                socket.hear(max(0, revision - 15))
        assert wire.revisions == list(range(1, 500))
        assert wire.close_code is None

    async def test_revisions_of_another_epoch_prove_nothing(self, wire: Wire) -> None:
        socket = open_socket(wire, 1_000)
        socket.hear(1_000)
        socket.tell("another", 1, sized(3_000))
        socket.offer(make_push(2, since=1, epoch="another"))
        assert not socket.is_full
        # It has read the first of the two.
        socket.hear(1)
        socket.offer(Push("another", 2, 3, sized(3_000)))
        assert not socket.is_full
        assert wire.revisions == [2]

    async def test_what_has_gone_is_not_closed_any_more(self, wire: Wire) -> None:
        socket = open_socket(wire)
        self.fill(socket)
        socket.end()
        assert socket._alarm is None

    async def test_what_waits_in_the_process_is_dropped_for_the_close(
        self, wire: Wire
    ) -> None:
        socket = open_socket(wire)
        wire.open.clear()
        self.fill(socket)
        await await_until(lambda: socket.closed)
        wire.open.set()
        await socket.flush()
        assert [message["type"] for message in wire.messages] == [
            "websocket.send",
            "websocket.close",
        ]

    @staticmethod
    def fill(socket: Socket) -> float:
        """Push until it is full; when that was, by the loop's clock."""
        while not socket.is_full:
            revision = socket.revision or 0
            assert socket.offer(make_push(revision + 1))
        return asyncio.get_running_loop().time()
