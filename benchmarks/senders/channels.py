"""`python -m benchmarks.senders.channels`: as Channels documents it."""

from __future__ import annotations

from typing import Any

import django

django.setup()

from asgiref.sync import async_to_sync  # noqa: E402, TID251 -- as Channels documents it
from channels.layers import get_channel_layer  # noqa: E402

from benchmarks.senders.rows import insert, insert_all  # noqa: E402
from benchmarks.senders.sender import serve  # noqa: E402


def _to_event(content: dict[str, Any]) -> dict[str, Any]:
    return {"type": "notification", "content": content}


class ChannelsSender:
    """`async_to_sync(channel_layer.group_send)` for each notification."""

    def __init__(self) -> None:
        self._layer: Any = get_channel_layer()

    def load(self, users: range) -> None:
        """Keys will do."""

    def tell(self, user: int, title: str) -> None:
        """Insert, then send to the user's group."""
        event = _to_event(insert(user, title))
        async_to_sync(self._layer.group_send)(f"user_{user}", event)

    def tell_all(self, users: range, title: str) -> None:
        """Insert chunk by chunk; the pushes of a chunk share a loop: the best of it."""
        for told in insert_all(users, title):
            async_to_sync(self._push)(told)

    async def _push(self, told: list[tuple[int, dict[str, Any]]]) -> None:
        for user, content in told:
            await self._layer.group_send(f"user_{user}", _to_event(content))


if __name__ == "__main__":
    serve(ChannelsSender())
