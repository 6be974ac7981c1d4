"""A broadcaster that keeps what it is given, for tests to look at."""

from collections.abc import Callable, Collection, Sequence
from typing import ClassVar

from django.http import HttpRequest

from themis.broadcasters import BaseBroadcaster
from themis.events import Changes

PATH = "tests.themis.broadcasting.CollectingBroadcaster"


class CollectingBroadcaster(BaseBroadcaster):
    """Sends nothing anywhere."""

    sent: ClassVar[list[Changes]] = []
    # The keys of users whose sockets were to be closed, in order.
    disconnected: ClassVar[list[str]] = []
    # Called at the moment of each change, when its transaction has just committed.
    listeners: ClassVar[list[Callable[[Changes], None]]] = []

    def broadcast(self, changes: Sequence[Changes]) -> None:
        for change in changes:
            self.sent.append(change)
            for listener in self.listeners:
                listener(change)

    def disconnect(self, user_keys: Collection[str]) -> None:
        self.disconnected.extend(user_keys)

    def socket_url(self, request: HttpRequest) -> str | None:
        del request
        return None
