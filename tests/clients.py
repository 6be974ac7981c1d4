"""An open page without a browser: it signs in over HTTP, holds a socket, and keeps
state by the page's rules. What it was sent, and what was new to it, can be looked at.
"""

import asyncio
import contextlib
import http.cookiejar
import json
import re
import ssl
import time
import urllib.parse
import urllib.request
from types import TracebackType
from typing import Any, Protocol, Self

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.mirror import Mirror
from tests.waiting import await_until


class Address(Protocol):
    """Where pages go: a server, or what stands before some."""

    @property
    def url(self) -> str: ...

    @property
    def websocket_url(self) -> str: ...


def _tls_of(server: Address) -> ssl.SSLContext | None:
    """What clients of a server with a certificate of its own trust."""
    return getattr(server, "tls", None)


def sign_in(server: Address, username: str = "ada") -> str:
    """Sign in through the form; the Cookie header of the session."""
    jar = http.cookiejar.CookieJar()
    opener = urllib.request.build_opener(
        urllib.request.HTTPCookieProcessor(jar),
        urllib.request.HTTPSHandler(context=_tls_of(server)),
    )
    address = f"{server.url}/accounts/login/"
    with opener.open(address, timeout=10) as response:
        form = response.read().decode()
    token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', form)
    assert token, form
    fields = {
        "csrfmiddlewaretoken": token[1],
        "username": username,
        "password": "themis-demo",
    }
    body = urllib.parse.urlencode(fields).encode()
    request = urllib.request.Request(address, body, {"Origin": server.url})
    opener.open(request, timeout=10).close()
    cookies = {cookie.name: cookie.value for cookie in jar}
    assert "sessionid" in cookies, "The form did not sign in."
    return f"sessionid={cookies['sessionid']}"


class Page:
    """One tab of a signed-in person."""

    def __init__(
        self, server: Address, cookie: str, *, origin: str | None = None
    ) -> None:
        self.server = server
        self.mirror = Mirror()
        # Every frame of every connection, and the close codes, in order.
        self.frames: list[dict[str, Any]] = []
        self.close_codes: list[int | None] = []
        # What was new to the page: titles, and when each came (time.monotonic).
        self.rung: list[str] = []
        self.rung_at: dict[str, float] = {}
        # When the page first held each revision (time.time).
        self.told_at: dict[int, float] = {}
        self._cookie = cookie
        self._origin: Any = origin or server.url
        self._socket: ClientConnection | None = None
        self._reading: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        return await self.open()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def open(self, *, within: float = 10) -> Self:
        """Connect from where the page stands; returns when it has been told."""
        position = self.mirror.position
        query = urllib.parse.urlencode(position) if self.mirror.epoch else ""
        told = len(self.state_frames)
        self._socket = await connect(
            f"{self.server.websocket_url}?{query}",
            origin=self._origin,
            additional_headers={"Cookie": self._cookie},
            compression=None,
            ssl=_tls_of(self.server),
            ping_interval=None,
        )
        self._reading = asyncio.create_task(self._read(self._socket))
        await await_until(
            lambda: len(self.state_frames) > told or self.is_closed, within=within
        )
        return self

    async def close(self) -> None:
        if self._socket is not None:
            await self._socket.close()
        await self.wait_closed()

    async def wait_closed(self) -> int | None:
        """The close code, when the connection has ended."""
        if self._reading is not None:
            async with asyncio.timeout(15):
                await self._reading
        return self.close_codes[-1] if self.close_codes else None

    async def say(self, frame: dict[str, Any] | str | bytes) -> None:
        assert self._socket is not None
        text = json.dumps(frame) if isinstance(frame, dict) else frame
        await self._socket.send(text)

    @property
    def is_closed(self) -> bool:
        return self._reading is None or self._reading.done()

    @property
    def state_frames(self) -> list[dict[str, Any]]:
        return [f for f in self.frames if f["type"] in {"snapshot", "changes"}]

    async def rings(self, title: str, *, within: float = 10) -> float:
        """Wait until the notification has rung; when it did (time.monotonic)."""
        await await_until(lambda: title in self.rung_at, within=within)
        return self.rung_at[title]

    async def _read(self, socket: ClientConnection) -> None:
        with contextlib.suppress(ConnectionClosed):
            async for text in socket:
                await self._take(json.loads(text))
        self.close_codes.append(socket.close_code)

    async def _take(self, frame: dict[str, Any]) -> None:
        self.frames.append(frame)
        if frame["type"] == "ping":
            await self.say({"type": "ack", "revision": self.mirror.revision})
        if frame["type"] not in {"snapshot", "changes"}:
            return
        outcome, news = self.mirror.apply(frame)
        self.told_at.setdefault(self.mirror.revision, time.time())
        if outcome == "gap":
            await self.say({"type": "sync", **self.mirror.position})
        # Newest first on the wire; it rings in the order that they were made.
        for item in reversed(news):
            self.rung.append(item["title"])
            self.rung_at[item["title"]] = time.monotonic()
