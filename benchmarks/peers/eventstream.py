"""Server-sent events from Django."""

from __future__ import annotations

from importlib.util import find_spec

from benchmarks.peers.base import Peer, daphne, sender

APPLICATION = "benchmarks.site.eventstream_application:application"


class EventStream(Peer):
    """django-eventstream with Redis."""

    key = "eventstream"
    title = "django-eventstream, daphne"
    path = "/events/"
    dialect = "eventstream"

    def __init__(self, environment: dict[str, str]) -> None:
        settings = "benchmarks.site.eventstream_settings"
        super().__init__({**environment, "DJANGO_SETTINGS_MODULE": settings})

    @classmethod
    def missing(cls) -> str:
        """Return what requirements/bench.txt has."""
        return "" if find_spec("django_eventstream") else "django-eventstream"

    def serve(self) -> list[str]:
        """With daphne, as its README says."""
        return daphne(APPLICATION, self.port)

    def send(self) -> list[str]:
        """By `send_event`."""
        return sender("eventstream")
