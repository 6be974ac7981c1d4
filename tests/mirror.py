"""The page's rules (design section 6) in Python: what an open page makes of frames.

It does what static/themis/store.js does, on the same JSON.
"""

import json
from datetime import datetime
from typing import Any, Literal

from themis.events import Frame, encode

Outcome = Literal["applied", "ignored", "gap"]


def over_the_wire(frame: Frame) -> dict[str, Any]:
    """What a page gets when the server sends `frame`."""
    text = encode(frame.to_wire())
    return dict(json.loads(text))


class Mirror:
    """An open page without the page: the newest items, the counts, the revision."""

    def __init__(self, *, window: int = 20) -> None:
        self.epoch: str | None = None
        self.revision = 0
        self.unread = 0
        self.desktop = False
        self._window = window
        self._held: list[dict[str, Any]] = []

    @property
    def position(self) -> dict[str, Any]:
        """What it asks with: both, or neither."""
        if self.epoch is None:
            return {"since": None, "epoch": None}
        return {"since": self.revision, "epoch": self.epoch}

    def shown(self, now: datetime) -> list[dict[str, Any]]:
        """The newest notifications that have not expired, newest first."""
        return [item for item in self._held if not _has_expired(item, now)]

    def apply(self, frame: dict[str, Any]) -> tuple[Outcome, list[dict[str, Any]]]:
        """Take a frame in; also the items that are new. On "gap" it must ask again."""
        same_epoch = frame["epoch"] == self.epoch
        if frame["type"] == "changes":
            if not same_epoch or frame["since"] > self.revision:
                return "gap", []
            if self.revision >= frame["revision"]:
                return "ignored", []
        elif same_epoch and frame["revision"] < self.revision:
            return "ignored", []  # an answer that was overtaken
        known = {item["id"] for item in self._held}
        news = [
            item
            for item in frame["items"]
            if same_epoch
            and item["created_revision"] > self.revision
            and item["id"] not in known
        ]
        self._held = self._merged(frame)
        self.epoch, self.revision = frame["epoch"], frame["revision"]
        self.unread, self.desktop = frame["unread"], frame["desktop"]
        return "applied", news

    def _merged(self, frame: dict[str, Any]) -> list[dict[str, Any]]:
        by_id = {}
        if frame["type"] == "changes":
            by_id = {item["id"]: item for item in self._held}
            for gone in frame["removed"]:
                by_id.pop(gone, None)
        by_id |= {item["id"]: item for item in frame["items"]}
        newest_first = sorted(by_id.values(), key=_position_of, reverse=True)
        return newest_first[: self._window]


def _position_of(item: dict[str, Any]) -> tuple[int, int]:
    return item["created_revision"], int(item["id"])


def _has_expired(item: dict[str, Any], now: datetime) -> bool:
    expires_at = item["expires_at"]
    return expires_at is not None and datetime.fromisoformat(expires_at) <= now
