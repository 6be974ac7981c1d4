"""What servers, Redis and PostgreSQL hold: to find what is left behind."""

import json
import os
import sys
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from tests.processes import DaphneServer, RedisServer


class FaultyServer(DaphneServer):
    """The project with points where it can be made to break (tests.faults.server)."""

    def command(self) -> list[str]:
        return [*super().command()[:-1], "tests.faults.server"]

    def numbers(self) -> dict[str, Any]:
        """What it holds, by its own account."""
        return self._ask("probe", None)

    def arrange(self, **failpoints: Any) -> None:
        """Say what breaks from now on; see tests.faults.failpoints.arrange."""
        self._ask("failpoints", json.dumps(failpoints).encode())

    def be_slow(self) -> None:
        """Keep the thread that all its requests share for 2 s; returns after them."""
        self._ask("slow", None)

    def _ask(self, what: str, body: bytes | None) -> dict[str, Any]:
        with urllib.request.urlopen(
            f"{self.url}/test/{what}", body, timeout=30
        ) as answer:
            said: dict[str, Any] = json.load(answer)
        return said


class FaultyUvicorn(FaultyServer):
    """The same under uvicorn."""

    name = "uvicorn"

    def command(self) -> list[str]:
        return [
            *[sys.executable, "-m", "uvicorn", "tests.faults.application:application"],
            *["--host", "127.0.0.1", "--port", str(self.port)],
            *["--no-access-log", "--ws-max-size", "65536"],
        ]


@dataclass(frozen=True)
class Holdings:
    """What one server process holds, and memory (bytes)."""

    tasks: dict[str, int]
    threads: dict[str, int]
    feeds: int
    groups: int
    sockets: int
    files: int
    memory: int


def holdings_of(server: FaultyServer) -> Holdings:
    said = server.numbers()
    return Holdings(
        tasks=said["tasks"],
        threads=said["threads"],
        feeds=said["feeds"],
        groups=said["groups"],
        sockets=said["sockets"],
        files=len(os.listdir(f"/proc/{server.pid}/fd")),  # noqa: PTH208 -- count only
        memory=_memory_of(server.pid),
    )


def _memory_of(pid: int) -> int:
    resident = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return resident * os.sysconf("SC_PAGE_SIZE")


def broker_holdings(redis_server: RedisServer) -> dict[str, int]:
    """Keys, clients and channels of Redis."""
    with redis_server.client() as client:
        return {
            "keys": client.dbsize(),
            "clients": len(client.client_list()) - 1,
            "channels": len(client.pubsub_channels()),
        }


def connections_to(database_url: str) -> int:
    """How many connections a PostgreSQL database has, besides the asking one."""
    with psycopg.connect(database_url) as connection:
        row = connection.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        ).fetchone()
    assert row is not None
    return int(row[0]) - 1
