"""Small curves side by side, each with a scale of its own that begins at nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from benchmarks.plots import WIDTH, page, write

_COLUMNS = 3
_GAP = 24
_WIDTH = (WIDTH - _GAP * (_COLUMNS - 1)) / _COLUMNS
_HEIGHT = 90
_TITLE = 30
# One line for each step: all in one would be wider than the picture.
_LINE = 18
_ROW = _TITLE + _HEIGHT + 20


@dataclass(frozen=True, slots=True)
class Curve:
    """How many times the first value each value is; None where there is none."""

    title: str
    points: Sequence[float | None]


def draw(curves: Sequence[Curve], steps: Sequence[str], title: str) -> str:
    """Return the curves in rows; *steps* says what each point stands for."""
    parts = [
        write(0, _LINE * number, f"{number}. {step}", "quiet")
        for number, step in enumerate(steps, start=1)
    ]
    legend = _LINE * len(steps) + 14
    for number, curve in enumerate(curves):
        row, column = divmod(number, _COLUMNS)
        left, top = column * (_WIDTH + _GAP), legend + row * _ROW
        parts += _draw(curve, left, top)
    rows = -(-len(curves) // _COLUMNS)
    return page(parts, legend + rows * _ROW, title)


def _draw(curve: Curve, left: float, top: float) -> Iterator[str]:
    yield write(left, top + 16, curve.title, "title")
    base = top + _TITLE + _HEIGHT
    yield (
        f'<line class="base" x1="{left:.1f}" x2="{left + _WIDTH:.1f}" '
        f'y1="{base:.1f}" y2="{base:.1f}"/>'
    )
    known = [value for value in curve.points if value is not None]
    # So that what stays the same is a flat line in the middle.
    scale = (_HEIGHT - 18) / max(2.0, *known)
    step = (_WIDTH - 50) / max(1, len(curve.points) - 1)
    spots = [
        (left + 20 + step * number, base - value * scale, value)
        for number, value in enumerate(curve.points)
        if value is not None
    ]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y, _value in spots)
    yield f'<polyline class="curve" points="{line}"/>'
    for x, y, value in spots:
        yield f'<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="3"/>'
        yield write(x, y - 8, f"{value:.2g}", "quiet", anchor="middle")
