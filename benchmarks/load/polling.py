"""Pages that poll: the next request of a connection follows the answer to the last."""

from __future__ import annotations

import json
import selectors
import socket
import time
from dataclasses import dataclass
from itertools import cycle, islice
from typing import Any

from benchmarks.load.crowd import RECEIVED_AT_ONCE, session_key

# Connections, each of which is kept open.
AT_ONCE = 16


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server has answered, as far as polling needs it."""

    status: int
    etag: str
    body: bytes


class Connection:
    """One connection that is kept open, for one request after the other."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._rest = b""

    def receive(self) -> Answer | None:
        """Take what came; return the answer if that was its end."""
        data = self.socket.recv(RECEIVED_AT_ONCE)
        if not data:
            raise ConnectionError
        self._rest += data
        head, end, body = self._rest.partition(b"\r\n\r\n")
        if not end:
            return None
        status, *lines = head.decode("latin1").split("\r\n")
        headers = {
            name.lower(): value.strip()
            for name, _colon, value in (line.partition(":") for line in lines)
        }
        if len(body) < int(headers.get("content-length", 0)):
            return None
        self._rest = b""
        return Answer(int(status.split()[1]), headers.get("etag", ""), body)

    def ask(self, request: bytes) -> Answer:
        """Send *request*, and wait for the answer."""
        self.socket.sendall(request)
        while (answer := self.receive()) is None:
            pass
        return answer


class Polling:
    """
    Requests of many users over a few connections.

    Args:
        port: Of the server.
        path: What is polled.
        users: Whose pages these are, by primary key.
        is_state: It is Themis' state: each page asks for what it lacks, with the ETag
            of what it has.
    """

    def __init__(self, port: int, path: str, users: range, *, is_state: bool) -> None:
        self._port = port
        if is_state:
            connection = Connection(port)
            self._requests = [self._later(connection, path, user) for user in users]
            connection.socket.close()
        else:
            self._requests = [self._request(path, user) for user in users]

    def run(self, count: int, status: int) -> dict[str, Any]:
        """Send *count* requests; return how long it took, and how many failed."""
        requests = islice(cycle(self._requests), count)
        failed = 0
        began = time.monotonic()
        with selectors.DefaultSelector() as selector:
            for request in islice(requests, AT_ONCE):
                connection = Connection(self._port)
                selector.register(connection.socket, selectors.EVENT_READ, connection)
                connection.socket.sendall(request)
            while selector.get_map():
                for key, _events in selector.select():
                    connection = key.data
                    if (answer := connection.receive()) is None:
                        continue
                    failed += answer.status != status
                    if (following := next(requests, None)) is not None:
                        connection.socket.sendall(following)
                    else:
                        selector.unregister(connection.socket)
                        connection.socket.close()
        return {"seconds": time.monotonic() - began, "failed": failed}

    def _request(self, path: str, user: int, etag: str = "") -> bytes:
        condition = f"If-None-Match: {etag}\r\n" if etag else ""
        return (
            f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{self._port}\r\n"
            f"Cookie: sessionid={session_key(user)}\r\n{condition}\r\n"
        ).encode()

    def _later(self, connection: Connection, path: str, user: int) -> bytes:
        """Return what a page asks that has read its state, and polled once."""
        state = json.loads(connection.ask(self._request(path, user)).body)
        path += f"?since={state['revision']}&epoch={state['epoch']}"
        etag = connection.ask(self._request(path, user)).etag
        return self._request(path, user, etag)
