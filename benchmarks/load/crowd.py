"""All connections of the load: opened, listened to, closed."""

from __future__ import annotations

import contextlib
import select
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from benchmarks.load.ledger import Ledger
from benchmarks.load.lines import DIALECTS, ClosedError, Line

# How many handshakes are under way at once: fewer than daphne keeps waiting.
AT_ONCE = 32
# A network of our own: the ports of one address are not enough for 10,000 sockets that
# have just been closed, and 10,000 more.
ADDRESSES = 8
PATIENCE_SECONDS = 30
RECEIVED_AT_ONCE = 64 * 1024

IN = select.EPOLLIN | select.EPOLLHUP | select.EPOLLERR


@dataclass(frozen=True, slots=True)
class Door:
    """Where connections are opened, and in which dialect."""

    port: int
    path: str
    dialect: str

    def request(self, kind: type[Line], user: int) -> bytes:
        """Return the request that opens a connection of *user*."""
        return (
            f"GET {self.path} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\n"
            f"Origin: http://127.0.0.1:{self.port}\r\n"
            f"Cookie: sessionid={session_key(user)}\r\n{kind.headers}\r\n"
        ).encode()


def session_key(user: int) -> str:
    """Return the key of the session by which *user* (a primary key) is signed in."""
    return f"{user:032}"


class Crowd:
    """Connections in one process, without a thread or a task for each."""

    def __init__(self) -> None:
        self.ledger = Ledger()
        self.poll = select.epoll()
        self._lines: dict[int, Line] = {}
        # Since all were closed: how many were opened, and how many the server ended.
        self._opened = self._ended = 0

    def open(
        self, door: Door, users: Iterator[int], *, patience: float = PATIENCE_SECONDS
    ) -> dict[str, Any]:
        """
        Open a connection for each of *users*, `AT_ONCE` at a time.

        Returns how many are ready, how many failed, and the seconds until the last.
        """
        kind = DIALECTS[door.dialect]
        began = changed = time.monotonic()
        before, ready = self._opened, self._count_ready()
        waiting: set[Line] = set()
        while True:
            for user in islice(users, AT_ONCE - len(waiting)):
                waiting.add(self._open_line(door, kind, user))
            if not waiting:
                break
            self.listen(0.1)
            settled = {line for line in waiting if line.is_ready or line.is_closed}
            now = time.monotonic()
            if settled:
                waiting -= settled
                changed = now
            elif now - changed > patience:
                break
        ready = self._count_ready() - ready
        failed = self._opened - before - ready
        return {"ready": ready, "failed": failed, "seconds": changed - began}

    def expect(self, first: int, size: int, *, everybody: bool) -> dict[str, Any]:
        """Begin to count; see `Ledger.expect`."""
        self.ledger.expect(first, size, lines=self._opened, everybody=everybody)
        return {}

    def collect(self, *, quiet: float, times: bool) -> dict[str, Any]:
        """Listen until all is there, or nothing comes for *quiet* seconds."""
        ledger = self.ledger
        arrived, changed = -1, time.monotonic()
        while ledger.arrived < ledger.expected:
            self.listen(0.1)
            if ledger.arrived != arrived:
                arrived, changed = ledger.arrived, time.monotonic()
            elif time.monotonic() - changed > quiet:
                break
        # What comes twice comes soon.
        self.listen_for(0.2)
        return ledger.to_answer(times=times) | {"ended": self._ended}

    def close(self) -> dict[str, Any]:
        """Close all connections."""
        for line in self._lines.values():
            line.socket.close()
        self._lines.clear()
        self._opened = self._ended = 0
        return {}

    def listen_for(self, seconds: float) -> None:
        """Take what comes, and answer what has to be."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self.listen(left)

    def listen(
        self, seconds: float, others: dict[int, Callable[[], object]] | None = None
    ) -> None:
        """Wait for anything to come, and take it."""
        lines = self._lines
        for descriptor, _events in self.poll.poll(seconds, 512):
            line = lines.get(descriptor)
            if line is None:
                if others and descriptor in others:
                    others[descriptor]()
                continue
            try:
                line.feed(line.socket.recv(RECEIVED_AT_ONCE))
            except (ClosedError, OSError):
                self._end(line)

    def _open_line(self, door: Door, kind: type[Line], user: int) -> Line:
        client = socket.socket()
        index = self._opened
        self._opened += 1
        client.bind((f"127.0.0.{1 + index % ADDRESSES}", 0))
        client.connect(("127.0.0.1", door.port))
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client.setblocking(False)
        line = kind(client, index, self.ledger)
        self._lines[client.fileno()] = line
        self.poll.register(client, IN)
        client.send(door.request(kind, user))
        return line

    def _count_ready(self) -> int:
        return sum(line.is_ready for line in self._lines.values())

    def _end(self, line: Line) -> None:
        self._ended += 1
        self._lines.pop(line.socket.fileno(), None)
        with contextlib.suppress(OSError):
            line.socket.close()
