"""
`make bench-report`: the tables and plots of docs/benchmarks.md, from files of results.

    python -m benchmarks.report [benchmarks/results/….json …]

Takes all full runs of the commit that has the last one; without any, the last file.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from benchmarks import growth, results
from benchmarks.peers import PEERS
from benchmarks.plots import Bar, Group, draw
from benchmarks.summary import Cell, Summary
from benchmarks.tables import header, number, ratio, row
from benchmarks.works import WORKS
from benchmarks.works.work import Work

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "benchmarks.md"
IMAGES = ROOT / "docs" / "images"

_RESULTS = re.compile(r"(?<=<!-- results -->\n).*(?=<!-- end of results)", re.DOTALL)
_GROWTH = re.compile(r"(?<=<!-- growth -->\n).*(?=<!-- end of growth)", re.DOTALL)
_TO = "\N{EN DASH}"


def main() -> None:
    """Write the page's part and its plots."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("files", type=Path, nargs="*", help="if not the full ones")
    paths = parser.parse_args().files or results.full_or_last()
    summary = Summary([results.read(path) for path in paths])
    for work in summary.works():
        plot = draw(list(to_groups(summary, WORKS[work])), WORKS[work].title)
        (IMAGES / plot_name(work)).write_text(plot)
    write_part(_RESULTS, to_markdown(summary))
    if grown := sorted(results.FOLDER.glob("*-growth.json")):
        found = results.read(grown[-1])
        (IMAGES / growth.PLOT).write_text(growth.to_plot(found))
        write_part(_GROWTH, [*_origin(found), *growth.to_markdown(found)])


def write_part(part: re.Pattern[str], lines: Iterable[str]) -> None:
    """Put *lines* where the page has that part."""
    text = "\n".join(lines)
    PAGE.write_text(part.sub(lambda _match: f"\n{text}\n", PAGE.read_text()))


def plot_name(work: str) -> str:
    """Return the name of the file that a work's plot has."""
    return f"benchmark-{work}.svg"


def to_markdown(summary: Summary) -> Iterator[str]:
    """Give the lines of the page's part."""
    for found in summary.files:
        yield from _origin(found)
    yield from _overview(summary)
    for work in summary.works():
        yield from _section(summary, WORKS[work])
    yield from _who_was_busy(summary)
    errors = list(summary.errors())
    if errors:
        yield "### What broke off\n"
        yield from (f"* {error}" for error in errors)
        yield ""


def to_groups(summary: Summary, work: Work) -> Iterator[Group]:
    """Give a group of bars for each figure of *work*, the best first."""
    for figure in summary.figures(work.key):
        bars = [
            to_bar(summary, work, peer, cell)
            for peer in summary.peers(work.key)
            if (cell := summary.cell(work.key, peer, figure)) is not None
        ]
        bars.sort(key=lambda bar: bar.value, reverse=work.more_is_better)
        yield Group(f"{work.title}, {figure}: {work.unit}", bars)


def to_bar(summary: Summary, work: Work, peer: str, cell: Cell) -> Bar:
    """Return the bar of one peer, with what stands behind it."""
    notes = [number(cell.value.median)]
    if cell.ratio is not None:
        notes.append(ratio(cell.ratio.median))
    if lost := summary.lost_share(work.key, peer):
        notes.append(f"{lost:.1%} lost")
    return Bar(
        PEERS[peer].title,
        cell.value.median,
        cell.value.low,
        cell.value.high,
        " · ".join(notes),
        is_ours=peer.startswith("themis"),
    )


def _origin(found: dict[str, Any]) -> Iterator[str]:
    """Say where, when and of what the runs of a file were."""
    machine, versions = found["machine"], found["versions"]
    if found["size"] not in {"full", "growth"}:
        yield (
            "**This is no measurement yet: a small run on a busy machine, so that the "
            "page has its shape.**\n"
        )
    changes = " with changes" if found["changed"] else ""
    yield (
        f"From `benchmarks/results/{found['source']}`: {found['started'][:10]}, commit "
        f"`{found['commit'][:10]}`{changes}, {found['sizes']['rounds']} rounds, "
        f"{machine['processor']}, {machine['cores']} cores, load "
        f"{machine['load_before']:.1f} before the start. "
        + ", ".join(f"{name} {version}" for name, version in versions.items())
        + ".\n"
    )


def _overview(summary: Summary) -> Iterator[str]:
    """Give the table of ratios: a column for each peer."""
    rows = [
        (work, figure)
        for work in summary.works()
        for figure in summary.figures(work)
        # A poll is compared with a poll; what else is answered stands below.
        if work != "polls" or figure == "poll"
    ]
    yield "### At a glance\n"
    yield "Ratios to stack A. Of memory, latency and calls less is better.\n"
    done = {peer for work in summary.works() for peer in summary.peers(work)}
    peers = [key for key in PEERS if key in done]
    yield from header("Work", *(PEERS[key].title for key in peers))
    for work, figure in rows:
        cells = [summary.cell(work, key, figure) for key in peers]
        yield row(f"{work}, {figure}", *map(_to_ratio, cells))
    yield ""


def _section(summary: Summary, work: Work) -> Iterator[str]:
    figures = summary.figures(work.key)
    better = "more" if work.more_is_better else "less"
    yield f"### {work.title}\n"
    yield f"{work.unit[0].upper()}{work.unit[1:]}; {better} is better.\n"
    yield f"![{work.title}](images/{plot_name(work.key)})\n"
    ratios = [f"{figure}: ratio (spread)" for figure in figures]
    columns = [part for pair in zip(figures, ratios, strict=True) for part in pair]
    yield from header("System", *columns, "lost", "twice", "failed")
    for peer in summary.peers(work.key):
        parts = []
        for figure in figures:
            cell = summary.cell(work.key, peer, figure)
            parts += ["", ""] if cell is None else [_to_value(cell), _to_spread(cell)]
        lost = summary.count("lost", work.key, peer)
        share = f" ({summary.lost_share(work.key, peer):.1%})" if lost else ""
        counts = [summary.count(kind, work.key, peer) for kind in ("extra", "failed")]
        yield row(PEERS[peer].title, *parts, f"{lost:,}{share}", *map(str, counts))
    yield ""


def _who_was_busy(summary: Summary) -> Iterator[str]:
    """Give the table that shows whether the load was the limit."""
    yield "### Who was busy\n"
    yield (
        "The most of a core that was used while something was measured, and beside "
        "which system. The load client must stay far from 1; where the second core "
        "comes near 1, its sender, the database or the broker was the limit, as it "
        "would be for a host.\n"
    )
    yield from header("Work", "server", "load client", "the second core in all")
    others = ("client", "sender", "redis", "postgres")
    for work in summary.works():
        busiest = (("server",), ("client",), others)
        shares = [summary.busiest(work, *who) for who in busiest]
        if not shares[0][1]:
            continue
        cells = [f"{share:.2f} ({PEERS[peer].title})" for share, peer in shares]
        yield row(WORKS[work].title, *cells)
    yield ""


def _to_value(cell: Cell) -> str:
    return number(cell.value.median)


def _to_ratio(cell: Cell | None) -> str:
    return "" if cell is None or cell.ratio is None else ratio(cell.ratio.median)


def _to_spread(cell: Cell) -> str:
    if cell.ratio is None:
        return ""
    ends = (cell.ratio.low, cell.ratio.median, cell.ratio.high)
    low, middle, high = map(ratio, ends)
    return middle if low == high else f"{middle} ({low}{_TO}{high})"


if __name__ == "__main__":
    main()
