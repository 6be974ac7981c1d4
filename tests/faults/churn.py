"""People who come, go, reload and click, at random, while others write."""

import random
import time
from concurrent.futures import Future
from typing import Any

from tests.faults.cluster import Cluster
from tests.faults.pages import PageLog


class Churn:
    """A cluster's people, who do one thing after the other."""

    def __init__(self, cluster: Cluster, people: list[str], *, tabs: int = 2) -> None:
        self._cluster = cluster
        self._people = people
        self._most = tabs * len(people)
        self._chance = random.Random(cluster.seed)  # noqa: S311 -- to be repeated
        self._clicks: list[Future[Any]] = []

    @property
    def _pages(self) -> list[PageLog]:
        return [page for page in self._cluster.pages if not page.is_closed]

    def run(self, seconds: float, *, pause: float = 0.05) -> None:
        """Do things for so long."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.step()
            time.sleep(pause)
        for click in self._clicks:
            click.result(30)
        self._clicks.clear()

    def step(self) -> None:
        """Do one thing."""
        [deed] = self._chance.choices(
            [self._come, self._go, self._reload, self._kick, self._click],
            [3, 2, 2, 1, 4],
        )
        deed()

    def leave(self) -> None:
        """All pages are closed."""
        for page in self._pages:
            self._cluster.crowd.close(page)

    def forget(self) -> None:
        """Keep nothing of pages that are closed, so that a long run stays small."""
        self._cluster.pages = self._pages
        logs = self._cluster.crowd.logs
        for page in [page for page in logs.values() if page.is_closed]:
            page.applied.clear()
            page.states.clear()

    def _come(self) -> None:
        if len(self._pages) < self._most:
            server = self._chance.randrange(len(self._cluster.servers))
            self._cluster.open(self._chance.choice(self._people), server)

    def _go(self) -> None:
        if self._pages:
            self._cluster.crowd.close(self._chance.choice(self._pages))

    def _reload(self) -> None:
        if self._pages:
            page = self._chance.choice(self._pages)
            self._cluster.crowd.close(page)
            server = self._chance.randrange(len(self._cluster.servers))
            self._cluster.open(page.user, server)

    def _kick(self) -> None:
        self._chance.choice(self._cluster.links).cut()

    def _click(self) -> None:
        told = [page for page in self._pages if page.applied]
        if not told:
            return
        page = self._chance.choice(told)
        frame = self._chance.choice(page.applied[-3:])
        verb = self._chance.choice(["read", "read", "unread", "dismiss", "restore"])
        body: dict[str, Any] = {"ids": [int(pk) for pk in frame.titles]}
        if verb in {"dismiss", "restore"}:
            # One, so that something is left to see.
            body = {"ids": body["ids"][:1]}
            self._cluster.restored |= {str(pk) for pk in body["ids"]}
        elif verb == "read" and self._chance.random() < 0.5:
            body = {"up_to": frame.revision, "epoch": frame.epoch}
        if body != {"ids": []}:
            self._clicks.append(self._cluster.crowd.post(page, verb, body))
