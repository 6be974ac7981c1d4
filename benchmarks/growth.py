"""
`make bench-growth`: what each work costs Themis as the tables grow, and two processes.

    python -m benchmarks.growth [--works looped burst]

The works are the same, with the same users connected; only who else is in the tables
differs. Written into one file; `make bench-report` makes a table and curves of it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks import results
from benchmarks.cores import allow_many_files, leave_the_server_its_core
from benchmarks.curves import Curve, draw
from benchmarks.peers import GROWING, PEERS
from benchmarks.rig import Rig
from benchmarks.runs import end_in_order, run, show
from benchmarks.sizes import GROWTH
from benchmarks.tables import header, number, ratio, row
from benchmarks.works import WORKS

PLOT = "benchmark-growth.svg"


def main() -> int:
    """Do all works at all populations, and write what was found; 1 if any failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--works", nargs="+", choices=WORKS, default=list(WORKS))
    parser.add_argument("--out", type=Path, help="the file to write")
    asked = parser.parse_args()
    end_in_order()
    allow_many_files()
    leave_the_server_its_core()
    all_found: dict[str, Any] = {}
    for population, size in GROWTH.items():
        print(population)
        with Rig(size) as rig:
            if not all_found:
                all_found = results.describe(rig, "growth", size) | {"runs": []}
            for work in (WORKS[name] for name in asked.works):
                for peer in GROWING:
                    found = {"round": 1, "population": population}
                    found |= run(work, peer, rig, size)
                    show(found)
                    all_found["runs"].append(found)
                    results.write(all_found, asked.out)
    return int(any("error" in found for found in all_found["runs"]))


def to_markdown(found: dict[str, Any]) -> Iterator[str]:
    """Give the lines of the page's part about growth."""
    populations = list(dict.fromkeys(one["population"] for one in found["runs"]))
    yield f"![How cost grows](images/{PLOT})\n"
    yield from header("Work", "Server", *populations, "lost")
    for (work, peer, figure), values in _values(found).items():
        first = values.get(populations[0])
        cells = []
        for population in populations:
            value = values.get(population)
            grown = f" ({ratio(value / first)})" if value and first else ""
            cells.append(f"{number(value)}{grown}" if value else "")
        lost = sum(
            one["lost"]
            for one in found["runs"]
            if (one["work"], one["peer"]) == (work, peer) and "error" not in one
        )
        unit = WORKS[work].unit
        title = f"{WORKS[work].title}, {figure}, {unit}"
        yield row(title, PEERS[peer].title, *cells, str(lost))
    yield ""


def to_plot(found: dict[str, Any]) -> str:
    """Return the curves of one process: how many times as much as at the smallest."""
    populations = list(dict.fromkeys(one["population"] for one in found["runs"]))
    curves = []
    for (work, peer, figure), values in _values(found).items():
        first = values.get(populations[0])
        if peer != GROWING[0].key or not first:
            continue
        points = [
            _cost(work, values[population], first) if population in values else None
            for population in populations
        ]
        curves.append(Curve(f"{work}, {figure}", points))
    return draw(curves, populations, "Cost as the tables grow")


def _cost(work: str, value: float, first: float) -> float:
    """Return how many times as dear it is as it was at first."""
    return first / value if WORKS[work].more_is_better else value / first


def _values(found: dict[str, Any]) -> dict[tuple[str, str, str], dict[str, float]]:
    """Return what each work came to, by population."""
    values: dict[tuple[str, str, str], dict[str, float]] = {}
    for one in found["runs"]:
        for figure, value in one.get("figures", {}).items():
            key = (one["work"], one["peer"], figure)
            values.setdefault(key, {})[one["population"]] = value
    return values


if __name__ == "__main__":
    sys.exit(main())
