"""Pages that don't read, or say what they should not; people whose mailbox is stuck;
and everybody else, who must not notice.
"""

import asyncio
import contextlib
import json
import sqlite3
import time
import urllib.request
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from channels_redis.pubsub import RedisPubSubChannelLayer
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from realtime.groups import group_of
from realtime.readers import READERS
from tests.clients import Page, sign_in
from tests.conftest import MakeDatabase, Serve
from tests.faults.cluster import NEVER, THOROUGH
from tests.faults.conftest import StartSender
from tests.faults.failpoints import VARIABLE
from tests.faults.probes import FaultyServer, FaultyUvicorn, Holdings, holdings_of
from tests.faults.strangers import BINARY, PING, TEXT, Stranger, make_frame
from tests.processes import RedisServer
from tests.waiting import await_until

KINDS = [
    pytest.param(FaultyServer, id="daphne"),
    pytest.param(FaultyUvicorn, id="uvicorn", marks=pytest.mark.thorough),
]
MIB = 1024 * 1024
# A machine that does other things besides may take this many times what is promised.
BUSY = 5


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> type[FaultyServer]:
    chosen: type[FaultyServer] = request.param
    return chosen


def start(
    serve: Serve,
    redis_server: RedisServer,
    kind: type[FaultyServer],
    database_url: str | None = None,
    constants: dict[str, Any] | None = None,
) -> FaultyServer:
    server = serve(
        database_url,
        redis_url=redis_server.url,
        kind=kind,
        env={
            "THEMIS_REALTIME_CHECK_INTERVAL": NEVER,
            # Pushes of the tests' own are ahead of the database, which a check would
            # take for a proof that it went back.
            VARIABLE: json.dumps(
                {"constants": constants or {}, "mutations": ["without the reconciler"]}
            ),
        },
    )
    assert isinstance(server, FaultyServer)
    return server


class Pushes:
    """Pushes of the size that is wanted, past the database, to one user's pages."""

    def __init__(self, redis_server: RedisServer, first: dict[str, Any], user: str):
        self._layer = RedisPubSubChannelLayer(hosts=[redis_server.url])
        self._state = first
        self._user = user
        self.revision: int = first["revision"]

    async def send(self, size: int = 400) -> float:
        """Push one; when (time.monotonic)."""
        since, self.revision = self.revision, self.revision + 1
        frame = {
            **self._state,
            "type": "changes",
            "since": since,
            "revision": self.revision,
            "items": [],
            "removed": [],
            "padding": "x" * size,
        }
        message = {
            "type": "themis.push",
            "v": 1,
            "user": self._user,
            "epoch": frame["epoch"],
            "since": since,
            "revision": self.revision,
            "text": json.dumps(frame),
            "due": None,
        }
        await self._layer.group_send(group_of(self._user), message)
        return time.monotonic()

    async def stream(self, page: Page, size: int, count: int) -> None:
        """Push as fast as the page takes it, or nearly."""
        for _push in range(count):
            await self.send(size)
            await await_until(
                lambda: page.mirror.revision > self.revision - 8, within=30
            )

    async def close(self) -> None:
        await self._layer.flush()


@contextlib.asynccontextmanager
async def pushed_meanwhile(pushes: Pushes, page: Page) -> AsyncIterator[list[float]]:
    """Push to *page*, one by one, while the block lasts; the seconds of each."""
    latencies: list[float] = []
    over = asyncio.Event()

    async def push() -> None:
        while not over.is_set():
            sent = await pushes.send()
            await await_until(
                lambda: page.mirror.revision == pushes.revision, within=30
            )
            latencies.append(time.monotonic() - sent)

    pushing = asyncio.create_task(push())
    try:
        yield latencies
    finally:
        over.set()
        await pushing


