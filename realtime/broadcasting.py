"""The broadcaster: Themis' port, implemented on the channel layer."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from channels.layers import get_channel_layer
from django.urls import get_script_prefix

from themis.broadcasters import BaseBroadcaster
from themis.conf import settings
from themis.events import Changes, encode

from .broker import is_local
from .groups import EVERY_HUB, group_of
from .hub import running_hubs
from .publishing import BUNDLE, get_publisher

if TYPE_CHECKING:
    from django.http import HttpRequest

# A push of more is a poke: the hub reads it once for all sockets of the user.
MAX_PUSH_BYTES = 32 * 1024
# How many characters of frames one message holds, about.
BUNDLE_LENGTH = 256 * 1024


def to_message(changes: Changes) -> dict[str, Any]:
    """Return what the layer carries: the numbers, and the encoded frame if small."""
    text = encode(changes.to_wire()) if changes.whole else None
    # Bytes only where characters alone don't decide: encoding costs.
    if text is not None and (
        len(text) > MAX_PUSH_BYTES
        or (4 * len(text) > MAX_PUSH_BYTES and len(text.encode()) > MAX_PUSH_BYTES)
    ):
        text = None
    return {
        "type": "themis.push",
        "v": 1,
        "user": changes.user_key,
        "epoch": changes.epoch,
        "since": changes.since,
        "revision": changes.revision,
        "text": text,
        # When it was stamped, just before the commit.
        "at": changes.now.timestamp(),
        "due": changes.next_expiry_at and changes.next_expiry_at.timestamp(),
    }


class ChannelsBroadcaster(BaseBroadcaster):
    """
    Pushes through the default channel layer.

    Costs the caller microseconds. The in-process layer ends at this process and is not
    safe to use from another thread, so there the hub is called instead.
    """

    def broadcast(self, changes: Sequence[Changes]) -> None:
        """Send each change to its user's open pages; returns at once, never raises."""
        _send([to_message(change) for change in changes])

    def disconnect(self, user_keys: Collection[str]) -> None:
        """Close the sockets of these users; returns at once, never raises."""
        _send([{"type": "themis.disconnect", "v": 1, "user": key} for key in user_keys])

    def socket_url(self, request: HttpRequest) -> str | None:  # noqa: ARG002 -- the port's
        """Return ``THEMIS_REALTIME_URL``, or the path of `realtime.routing`."""
        return settings.realtime_url or f"{get_script_prefix()}ws/notifications/"


def tell_user(user_key: str, message: dict[str, Any]) -> None:
    """Bring *message* to the hubs that have pages of a user; returns at once."""
    if not _told_here([message]):
        get_publisher().send(group_of(user_key), message)


def tell_hubs(message: dict[str, Any]) -> None:
    """Bring *message* to all hubs; returns at once."""
    if not _told_here([message]):
        get_publisher().send(EVERY_HUB, message)


def _told_here(messages: Sequence[dict[str, Any]]) -> bool:
    """Bring the messages to the hubs of this process, if there can be no others."""
    if not is_local(get_channel_layer()):
        return False
    for hub in running_hubs():
        # A loop that has ended has no pages either.
        with contextlib.suppress(RuntimeError):
            for message in messages:
                hub.loop.call_soon_threadsafe(hub.receive, message)
    return True


def _send(messages: Sequence[dict[str, Any]]) -> None:
    """Bring each message to the hubs that have pages of its user."""
    if _told_here(messages):
        return
    publisher = get_publisher()
    if len(messages) < BUNDLE:
        for message in messages:
            publisher.send(group_of(message["user"]), message)
        return
    for bundle in _bundles(messages):
        publisher.send(EVERY_HUB, {"type": "themis.bundle", "v": 1, "messages": bundle})


def _bundles(messages: Sequence[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    bundle: list[dict[str, Any]] = []
    length = 0
    for message in messages:
        bundle.append(message)
        length += len(message.get("text") or "")
        if length > BUNDLE_LENGTH:
            yield bundle
            bundle, length = [], 0
    if bundle:
        yield bundle
