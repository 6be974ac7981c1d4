"""All that is known of a run when it is over, and what is not as promised in it."""

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import NamedTuple

from tests.faults.history import History
from tests.faults.ledger import Books
from tests.faults.pages import PageLog


class Objection(NamedTuple):
    """What is not as promised: of which kind, where, and what."""

    kind: str
    where: str
    what: str


class BrokenPromiseError(AssertionError):
    """What the checker objects to."""

    def __init__(self, objections: Collection[Objection], replay: str) -> None:
        self.objections = list(objections)
        lines = [f"{kind}: {where}: {what}" for kind, where, what in self.objections]
        more = f"... and {len(lines) - 30} more" if len(lines) > 30 else ""
        super().__init__("\n".join(["", *lines[:30], more, replay]))

    @property
    def kinds(self) -> set[str]:
        return {objection.kind for objection in self.objections}


@dataclass
class Run:
    """All that is known of a run when it is over."""

    books: Books
    pages: list[PageLog]
    history: History = field(default_factory=History)
    # Errors that a fault excuses: a part of their text.
    excused: tuple[str, ...] = ()
    # How long a page in touch may not know of a revision (seconds).
    staleness: float | None = None
    # When the broker was in trouble (seconds since 1970).
    troubles: list[tuple[float, float]] = field(default_factory=list)
    # Ids of what was put away once: a page may first hear of it when it is back.
    restored: set[str] = field(default_factory=set)
