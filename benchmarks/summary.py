"""What many runs come to: medians, spreads, and ratios within the same round."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.peers import PEERS, REFERENCE
from benchmarks.works import WORKS


@dataclass(frozen=True, slots=True)
class Spread:
    """The median of some numbers, and their ends."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, numbers: Sequence[float]) -> Spread:
        """Return that of *numbers*, of which there is at least one."""
        return cls(statistics.median(numbers), min(numbers), max(numbers))


@dataclass(frozen=True, slots=True)
class Cell:
    """One figure of one peer in all rounds."""

    value: Spread
    # To the reference's figure of the same round; None where it has none.
    ratio: Spread | None


class Summary:
    """
    All that files of results say of the works.

    Args:
        files: Their rounds are counted one after the other.
    """

    def __init__(self, files: Sequence[dict[str, Any]]) -> None:
        self.files = files
        runs = [
            run | {"round": (number, run["round"])}
            for number, found in enumerate(files)
            for run in found["runs"]
        ]
        self._runs = [run for run in runs if "error" not in run]
        self._broken = [run for run in runs if "error" in run]

    def works(self) -> list[str]:
        """Return the works that were done, in their order."""
        done = {run["work"] for run in self._runs}
        return [work for work in WORKS if work in done]

    def peers(self, work: str) -> list[str]:
        """Return the peers that did *work*, in their order."""
        return list(dict.fromkeys(run["peer"] for run in self._of(work)))

    def figures(self, work: str) -> list[str]:
        """Return what was varied in *work*, in its order."""
        return list(dict.fromkeys(n for run in self._of(work) for n in run["figures"]))

    def cell(self, work: str, peer: str, figure: str) -> Cell | None:
        """Return what *peer* came to; None if it has no such figure."""
        mine, theirs = (
            {
                run["round"]: run["figures"][figure]
                for run in self._of(work, peer=name)
                if figure in run["figures"]
            }
            for name in (peer, REFERENCE)
        )
        if not mine:
            return None
        ratios = [
            value / theirs[number]
            for number, value in mine.items()
            if theirs.get(number)
        ]
        ratio = Spread.of(ratios) if ratios else None
        return Cell(Spread.of(list(mine.values())), ratio)

    def count(self, kind: str, work: str, peer: str) -> int:
        """Return how many were "lost", "extra", "failed" or "expected"."""
        return sum(run[kind] for run in self._of(work, peer=peer))

    def lost_share(self, work: str, peer: str) -> float:
        """Return which part of what was sent has not arrived."""
        expected = self.count("expected", work, peer)
        return self.count("lost", work, peer) / expected if expected else 0.0

    def errors(self) -> Iterator[str]:
        """Give the runs that broke off, each in a line."""
        for run in self._broken:
            name = f"{WORKS[run['work']].title}, {PEERS[run['peer']].title}"
            yield f"{name}, round {run['round'][1]}: `{run['error']}`"

    def busiest(self, work: str, *who: str) -> tuple[float, str]:
        """Return the most of a core that these processes used together, beside whom."""
        shares = [
            (sum(share[name] for name in who), run["peer"])
            for run in self._of(work)
            for share in run["shares"].values()
        ]
        return max(shares, default=(0.0, ""))

    def _of(self, work: str, *, peer: str | None = None) -> Iterator[dict[str, Any]]:
        for run in self._runs:
            if run["work"] == work and peer in {None, run["peer"]}:
                yield run
