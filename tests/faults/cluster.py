"""Servers on one database and one broker, the links between them, people, their pages
and writers: what a scenario breaks, and then has judged.
"""

import itertools
import os
import random
import secrets
import time
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from tests.faults import figures
from tests.faults.checker import (
    BrokenPromiseError,
    Run,
    examine,
    worst_staleness,
)
from tests.faults.crowd import Crowd
from tests.faults.failpoints import VARIABLE
from tests.faults.history import History
from tests.faults.ledger import Ledger
from tests.faults.links import Link
from tests.faults.pages import PageLog
from tests.faults.probes import FaultyServer
from tests.faults.writer import Writer
from tests.processes import RedisServer
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


class Cluster:
    """
    Everything of one run.

    The servers reach Redis by `redis_link` and the database by `database_link`; pages
    reach server n by `links[n]`. Writers have the same ways as the servers.
    """

    def __init__(
        self,
        name: str,
        directory: Path,
        *,
        database_url: str,
        redis_server: RedisServer | None,
        servers: int = 2,
        seed: int = SEED,
        failpoints: Mapping[str, Any] | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self.seed = seed
        self.chance = random.Random(seed)  # noqa: S311 -- to be repeated
        self.directory = directory
        self.database_url = database_url
        self.redis_server = redis_server
        self.ledger = Ledger(database_url)
        self.pages: list[PageLog] = []
        self.sessions: dict[str, str] = {}
        self.writers: list[Writer] = []
        # When the broker was in trouble, for the figures.
        self.troubles: list[tuple[float, float]] = []
        self.restored: set[str] = set()
        self._stack = ExitStack()
        self._numbers = itertools.count(1)
        redis_url = ""
        if redis_server is not None:
            self.redis_link = self._link(redis_server.port)
            redis_url = f"redis://127.0.0.1:{self.redis_link.port}/0"
        url = database_url
        if url.startswith("postgres"):
            self.database_link = self._link(urlsplit(url).port or 5432)
            port = self.database_link.port
            url = urlsplit(url)._replace(netloc=f"themis@127.0.0.1:{port}").geturl()
        variables = {"DJANGO_DEBUG": "1", **(env or {})}
        if failpoints:
            variables[VARIABLE] = figures.to_json(failpoints)
        self.servers = [
            FaultyServer(database_url=url, redis_url=redis_url, env=variables)
            for _ in range(servers)
        ]
        self.links = [self._link(server.port) for server in self.servers]
        self.crowd = Crowd()

    def _link(self, port: int) -> Link:
        return self._stack.enter_context(Link(port))

    def __enter__(self) -> Self:
        self._stack.callback(self._end_servers)
        self._stack.enter_context(self.crowd)
        with ThreadPoolExecutor(len(self.servers)) as pool:
            list(pool.map(FaultyServer.start, self.servers))
        self.ledger.watch()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.close()

    def _end_servers(self) -> None:
        for server in self.servers:
            server.close()

    # Who is there

    def writer(self, failpoints: Mapping[str, Any] | None = None) -> Writer:
        """Start a process that writes."""
        journal = self.directory / f"journal-{next(self._numbers)}"
        journal.touch()
        environment = self.servers[0].environment()
        environment.pop(VARIABLE, None)
        if failpoints:
            environment[VARIABLE] = figures.to_json(failpoints)
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
        """Open a page of the user."""
        url = self.links[server].url
        page = self.crowd.open(user, self.sessions[user], url, **options)
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

    # What is wrong with the broker

    def trouble(self, since: float) -> None:
        """Note that the broker was in trouble from then until now."""
        # A hub that was cut off listens again after a pause of its own.
        self.troubles.append((since, time.time() + 10))

    # The verdict

    def settle(self, *, within: float = 30) -> None:
        """Wait until nothing is to come, or the time is over: then it is judged."""
        try:
            self.all_open(within=within)
            wait_until(self._is_settled, within=within)
        except TimeoutError:
            pass  # The checker says what is wrong.
        self.crowd.look()

    def _is_settled(self) -> bool:
        if self.ledger.count_pending():
            return False
        boxes = self.ledger.boxes()
        return all(
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
            History.read(writer.journal for writer in self.writers),
            excused,
            staleness,
            self.troubles,
            self.restored,
        )
        objections = examine(run)
        alive, dead = worst_staleness(run)
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
        all_of_it = "THEMIS_FAULTS=all " if THOROUGH else ""
        return f"Again: {all_of_it}THEMIS_SEED={self.seed} pytest '{self.name}'"

    def repairs(self) -> int:
        """How many losses the reconcilers of all servers have repaired."""
        return sum(
            server.numbers()["repairs"] for server in self.servers if server.running
        )

    def expect_failures(self) -> None:
        """Tracebacks in the servers' logs are part of this scenario."""
        for server in self.servers:
            server.expect_failures()


StartCluster = Callable[..., Cluster]
