"""What daphne's server writes is whole and in order, however full the socket is."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from typing import Any

import pytest
from daphne.server import WebSocketFactory
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet import tcp
from twisted.internet.main import CONNECTION_LOST
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure

from server.launch import Server
from server.transports import PromptTransport

pytestmark = pytest.mark.once

# Some of it fits into a socket, some doesn't.
SIZES = st.integers(0, 200_000)
WRITE = st.tuples(st.just("write"), SIZES)
READ = st.tuples(st.just("read"), SIZES)
TURN = st.tuples(st.just("turn"), st.just(0))


class Connection:
    """An accepted connection and its other end; the loop turns when told to."""

    def __init__(
        self,
        transport: PromptTransport,
        reactor: MemoryReactorClock,
        page: socket.socket,
    ) -> None:
        self.transport = transport
        self._reactor = reactor
        self.written = bytearray()
        self.read = bytearray()
        self.page = page
        self._numbers = count()

    def waits(self) -> bool:
        """Whether the loop is asked to say when more can be written."""
        return self.transport in self._reactor.getWriters()

    def do(self, action: str, size: int) -> None:
        if action == "write":
            self.write(size)
        elif action == "read":
            self.receive(size)
        else:
            self.turn()

    def write(self, size: int) -> None:
        """Write *size* bytes like no others."""
        number = next(self._numbers).to_bytes(4)
        data = (number * (size // 4 + 1))[:size]
        self.transport.write(data)
        self.written += data

    def turn(self) -> Exception | None:
        """What the loop does when the socket can be written to."""
        return self.transport.doWrite() if self.waits() else None

    def receive(self, size: int) -> None:
        with suppress(BlockingIOError):
            self.read += self.page.recv(size)

    def drain(self) -> None:
        while len(self.read) < len(self.written):
            before = len(self.read)
            self.turn()
            self.receive(1 << 20)
            assert len(self.read) > before, "something was written and never sent"


@contextmanager
def connection() -> Iterator[Connection]:
    """Connect to a port of the project's server."""
    server = Server(application=None, endpoints=["tcp:0"])
    server.ws_factory = WebSocketFactory(server)
    accepted: list[Protocol] = []

    class Accepted(Protocol):
        def connectionMade(self) -> None:  # noqa: N802 - Twisted's name
            accepted.append(self)

    reactor = MemoryReactorClock()
    pages: Any = Factory.forProtocol(Accepted)
    port: Any = tcp.Port(0, pages, reactor=reactor)
    port.startListening()
    server.listen_success(port)
    page = socket.create_connection(("127.0.0.1", port.getHost().port))
    page.setblocking(False)
    port.doRead()
    transport = accepted[0].transport
    assert isinstance(transport, PromptTransport)
    try:
        yield Connection(transport, reactor, page)
    finally:
        page.close()
        transport.connectionLost(Failure(CONNECTION_LOST))
        port.connectionLost(Failure(CONNECTION_LOST))


def test_what_fits_is_sent_before_the_loop_turns() -> None:
    with connection() as it:
        for _ in range(3):
            it.write(200)
            assert not it.waits()

        it.receive(1000)
        assert it.read == it.written


@given(st.lists(WRITE | READ | TURN, max_size=40))
def test_all_of_it_comes_in_order(actions: list[tuple[str, int]]) -> None:
    with connection() as it:
        for action, size in actions:
            it.do(action, size)
            assert it.written.startswith(it.read)

        it.drain()
        assert it.read == it.written
        assert not it.waits() or it.turn() is None


def test_the_loop_is_asked_while_the_socket_is_full_and_no_longer() -> None:
    with connection() as it:
        while not it.waits():
            it.write(200_000)
        it.write(200)

        it.drain()

        assert it.read == it.written
        assert not it.waits()
        it.write(200)
        assert not it.waits()


def test_nothing_goes_past_what_an_aborted_connection_held() -> None:
    with connection() as it:
        while not it.waits():
            it.write(200_000)
        it.receive(1 << 20)

        it.transport.abortConnection()
        it.write(200)

        it.receive(1 << 24)
        assert it.written.startswith(it.read)


def test_a_page_that_is_gone_is_told_to_the_loop() -> None:
    with connection() as it:
        # With what it has not read, closing is a reset.
        it.write(200)
        it.page.close()

        # The kernel may take one more before it knows.
        for _ in range(3):
            it.write(200)

        assert it.waits()
        assert it.turn() is CONNECTION_LOST
