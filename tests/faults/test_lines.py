"""Lines that carry nothing and don't say so, or carry it late and in pieces."""

import time

import pytest

from tests.faults.cluster import BUSY, NEVER, THOROUGH, Cluster
from tests.waiting import wait_until

# The pages' time passes so much faster: after 35 s of silence a line is dead.
PACE = 1.0 if THOROUGH else 10.0
SILENT_SECONDS = 35 / PACE


class TestSilence:
    @pytest.mark.parametrize(
        "kind", [pytest.param("stalled", marks=pytest.mark.thorough), "half open"]
    )
    def test_a_line_that_only_looks_open_is_left(
        self, cluster: Cluster, kind: str
    ) -> None:
        cluster.check_every(NEVER)
        writer = cluster.writer()
        people = cluster.people(3)
        pages = cluster.open_all(people, pace=PACE)
        silent = [page for page in pages if page.url == cluster.links[0].url]
        lasting = SILENT_SECONDS + 3
        done = writer.stream(cluster.seed, people, seconds=lasting + 1)
        time.sleep(0.5)
        if kind == "stalled":
            cluster.links[0].stall()
        else:
            cluster.links[0].lose("down")
        begun = time.time()
        wait_until(lambda: all(not page.is_open for page in silent), within=3 * lasting)
        noticed = time.time() - begun
        cluster.links[0].mend()
        done()
        cluster.judge(staleness=max(noticed, SILENT_SECONDS) + BUSY * 0.5)
        if THOROUGH:
            assert noticed < 45
            # And the server has let go of the dead ends.
            wait_until(
                lambda: (
                    sum(server.numbers()["sockets"] for server in cluster.servers)
                    == len(pages)
                ),
                within=60,
            )


@pytest.mark.thorough
class TestPieces:
    def test_single_bytes_and_late(self, cluster: Cluster) -> None:
        """To pages, to Redis and to the database."""
        cluster.check_every(NEVER)
        writer = cluster.writer()
        people = cluster.people(3)
        cluster.open_all(people)
        cluster.links[0].chop()
        cluster.links[1].delay(0.1)
        # Pushes go one at a time: so many a second that none has to queue.
        cluster.redis_link.delay(0.01)
        cluster.database_link.delay(0.002)
        writer.stream(cluster.seed, people, seconds=20 if THOROUGH else 2)()
        cluster.judge(staleness=BUSY * 1)
