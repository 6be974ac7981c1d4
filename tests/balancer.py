"""What stands before several servers, and gives each connection to the next of them."""

import asyncio
import contextlib
import threading
from collections.abc import Iterator, Sequence

_CHUNK = 65536


class Balancer:
    """Forwards bytes, in a thread of its own: each new connection to the next server of
    `ports` on 127.0.0.1 that listens. What a server cuts off is cut off here too.
    """

    def __init__(self, ports: Sequence[int]) -> None:
        self._ports = list(ports)
        self.port = 0
        # How many connections each server has been given.
        self.given = dict.fromkeys(ports, 0)
        self._writers: set[asyncio.StreamWriter] = set()
        self._is_running = threading.Event()
        self._over = asyncio.Event()
        self._thread = threading.Thread(target=asyncio.run, args=(self._run(),))
        self._loop: asyncio.AbstractEventLoop

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def websocket_url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/ws/notifications/"

    def start(self) -> None:
        self._thread.start()
        assert self._is_running.wait(10)

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join()

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        server = await asyncio.start_server(self._serve, "127.0.0.1")
        self.port = server.sockets[0].getsockname()[1]
        self._is_running.set()
        await self._over.wait()
        server.close()
        while others := asyncio.all_tasks() - {asyncio.current_task()}:
            for writer in self._writers:
                writer.transport.abort()
            await asyncio.wait(others, timeout=0.1)

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        with self._open(writer), contextlib.suppress(OSError):
            there_reader, there_writer = await self._connect()
            with self._open(there_writer):
                ways = [
                    asyncio.ensure_future(_pour(reader, there_writer)),
                    asyncio.ensure_future(_pour(there_reader, writer)),
                ]
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
                for way in ways:
                    way.cancel()
                await asyncio.wait(ways)

    @contextlib.contextmanager
    def _open(self, writer: asyncio.StreamWriter) -> Iterator[None]:
        self._writers.add(writer)
        yield
        self._writers.discard(writer)
        writer.close()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        for _port in self._ports:
            port = self._ports.pop(0)
            self._ports.append(port)
            with contextlib.suppress(ConnectionRefusedError):
                pair = await asyncio.open_connection("127.0.0.1", port)
                self.given[port] += 1
                return pair
        raise ConnectionRefusedError


async def _pour(source: asyncio.StreamReader, into: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await source.read(_CHUNK):
            into.write(data)
            await into.drain()


@contextlib.contextmanager
def balancer_of(*ports: int) -> Iterator[Balancer]:
    """Run a balancer before the servers on `ports`."""
    balancer = Balancer(ports)
    balancer.start()
    try:
        yield balancer
    finally:
        balancer.stop()