def closes(server: FaultyServer) -> dict[str, float]:
    """How many sockets the server has closed with each code."""
    with urllib.request.urlopen(f"{server.url}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    found = {}
    for line in lines:
        if line.startswith("themis_closes_total{"):
            label, value = line.rsplit(" ", 1)
            found[label.split('"')[1]] = float(value)
    return found


def connections(server: FaultyServer, strangers: list[Stranger]) -> int:
    """How many of the strangers' connections the server has not closed."""
    found = 0
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, local, remote, state = line.split()[:4]
        ports = [int(address.partition(":")[2], 16) for address in (local, remote)]
        found += state == "01" and ports in [[server.port, s.port] for s in strangers]
    return found


def place_mailbox(database_url: str, revision: int) -> None:
    """Put ada's mailbox where pushes have brought her pages."""
    with sqlite3.connect(database_url.removeprefix("sqlite:///")) as database:
        database.execute(
            "UPDATE themis_mailbox SET revision = ? WHERE user_id = 1", [revision]
        )
    database.close()


USER_KEYS = {"ada": "1", "grace": "2"}


class TestPagesThatDoNotRead:
    async def check(
        self,
        server: FaultyServer,
        redis_server: RedisServer,
        database_url: str,
        *,
        mebibytes: int,
        seconds: float,
        bytes_per_second: int = 0,
    ) -> None:
        cookie = sign_in(server)
        async with AsyncExitStack() as stack:
            healthy = await stack.enter_async_context(Page(server, cookie))
            pushes = Pushes(redis_server, healthy.frames[0], USER_KEYS["ada"])
            # What is used for the first time is not what is left behind.
            await pushes.stream(healthy, 30_000, 40)
            place_mailbox(database_url, pushes.revision)
            before = await asyncio.to_thread(holdings_of, server)
            strangers = [
                stack.enter_context(Stranger(server.url, cookie)) for _ in range(3)
            ]
            for stranger in strangers:
                await asyncio.to_thread(stranger.state)
            begun = time.monotonic()
            await pushes.stream(healthy, 30_000, mebibytes * MIB // 30_000)
            during = await asyncio.to_thread(holdings_of, server)
            trickles = [
                asyncio.to_thread(stranger.trickle, 2 * seconds, bytes_per_second)
                for stranger in strangers
                if bytes_per_second
            ]
            reading = asyncio.gather(*trickles)
            # The server has let go.
            await await_until(
                lambda: server.numbers()["sockets"] == 1, within=seconds * 2 + 10
            )
            took = time.monotonic() - begun
            assert took >= seconds
            assert closes(server)["4408"] == 3
            # Not Themis alone: nothing waits for them to read what they were sent.
            await await_until(lambda: connections(server, strangers) == 0, within=20)
            after = await asyncio.to_thread(holdings_of, server)
            grown = (during.memory - before.memory) / MIB
            left = (after.memory - before.memory) / MIB
            print(  # noqa: T201 -- a figure for who asks
                f"{server.name}: {mebibytes} MiB to each of 3; grown by {grown:.1f} MiB"
                f" with them, {left:.1f} MiB after; closed after {took:.1f} s"
            )
            # Each may have 1 MiB, in pieces of what allocates; all has 3 * mebibytes.
            assert grown < 3 * mebibytes / 3
            await reading
            # Who reads has not noticed.
            sent = await pushes.send()
            await await_until(lambda: healthy.mirror.revision == pushes.revision)
            assert time.monotonic() - sent < BUSY
            revisions = [frame["revision"] for frame in healthy.state_frames]
            assert revisions == list(range(pushes.revision + 1))
            await pushes.close()

    async def test_are_closed_and_memory_stays_bounded(
        self,
        redis_server: RedisServer,
        serve: Serve,
        make_database: MakeDatabase,
        kind: type[FaultyServer],
    ) -> None:
        url = make_database()
        constants = {"realtime.sockets.SLOW_SECONDS": 3}
        server = start(serve, redis_server, kind, url, constants)
        await self.check(server, redis_server, url, mebibytes=6, seconds=3)

    @pytest.mark.thorough
    async def test_are_cut_off_where_the_server_waits_for_them_to_read(
        self, redis_server: RedisServer, serve: Serve, make_database: MakeDatabase
    ) -> None:
        """More than the kernel takes: then uvicorn's send does not end."""
        url = make_database()
        constants = {
            "realtime.sockets.SLOW_SECONDS": 3,
            "realtime.sockets.FULL_BYTES": 12 * MIB,
        }
        server = start(serve, redis_server, FaultyUvicorn, url, constants)
        await self.check(server, redis_server, url, mebibytes=11, seconds=3)

    @pytest.mark.thorough
    @pytest.mark.parametrize("bytes_per_second", [0, 1_000])
    async def test_are_closed_after_half_a_minute(
        self,
        redis_server: RedisServer,
        serve: Serve,
        make_database: MakeDatabase,
        kind: type[FaultyServer],
        bytes_per_second: int,
    ) -> None:
        url = make_database()
        server = start(serve, redis_server, kind, url)
        await self.check(
            server,
            redis_server,
            url,
            mebibytes=60,
            seconds=30,
            bytes_per_second=bytes_per_second,
        )


def fragments() -> bytes:
    """A valid ping in pieces of one byte, each a frame."""
    text = b'{"type": "ping"}'
    pieces = [
        make_frame(text[n : n + 1], opcode=TEXT if n == 0 else 0, end=False)
        for n in range(len(text))
    ]
    return b"".join([*pieces, make_frame(b"", opcode=0)])


# Bytes, and the codes that servers or Themis may close with; None: just cut off.
NONSENSE: dict[str, tuple[bytes, set[int | None]]] = {
    "no JSON": (make_frame("hello"), {4400}),
    "deep JSON": (make_frame("[" * 4_000), {4400}),
    "no such type": (make_frame('{"type": "notify"}'), {4400}),
    "binary": (make_frame(b"\0\1\2", BINARY), {4400}),
    "over 4 KiB": (make_frame('{"type": "ping"}'.ljust(4_097)), {4400}),
    "over 64 KiB": (make_frame(b"x" * 70_000), {4400, 1009}),
    "over 1 MiB": (make_frame(b"x" * 1_100_000), {1009, None}),
    "a length beyond all": (b"\x81\xff" + b"\x7f" * 8 + b"mask", {1002, 1009, None}),
    "without an end": (
        make_frame(b"x", end=False) + make_frame(b"x" * 100, 0, end=False) * 11_000,
        {1009, None},
    ),
    "no UTF-8": (make_frame(b"\xff\xfe"), {1007, None}),
    "not masked": (b'\x81\x10{"type": "ping"}', {1002, 4400, None}),
    "reserved bits": (b"\xf1" + make_frame("x")[1:], {1002, None}),
    "an unknown opcode": (make_frame(b"x", opcode=7), {1002, None}),
    "a long ping": (make_frame(b"x" * 200, PING), {1002, None}),
    "a continuation of nothing": (make_frame(b"x", opcode=0), {1002, None}),
    "pings": (make_frame('{"type": "ping"}') * 20_000, {4408, None}),
    "acks": (make_frame('{"type": "ack", "revision": 0}') * 20_000, {4408, None}),
    "syncs": (make_frame('{"type": "sync"}') * 5_000, {4408, None}),
}


class TestStrangers:
    async def test_end_themselves_and_nobody_else(
        self, redis_server: RedisServer, serve: Serve, kind: type[FaultyServer]
    ) -> None:
        server = start(serve, redis_server, kind)
        if kind is FaultyUvicorn:
            server.expect_failures()  # it logs what is no UTF-8 as an exception
        adas, graces = sign_in(server), sign_in(server, "grace")
        async with Page(server, adas) as neighbour, Page(server, graces) as other:
            pushes = Pushes(redis_server, other.frames[0], USER_KEYS["grace"])
            async with pushed_meanwhile(pushes, other) as latencies:
                for name, (data, codes) in NONSENSE.items():
                    code = await asyncio.to_thread(annoy, server.url, adas, data)
                    assert code in codes, name
            with await asyncio.to_thread(Stranger, server.url, adas) as stranger:
                await asyncio.to_thread(stranger.state)
                stranger.send(fragments())
                frame = await asyncio.to_thread(stranger.state)
                assert frame["type"] == "pong"
            await neighbour.say({"type": "ping"})
            await await_until(lambda: neighbour.frames[-1]["type"] == "pong")
            await await_until(lambda: server.numbers()["sockets"] == 2)
            revisions = [frame["revision"] for frame in other.state_frames]
            assert revisions == list(range(pushes.revision + 1))
            latencies.sort()
            print(  # noqa: T201 -- a figure for who asks
                f"{server.name}: {len(latencies)} pushes to a neighbour, "
                f"median {latencies[len(latencies) // 2] * 1000:.0f} ms, "
                f"worst {latencies[-1] * 1000:.0f} ms"
            )
            assert latencies[-1] < BUSY
            await pushes.close()


def annoy(url: str, cookie: str, data: bytes) -> int | None:
    """Say *data*; the code that the server closes with, None if it just hangs up."""
    with Stranger(url, cookie) as stranger:
        stranger.state()
        stranger.send(data)
        return stranger.close_code()


# Handshakes of each kind that is refused, in each round, how many at once, and rounds.
REFUSED = 1_000 if THOROUGH else 12
AT_ONCE = 20
ROUNDS = 3
# Of the pools that fill when there is much to do at once: a file and its log for each
# reader of SQLite, one connection to Redis. Fewer than handshakes of one kind.
POOLED_FILES = 2 * READERS + 1


async def knock(
    server: FaultyServer, cookie: str, *, origin: str | None = None, query: str = ""
) -> int | None:
    """Open a socket that is refused; the code that it is closed with."""
    address: Any = origin or server.url
    async with connect(
        f"{server.websocket_url}?{query}",
        origin=address,
        additional_headers={"Cookie": cookie},
        compression=None,
        proxy=None,
        ping_interval=None,
    ) as socket:
        with contextlib.suppress(ConnectionClosed):
            while True:
                await socket.recv()
        return socket.close_code


async def leave_half_way(server: FaultyServer) -> None:
    """Hang up in the middle of a handshake."""
    address = urlsplit(server.url)
    _, writer = await asyncio.open_connection(address.hostname, address.port)
    writer.write(b"GET /ws/notifications/ HTTP/1.1\r\nUpgrade: websocket\r\nHos")
    writer.close()
    await writer.wait_closed()


def has_settled(server: FaultyServer, before: Holdings) -> bool:
    """Whether what came is over, except for pools that have filled meanwhile."""
    after = holdings_of(server)
    same = (after.tasks, after.sockets) == (before.tasks, before.sockets)
    return same and after.files <= before.files + POOLED_FILES


class TestRefusedHandshakes:
    async def test_leave_nothing_and_hold_up_nobody(
        self, redis_server: RedisServer, serve: Serve, kind: type[FaultyServer]
    ) -> None:
        server = start(serve, redis_server, kind)
        adas, graces = sign_in(server), sign_in(server, "grace")
        doors = asyncio.Semaphore(AT_ONCE)

        async def refuse_one() -> None:
            async with doors:
                evil = "https://evil.example"
                assert await knock(server, adas, origin=evil) == 4403
                assert await knock(server, "") == 4401
                assert await knock(server, "sessionid=" + "0" * 32) == 4401
                assert await knock(server, adas, query="since=x&epoch=e") == 4400
                await leave_half_way(server)

        async def refuse_many() -> None:
            async with asyncio.TaskGroup() as group:
                for _ in range(REFUSED):
                    group.create_task(refuse_one())

        async with Page(server, graces) as page:
            pushes = Pushes(redis_server, page.frames[0], USER_KEYS["grace"])
            # What is used for the first time is not what is left behind.
            await refuse_many()
            await await_until(lambda: server.numbers()["sockets"] == 1)
            # What handshakes leave behind, each round leaves behind; a pool that fills,
            # or an allocator that keeps room for more at once, does so in one.
            for _round in range(ROUNDS):
                before = await asyncio.to_thread(holdings_of, server)
                async with pushed_meanwhile(pushes, page) as latencies:
                    await refuse_many()
                    # Who is welcome comes in all the same.
                    async with Page(server, adas) as another:
                        assert another.frames[0]["type"] == "snapshot"
                assert max(latencies) < BUSY
                await await_until(partial(has_settled, server, before), within=40)
                after = await asyncio.to_thread(holdings_of, server)
                grown = (after.memory - before.memory) / MIB
                print(  # noqa: T201 -- a figure for who asks
                    f"{server.name}: {5 * REFUSED} refused handshakes, grown by "
                    f"{grown:.1f} MiB and {after.files - before.files} files; "
                    f"{len(latencies)} pushes to a neighbour, worst "
                    f"{max(latencies) * 1000:.0f} ms"
                )
                if after.files <= before.files and grown < 4:
                    break
            else:
                pytest.fail("Each round leaves files or memory behind.")
            await pushes.close()


class TestOneWhoIsStuck:
    async def test_holds_up_nobody_else(
        self,
        redis_server: RedisServer,
        serve: Serve,
        make_database: MakeDatabase,
        start_sender: StartSender,
    ) -> None:
        """A transaction of the host's has ada's mailbox: each read waits a second."""
        url = make_database("postgres")
        server = start(serve, redis_server, FaultyServer, url)
        host, other = start_sender(server), start_sender(server)
        adas, graces = sign_in(server), sign_in(server, "grace")
        async with Page(server, graces) as grace:
            for name in ("ada", "grace"):
                await asyncio.to_thread(other.notify, name, "before")
            await asyncio.to_thread(host.hold, "ada")
            # What can't be stamped now, and each read tries to.
            await asyncio.to_thread(other.notify, "ada", "stuck")
            tabs = [Page(server, adas) for _tab in range(20)]
            for number, tab in enumerate(tabs):
                # Each has something else to ask, so that they can't share a read.
                tab.mirror.epoch = f"of before {number}"
            opening = [asyncio.create_task(tab.open(within=40)) for tab in tabs]
            await await_until(lambda: server.numbers()["sockets"] == 21)
            for number in range(3):
                async with Page(server, graces) as page:
                    await asyncio.to_thread(other.notify, "grace", f"number {number}")
                    await page.rings(f"number {number}")
                    await grace.rings(f"number {number}")
                if number == 0:
                    # They take twenty seconds, one after the other; all at once they
                    # would have been before her.
                    assert sum(opened.done() for opened in opening) < 10
            await asyncio.to_thread(host.release)
            await asyncio.gather(*opening)
            for tab in tabs:
                assert tab.frames[0]["type"] == "snapshot"
                await tab.close()

    async def test_in_the_thread_that_all_requests_share_holds_up_no_socket(
        self,
        redis_server: RedisServer,
        serve: Serve,
        make_database: MakeDatabase,
        start_sender: StartSender,
    ) -> None:
        server = start(serve, redis_server, FaultyServer, make_database("postgres"))
        sender = start_sender(server)
        cookie = sign_in(server)
        async with Page(server, cookie) as page:
            await asyncio.to_thread(sender.notify, "ada", "before")
            slow = asyncio.create_task(asyncio.to_thread(server.be_slow))
            await await_until(lambda: server.numbers()["slow"])
            async with Page(server, cookie) as another:
                await asyncio.to_thread(sender.notify, "ada", "meanwhile")
                for tab in (page, another):
                    await tab.rings("meanwhile")
                assert server.numbers()["slow"]
            await slow
