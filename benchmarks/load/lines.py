"""One connection each: what a page would answer is answered, the rest only counted."""

from __future__ import annotations

import re
import socket
import struct
from typing import ClassVar

from benchmarks.load.ledger import MARK, Ledger

_REVISION = re.compile(rb'"revision":(\d+)')
# How often a page of Themis says how far it has read.
_FRAMES_PER_ACK = 32

_TEXT, _CLOSE, _PING, _PONG = 1, 8, 9, 10
_MOST_IN_A_SMALL_FRAME = 125


class ClosedError(Exception):
    """The server has ended the connection."""


class Line:
    """
    An open connection.

    Args:
        client: The socket.
        index: Which of all connections it is.
        ledger: Where what comes is counted.
    """

    # What the request says beside the cookie.
    headers: ClassVar[str] = ""
    status: ClassVar[bytes] = b"200"

    def __init__(self, client: socket.socket, index: int, ledger: Ledger) -> None:
        self.socket = client
        self.index = index
        # Whether it is open as a page would have it: what comes next is for the page.
        self.is_ready = False
        self._ledger = ledger
        self._is_begun = False
        self._rest = b""

    @property
    def is_closed(self) -> bool:
        """Whether either side has ended it."""
        return self.socket.fileno() == -1

    def feed(self, data: bytes) -> None:
        """
        Take what came.

        Raises:
            ClosedError: that was the end of it, or a refusal.
        """
        if not data:
            raise ClosedError
        if self._rest:
            data = self._rest + data
        if not self._is_begun:
            head, end, data = data.partition(b"\r\n\r\n")
            if not end:
                self._rest = head
                return
            if head.split(b" ", 2)[1] != self.status:
                raise ClosedError(head)
            self._is_begun = True
            self.begin()
        self._rest = data[self.consume(data) :]

    def begin(self) -> None:
        """Take that the server has answered the request."""

    def consume(self, data: bytes) -> int:
        """Take as much of *data* as is whole; return how much that was."""
        raise NotImplementedError

    def scan(self, data: bytes, start: int, end: int) -> None:
        """Count the notifications in a part of *data*."""
        for found in MARK.finditer(data, start, end):
            self._ledger.take(self.index, int(found[1]))


class WebSocket(Line):
    """A plain WebSocket: ready when it is accepted."""

    headers = (
        "Upgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        "Sec-WebSocket-Version: 13\r\n"
    )
    status = b"101"

    def begin(self) -> None:
        """Nothing else is to come."""
        self.is_ready = True

    def consume(self, data: bytes) -> int:
        """Take whole frames (RFC 6455, section 5.2)."""
        start, size = 0, len(data)
        while size - start >= 2:  # noqa: PLR2004 -- the shortest header
            body = start + 2
            length = data[start + 1]
            if length > _MOST_IN_A_SMALL_FRAME:
                wide = 2 if length == _MOST_IN_A_SMALL_FRAME + 1 else 8
                length = int.from_bytes(data[body : body + wide])
                body += wide
            end = body + length
            if end > size:
                break
            kind = data[start] & 15
            if kind == _TEXT:
                self.read(data, body, end)
            elif kind == _PING:
                self.say(data[body:end], _PONG)
            elif kind == _CLOSE:
                raise ClosedError(data[body:end])
            start = end
        return start

    def read(self, data: bytes, start: int, end: int) -> None:
        """Take a text frame."""
        self.scan(data, start, end)

    def say(self, text: bytes, kind: int = _TEXT) -> None:
        """Send a frame, masked with zeros."""
        assert len(text) <= _MOST_IN_A_SMALL_FRAME
        head = struct.pack(">BBI", 128 | kind, 128 | len(text), 0)
        self.socket.send(head + text)


class Themis(WebSocket):
    """A page of Themis: ready with the state; it says how far it has read."""

    def __init__(self, client: socket.socket, index: int, ledger: Ledger) -> None:
        super().__init__(client, index, ledger)
        self._frames = 0

    def begin(self) -> None:
        """The state is to come."""

    def read(self, data: bytes, start: int, end: int) -> None:
        """Count; acknowledge every 32nd frame, and what the server asks for."""
        self.is_ready = True
        self.scan(data, start, end)
        self._frames += 1
        is_ping = data.startswith(b'{"type":"ping"', start)
        if is_ping or self._frames >= _FRAMES_PER_ACK:
            self._frames = 0
            if found := _REVISION.search(data, start, end):
                self.say(b'{"type":"ack","revision":%b}' % found[1])


class SocketIO(WebSocket):
    """socket.io over a WebSocket: ready when the namespace is joined."""

    def begin(self) -> None:
        """The handshake of Engine.IO is to come."""

    def read(self, data: bytes, start: int, end: int) -> None:
        """Take a packet: Engine.IO's type, then that of Socket.IO."""
        match data[start : start + 2]:
            case b"42":
                self.scan(data, start, end)
            case b"40":
                self.is_ready = True
            case b"44":
                raise ClosedError(data[start:end])
            case kind if kind[:1] == b"0":
                self.say(b"40")
            case kind if kind[:1] == b"2":
                self.say(b"3")


class EventStream(Line):
    """Server-sent events: ready with django-eventstream's first event."""

    headers = "Accept: text/event-stream\r\n"

    def consume(self, data: bytes) -> int:
        """Take whole events."""
        end = data.rfind(b"\n\n") + 2
        if end < 2:  # noqa: PLR2004 -- there is none
            return 0
        if not self.is_ready:
            self.is_ready = b"event: stream-open" in data[:end]
        self.scan(data, 0, end)
        return end


DIALECTS: dict[str, type[Line]] = {
    "websocket": WebSocket,
    "themis": Themis,
    "socketio": SocketIO,
    "eventstream": EventStream,
}
