"""Socket.IO in Python."""

from __future__ import annotations

from importlib.util import find_spec

from benchmarks.peers.base import Peer, sender, uvicorn

APPLICATION = "benchmarks.site.socketio_application:application"


class SocketIOPython(Peer):
    """python-socketio with AsyncRedisManager."""

    key = "socketio-python"
    title = "python-socketio, uvicorn"
    path = "/socket.io/?EIO=4&transport=websocket"
    dialect = "socketio"

    def __init__(self, environment: dict[str, str]) -> None:
        settings = "benchmarks.site.settings"
        super().__init__({**environment, "DJANGO_SETTINGS_MODULE": settings})

    @classmethod
    def missing(cls) -> str:
        """Return what requirements/bench.txt has."""
        return "" if find_spec("socketio") else "python-socketio"

    def serve(self) -> list[str]:
        """With uvicorn's defaults."""
        return uvicorn(APPLICATION, self.port)

    def send(self) -> list[str]:
        """By a write-only manager."""
        return sender("socketio")
