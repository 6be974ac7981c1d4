"""How much is measured: all of it, a small part, or next to nothing."""

from __future__ import annotations

from dataclasses import dataclass, replace

# Beyond those who are measured: they make a server that has just started warm.
WARMERS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """What each work is to do, and how often."""

    rounds: int
    # Users who sign in, one work after the other.
    handshakes: tuple[int, ...]
    # Sockets that are open, each number on top of the one before.
    idle: tuple[int, ...]
    # Users who are connected, for the works that don't ask for a number of their own.
    connected: int
    # How long notifications are sent at `rate` a second.
    paced_seconds: float
    rate: int
    # Users who are told the same at once.
    bulk: tuple[int, ...]
    # Sockets of one user, and how many notifications these get.
    sockets: int
    messages: int
    # Requests of pages that poll, by how many users.
    polls: int
    polling_users: int
    # Calls with nobody connected.
    calls: int
    # Users in the tables, measured or not, and notifications that each of them has
    # before anything begins.
    population: int = 0
    held: int = 3
    # How long everything is left alone before it is measured; and between the last
    # handshake and the look at the memory.
    settle_seconds: float = 0.5
    idle_seconds: float = 3

    @property
    def users(self) -> int:
        """How many users there must be, those who only warm up included."""
        most = (*self.handshakes, *self.idle, *self.bulk, self.connected)
        return max(*most, self.polling_users, self.population) + WARMERS


_FULL = Size(
    rounds=3,
    handshakes=(1_000, 5_000),
    idle=(1_000, 5_000, 10_000),
    connected=1_000,
    paced_seconds=20,
    rate=100,
    bulk=(1_000, 10_000),
    sockets=500,
    messages=100,
    polls=2_000,
    polling_users=200,
    calls=1_000,
)

# The same to do, whoever else is in the tables: how cost grows with these.
_GROWING = replace(
    _FULL, rounds=1, handshakes=(1_000,), idle=(1_000,), bulk=(1_000,), paced_seconds=10
)
# By what the page calls them.
GROWTH = {
    "1,000 users with 3 each": replace(_GROWING, population=1_000),
    "10,000 users with 3 each": replace(_GROWING, population=10_000),
    "100,000 users with 3 each": replace(_GROWING, population=100_000),
    "10,000 users with 100 each": replace(_GROWING, population=10_000, held=100),
}

SIZES = {
    "full": _FULL,
    "small": Size(
        rounds=1,
        handshakes=(300,),
        idle=(500,),
        connected=200,
        paced_seconds=4,
        rate=100,
        bulk=(200, 1_000),
        sockets=100,
        messages=40,
        polls=300,
        polling_users=50,
        calls=200,
    ),
    # For the work "memory", at length: what idle sockets cost a server.
    "idle": replace(_GROWING, idle=(10_000,), idle_seconds=120),
    "tiny": Size(
        rounds=1,
        handshakes=(10,),
        idle=(10,),
        connected=10,
        paced_seconds=0.2,
        rate=50,
        bulk=(10,),
        sockets=10,
        messages=5,
        polls=20,
        polling_users=5,
        calls=10,
        settle_seconds=0.05,
        idle_seconds=0.05,
    ),
}
