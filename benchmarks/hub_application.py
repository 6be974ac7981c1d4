"""The two ways to deliver, behind daphne, for benchmarks/hub.py.

/hub/ is Themis' own socket; /usual/ is a consumer as Channels documents it: a channel,
a task and a thread hop per socket. Both take the user from the query, not a session, so
that only delivery differs.
"""

from __future__ import annotations

from typing import Any

import django

django.setup()

from channels.generic.websocket import AsyncWebsocketConsumer  # noqa: E402
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from django.contrib.auth import get_user_model  # noqa: E402
from django.urls import path  # noqa: E402

from realtime.consumers import notifications  # noqa: E402


class UsualConsumer(AsyncWebsocketConsumer):
    """One channel per socket in the user's group."""

    async def connect(self) -> None:
        await self.channel_layer.group_add("usual", self.channel_name)
        await self.accept()

    async def disconnect(self, code: int) -> None:  # noqa: ARG002 -- Channels passes it
        await self.channel_layer.group_discard("usual", self.channel_name)

    async def notify(self, event: dict[str, str]) -> None:
        await self.send(text_data=event["text"])


async def hub(scope: Any, receive: Any, send: Any) -> None:
    """Themis' socket, for the user whose key the benchmark gives out."""
    scope["user"] = get_user_model()(pk=1)
    await notifications(scope, receive, send)


# Any ASGI application may stand in Channels' routes; Django's types know only views.
_ways: dict[str, Any] = {"hub/": hub, "usual/": UsualConsumer.as_asgi()}

application = ProtocolTypeRouter(
    {"websocket": URLRouter([path(way, view) for way, view in _ways.items()])}
)
