"""A consumer as Channels documents it, with both layers."""

from __future__ import annotations

from typing import ClassVar

from benchmarks.peers.base import Peer, Poll, daphne, sender, uvicorn

APPLICATION = "benchmarks.site.channels_application:application"


class ChannelsDaphne(Peer):
    """Stack A, which all others are compared with."""

    key = "channels-daphne"
    title = "Channels, daphne, RedisChannelLayer"
    settings: ClassVar[str] = "benchmarks.site.channels_settings"
    polls: ClassVar[dict[str, Poll]] = {
        "poll": Poll("/unread-count/"),
        "bare unread count": Poll("/unread-count/"),
        "session and user alone": Poll("/who/"),
    }

    def __init__(self, environment: dict[str, str]) -> None:
        super().__init__({**environment, "DJANGO_SETTINGS_MODULE": self.settings})

    def serve(self) -> list[str]:
        """As the deployment page of Channels says."""
        return daphne(APPLICATION, self.port)

    def send(self) -> list[str]:
        """By `async_to_sync(group_send)`."""
        return sender("channels")


class ChannelsUvicorn(ChannelsDaphne):
    """Stack B: the other layer, the other server."""

    key = "channels-uvicorn"
    title = "Channels, uvicorn, pub/sub layer"
    settings = "benchmarks.site.pubsub_settings"
    polls: ClassVar[dict[str, Poll]] = {}

    def serve(self) -> list[str]:
        """With uvicorn's defaults."""
        return uvicorn(APPLICATION, self.port)
