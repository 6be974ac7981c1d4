"""Pages that are the twin of the shipped JavaScript in Python (tests.mirror): where the
two differ, one of them is wrong.
"""

import asyncio
import contextlib
import json
import random
import threading
import time
import urllib.parse
from types import TracebackType
from typing import Any, Self

from django.utils import timezone
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidHandshake, WebSocketException
from websockets.typing import Origin

from tests.faults.pages import PageLog
from tests.mirror import Mirror

# After 0.25 s at the least and up to three.
_WAITS = (0.25, 0.5, 1.0, 2.0, 3.0)


class _Twin:
    """One page: it connects, applies what it is told, and comes back when cut off."""

    def __init__(self, log: PageLog, session: str) -> None:
        self.log = log
        self.mirror = Mirror()
        self._session = session

    async def run(self) -> None:
        failures = 0
        while True:
            self._tell("connecting")
            with contextlib.suppress(OSError, WebSocketException, InvalidHandshake):
                async with connect(
                    self._address,
                    origin=Origin(self.log.url),
                    additional_headers={"Cookie": f"sessionid={self._session}"},
                    compression=None,
                    ping_interval=None,
                    open_timeout=8,
                ) as socket:
                    async for text in socket:
                        failures = 0
                        await self._take(json.loads(text), socket)
            self._tell("backoff")
            longest = _WAITS[min(failures, len(_WAITS) - 1)]
            await asyncio.sleep(random.uniform(_WAITS[0], longest))  # noqa: S311 -- no secret
            failures += 1

    @property
    def _address(self) -> str:
        url = self.log.url.replace("http", "ws") + "/ws/notifications/"
        if self.mirror.epoch is None:
            return url
        return f"{url}?{urllib.parse.urlencode(self.mirror.position)}"

    async def _take(self, frame: dict[str, Any], socket: ClientConnection) -> None:
        if frame["type"] == "ping":
            await _say(socket, {"type": "ack", "revision": self.mirror.revision})
        if frame["type"] not in {"snapshot", "changes"}:
            return
        since = [self.mirror.epoch, self.mirror.revision]
        outcome, news = self.mirror.apply(frame)
        if self.log.state != "open":
            self._tell("open")
        if outcome == "gap":
            await _say(socket, {"type": "sync", **self.mirror.position})
        if outcome != "applied":
            return
        event = {
            "event": "applied",
            "at": time.time(),
            "kind": frame["type"],
            "since": since,
            "epoch": self.mirror.epoch,
            "revision": self.mirror.revision,
            "unread": self.mirror.unread,
            "items": [(item["id"], item["title"]) for item in frame["items"]],
            # Newest first on the wire; it rings in the order that they were made.
            "rung": [item["id"] for item in reversed(news)],
        }
        self.log.take(event)

    def look(self) -> None:
        items = [
            (
                item["id"],
                item["title"],
                item["read_at"] is not None,
                item["created_revision"],
                item["revision"],
            )
            for item in self.mirror.shown(timezone.now())
        ]
        self.log.take(
            {
                "event": "screen",
                "epoch": self.mirror.epoch,
                "revision": self.mirror.revision,
                "unread": self.mirror.unread,
                "items": items,
                "state": self.log.state,
            }
        )

    def _tell(self, state: str) -> None:
        self.log.take({"event": "transport", "at": time.time(), "state": state})


async def _say(socket: ClientConnection, frame: dict[str, Any]) -> None:
    await socket.send(json.dumps(frame))


class Twins:
    """Such pages, in a thread of their own. What they are told is in their logs."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._loop.run_forever, name="twins", daemon=True
        )
        self._twins: dict[str, tuple[_Twin, asyncio.Task[None]]] = {}

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for twin, _task in list(self._twins.values()):
            self.close(twin.log)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def open(self, user: str, session: str, url: str) -> PageLog:
        log = PageLog(f"{user} twin {len(self._twins)}", user, url)
        twin = _Twin(log, session)

        async def begin() -> asyncio.Task[None]:
            return asyncio.create_task(twin.run())

        task = asyncio.run_coroutine_threadsafe(begin(), self._loop).result(10)
        self._twins[log.name] = twin, task
        return log

    def close(self, page: PageLog) -> None:
        """Close the page for good."""
        page.is_closed = True
        _twin, task = self._twins[page.name]

        async def end() -> None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

        asyncio.run_coroutine_threadsafe(end(), self._loop).result(10)

    def look(self) -> None:
        """Have each page's `screen` brought up to date."""

        async def look() -> None:
            for twin, _task in self._twins.values():
                twin.look()

        asyncio.run_coroutine_threadsafe(look(), self._loop).result(10)
