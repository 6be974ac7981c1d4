"""Lines that break again and again while others write."""

import time

import pytest

from tests.faults.cluster import BUSY, NEVER, THOROUGH, Cluster


class TestKicks:
    def test_sockets_kicked_every_100_ms_lose_nothing(self, cluster: Cluster) -> None:
        """Centrifugo's recovery storm: the line breaks before most are back."""
        cluster.check_every(NEVER)
        writer = cluster.writer()
        people = cluster.people(5)
        cluster.open_all(people)
        for person in people:
            cluster.open_twin(person, cluster.chance.randrange(2))
        cluster.all_open()
        seconds = 30 if THOROUGH else 3
        done = writer.stream(cluster.seed, people, seconds=seconds)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            cluster.chance.choice(cluster.links).cut()
            time.sleep(0.1)
        done()
        cluster.judge(staleness=BUSY * 0.5)


class TestDrops:
    @pytest.mark.thorough
    def test_a_network_that_goes_for_2_s_again_and_again(
        self, cluster: Cluster
    ) -> None:
        """AnyCable's benchmark: all is delivered."""
        cluster.check_every(NEVER)
        writer = cluster.writer()
        people = cluster.people(5)
        cluster.open_all(people)
        times = 8
        done = writer.stream(cluster.seed, people, seconds=times * 3.5)
        for _ in range(times):
            time.sleep(1)
            for link in cluster.links:
                link.sever()
            time.sleep(2)
            for link in cluster.links:
                link.mend()
        done()
        cluster.judge(staleness=BUSY * 0.5)
