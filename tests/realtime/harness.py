"""The push side without a server, a broker or a database where a test wants none."""

import asyncio
import json
import threading
from collections import defaultdict
from types import SimpleNamespace, TracebackType
from typing import Any, Self
from urllib.parse import urlencode

from django.utils import timezone

from realtime.consumers import notifications
from realtime.groups import EVERY_HUB
from realtime.sockets import Push, Socket
from tests.waiting import await_until
from themis.events import Changes, Frame, Snapshot, encode

EPOCH = "an epoch"


def make_text(revision: int, *, since: int | None = None) -> str:
    """A state frame as the hub forwards it: opaque to it, so it can be anything."""
    return encode({"type": "changes", "since": since, "revision": revision})


def make_push(
    revision: int, *, since: int | None = None, epoch: str = EPOCH, poke: bool = False
) -> Push:
    since = revision - 1 if since is None else since
    text = None if poke else make_text(revision, since=since)
    return Push(epoch, since, revision, text)


def make_message(revision: int, user: object = 1, **options: Any) -> dict[str, Any]:
    """A push as the channel layer carries it."""
    push = make_push(revision, **options)
    return {
        "type": "themis.push",
        "v": 1,
        "user": str(user),
        "epoch": push.epoch,
        "since": push.since,
        "revision": push.revision,
        "text": push.text,
    }


class Wire:
    """The server's `send`: keeps what it is given; may wait, or break."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []
        self.open = asyncio.Event()
        self.open.set()
        self.error: Exception | None = None
        self.yields = False

    async def __call__(self, message: dict[str, Any]) -> None:
        if self.yields:
            await asyncio.sleep(0)
        if not self.open.is_set():
            await self.open.wait()
        if self.error is not None:
            raise self.error
        if message["type"] == "websocket.close" and type(message["code"]) is not int:
            raise TypeError("What daphne closes with takes no enum for a number.")
        self.messages.append(message)

    @property
    def texts(self) -> list[str]:
        return [m["text"] for m in self.messages if m["type"] == "websocket.send"]

    @property
    def frames(self) -> list[dict[str, Any]]:
        return [json.loads(text) for text in self.texts]

    @property
    def revisions(self) -> list[int]:
        """The revisions of the state frames, in the order they were sent."""
        return [
            frame["revision"]
            for frame in self.frames
            if frame["type"] in {"changes", "snapshot"}
        ]

    @property
    def close_code(self) -> int | None:
        codes = [m["code"] for m in self.messages if m["type"] == "websocket.close"]
        return codes[0] if codes else None


def open_socket(wire: Wire, revision: int = 0, epoch: str = EPOCH) -> Socket:
    """A socket whose page was told of `revision`, with nothing of that on the wire."""
    socket = Socket(wire)
    socket.held = None
    socket.epoch, socket.revision = epoch, revision
    return socket


class Box:
    """A mailbox that is only numbers. `read_state` is called in a reader's thread."""

    def __init__(self) -> None:
        self.epoch = EPOCH
        self.revision = 0
        self.error: Exception | None = None
        # What each read asked with.
        self.reads: list[tuple[Any, int | None, str | None]] = []
        # A read that has looked at the numbers goes on when this is set.
        self.may_return = threading.Event()
        self.may_return.set()

    def read_state(
        self, user: Any, *, since: int | None = None, epoch: str | None = None
    ) -> Frame:
        revision = self.revision
        self.reads.append((user, since, epoch))
        if not self.may_return.wait(10):
            raise TimeoutError
        if self.error is not None:
            raise self.error
        common: dict[str, Any] = {
            "user_key": str(user),
            "epoch": self.epoch,
            "revision": revision,
            "unread": 0,
            "items": [],
            "now": timezone.now(),
            "poll_interval": 60,
            "desktop": False,
        }
        if since is None or epoch != self.epoch:
            return Snapshot(**common)
        return Changes(**common, since=since, removed=[])


