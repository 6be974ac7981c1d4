"""Tables in Markdown, and how their figures are written."""

from __future__ import annotations

# From here on digits behind the point say nothing.
_WHOLE = 100
_TIMES = "\N{MULTIPLICATION SIGN}"


def number(value: float) -> str:
    """Return *value* with as many digits as mean something."""
    return f"{value:,.0f}" if value >= _WHOLE else f"{value:.1f}"


def ratio(value: float) -> str:
    """Return how many times the reference's it is."""
    digits = f"{value:.0f}" if value >= 10 else f"{value:.2g}"  # noqa: PLR2004
    return digits + _TIMES


def header(*cells: str) -> list[str]:
    """Return the two lines that a table begins with."""
    return [row(*cells), "|---" * len(cells) + "|"]


def row(*cells: str) -> str:
    """Return a line of a table."""
    return "| " + " | ".join(cells) + " |"
