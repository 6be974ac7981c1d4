"""What a work is: what is done, and what its figures mean."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from benchmarks.peers.base import Peer
from benchmarks.stage import Stage

# By what was varied: "1,000 users", "p50".
Figures: TypeAlias = dict[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """One thing that is measured."""

    key: str
    title: str
    unit: str
    # Else less is better.
    more_is_better: bool
    measure: Callable[[Stage], Figures]

    def is_for(self, peer: type[Peer]) -> bool:
        """Tell whether *peer* can do it at all."""
        return self.key != "polls" or bool(peer.polls)


def users(count: int) -> str:
    """Return what a figure for *count* users is called."""
    return f"{count:,} users"
