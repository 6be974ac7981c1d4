"""After much coming and going a server holds what it held before."""

import os
import time
from functools import partial

from realtime.readers import READERS
from tests.faults.churn import Churn
from tests.faults.cluster import BUSY, THOROUGH, Cluster
from tests.faults.probes import (
    Holdings,
    broker_holdings,
    connections_to,
    holdings_of,
)
from tests.waiting import wait_until

MINUTES = float(os.environ.get("THEMIS_SOAK_MINUTES", "15"))
# Pools grow when there is much to do at once: reading threads, each with a connection,
# and the default executor of asyncio. The publisher starts with the first push.
POOLED = {
    "themis-publisher": 1,
    "themis-reader": READERS,
    "asyncio": min(32, (os.cpu_count() or 1) + 4),
}
SPARE = READERS + 2
# What an allocator keeps for later, and Python's caches grow to.
MARGIN_BYTES = 16 * 1024 * 1024


class TestChurn:
    def test_leaves_nothing_behind(self, cluster: Cluster) -> None:
        """Tasks, threads, sockets, groups, files, connections, memory."""
        writer = cluster.writer()
        people = cluster.people(20 if THOROUGH else 6)
        churn = Churn(cluster, people)
        _warm(cluster, people)
        _run(cluster, churn, writer_seconds=30 if THOROUGH else 2, people=people)
        churn.leave()
        before = _settled(cluster)
        seconds = MINUTES * 60 if THOROUGH else 4
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            _run(cluster, churn, writer_seconds=min(left, 60), people=people)
            cluster.judge(staleness=BUSY * 1)
            churn.forget()
        churn.leave()
        after = _settled(cluster)
        for was, now in zip(before[0], after[0], strict=True):
            _report(was, now, seconds)
            assert now.tasks == was.tasks
            for name, count in now.threads.items():
                most = max(was.threads.get(name, 0), POOLED.get(name, 0))
                assert count <= most, name
            assert (now.feeds, now.groups, now.sockets) == (0, 0, 0)
            assert now.files <= was.files + SPARE
            assert now.memory < was.memory + MARGIN_BYTES
        # Redis hears of the last group that is left after the server has left it.
        redis_server = cluster.redis_server
        assert redis_server is not None
        wait_until(lambda: broker_holdings(redis_server) == before[1], within=30)
        assert after[2] <= before[2] + SPARE * len(cluster.servers)
        assert len(writer.journal.read_text()) > 0


def _warm(cluster: Cluster, people: list[str]) -> None:
    """Have all threads started, all connections made, all caches filled."""
    cluster.writers[0].write("users", "warm", *people)
    pages = cluster.open_all(people, tabs=3)
    for verb in ("read", "unread"):
        clicks = [
            cluster.crowd.post(
                page, verb, {"ids": [*map(int, page.applied[-1].titles)]}
            )
            for page in pages
        ]
        for click in clicks:
            click.result(30)


def _run(
    cluster: Cluster, churn: Churn, *, writer_seconds: float, people: list[str]
) -> None:
    seed = cluster.chance.randrange(10_000)
    done = cluster.writers[0].stream(seed, people, seconds=writer_seconds)
    churn.run(writer_seconds)
    done()


def _settled(cluster: Cluster) -> tuple[list[Holdings], dict[str, int], int]:
    """What all hold when nobody is there and the lingering is over."""
    wait_until(partial(_is_empty, cluster), within=30)
    assert cluster.redis_server is not None
    return (
        [holdings_of(server) for server in cluster.servers],
        broker_holdings(cluster.redis_server),
        connections_to(cluster.database_url),
    )


def _is_empty(cluster: Cluster) -> bool:
    numbers = [server.numbers() for server in cluster.servers]
    # The request of this probe is one of its tasks; the sockets' are to end.
    return all(
        said["feeds"] == 0 and "notifications" not in said["tasks"] for said in numbers
    )


def _report(was: Holdings, now: Holdings, seconds: float) -> None:
    """What `make faults` shows of it (pytest -rP)."""
    mib = 1024 * 1024
    print(  # noqa: T201
        f"after {seconds:.0f} s: memory {was.memory / mib:.1f} -> "
        f"{now.memory / mib:.1f} MiB, tasks {sum(was.tasks.values())} -> "
        f"{sum(now.tasks.values())}, files {was.files} -> {now.files}"
    )
