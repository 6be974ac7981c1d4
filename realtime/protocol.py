"""What client and server say to each other besides state: frames and close codes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from themis.events import encode

MAX_FRAME_BYTES = 4 * 1024
MAX_REVISION = 2**63 - 1
MAX_EPOCH_LENGTH = 64


class CloseCode(IntEnum):
    """
    Why the server closes a socket, and what the page does then.

    The codes are all in 4000-4999, because daphne sends only 1000 and 3000-4999.
    """

    RESTART = 4012  # come back after a random part of what the restart frame said
    MALFORMED = 4400  # poll
    SIGNED_OUT = 4401  # stop, and tell all tabs
    FORBIDDEN_ORIGIN = 4403  # poll
    TOO_SLOW = 4408  # come back with backoff
    TOO_MANY = 4429  # poll
    UNAVAILABLE = 4503  # come back with backoff


class MalformedFrameError(ValueError):
    """A client frame that the protocol does not know; the text says why."""


@dataclass(frozen=True, slots=True)
class Position:
    """Where a page stands; neither = it holds nothing yet."""

    since: int | None = None
    epoch: str | None = None


@dataclass(frozen=True, slots=True)
class Sync:
    """The page asks for what it has missed."""

    position: Position


@dataclass(frozen=True, slots=True)
class Ping:
    """The page asks whether anybody is there."""


@dataclass(frozen=True, slots=True)
class Ack:
    """The page has applied everything up to `revision`."""

    revision: int


def parse_position(since: object, epoch: object) -> Position:
    """
    Return the position that a page claims; one without the other is none.

    Raises:
        MalformedFrameError: one is not what it must be.
    """
    if since is not None and not _is_revision(since):
        message = "since must be a revision"
        raise MalformedFrameError(message)
    if epoch is not None and not (
        isinstance(epoch, str) and 0 < len(epoch) <= MAX_EPOCH_LENGTH
    ):
        message = "epoch must be a short string"
        raise MalformedFrameError(message)
    if since is None or epoch is None:
        return Position()
    return Position(since, epoch)  # type: ignore[arg-type] # a revision, by the check


def parse(text: str | None) -> Sync | Ping | Ack:
    """
    Return what the client frame *text* says; None stands for a binary frame.

    Raises:
        MalformedFrameError: it is none that the protocol knows.
    """
    if text is None:
        message = "frames are text, not binary"
        raise MalformedFrameError(message)
    # Whether a server lets lone surrogates through or not: no reason to fail.
    if (
        len(text) > MAX_FRAME_BYTES
        or len(text.encode(errors="surrogatepass")) > MAX_FRAME_BYTES
    ):
        message = f"frames have at most {MAX_FRAME_BYTES} bytes"
        raise MalformedFrameError(message)
    try:
        frame: Any = json.loads(text)
    except (ValueError, RecursionError) as error:
        message = "frames are JSON"
        raise MalformedFrameError(message) from error
    match frame:
        case {"type": "sync"}:
            return Sync(parse_position(frame.get("since"), frame.get("epoch")))
        case {"type": "ping"}:
            return Ping()
        case {"type": "ack", "revision": revision} if _is_revision(revision):
            return Ack(revision)
    message = "type must be sync, ping, or ack with a revision"
    raise MalformedFrameError(message)


def _is_revision(value: object) -> bool:
    return type(value) is int and 0 <= value <= MAX_REVISION


def ping_frame(epoch: str, revision: int) -> str:
    """Return the server's question whether the page is there and up to date."""
    return encode({"type": "ping", "epoch": epoch, "revision": revision})


def pong_frame(epoch: str, revision: int) -> str:
    """Return the answer to a page's ping: up to where it has been told."""
    return encode({"type": "pong", "epoch": epoch, "revision": revision})


def restart_frame(retry_ms: int) -> str:
    """Return the warning that the server is about to stop: come back within that."""
    return encode({"type": "restart", "retry_ms": retry_ms})


def error_frame(detail: str) -> str:
    """Return what precedes a close with `CloseCode.MALFORMED`."""
    return encode({"type": "error", "detail": detail})
