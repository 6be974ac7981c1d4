"""One scenario: people, their pages and writers on a plant that it breaks, and then
the verdict.
"""

import contextlib
import itertools
import os
import random
import secrets
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.faults import figures
from tests.faults.checker import examine
from tests.faults.crowd import Crowd
from tests.faults.history import History
from tests.faults.pages import PageLog
from tests.faults.plant import Plant
from tests.faults.runs import BrokenPromiseError, Run
from tests.faults.staleness import worst_staleness
from tests.faults.twins import Twins
from tests.faults.writer import Writer
from tests.waiting import wait_until

# `make faults`: longer, more, and what takes too long for every day.
THOROUGH = os.environ.get("THEMIS_FAULTS") == "all"
# THEMIS_SEED=7 pytest tests/faults: other choices, and those again.
SEED = int(
    os.environ.get("THEMIS_SEED") or (secrets.randbelow(10_000) if THOROUGH else 2)
)

# Where the reconciler isn't the point, checks that never come prove that it was pushed.
NEVER = "3600"
# And where it is, a check each second saves time.
SOON = "1"
# A machine that does other things besides may take this many times what is promised.
BUSY = 5
# A hub that was cut off from the broker pauses before it listens again.
AFTERMATH_SECONDS = 10


class Cluster:
    """
    Everything of one run, until its block ends.

    Of the plant: `servers`, `links` to them, `redis_link`, `database_link`.
    """

    _numbers = itertools.count(1)

    def __init__(
        self, plant: Plant, name: str, directory: Path, *, seed: int = SEED
    ) -> None:
        self.plant = plant
        self.name = name
        self.seed = seed
        self.chance = random.Random(seed)  # noqa: S311 -- to be repeated
        self.servers = plant.servers
        self.links = plant.links
        self.ledger = plant.ledger
        self.redis_server = plant.redis_server
        self.database_url = plant.database_url
        self.pages: list[PageLog] = []
        self.sessions: dict[str, str] = {}
        self.writers: list[Writer] = []
        # When the broker was in trouble, for the figures (seconds since 1970).
        self.troubles: list[tuple[float, float]] = []
        # Ids of what was put away once (see Run).
        self.restored: set[str] = set()
        self.failures_expected = False
        self._is_mutated = False
        self._directory = directory
        self._stack = ExitStack()
        # By the process: one that is killed takes its count along.
        self._repaired: dict[int, int] = {}

    def __enter__(self) -> Self:
        self.crowd = self._stack.enter_context(Crowd())
        self.twins = self._stack.enter_context(Twins())
        self._unhandled = self.plant.count_unhandled()
        self._repaired = self._count_repairs()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.plant.mend()
        self._stack.close()
        if kind is None and not self.failures_expected:
            logs = "\n".join(server.log[-4000:] for server in self.servers)
            assert self.plant.count_unhandled() == self._unhandled, logs

    @property
    def redis_link(self) -> Any:
        return self.plant.redis_link

    @property
    def database_link(self) -> Any:
        return self.plant.database_link

    def expect_failures(self) -> None:
        """Tracebacks in the servers' logs are part of this scenario."""
        self.failures_expected = True

    # What is set while it runs

    def check_every(self, seconds: float | str) -> None:
        """Set the interval of all reconcilers, from now on."""
        self.arrange(settings={"THEMIS_REALTIME_CHECK_INTERVAL": float(seconds)})

    def arrange(self, **failpoints: Any) -> None:
        """Arrange failpoints in all servers and writers."""
        self._is_mutated = bool(failpoints.get("mutations"))
        for server in self.servers:
            server.arrange(**failpoints)
        for writer in self.writers:
            writer.ask("arrange", **failpoints)

    @contextlib.contextmanager
    def trouble(self) -> Iterator[None]:
        """Note that the broker is in trouble meanwhile, for the figures."""
        since = time.time()
        yield
        self.troubles.append((since, time.time() + AFTERMATH_SECONDS))

    # Who is there

    def writer(self, failpoints: Mapping[str, Any] | None = None) -> Writer:
        """Start a process that writes."""
        journal = self._directory / f"journal-{next(self._numbers)}"
        journal.touch()
        environment = self.plant.environment(failpoints)
        writer = self._stack.enter_context(Writer(environment, journal))
        self.writers.append(writer)
        return writer

    def people(self, count: int) -> list[str]:
        """New users, signed in."""
        names = [f"p{next(self._numbers)}" for _ in range(count)]
        writer = self.writers[0] if self.writers else self.writer()
        self.sessions |= writer.people(names)
        return names

    def open(self, user: str, server: int = 0, **options: Any) -> PageLog:
        """Open a page of the user; options are those of Crowd.open."""
        url = self.links[server].url
        page = self.crowd.open(user, self.sessions[user], url, **options)
        self.pages.append(page)
        return page

    def open_twin(self, user: str, server: int = 0) -> PageLog:
        """Open a page of the user that is the twin of the shipped one."""
        url = self.links[server].url
        page = self.twins.open(user, self.sessions[user], url)
        self.pages.append(page)
        return page

    def open_all(
        self, users: Collection[str], tabs: int = 1, **options: Any
    ) -> list[PageLog]:
        """Open tabs of each user on each server, and wait until all are told."""
        pages = [
            self.open(user, number, **options)
            for user in users
            for number in range(len(self.servers))
            for _tab in range(tabs)
        ]
        self.all_open(pages)
        return pages

    def all_open(
        self, pages: Collection[PageLog] | None = None, *, within: float = 30
    ) -> None:
        """Wait until the pages have sockets that have told them their state."""
        waited = self.pages if pages is None else pages
        wait_until(
            lambda: all(page.is_open for page in waited if not page.is_closed),
            within=within,
        )

    # The verdict

    def is_everywhere(self, title: str) -> bool:
        """Whether each page of a user who was told has been sent it."""
        history = self.read_history()
        users = {user for write in history.by_title[title] for user in write.users}
        pages = [page for page in self.pages if page.user in users]
        return all(title in page.seen_titles for page in pages if not page.is_closed)

    def read_history(self) -> History:
        return History.read(writer.journal for writer in self.writers)

    def settle(self, *, within: float = 30) -> None:
        """Wait until nothing is to come, or the time is over: then it is judged."""
        # The checker says what is wrong.
        with contextlib.suppress(TimeoutError):
            self.all_open(within=within)
            wait_until(self._is_settled, within=within)
        self.crowd.look()
        self.twins.look()

    def _is_settled(self) -> bool:
        # Each glance is a connection, which costs what the servers need.
        time.sleep(0.1)
        boxes, pending = self.ledger.glance()
        return not pending and all(
            page.position == (boxes[page.user].epoch, boxes[page.user].revision)
            for page in self.pages
            if not page.is_closed
        )

    def judge(
        self,
        *,
        staleness: float | None = None,
        excused: tuple[str, ...] = (),
        within: float = 30,
    ) -> Run:
        """
        Wait until all is quiet, and check everything.

        Args:
            staleness: How long a page in touch may have been behind (seconds).
            excused: Errors of writers that the fault itself explains.
            within: How long it may take until nothing is to come (seconds).

        Raises:
            BrokenPromiseError: something is not as promised.
        """
        self.settle(within=within)
        run = Run(
            self.ledger.read(),
            self.pages,
            self.read_history(),
            excused,
            staleness,
            self.troubles,
            self.restored,
        )
        objections = examine(run)
        alive, dead = worst_staleness(run)
        if not self._is_mutated:
            figures.note(
                self.name,
                survived=not objections,
                alive=alive,
                dead=dead if self.troubles else None,
                repairs=self.repairs(),
                writes=len(run.history.writes),
                pages=len(run.pages),
            )
        if objections:
            raise BrokenPromiseError(objections, self.replay)
        return run

    @property
    def replay(self) -> str:
        whole = "THEMIS_FAULTS=all " if THOROUGH else ""
        return f"Again: {whole}THEMIS_SEED={self.seed} pytest '{self.name}'"

    def repairs(self) -> int:
        """How many losses the reconcilers have repaired in this scenario."""
        counts = self._count_repairs()
        return sum(counts.values()) - sum(self._repaired.get(pid, 0) for pid in counts)

    def _count_repairs(self) -> dict[int, int]:
        return {
            server.pid: server.numbers()["repairs"]
            for server in self.servers
            if server.running
        }


StartCluster = Callable[..., Cluster]
