"""Redis dies, freezes, forgets and runs full, while others write."""

import time
from functools import partial

from tests.faults.cluster import SOON, THOROUGH, Cluster, StartCluster
from tests.waiting import wait_until

# A machine that does other things besides may take this many times what is promised.
BUSY = 5


def start_with_pages(start_cluster: StartCluster) -> tuple[Cluster, list[str]]:
    cluster = start_cluster(THEMIS_REALTIME_CHECK_INTERVAL=SOON)
    cluster.expect_failures()  # channels_redis logs the loss with a traceback
    cluster.writer()
    people = cluster.people(4)
    cluster.open_all(people)
    return cluster, people


def pushes_come_back(cluster: Cluster, user: str) -> None:
    """Wait until five in a row have come without a repair by the reconciler."""
    writer = cluster.writers[0]
    deadline = time.monotonic() + 20
    pushed = 0
    while pushed < 5:
        assert time.monotonic() < deadline, "Nothing is pushed any more."
        repairs = cluster.repairs()
        title = f"back {time.monotonic()}"
        writer.write("plain", title, user)
        wait_until(partial(_is_everywhere, cluster, title, user))
        # Long enough that nothing but a push can have been that quick each time.
        time.sleep(0.1)
        pushed = pushed + 1 if cluster.repairs() == repairs else 0


def _is_everywhere(cluster: Cluster, title: str, user: str) -> bool:
    pages = [page for page in cluster.pages if page.user == user]
    return all(title in {seen for _pk, seen in page.seen} for page in pages)


class TestKilled:
    def test_and_wiped_while_all_write(self, start_cluster: StartCluster) -> None:
        cluster, people = start_with_pages(start_cluster)
        assert cluster.redis_server is not None
        dead = 30 if THOROUGH else 3
        done = cluster.writers[0].stream(cluster.seed, people, seconds=dead + 2)
        time.sleep(1)
        since = time.time()
        # It keeps nothing on disk: what starts again is empty.
        cluster.redis_server.kill()
        time.sleep(dead)
        cluster.redis_server.start()
        done()
        cluster.trouble(since)
        pushes_come_back(cluster, people[0])
        run = cluster.judge(staleness=BUSY * 1)
        assert len(run.history.writes) > 20 * dead
        # Who writes never waits for the broker.
        assert max(write.seconds for write in run.history.writes) < 0.9
