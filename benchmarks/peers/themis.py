"""Themis under three servers."""

from __future__ import annotations

from importlib.util import find_spec
from typing import ClassVar

from benchmarks.peers.base import Peer, Poll, daphne, granian, sender, uvicorn

APPLICATION = "asgi:application"


class ThemisDaphne(Peer):
    """The runnable project, under the default server."""

    key = "themis-daphne"
    title = "Themis, daphne"
    dialect = "themis"
    polls: ClassVar[dict[str, Poll]] = {
        "poll": Poll("/notifications/api/state", 304, is_state=True),
        "bare unread count": Poll("/unread-count/"),
        "session and user alone": Poll("/who/"),
    }

    def __init__(self, environment: dict[str, str]) -> None:
        settings = "benchmarks.host.settings"
        super().__init__({**environment, "DJANGO_SETTINGS_MODULE": settings})

    def serve(self) -> list[str]:
        """As the how-to says."""
        pings = ["--ping-interval", "20", "--ping-timeout", "20"]
        return daphne(APPLICATION, self.port, *pings)

    def send(self) -> list[str]:
        """By notify_user() and notify_users()."""
        return sender("themis")


class ThemisUvicorn(ThemisDaphne):
    """With the WebSockets of `websockets-sansio`, not compressed."""

    key = "themis-uvicorn"
    title = "Themis, uvicorn"

    def serve(self) -> list[str]:
        """With the two options that make it fast."""
        options = ["--ws", "websockets-sansio", "--ws-per-message-deflate", "false"]
        return uvicorn(APPLICATION, self.port, *options)


class ThemisUvicornPair(ThemisUvicorn):
    """Two of its processes behind one port, on the core that one would have."""

    key = "themis-uvicorn-pair"
    title = "Themis, uvicorn, two processes"

    def serve(self) -> list[str]:
        """With a second worker."""
        return [*super().serve(), "--workers", "2"]


class ThemisGranian(ThemisDaphne):
    """The server in Rust."""

    key = "themis-granian"
    title = "Themis, granian"

    @classmethod
    def missing(cls) -> str:
        """Return what requirements/bench.txt has."""
        return "" if find_spec("granian") else "granian"

    def serve(self) -> list[str]:
        """With one worker."""
        return granian(APPLICATION, self.port)
