"""Bars as SVG, which look right on a light page and on a dark one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

WIDTH = 760
_NAMES = 265  # where the bars begin
_NOTES = 150  # what stays free behind the longest
_ROW = 24
_BAR = 14
_TITLE = 34

# The colours follow the reader's; a page that has its own gets no background from here.
_STYLE = """
text { font: 13px system-ui, sans-serif; fill: #1f2328; }
.title { font-weight: 600; }
.quiet { fill: #59636e; }
.other { fill: #afb8c1; }
.ours { fill: #1a6fd6; }
.mine { font-weight: 600; }
.spread { stroke: #1f2328; stroke-width: 1.25; }
.base { stroke: #d1d9e0; }
.curve { fill: none; stroke: #1a6fd6; stroke-width: 2; }
.dot { fill: #1a6fd6; }
@media (prefers-color-scheme: dark) {
  text { fill: #f0f6fc; }
  .quiet { fill: #9198a1; }
  .other { fill: #5b6570; }
  .ours { fill: #4c9bff; }
  .spread { stroke: #f0f6fc; }
  .base { stroke: #3d444d; }
  .curve { stroke: #4c9bff; }
  .dot { fill: #4c9bff; }
}
"""


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar: what it is called, how long it is, and what stands behind it."""

    name: str
    value: float
    low: float
    high: float
    note: str
    is_ours: bool


@dataclass(frozen=True, slots=True)
class Group:
    """Bars that share a scale."""

    title: str
    bars: Sequence[Bar]


def draw(groups: Sequence[Group], title: str) -> str:
    """Return the groups below each other; *title* is for those who can't see them."""
    parts = []
    y = 0.0
    for group in groups:
        parts.append(write(0, y + 20, group.title, "title"))
        y += _TITLE
        longest = max(bar.high for bar in group.bars) or 1.0
        scale = (WIDTH - _NAMES - _NOTES) / longest
        parts.append(
            f'<line class="base" x1="{_NAMES}" x2="{_NAMES}" '
            f'y1="{y:.1f}" y2="{y + _ROW * len(group.bars):.1f}"/>'
        )
        for bar in group.bars:
            parts += _draw_bar(bar, y, scale)
            y += _ROW
        y += 10
    return page(parts, y, title)


def page(parts: Sequence[str], height: float, title: str) -> str:
    """Return the picture that *parts* make; *title* is for those who can't see it."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" '
        f'width="{WIDTH}" height="{height:.0f}" role="img">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n"
        + "\n".join(parts)
        + "\n</svg>\n"
    )


def _draw_bar(bar: Bar, y: float, scale: float) -> list[str]:
    middle = y + _ROW / 2
    end = _NAMES + bar.value * scale
    colour, weight = ("ours", "mine") if bar.is_ours else ("other", "")
    box = (
        f'<rect class="{colour}" x="{_NAMES}" y="{middle - _BAR / 2:.1f}" '
        f'width="{max(bar.value * scale, 1):.1f}" height="{_BAR}" rx="2"/>'
    )
    name = write(_NAMES - 10, middle + 4.5, bar.name, weight, anchor="end")
    parts = [name, box]
    if bar.high > bar.low:
        low, high = (_NAMES + value * scale for value in (bar.low, bar.high))
        end = max(end, high)
        parts.append(
            f'<line class="spread" x1="{low:.1f}" x2="{high:.1f}" '
            f'y1="{middle:.1f}" y2="{middle:.1f}"/>'
        )
    parts.append(write(end + 8, middle + 4.5, bar.note, weight or "quiet"))
    return parts


def write(x: float, y: float, text: str, kind: str, *, anchor: str = "start") -> str:
    """Return *text* as it stands in a picture."""
    return (
        f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">'
        f"{escape(text)}</text>"
    )
