"""A proxy that does to sockets what the ones between a page and its server do."""

import asyncio
import contextlib
import threading
import time
from collections.abc import Coroutine, Iterator
from enum import Enum, auto
from typing import Any, TypeVar

T = TypeVar("T")

_CHUNK = 65536
_REFUSAL = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class Upgrades(Enum):
    """What becomes of a request to upgrade."""

    PASS = auto()
    # Taken, and never answered.
    SWALLOW = auto()
    # Answered with 403.
    REFUSE = auto()
    # Accepted by the server, whose frames are then lost.
    SILENCE = auto()


class Proxy:
    """Forwards bytes to a server on 127.0.0.1, in a thread of its own.

    HTTP always passes. `upgrades` says what becomes of the next sockets, except of
    those whose path has `exempt` in it.
    """

    def __init__(self, target: int) -> None:
        self._target = target
        self.upgrades = Upgrades.PASS
        self.exempt = ""
        # When each upgrade was asked for, and how many of those sockets still stand.
        self.attempts: list[float] = []
        self.standing = 0
        self.port = 0
        self._sockets: dict[asyncio.StreamWriter, asyncio.Event] = {}
        self._writers: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        self._thread.start()
        self.port = self._do(self._listen())

    def stop(self) -> None:
        self._do(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def cut(self) -> None:
        """Break all sockets, without a word to either side."""
        self._do(self._cut())

    def silence(self) -> None:
        """From now on the open sockets carry nothing to the page, and stay open."""
        self._do(self._silence())

    def _do(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _listen(self) -> int:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1")
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def _cut(self) -> None:
        for writer in self._sockets:
            writer.transport.abort()

    async def _silence(self) -> None:
        for silent in self._sockets.values():
            silent.set()

    async def _close(self) -> None:
        self._server.close()
        while others := asyncio.all_tasks() - {asyncio.current_task()}:
            for writer in self._writers:
                writer.transport.abort()
            await asyncio.wait(others, timeout=0.1)

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._writers.add(writer)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            if b"\r\nupgrade: websocket\r\n" in head.lower():
                await self._serve_socket(head, reader, writer)
            else:
                await self._forward(head, reader, writer)
        await self._close_writer(writer)

    async def _close_writer(self, writer: asyncio.StreamWriter) -> None:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        self._writers.discard(writer)

    async def _serve_socket(
        self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        path = head.split(b"\r\n", 1)[0].decode("latin1")
        exempted = self.exempt and self.exempt in path
        upgrades = Upgrades.PASS if exempted else self.upgrades
        self.attempts.append(time.monotonic())
        if upgrades is Upgrades.REFUSE:
            writer.write(_REFUSAL)
            await writer.drain()
            return
        silent = self._sockets[writer] = asyncio.Event()
        self.standing += 1
        try:
            if upgrades is Upgrades.SWALLOW:
                await reader.read(_CHUNK)
            elif upgrades is Upgrades.SILENCE:
                await self._forward(head, reader, writer, silent, only_head=True)
            else:
                await self._forward(head, reader, writer, silent)
        finally:
            self.standing -= 1
            del self._sockets[writer]

    async def _forward(
        self,
        head: bytes,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        silent: asyncio.Event | None = None,
        *,
        only_head: bool = False,
    ) -> None:
        there_reader, there_writer = await asyncio.open_connection(
            "127.0.0.1", self._target
        )
        self._writers.add(there_writer)
        try:
            there_writer.write(head)
            if only_head and silent is not None:
                writer.write(await there_reader.readuntil(b"\r\n\r\n"))
                silent.set()
            ways = [
                asyncio.ensure_future(_pour(reader, there_writer)),
                asyncio.ensure_future(_pour(there_reader, writer, silent)),
            ]
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            for way in ways:
                way.cancel()
            await asyncio.wait(ways)
        finally:
            await self._close_writer(there_writer)


async def _pour(
    source: asyncio.StreamReader,
    into: asyncio.StreamWriter,
    silent: asyncio.Event | None = None,
) -> None:
    with contextlib.suppress(OSError):
        while data := await source.read(_CHUNK):
            if silent is None or not silent.is_set():
                into.write(data)
                await into.drain()


@contextlib.contextmanager
def proxy_of(port: int) -> Iterator[Proxy]:
    """Run a proxy in front of the server on `port`."""
    proxy = Proxy(port)
    proxy.start()
    try:
        yield proxy
    finally:
        proxy.stop()
