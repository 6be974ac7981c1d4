"""Deliveries per second to many sockets of one user: the hub against the usual way.

    python -m benchmarks.hub [--sockets 500] [--messages 200] [--rounds 3]

Starts a private Redis and one daphne with the pub/sub layer. The server has the first
core; sender and client have the second. The client only counts bytes, so that it is not
the bottleneck. Rounds are interleaved; compare the ratio, not the numbers.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import selectors
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from channels_redis.pubsub import RedisPubSubChannelLayer

from realtime.groups import group_of
from tests.processes import RedisServer, free_port
from tests.waiting import wait_until

TEXT = "x" * 400
# RFC 6455: a text frame of 126 to 65,535 bytes has a header of four.
FRAME_BYTES = len(TEXT) + 4
FIRST_REVISION = 1_000_000
EPOCH = "benchmark"


@contextmanager
def serve(folder: Path, redis_url: str) -> Iterator[int]:
    """Run daphne on the first core with a fresh SQLite database."""
    port = free_port()
    environment = os.environ | {
        "DJANGO_SETTINGS_MODULE": "server.settings",
        "DJANGO_DEBUG": "1",
        "DATABASE_URL": f"sqlite:///{folder / 'db.sqlite3'}",
        "REDIS_URL": redis_url,
        # The mailbox never moves here: the checks must not see a rewind.
        "THEMIS_REALTIME_CHECK_INTERVAL": "3600",
    }
    python = [sys.executable]
    for command in (["migrate", "-v0"], ["demo_users", "-v0"]):
        subprocess.run([*python, "manage.py", *command], env=environment, check=True)
    server = subprocess.Popen(
        [
            *("taskset", "-c", "0", *python, "-m", "daphne"),
            *("-b", "127.0.0.1", "-p", str(port), "--ping-interval", "0"),
            "benchmarks.hub_application:application",
        ],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_until(lambda: can_connect(port))
        yield port
    finally:
        server.terminate()
        server.wait()


def can_connect(port: int) -> bool:
    """Tell whether the server listens."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def open_socket(port: int, path: str) -> socket.socket:
    """Do the handshake of a WebSocket by hand, up to the last header."""
    client = socket.create_connection(("127.0.0.1", port))
    client.sendall(
        f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
        f"Origin: http://127.0.0.1:{port}\r\n"
        "Upgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        "Sec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    answer = b""
    while b"\r\n\r\n" not in answer:
        answer += client.recv(4096)
    if b" 101 " not in answer:
        raise RuntimeError(answer.decode())
    return client


def drain(clients: list[socket.socket], quiet: float = 1.0) -> None:
    """Read what the handshakes brought, until nothing comes for a while."""
    with selectors.DefaultSelector() as selector:
        for client in clients:
            client.setblocking(False)
            selector.register(client, selectors.EVENT_READ)
        while ready := selector.select(quiet):
            for key, _events in ready:
                key.fileobj.recv(1 << 20)  # type: ignore[union-attr] # a socket


def count(clients: list[socket.socket], expected: int, seconds: float) -> int:
    """
    Read until *expected* bytes came, or nothing for *seconds*; return how many.

    What a socket misses that the server closes counts as lost.
    """
    received = 0
    buffer = bytearray(1 << 20)
    with selectors.DefaultSelector() as selector:
        for client in clients:
            selector.register(client, selectors.EVENT_READ)
        while received < expected and (ready := selector.select(seconds)):
            for key, _events in ready:
                try:
                    size = key.fileobj.recv_into(buffer)  # type: ignore[union-attr]
                except ConnectionResetError:
                    size = 0
                if not size:
                    selector.unregister(key.fileobj)
                received += size
    return received


async def send(redis_url: str, way: str, messages: int) -> None:
    """Send the messages as fast as the layer takes them."""
    layer = RedisPubSubChannelLayer(hosts=[redis_url])
    for since in range(FIRST_REVISION, FIRST_REVISION + messages):
        if way == "usual":
            await layer.group_send("usual", {"type": "notify", "text": TEXT})
        else:
            await layer.group_send(
                group_of("1"),
                {
                    "type": "themis.push",
                    "v": 1,
                    "user": "1",
                    "epoch": EPOCH,
                    "since": since,
                    "revision": since + 1,
                    "text": TEXT,
                },
            )
    await layer.flush()


def place_mailbox(folder: Path) -> None:
    """Put the mailbox of user 1 at the first revision that is sent."""
    with sqlite3.connect(folder / "db.sqlite3") as database:
        database.execute(
            "INSERT OR REPLACE INTO themis_mailbox (user_id, epoch, revision,"
            " floor_revision, unread) VALUES (1, ?, ?, 0, 0)",
            [EPOCH, FIRST_REVISION],
        )


def run(
    port: int, redis_url: str, way: str, size: argparse.Namespace
) -> tuple[float, float]:
    """Return deliveries per second, and how many of a hundred arrived."""
    clients = [open_socket(port, f"/{way}/") for _number in range(size.sockets)]
    drain(clients)
    expected = size.sockets * size.messages * FRAME_BYTES
    sender = subprocess.Popen(
        [
            *(sys.executable, "-m", "benchmarks.hub", "--send", way),
            *("--messages", str(size.messages), "--redis", redis_url),
        ]
    )
    # The sender's own start is not delivery: the clock starts at the first byte.
    with selectors.DefaultSelector() as selector:
        selector.register(clients[0], selectors.EVENT_READ)
        selector.select(30)
    started = time.perf_counter()
    received = count(clients, expected, seconds=5)
    took = time.perf_counter() - started
    sender.wait()
    for client in clients:
        client.close()
    return received / FRAME_BYTES / took, 100 * received / expected


def main() -> None:
    """Run all rounds and print a line for each way."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sockets", type=int, default=500)
    parser.add_argument("--messages", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--send", choices=["hub", "usual"], help=argparse.SUPPRESS)
    parser.add_argument("--redis", help=argparse.SUPPRESS)
    size = parser.parse_args()
    if size.send:
        asyncio.run(send(size.redis, size.send, size.messages))
        return
    os.sched_setaffinity(0, {1})
    os.environ["THEMIS_REALTIME_MAX_CONNECTIONS_PER_USER"] = str(2 * size.sockets)
    rates: dict[str, list[float]] = {"usual": [], "hub": []}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        redis = RedisServer()
        redis.start()
        try:
            with serve(folder, redis.url) as port:
                place_mailbox(folder)
                for _round in range(size.rounds):
                    for way, found in rates.items():
                        rate, arrived = run(port, redis.url, way, size)
                        found.append(rate)
                        print(f"{way:6} {rate:9,.0f} deliveries/s, {arrived:.0f} %")
        finally:
            redis.stop()
    usual, hub = (statistics.median(rates[way]) for way in ("usual", "hub"))
    print(f"median: hub {hub:,.0f}/s, usual {usual:,.0f}/s, ratio {hub / usual:.1f}")


if __name__ == "__main__":
    main()
