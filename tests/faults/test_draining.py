"""Servers that are told to stop, with pages open: what these see, and what is left."""

import asyncio
import http.client
import random
import re
import signal
import socket
import sqlite3
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, closing, contextmanager, suppress
from functools import partial
from urllib.parse import urlencode

import pytest
from websockets.exceptions import WebSocketException

from demo.accounts import PASSWORD
from tests.balancer import balancer_of
from tests.clients import Address, Page, sign_in
from tests.conftest import MakeDatabase, Serve
from tests.faults.conftest import StartSender
from tests.processes import DaphneServer, RedisServer, UvicornServer
from tests.waiting import await_until

# Any number of pages of one person.
MANY = {"THEMIS_REALTIME_MAX_CONNECTIONS_PER_USER": "10000"}
# uvicorn stops first, and then ends itself by the signal that it was told to stop with.
STATUS: dict[type[DaphneServer], int] = {
    DaphneServer: 0,
    UvicornServer: -signal.SIGTERM,
}
BOTH = pytest.mark.parametrize("kind", STATUS)


@asynccontextmanager
async def pages_of(
    server: DaphneServer, cookie: str, count: int
) -> AsyncIterator[list[Page]]:
    """So many open pages."""
    pages = [Page(server, cookie) for _page in range(count)]
    # As many at once as a server's backlog takes without complaint.
    for start in range(0, count, 50):
        await asyncio.gather(*(page.open() for page in pages[start : start + 50]))
    yield pages
    for page in pages:
        await page.close()


@contextmanager
def half_a_request(server: DaphneServer) -> Iterator[None]:
    """A client that has sent the beginning of a request, and keeps the rest."""
    with closing(socket.create_connection(("127.0.0.1", server.port))) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n")
        yield


async def end_of(server: DaphneServer) -> int:
    """Wait for the end of the process; its exit status."""
    return await asyncio.to_thread(partial(server.wait, within=30))


def told(page: Page, *, since: int = 0) -> list[int]:
    """Within how many milliseconds it should come back, each time that it was told."""
    frames = page.frames[since:]
    return [frame["retry_ms"] for frame in frames if frame["type"] == "restart"]


@BOTH
async def test_hundreds_of_pages_are_sent_away_and_nothing_is_left(
    serve: Serve, redis_server: RedisServer, kind: type[DaphneServer]
) -> None:
    server = serve(redis_url=redis_server.url, env=MANY, kind=kind)
    cookie = sign_in(server)
    late = [Page(server, cookie) for _page in range(5)]
    async with pages_of(server, cookie, 300) as pages:
        with half_a_request(server):
            begun = time.monotonic()
            server.send_signal(signal.SIGTERM)
            await await_until(lambda: pages[0].is_closed)
            # While others are still to be closed, who comes now is sent away as well.
            for page in late:
                await page.open()
                await page.wait_closed()
            assert not pages[-1].is_closed
            assert await end_of(server) == STATUS[kind]
            took = time.monotonic() - begun
        for page in pages:
            assert await page.wait_closed() == 4012
            assert told(page) == [1200]
        for page in late:
            assert page.frames == [{"type": "restart", "retry_ms": 1200}]
            assert page.close_codes == [4012]
    # Docker would have killed it after 10 s; here it takes a second.
    assert took < 8
    with redis_server.client() as client:
        assert client.keys("*") == client.pubsub_channels("*") == []


async def test_who_is_killed_meanwhile_has_warned_its_pages(serve: Serve) -> None:
    server = serve(env=MANY)
    async with pages_of(server, sign_in(server), 200) as pages:
        server.send_signal(signal.SIGTERM)
        await await_until(lambda: any(page.is_closed for page in pages))
        server.kill()
        codes = Counter([await page.wait_closed() for page in pages])
        assert set(codes) == {4012, 1006}
        for page in pages:
            assert told(page) == [1000]


def is_listening(server: DaphneServer) -> bool:
    with closing(socket.socket()) as client:
        return client.connect_ex(("127.0.0.1", server.port)) == 0


def begin_signing_in(server: DaphneServer) -> http.client.HTTPConnection:
    """Send a form that makes a session; who answers has yet to be waited for."""
    client = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    client.request("GET", "/accounts/login/")
    answer = client.getresponse()
    answer.read()
    (token,) = re.findall("csrftoken=([^;]+)", answer.headers["Set-Cookie"])
    form = {"csrfmiddlewaretoken": token, "username": "grace", "password": PASSWORD}
    headers = {
        "Content-Type": "application/x-www-form-urlencoded",
        "Cookie": f"csrftoken={token}",
    }
    client.request("POST", "/accounts/login/", urlencode(form), headers)
    # Taken by the server after that one.
    other = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    with closing(other):
        other.request("GET", "/healthz")
        assert other.getresponse().status == 200
    return client


