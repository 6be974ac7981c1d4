"""A network link that breaks when told to: between pages and servers, or between
servers and what they need.
"""

import asyncio
import contextlib
import socket
import struct
import threading
import time
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any, Literal, Self, TypeVar

T = TypeVar("T")

Way = Literal["up", "down"]  # to the server, to the client

_CHUNK = 65536
# On, for 0 s: closing sends RST and not FIN.
_NO_LINGER = struct.pack("ii", 1, 0)
# How often a throttled link passes its share on.
_TURN = 0.05


@dataclass(eq=False)
class _Line:
    """One connection through a link."""

    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    # What it carries these ways is lost, for ever: bytes are missing.
    lost: set[Way] = field(default_factory=set)
    over: asyncio.Event = field(default_factory=asyncio.Event)

    def cut(self) -> None:
        """Reset it, so that both sides notice at once."""
        for writer in (self.client, self.server):
            end: socket.socket = writer.get_extra_info("socket")
            with contextlib.suppress(OSError):  # it has ended by itself
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
            writer.transport.abort()
        self.over.set()


class Link:
    """
    Forwards bytes to a port on 127.0.0.1 from a port of its own, in a thread.

    Whatever is wrong with it, `mend` makes it good again, and says so by breaking the
    connections that can't go on.
    """

    def __init__(self, target: int) -> None:
        self._target = target
        self.port = 0
        # When each connection was asked for (time.monotonic).
        self.attempts: list[float] = []
        self._lines: set[_Line] = set()
        self._severed = False
        self._lost: set[Way] = set()
        self._delay = 0.0
        self._rate = 0
        self._chunk = _CHUNK
        self._loop = asyncio.new_event_loop()
        self._flows = asyncio.Event()
        self._flows.set()
        self._thread = threading.Thread(
            target=self._loop.run_forever, name="link", daemon=True
        )

    def __enter__(self) -> Self:
        self._thread.start()
        self.port = self._do(self._listen())
        return self

    def __exit__(self, *args: object) -> None:
        self._do(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def standing(self) -> int:
        """How many connections there are."""
        return len(self._lines)

    # What breaks

    def cut(self) -> None:
        """Reset all connections; new ones pass."""
        self._do(self._cut())

    def sever(self) -> None:
        """Reset all connections and refuse new ones."""
        self._severed = True
        self._do(self._cut())

    def stall(self) -> None:
        """Carry nothing, old connections and new: they stay open and fill up."""
        self._do(self._set_flow(flows=False))

    def lose(self, *ways: Way) -> None:
        """Lose what is said from now on, and that a side hangs up; *ways* or both."""
        self._do(self._lose(set(ways) or {"up", "down"}))

    def delay(self, seconds: float) -> None:
        """Carry everything so much later; what comes meanwhile goes together."""
        self._delay = seconds

    def throttle(self, bytes_per_second: int) -> None:
        self._rate = bytes_per_second

    def chop(self) -> None:
        """Carry single bytes."""
        self._chunk = 1

    def mend(self) -> None:
        """Carry everything again."""
        self._severed = False
        self._delay, self._rate, self._chunk = 0.0, 0, _CHUNK
        self._do(self._mend())

    # In the loop

    def _do(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _listen(self) -> int:
        self._server = await asyncio.start_server(
            self._serve, "127.0.0.1", backlog=1_024
        )
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def _close(self) -> None:
        self._server.close()
        while others := asyncio.all_tasks() - {asyncio.current_task()}:
            self._flows.set()
            await self._cut()
            for task in others:
                task.cancel()
            await asyncio.wait(others, timeout=0.1)

    async def _cut(self) -> None:
        for line in self._lines:
            line.cut()

    async def _set_flow(self, *, flows: bool) -> None:
        if flows:
            self._flows.set()
        else:
            self._flows.clear()

    async def _lose(self, ways: set[Way]) -> None:
        self._lost = ways
        for line in self._lines:
            line.lost |= ways

    async def _mend(self) -> None:
        self._lost = set()
        for line in self._lines:
            if line.lost:
                line.cut()
        self._flows.set()

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.attempts.append(time.monotonic())
        if self._severed:
            writer.transport.abort()
            return
        try:
            there_reader, there_writer = await asyncio.open_connection(
                "127.0.0.1", self._target
            )
        except OSError:
            writer.transport.abort()
            return
        line = _Line(writer, there_writer, set(self._lost))
        self._lines.add(line)
        ways = [
            asyncio.create_task(self._pour(reader, there_writer, line, "up")),
            asyncio.create_task(self._pour(there_reader, writer, line, "down")),
            asyncio.create_task(_wait_over(line)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._lines.discard(line)
            for way in ways:
                way.cancel()
            line.client.close()
            line.server.close()

    async def _pour(
        self,
        source: asyncio.StreamReader,
        into: asyncio.StreamWriter,
        line: _Line,
        way: Way,
    ) -> None:
        with contextlib.suppress(OSError):
            while True:
                await self._flows.wait()
                data = await source.read(_CHUNK)
                if self._delay:
                    await asyncio.sleep(self._delay)
                await self._flows.wait()
                if way in line.lost:
                    if not data:
                        # The other side is not told that this one has hung up.
                        await line.over.wait()
                        return
                    continue
                if not data:
                    return
                await self._carry(data, into)

    async def _carry(self, data: bytes, into: asyncio.StreamWriter) -> None:
        step, rate = self._chunk, self._rate
        if rate:
            step = min(step, max(1, int(rate * _TURN)))
        for start in range(0, len(data), step):
            into.write(data[start : start + step])
            await into.drain()
            if rate:
                await asyncio.sleep(step / rate)
            elif step == 1:
                await asyncio.sleep(0)


async def _wait_over(line: _Line) -> None:
    await line.over.wait()
