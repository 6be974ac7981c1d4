"""A client that does what no page does: it reads slowly or not at all, and says what it
likes, down to the bytes.
"""

import contextlib
import json
import os
import socket
import struct
import time
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

TEXT, BINARY, CLOSE, PING = 1, 2, 8, 9
# So that little is on the way between a server and a stranger who does not read.
_RECEIVE_BUFFER = 4 * 1024


def make_frame(payload: bytes | str, opcode: int = TEXT, *, end: bool = True) -> bytes:
    """A frame of RFC 6455 as clients send it."""
    if isinstance(payload, str):
        payload = payload.encode()
    first = opcode | (0x80 if end else 0)
    size = len(payload)
    if size < 126:
        head = struct.pack("!BB", first, 0x80 | size)
    elif size < 65_536:
        head = struct.pack("!BBH", first, 0x80 | 126, size)
    else:
        head = struct.pack("!BBQ", first, 0x80 | 127, size)
    mask = os.urandom(4)
    spread = mask * (size // 4 + 1)
    masked = bytes(a ^ b for a, b in zip(payload, spread, strict=False))
    return head + mask + masked


class Stranger:
    """One connection, from the handshake on."""

    def __init__(self, url: str, cookie: str) -> None:
        address = urlsplit(url)
        assert address.hostname
        assert address.port
        self._socket = socket.socket()
        # Before it connects, because the window is agreed upon then.
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
        self._socket.settimeout(20)
        self._socket.connect((address.hostname, address.port))
        self.port: int = self._socket.getsockname()[1]
        self._left = b""
        self._socket.sendall(
            f"GET /ws/notifications/ HTTP/1.1\r\nHost: {address.netloc}\r\n"
            f"Origin: {url}\r\nCookie: {cookie}\r\n"
            "Upgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
            "Sec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        while b"\r\n\r\n" not in self._left:
            self._left += self._socket.recv(4096)
        answer, _, self._left = self._left.partition(b"\r\n\r\n")
        assert b" 101 " in answer, answer

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        self._socket.close()

    def say(self, *frames: dict[str, Any]) -> None:
        self.send(b"".join(make_frame(json.dumps(frame)) for frame in frames))

    def send(self, data: bytes) -> bool:
        """Send bytes; whether the server took them all."""
        try:
            self._socket.sendall(data)
        except OSError:
            return False
        return True

    def read(self, size: int = 65_536) -> bytes:
        """Some of what came; nothing when the server has hung up."""
        with contextlib.suppress(OSError):
            return self._socket.recv(size)
        return b""

    def frame(self) -> tuple[int, bytes] | None:
        """The next frame as opcode and payload; None when the server has hung up."""
        while (frame := self._parse()) is None:
            data = self.read()
            if not data:
                return None
            self._left += data
        return frame

    def state(self) -> dict[str, Any]:
        """The next frame of text."""
        while (frame := self.frame()) is not None:
            if frame[0] == TEXT:
                told: dict[str, Any] = json.loads(frame[1])
                return told
        raise ConnectionError

    def close_code(self) -> int | None:
        """The code that the server closes with; None if it just hangs up."""
        while (frame := self.frame()) is not None:
            if frame[0] == CLOSE:
                (code,) = struct.unpack("!H", frame[1][:2])
                return int(code)
        return None

    def trickle(self, seconds: float, bytes_per_second: int) -> None:
        """Read only so much, until the server hangs up."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and self.read(bytes_per_second // 10):
            time.sleep(0.1)

    def _parse(self) -> tuple[int, bytes] | None:
        data = self._left
        if len(data) < 2:
            return None
        size, start = data[1] & 0x7F, 2
        if size == 126:
            size, start = int.from_bytes(data[2:4]), 4
        elif size == 127:
            size, start = int.from_bytes(data[2:10]), 10
        if len(data) < start + size or len(data) < start:
            return None
        self._left = data[start + size :]
        return data[0] & 0x0F, data[start : start + size]
