"""What a test knows of an open page: what it applied, what rang, what it shows."""

from dataclasses import dataclass, field
from typing import Any, NamedTuple


class Shown(NamedTuple):
    """A notification on a page."""

    id: str
    title: str
    is_read: bool
    created_revision: int
    revision: int


class Applied(NamedTuple):
    """A frame that a page has taken in."""

    at: float  # seconds since 1970
    kind: str  # "snapshot" or "changes"
    # Where the page stood before; the epoch is None on a page that held nothing.
    since: tuple[str | None, int]
    epoch: str
    revision: int
    unread: int
    # id -> title of what it brought; and the ids that rang.
    titles: dict[str, str]
    rung: tuple[str, ...]


class Screen(NamedTuple):
    """What a page shows at one moment."""

    epoch: str | None
    revision: int
    unread: int
    items: tuple[Shown, ...]
    state: str  # of the transport


@dataclass
class PageLog:
    """One page, from its opening to its end."""

    name: str
    user: str
    url: str = ""
    applied: list[Applied] = field(default_factory=list)
    # States of the transport, and since when (seconds since 1970).
    states: list[tuple[float, str]] = field(default_factory=list)
    screen: Screen | None = None
    # For good: it shows nothing any more.
    is_closed: bool = False

    @property
    def state(self) -> str:
        return self.states[-1][1] if self.states else ""

    @property
    def is_open(self) -> bool:
        """Whether it holds a socket that has told it its state."""
        return self.state == "open"

    @property
    def position(self) -> tuple[str | None, int]:
        if not self.applied:
            return None, 0
        last = self.applied[-1]
        return last.epoch, last.revision

    @property
    def rung(self) -> list[tuple[str, str]]:
        """The ids and titles that rang, in order. A restored database gives an id out
        a second time, for something else.
        """
        return [(pk, f.titles[pk]) for f in self.applied for pk in f.rung]

    @property
    def seen(self) -> set[tuple[str, str]]:
        """The ids and titles of all that it was ever sent."""
        return {pair for frame in self.applied for pair in frame.titles.items()}

    @property
    def seen_titles(self) -> set[str]:
        return {title for _pk, title in self.seen}

    def take(self, event: dict[str, Any]) -> None:
        """Write down what the page says of itself."""
        match event["event"]:
            case "applied":
                self.applied.append(
                    Applied(
                        at=event["at"],
                        kind=event["kind"],
                        since=(event["since"][0], event["since"][1]),
                        epoch=event["epoch"],
                        revision=event["revision"],
                        unread=event["unread"],
                        titles={item[0]: item[1] for item in event["items"]},
                        rung=tuple(event["rung"]),
                    )
                )
            case "transport":
                self.states.append((event["at"], event["state"]))
            case "screen":
                self.screen = Screen(
                    event["epoch"],
                    event["revision"],
                    event["unread"],
                    tuple(Shown(*item) for item in event["items"]),
                    event["state"],
                )

    def seconds_out_of_touch(self, begin: float, end: float) -> float:
        """How long between the two it had no socket: what it polls may be late."""
        out = 0.0
        for number, (since, state) in enumerate(self.states):
            following = self.states[number + 1 :][:1]
            until = following[0][0] if following else end
            if state != "open":
                out += max(0.0, min(until, end) - max(since, begin))
        return out