async def test_a_request_that_is_under_way_does_not_keep_the_process(
    serve: Serve, make_database: MakeDatabase
) -> None:
    """Its thread waits for the loop, and Python for the thread."""
    url = make_database()
    server = serve(url)
    path = url.removeprefix("sqlite:///")
    async with Page(server, sign_in(server)) as page:
        with closing(sqlite3.connect(path, isolation_level=None)) as database:
            database.execute("BEGIN IMMEDIATE")
            with closing(await asyncio.to_thread(begin_signing_in, server)):
                server.send_signal(signal.SIGTERM)
                assert await page.wait_closed() == 4012
                # Or the server waits for the request before it leaves the port: asgiref
                # joins its thread. SQLite would give up after 20 s.
                with suppress(TimeoutError):
                    await await_until(lambda: not is_listening(server), within=8)
                database.execute("ROLLBACK")
                assert await end_of(server) == 0
    # Django forgets its listener for the end of a request that the server cancels; if
    # that is heard afterwards, asyncio logs it. Nothing else may be in the log.
    server.expect_failures()
    aborted = server.log.count("django.core.exceptions.RequestAborted")
    assert server.log.count("Traceback") == aborted


class StayingPage(Page):
    """A page that comes back as the shipped one does, until it is told to go."""

    def __init__(self, server: Address, cookie: str) -> None:
        super().__init__(server, cookie)
        # How long it was without a socket, each time (seconds).
        self.absences: list[float] = []

    async def stay(self) -> None:
        left_at = None
        failures = 0
        while True:
            states, frames = len(self.state_frames), len(self.frames)
            with suppress(OSError, WebSocketException):
                await self.open()
            if len(self.state_frames) > states:
                if left_at is not None:
                    self.absences.append(time.monotonic() - left_at)
                failures = 0
                await self._end_of_socket()
                left_at = time.monotonic()
            if retries := told(self, since=frames):
                wait = retries[-1] / 1000
            else:
                wait = min(30, 2**failures)
                failures += 1
            await asyncio.sleep(random.uniform(0.25, max(wait, 0.25)))  # noqa: S311 -- no secret

    async def _end_of_socket(self) -> None:
        assert self._reading is not None
        # Not awaited itself: that would cancel it with who waits.
        await asyncio.wait([self._reading])


@asynccontextmanager
async def staying(pages: Sequence[StayingPage]) -> AsyncIterator[None]:
    """Keep the pages open, whatever it takes; they begin with a state."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(page.stay()) for page in pages]
        await await_until(lambda: all(page.state_frames for page in pages))
        yield
        for task in tasks:
            task.cancel()
    for page in pages:
        await page.close()


async def test_a_rolling_restart_is_not_seen_by_any_page(
    make_database: MakeDatabase,
    redis_server: RedisServer,
    serve: Serve,
    start_sender: StartSender,
) -> None:
    """One server of each kind, and a stream of notifications."""
    database = make_database("postgres")
    with ThreadPoolExecutor() as pool:
        starts = [
            pool.submit(
                serve, database, redis_url=redis_server.url, env=MANY, kind=kind
            )
            for kind in STATUS
        ]
        servers = [start.result() for start in starts]
    sender = start_sender(servers[0])
    cookies = {name: sign_in(servers[0], name) for name in ("ada", "grace")}
    with balancer_of(*(server.port for server in servers)) as balancer:
        pages = {
            name: [StayingPage(balancer, cookie) for _page in range(30)]
            for name, cookie in cookies.items()
        }
        everyone = [page for mine in pages.values() for page in mine]
        async with staying(everyone):
            restarted = asyncio.Event()
            titles: list[str] = []

            async def go_on() -> None:
                while not restarted.is_set():
                    title = f"number {len(titles)}"
                    titles.append(title)
                    for name in pages:
                        await asyncio.to_thread(sender.notify, name, title)
                    # A stream, not a flood: who is away misses less than a hundred.
                    await asyncio.sleep(0.05)

            going_on = asyncio.create_task(go_on())
            first, second = servers
            first.send_signal(signal.SIGTERM)
            assert await end_of(first) == STATUS[type(first)]
            await asyncio.to_thread(first.start)
            second.send_signal(signal.SIGTERM)
            assert await end_of(second) == STATUS[type(second)]
            # All have moved once, and half of them twice.
            await await_until(lambda: all(page.absences for page in everyone))
            restarted.set()
            await going_on
            for page in everyone:
                await page.rings(titles[-1])
    for page in everyone:
        assert page.rung == titles
        assert page.mirror.unread == len(titles)
        assert set(page.close_codes[:-1]) == {4012}
        # A page shows nothing before it has been out of touch for 10 s.
        assert max(page.absences) < 10
