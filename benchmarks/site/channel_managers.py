"""Which channel of django-eventstream a request hears."""

from __future__ import annotations

from typing import Any

from django_eventstream.channelmanager import DefaultChannelManager


class OwnChannelManager(DefaultChannelManager):
    """Everybody hears their own."""

    def get_channels_for_request(self, request: Any, view_kwargs: Any) -> set[str]:  # noqa: ARG002 -- the base's
        """Return the channel of the user whose session it is."""
        return {f"user-{request.user.pk}"} if request.user.is_authenticated else set()

    def can_read_channel(self, user: Any, channel: str) -> bool:  # noqa: ARG002 -- the base's
        """Refuse whoever is not signed in."""
        return user is not None
