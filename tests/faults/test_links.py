"""A link does to connections what the scenarios ask of it."""

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from tests.faults.links import Link
from tests.waiting import wait_until


class Echo:
    """A server that says everything back, and how many have hung up on it."""

    def __init__(self) -> None:
        self.ended = 0
        self.heard = b""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)

    def _serve(self) -> None:
        while True:
            try:
                connection, _address = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._echo, args=[connection], daemon=True).start()

    def _echo(self, connection: socket.socket) -> None:
        with connection:
            try:
                while data := connection.recv(65536):
                    self.heard += data
                    connection.sendall(data)
            except OSError:
                pass
        self.ended += 1


@pytest.fixture
def echo() -> Iterator[Echo]:
    echo = Echo()
    yield echo
    echo.close()


@pytest.fixture
def link(echo: Echo) -> Iterator[Link]:
    with Link(echo.port) as link:
        yield link


@pytest.fixture
def client(link: Link) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", link.port), timeout=5) as client:
        client.sendall(b"hello")
        assert client.recv(100) == b"hello"
        yield client


def carries(link: Link) -> bool:
    """Whether a new connection works."""
    try:
        with socket.create_connection(("127.0.0.1", link.port), timeout=5) as client:
            client.sendall(b"new")
            return client.recv(100) == b"new"
    except ConnectionError:
        return False


def assert_silent(client: socket.socket) -> None:
    client.settimeout(0.2)
    with pytest.raises(TimeoutError):
        client.recv(100)
    client.settimeout(5)


def test_cut(link: Link, client: socket.socket, echo: Echo) -> None:
    link.cut()
    with pytest.raises(ConnectionResetError):
        client.recv(100)
    wait_until(lambda: echo.ended == 1)
    assert carries(link)


def test_severed(link: Link, client: socket.socket) -> None:
    link.sever()
    with pytest.raises(ConnectionResetError):
        client.recv(100)
    assert not carries(link)
    link.mend()
    assert carries(link)
    assert len(link.attempts) == 3


def test_stalled(link: Link, client: socket.socket) -> None:
    link.stall()
    client.sendall(b"later")
    assert_silent(client)
    link.mend()
    assert client.recv(100) == b"later"


def test_half_open_to_the_client(link: Link, client: socket.socket, echo: Echo) -> None:
    link.lose("down")
    client.sendall(b"heard")
    assert_silent(client)
    assert echo.heard == b"helloheard"
    link.mend()
    # Bytes are missing, so that the connection can't go on.
    with pytest.raises(ConnectionResetError):
        client.recv(100)
    assert carries(link)


def test_half_open_both_ways(link: Link, client: socket.socket, echo: Echo) -> None:
    link.lose()
    client.sendall(b"lost")
    assert_silent(client)
    client.close()
    time.sleep(0.1)
    assert (echo.heard, echo.ended) == (b"hello", 0)
    link.mend()
    wait_until(lambda: echo.ended == 1)


def test_delayed(link: Link, client: socket.socket) -> None:
    link.delay(0.1)
    begun = time.monotonic()
    client.sendall(b"there and back")
    assert client.recv(100) == b"there and back"
    assert time.monotonic() - begun >= 0.2


def test_throttled(link: Link, client: socket.socket) -> None:
    link.throttle(1_000)
    begun = time.monotonic()
    client.sendall(b"x" * 300)
    received = b""
    while len(received) < 300:
        received += client.recv(100)
    assert time.monotonic() - begun >= 0.25


def test_chopped(link: Link, client: socket.socket) -> None:
    link.chop()
    client.sendall(b"in pieces")
    received = b""
    while len(received) < 9:
        received += client.recv(1)
    assert received == b"in pieces"
