"""One work on one peer: its server, a sender and the load, all of them fresh."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.cores import cpu_seconds
from benchmarks.peers.base import Peer
from benchmarks.processes import Helper
from benchmarks.rig import Rig
from benchmarks.sizes import WARMERS, Size

# After so long without an arrival what is missing is lost: longer than Themis takes to
# repair a push that its broker has dropped.
QUIET_SECONDS = 20


@dataclass(slots=True)
class Window:
    """While something is measured; the wait for what is lost is no part of it."""

    seconds: float = 0.0


class Stage:
    """
    What a work is played on.

    Args:
        peer: The system, its server started.
        sender: Of the same system.
        client: The load.
        rig: The database and the broker.
        size: How much there is to do.
    """

    def __init__(
        self, peer: Peer, sender: Helper, client: Helper, rig: Rig, size: Size
    ) -> None:
        self.peer = peer
        self.size = size
        self._sender = sender
        self._client = client
        self._processes = {
            "server": peer.pid,
            "client": client.pid,
            "sender": sender.pid,
            "redis": rig.redis.pid,
            "postgres": rig.postgres.pid,
        }
        self._number = 1
        # How much of a core each process used while something was measured.
        self.shares: dict[str, dict[str, float]] = {}
        # What did not arrive, of how many; what did twice; connections that failed.
        self.expected = 0
        self.lost = 0
        self.extra = 0
        self.failed = 0

    # Connections

    def open(self, count: int, *, first: int = 1, one_user: bool = False) -> float:
        """Connect *count* users, or one as often; return how many came in a second."""
        answer = self._client.ask(
            "open",
            door=asdict(self.peer.door),
            first=first,
            count=count,
            one_user=one_user,
        )
        self.failed += answer["failed"]
        return float(answer["ready"] / answer["seconds"])

    def close(self) -> None:
        """Disconnect everybody, and let the server see to it."""
        self._client.ask("close")
        self._settle()

    # Notifications

    def expect(self, count: int, *, everybody: bool) -> int:
        """
        Begin to expect *count* notifications; return the number of the first.

        Each is for all connections, or they are for one after the other.
        """
        first, self._number = self._number, self._number + count
        self._client.ask("expect", first=first, size=count, everybody=everybody)
        self._settle()
        return first

    def loop(self, users: int, first: int, calls: int, rate: float = 0) -> Any:
        """Notify the first *users* one after the other."""
        asked = {"users": [1, users], "first": first, "calls": calls, "rate": rate}
        return self._sender.ask("loop", **asked)

    def bulk(self, users: int, number: int) -> Any:
        """Notify the first *users* at once."""
        return self._sender.ask("bulk", users=[1, users], number=number)

    def collect(self, *, times: bool = False) -> Any:
        """Wait for what is expected; count what doesn't come."""
        arrived = self._client.ask("collect", quiet=QUIET_SECONDS, times=times)
        self.expected += arrived["expected"]
        self.lost += arrived["expected"] - arrived["arrived"]
        self.extra += arrived["extra"]
        return arrived

    # Polls

    def poll(self, name: str) -> float:
        """Let pages poll; return how many were answered in a second."""
        asked = asdict(self.peer.polls[name])
        answer = self._client.ask(
            "poll",
            port=self.peer.port,
            users=self.size.polling_users,
            count=self.size.polls,
            **asked,
        )
        self.failed += answer["failed"]
        return float((self.size.polls - answer["failed"]) / answer["seconds"])

    # Measuring

    @contextmanager
    def measured(self, name: str) -> Iterator[Window]:
        """Note how busy each process is in the block; its seconds may be corrected."""
        before = {who: cpu_seconds(pid) for who, pid in self._processes.items()}
        window = Window()
        began = time.monotonic()
        yield window
        seconds = window.seconds or time.monotonic() - began
        self.shares[name] = {
            who: round((cpu_seconds(pid) - before[who]) / seconds, 3)
            for who, pid in self._processes.items()
        }

    def warm_up(self) -> None:
        """Let others do once what is to be measured, so that everything is loaded."""
        strangers = self.size.users - WARMERS + 1
        # The first one pays for the imports, and may come too late for its server.
        for count in (1, WARMERS):
            self.open(count, first=strangers)
            self.close()
        self.failed = 0
        self.open(WARMERS, first=strangers)
        first = self.expect(WARMERS, everybody=False)
        self._sender.ask(
            "loop", users=[strangers, WARMERS], first=first, calls=WARMERS, rate=50
        )
        self.collect()
        self.close()
        if self.lost or self.failed:
            message = f"{self.lost} lost, {self.failed} failed when warming up"
            raise RuntimeError(message)
        self.expected = self.extra = 0

    def _settle(self) -> None:
        time.sleep(self.size.settle_seconds)


@contextmanager
def staged(kind: type[Peer], rig: Rig, size: Size) -> Iterator[Stage]:
    """Set the stage for one run, warmed up."""
    with rig.fresh() as environment:
        peer = kind(environment)
        try:
            peer.start()
            with (
                Helper(peer.send(), peer.environment()) as sender,
                Helper([sys.executable, "-m", "benchmarks.load"]) as client,
            ):
                stage = Stage(peer, sender, client, rig, size)
                try:
                    stage.warm_up()
                    yield stage
                except Exception as error:
                    error.add_note(f"The end of the server's log:\n{peer.log[-2000:]}")
                    raise
        finally:
            peer.close()
