"""The consumer of the Channels documentation, with a group for each user."""

from __future__ import annotations

from typing import Any

from channels.generic.websocket import AsyncJsonWebsocketConsumer


class NotificationConsumer(AsyncJsonWebsocketConsumer):
    """Accept who is signed in; send what comes to their group."""

    async def connect(self) -> None:
        """Join the user's group, then accept."""
        # The documentation knows what AuthMiddlewareStack has put there.
        user: Any = self.scope["user"]
        if not user.is_authenticated:
            await self.close()
            return
        self.group_name = f"user_{user.pk}"
        await self.channel_layer.group_add(self.group_name, self.channel_name)
        await self.accept()

    async def disconnect(self, code: int) -> None:  # noqa: ARG002 -- Channels passes it
        """Leave the group."""
        if hasattr(self, "group_name"):
            await self.channel_layer.group_discard(self.group_name, self.channel_name)

    async def notification(self, event: dict[str, Any]) -> None:
        """Send what another process has said."""
        await self.send_json(event["content"])
