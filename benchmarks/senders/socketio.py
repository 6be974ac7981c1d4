"""`python -m benchmarks.senders.socketio`: python-socketio's write-only manager."""

from __future__ import annotations

import os

import django
from socketio import RedisManager

django.setup()

from benchmarks.senders.rows import insert, insert_all  # noqa: E402
from benchmarks.senders.sender import serve  # noqa: E402


class SocketIOSender:
    """As documented for processes other than the server."""

    def __init__(self) -> None:
        self._manager = RedisManager(os.environ["REDIS_URL"], write_only=True)

    def load(self, users: range) -> None:
        """Keys will do."""

    def tell(self, user: int, title: str) -> None:
        """Insert, then emit to the user's room."""
        self._manager.emit("notification", insert(user, title), room=f"user_{user}")

    def tell_all(self, users: range, title: str) -> None:
        """Insert chunk by chunk, emit one by one."""
        for told in insert_all(users, title):
            for user, content in told:
                self._manager.emit("notification", content, room=f"user_{user}")


if __name__ == "__main__":
    serve(SocketIOSender())
