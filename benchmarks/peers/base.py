"""What all peers are: a server on a core of its own, a way in, and a sender."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
from dataclasses import dataclass
from typing import ClassVar

from benchmarks.cores import family, on_server_core
from benchmarks.load.crowd import Door
from tests.processes import PrivateProcess


@dataclass(frozen=True, slots=True)
class Poll:
    """A page that is polled: where, and what a server that works answers."""

    path: str
    status: int = 200
    # Whether it is Themis' state, which is asked for with what the page has.
    is_state: bool = False


class Peer(PrivateProcess):
    """
    One system. Started, it serves on `port`; `close` ends it.

    Args:
        environment: Names the database and the broker, for server and sender alike.
    """

    # What results call it.
    key: ClassVar[str]
    title: ClassVar[str]
    # Of the connections of its pages.
    path: ClassVar[str] = "/ws/notifications/"
    dialect: ClassVar[str] = "websocket"
    # By what they measure; where there are none the peer has no pages to poll.
    polls: ClassVar[dict[str, Poll]] = {}

    def __init__(self, environment: dict[str, str]) -> None:
        self.name = self.key
        super().__init__()
        self._environment = {**environment, "PORT": str(self.port)}

    @classmethod
    def missing(cls) -> str:
        """Return what has to be installed first, if anything."""
        return ""

    def serve(self) -> list[str]:
        """Return the command of the server."""
        raise NotImplementedError

    def send(self) -> list[str]:
        """Return the command of the sender."""
        raise NotImplementedError

    @property
    def door(self) -> Door:
        """Where its pages connect."""
        return Door(self.port, self.path, self.dialect)

    def command(self) -> list[str]:
        """Return the command that starts it where it has to run."""
        return on_server_core(self.serve())

    def environment(self) -> dict[str, str]:
        """Return what server and sender share."""
        return os.environ | self._environment

    def is_ready(self) -> bool:
        """Tell whether it listens."""
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", self.port), 2).close()
            return True
        return False

    def _family(self) -> list[int]:
        # A server may have workers, which would live on.
        return family(self.pid) if self.running else []


def daphne(application: str, port: int, *options: str) -> list[str]:
    """Return the command of a daphne, as its documentation shows it but for options."""
    address = ["-b", "127.0.0.1", "-p", str(port)]
    return [sys.executable, "-m", "daphne", *address, *options, application]


def uvicorn(application: str, port: int, *options: str) -> list[str]:
    """Return the command of an uvicorn with one worker."""
    address = ["--host", "127.0.0.1", "--port", str(port)]
    return [sys.executable, "-m", "uvicorn", *address, *options, application]


def granian(application: str, port: int) -> list[str]:
    """Return the command of a granian with one worker."""
    address = ["--host", "127.0.0.1", "--port", str(port)]
    return [
        *(sys.executable, "-m", "granian", "--interface", "asgi"),
        *(*address, application),
    ]


def sender(name: str) -> list[str]:
    """Return the command of one of `benchmarks.senders`."""
    return [sys.executable, "-m", f"benchmarks.senders.{name}"]
