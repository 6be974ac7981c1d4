"""What was written: attempted, and then acknowledged, failed, or never heard of.

Each writer keeps a journal in a file, which outlives it.
"""

import json
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

Outcome = Literal["acknowledged", "failed", "unknown"]


@dataclass
class Write:
    """One call of a writer, about the notifications of one title."""

    verb: str
    title: str
    users: tuple[str, ...]
    begun: float  # seconds since 1970
    # When the caller's transaction was committed; None = it was not.
    committed: float | None = None
    ended: float | None = None
    outcome: Outcome = "unknown"
    error: str = ""

    @property
    def seconds(self) -> float:
        """How long the caller was kept."""
        return (self.ended or self.begun) - self.begun


# What a title must be in the end, by the last of its writes that was acknowledged.
PRESENT = frozenset({"plain", "atomic", "deduplicate", "users", "savepoint"})
ABSENT = frozenset({"withdraw", "delete"})
# These may never be seen at all.
TAKEN_BACK = frozenset({"rollback", "savepoint rollback"})


@dataclass
class History:
    """All writes of one run, in the order in which each writer made them."""

    writes: list[Write] = field(default_factory=list)

    @classmethod
    def read(cls, journals: Iterable[Path]) -> "History":
        """Put the journals together."""
        writes: list[Write] = []
        for journal in journals:
            writes += _read(journal)
        return cls(writes)

    @property
    def by_title(self) -> dict[str, list[Write]]:
        found: dict[str, list[Write]] = {}
        for write in self.writes:
            found.setdefault(write.title, []).append(write)
        return found

    def only(self, outcome: Outcome) -> list[Write]:
        return [write for write in self.writes if write.outcome == outcome]


def _read(journal: Path) -> list[Write]:
    writes: dict[int, Write] = {}
    for line in journal.read_text().splitlines():
        entry: dict[str, Any] = json.loads(line)
        number, event, at = entry["number"], entry["event"], entry["at"]
        if event == "attempted":
            users = tuple(entry["users"])
            writes[number] = Write(entry["verb"], entry["title"], users, at)
        elif event == "committed":
            writes[number].committed = at
        else:
            write = writes[number]
            write.outcome, write.ended = event, at
            write.error = entry.get("error", "")
            if write.committed is None and event == "acknowledged":
                write.committed = at
    return list(writes.values())


class Journal:
    """The writer's side: a line is in the file before the next thing happens."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._number = 0

    def attempt(self, verb: str, title: str, users: Iterable[str]) -> int:
        """Write down what is to be done; the number of it."""
        self._number += 1
        self._note(self._number, "attempted", verb=verb, title=title, users=list(users))
        return self._number

    def commit(self, number: int) -> None:
        self._note(number, "committed")

    def acknowledge(self, number: int) -> None:
        self._note(number, "acknowledged")

    def fail(self, number: int, error: Exception) -> None:
        self._note(number, "failed", error=f"{type(error).__name__}: {error}")

    def _note(self, number: int, event: str, **details: Any) -> None:
        entry = {"number": number, "event": event, "at": time.time(), **details}
        with self._path.open("a") as file:
            file.write(json.dumps(entry) + "\n")
