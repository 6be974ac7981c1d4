"""What the scenarios of one run measured, for the table at its end."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True)
class Figure:
    """One scenario: what was tried, and how it went."""

    name: str
    survived: bool
    # The worst staleness (seconds), with the broker alive and in trouble.
    alive: float
    dead: float | None
    repairs: int
    writes: int
    pages: int


_figures: list[Figure] = []


def note(name: str, **measured: Any) -> None:
    """Keep what a scenario has measured; one that is judged again adds to it."""
    new = Figure(name, **measured)
    known = next((figure for figure in _figures if figure.name == name), None)
    if known is not None:
        _figures.remove(known)
        deads = [dead for dead in (known.dead, new.dead) if dead is not None]
        new = replace(
            new,
            survived=known.survived and new.survived,
            alive=max(known.alive, new.alive),
            dead=max(deads, default=None),
            pages=max(known.pages, new.pages),
        )
    _figures.append(new)


def table() -> Iterable[str]:
    """The lines of the table; none where nothing was measured."""
    if not _figures:
        return
    yield (
        f"{'scenario':<72}{'pages':>7}{'writes':>8}{'alive':>8}{'dead':>8}{'repairs':>9}"
    )
    for figure in sorted(_figures, key=lambda figure: figure.name):
        dead = "" if figure.dead is None else f"{figure.dead:.2f}"
        name = figure.name.rpartition("/")[2]
        verdict = "" if figure.survived else "  objections"
        yield (
            f"{name:<72.72}{figure.pages:>7}{figure.writes:>8}{figure.alive:>8.2f}"
            f"{dead:>8}{figure.repairs:>9}{verdict}"
        )
    survived = [figure for figure in _figures if figure.survived]
    deads = [figure.dead for figure in survived if figure.dead is not None]
    yield (
        f"{len(survived)} of {len(_figures)} without an objection; worst staleness "
        f"{max((f.alive for f in survived), default=0):.2f} s with the broker alive, "
        f"{max(deads, default=0):.2f} s with it in trouble; "
        f"{sum(f.repairs for f in _figures)} repairs"
    )
