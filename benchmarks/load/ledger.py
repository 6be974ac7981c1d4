"""What should come to which connection, and what has."""

from __future__ import annotations

import re
import time
from array import array
from typing import Any

# In the title of each notification: its number. Nothing else is parsed of what comes.
MARK = re.compile(rb"@@(\d+)@@")


def mark(number: int) -> str:
    """Return what makes a title tell the number of its notification."""
    return f"@@{number}@@"


class Ledger:
    """Each notification is to come once to each connection that it is meant for."""

    def __init__(self) -> None:
        self.arrived = 0
        # A second time, or where nobody expects it.
        self.extra = 0
        self.last = 0.0
        self.expect(0, 0, lines=0, everybody=True)

    def expect(self, first: int, size: int, *, lines: int, everybody: bool) -> None:
        """
        Begin to expect the numbers from *first* on; others are of an earlier work.

        Args:
            first: The first number.
            size: How many numbers there are.
            lines: How many connections.
            everybody: Each number is for all connections. Else they take turns.
        """
        self._first, self._size = first, size
        self._lines, self._everybody = lines, everybody
        self._seen = bytearray(size * lines if everybody else size)
        self._times = array("d", bytes(8 * size))
        self.arrived = self.extra = 0
        self.last = 0.0

    @property
    def expected(self) -> int:
        """How many arrivals there are to be."""
        return len(self._seen)

    def take(self, line: int, number: int) -> None:
        """Count that *number* came to a connection."""
        place = number - self._first
        if not 0 <= place < self._size:
            return
        if not self._everybody and place % self._lines != line:
            self.extra += 1
            return
        slot = line * self._size + place if self._everybody else place
        if self._seen[slot]:
            self.extra += 1
            return
        self._seen[slot] = 1
        self.arrived += 1
        self.last = self._times[place] = time.monotonic()

    def to_answer(self, *, times: bool) -> dict[str, Any]:
        """Return what came; with when each number did last, 0 = never."""
        return {
            "expected": self.expected,
            "arrived": self.arrived,
            "extra": self.extra,
            "last": self.last,
            "times": self._times.tolist() if times else [],
        }
