"""What a sender can do, and how it is asked."""

from __future__ import annotations

import json
import sys
import time
from typing import Any, Protocol

from benchmarks.senders.texts import title


class Sender(Protocol):
    """Tells users something, in the manner of one system."""

    def load(self, users: range) -> None:
        """Read the users, if the system wants more than keys. Not timed."""

    def tell(self, user: int, title: str) -> None:
        """Insert a row for *user*, and push it."""

    def tell_all(self, users: range, title: str) -> None:
        """Insert a row for each of *users*, and push it."""


def loop(
    sender: Sender, users: range, first: int, calls: int, rate: float
) -> dict[str, Any]:
    """Tell one user after the other, *rate* calls a second; 0 = as fast as it goes."""
    sender.load(users)
    times = []
    began = time.monotonic()
    for call in range(calls):
        if rate and (early := began + call / rate - time.monotonic()) > 0:
            time.sleep(early)
        times.append(time.monotonic())
        sender.tell(users[call % len(users)], title(first + call))
    return {"began": began, "ended": time.monotonic(), "times": times if rate else []}


def bulk(sender: Sender, users: range, number: int) -> dict[str, Any]:
    """Tell all users the same."""
    began = time.monotonic()
    sender.tell_all(users, title(number))
    return {"began": began, "ended": time.monotonic()}


def serve(sender: Sender) -> None:
    """Answer questions until nobody can ask any more."""
    for line in sys.stdin:
        question = json.loads(line)
        verb = question.pop("verb")
        # From the first user on, whose primary key that is.
        start, count = question.pop("users")
        users = range(start, start + count)
        does = loop if verb == "loop" else bulk
        print(json.dumps(does(sender, users, **question)), flush=True)