class FakeLayer:
    """A channel layer of one process, whose every step a test can hold up or break."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str]] = []
        self.done: list[tuple[str, str]] = []
        self.groups: set[str] = set()
        self.errors: dict[str, Exception] = {}
        self.gates: defaultdict[str, asyncio.Event] = defaultdict(_open_gate)
        self._queue: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    @property
    def user_calls(self) -> list[tuple[str, str]]:
        """All calls but for the group of all hubs, which each joins at first."""
        return [(name, subject) for name, subject in self.calls if subject != EVERY_HUB]

    async def new_channel(self, prefix: str = "specific.") -> str:
        await self._step("new_channel", prefix)
        return f"{prefix}1"

    async def receive(self, channel: str) -> dict[str, Any]:
        del channel
        return await self._queue.get()

    async def send(self, channel: str, message: dict[str, Any]) -> None:
        await self._step("send", channel)
        self._queue.put_nowait(message)

    async def group_add(self, group: str, channel: str) -> None:
        del channel
        await self._step("group_add", group)
        self.groups.add(group)

    async def group_discard(self, group: str, channel: str) -> None:
        del channel
        await self._step("group_discard", group)
        self.groups.discard(group)

    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        """As real ones do: nobody in the group, nobody is told, and nobody knows."""
        await self._step("group_send", group)
        if group in self.groups:
            self._queue.put_nowait(message)

    async def _step(self, name: str, subject: str) -> None:
        self.calls.append((name, subject))
        await self.gates[name].wait()
        if name in self.errors:
            raise self.errors[name]
        self.done.append((name, subject))


def _open_gate() -> asyncio.Event:
    gate = asyncio.Event()
    gate.set()
    return gate


class Connection:
    """One socket, as a server runs it: the application, its `receive` and `send`."""

    def __init__(
        self,
        user: Any = None,
        *,
        query: str | dict[str, Any] = "",
        origin: str | None = "http://testserver",
        cookie: str | None = None,
        **scope: Any,
    ) -> None:
        query = query if isinstance(query, str) else urlencode(query)
        headers = [(b"host", b"testserver")]
        if origin is not None:
            headers.append((b"origin", origin.encode()))
        if cookie is not None:
            headers.append((b"cookie", cookie.encode("latin1")))
        self.scope = {
            "type": "websocket",
            "path": "/ws/notifications/",
            "headers": headers,
            "query_string": query.encode(),
            **scope,
        }
        # With a cookie it is as without any middleware: nobody has said who it is.
        if cookie is None:
            self.scope["user"] = user
        self.wire = Wire()
        self._inbox: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._inbox.put_nowait({"type": "websocket.connect"})
        # Whether the page answers a close, and the server says that it has gone.
        self.answers_close = True
        self.task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.leave()

    def start(self) -> None:
        application = notifications(self.scope, self._inbox.get, self._send)
        self.task = asyncio.create_task(application)

    async def _send(self, message: dict[str, Any]) -> None:
        await self.wire(message)
        if message["type"] == "websocket.close" and self.answers_close:
            gone = {"type": "websocket.disconnect", "code": message["code"]}
            self._inbox.put_nowait(gone)

    async def leave(self) -> None:
        """The page goes; returns when the application has ended."""
        assert self.task is not None
        self._inbox.put_nowait({"type": "websocket.disconnect", "code": 1001})
        async with asyncio.timeout(5):
            await self.task

    def say(self, frame: dict[str, Any] | str | bytes) -> None:
        """What the page sends: an object as JSON, text as it is, or bytes."""
        if isinstance(frame, bytes):
            message: dict[str, Any] = {"bytes": frame}
        else:
            message = {"text": frame if isinstance(frame, str) else json.dumps(frame)}
        self._inbox.put_nowait({"type": "websocket.receive", **message})

    @property
    def inbox_size(self) -> int:
        """How many of the page's frames the application has not taken yet."""
        return self._inbox.qsize()

    async def frames(self, count: int, *, within: float = 5) -> list[dict[str, Any]]:
        """The frames so far, when there are at least `count`."""
        await await_until(lambda: len(self.wire.texts) >= count, within=within)
        return self.wire.frames

    async def close_code(self) -> int:
        """The code that the server closes with; the application ends by itself."""
        assert self.task is not None
        async with asyncio.timeout(5):
            await self.task
        assert self.wire.messages[0] == {"type": "websocket.accept"}
        assert self.wire.messages[-1]["type"] == "websocket.close"
        code = self.wire.close_code
        assert code is not None
        return code


def account(pk: object = 1) -> Any:
    """A signed-in user, for code that only asks who it is."""
    return SimpleNamespace(pk=pk, is_authenticated=True)
