"""Which channel of django-eventstream a request hears."""

from __future__ import annotations

from typing import Any

from django.db import connections
from django_eventstream.channelmanager import DefaultChannelManager


class OwnChannelManager(DefaultChannelManager):
    """Everybody hears their own."""

    def get_channels_for_request(self, request: Any, view_kwargs: Any) -> set[str]:  # noqa: ARG002 -- the base's
        """
        Return the channel of the user whose session it is.

        The connection to the database is given back then, which Django does at the end
        of a request: this one has none, and PostgreSQL would soon let nobody else in.
        """
        user = request.user
        channels = {f"user-{user.pk}"} if user.is_authenticated else set()
        connections.close_all()
        return channels

    def can_read_channel(self, user: Any, channel: str) -> bool:  # noqa: ARG002 -- the base's
        """Refuse whoever is not signed in."""
        return user is not None
