"""The port through which stamped changes leave for open pages."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.utils.module_loading import import_string

from themis.conf import settings

if TYPE_CHECKING:
    from django.http import HttpRequest

    from themis.events import Changes


class BaseBroadcaster:
    """
    Announces changes to open pages, without a promise that any of them arrives.

    Pages find gaps by the revisions and close them from the database, so a broadcaster
    may lose, repeat and reorder; it must not block and must not raise.
    """

    def broadcast(self, changes: Sequence[Changes]) -> None:
        """Send each change to its user's open pages; returns at once, never raises."""
        raise NotImplementedError

    def disconnect(self, user_keys: Collection[str]) -> None:
        """
        Close the sockets of users who no longer exist; returns at once, never raises.

        Does nothing unless a broadcaster has sockets to close.

        Args:
            user_keys: Their primary keys, as `Changes.user_key` spells them.
        """

    def socket_url(self, request: HttpRequest) -> str | None:
        """Return where a page of *request* finds its socket; None = let it poll."""
        raise NotImplementedError


class DummyBroadcaster(BaseBroadcaster):
    """Announces nothing: pages poll."""

    def broadcast(self, changes: Sequence[Changes]) -> None:
        """Do nothing."""

    def socket_url(self, request: HttpRequest) -> str | None:  # noqa: ARG002 -- the port's
        """Return None."""
        return None


@cache
def get_broadcaster() -> BaseBroadcaster:
    """
    Return the broadcaster that ``THEMIS_BROADCASTER`` names, one per process.

    Raises:
        ImproperlyConfigured: the setting names nothing usable.
    """
    path = settings.broadcaster
    if path is None:
        return DummyBroadcaster()
    try:
        broadcaster = import_string(path)()
    except ImportError as error:
        msg = f"THEMIS_BROADCASTER names {path!r}, which can't be imported: {error}"
        raise ImproperlyConfigured(msg) from error
    if not isinstance(broadcaster, BaseBroadcaster):
        msg = f"THEMIS_BROADCASTER names {path!r}, which is no BaseBroadcaster."
        raise ImproperlyConfigured(msg)
    return broadcaster


def _forget(*, setting: str, **_: Any) -> None:
    if setting in {"THEMIS_BROADCASTER", "INSTALLED_APPS"}:
        get_broadcaster.cache_clear()


setting_changed.connect(_forget)
