"""Connections that break again and again while others write."""

import time

from tests.faults.cluster import THOROUGH, StartCluster


class TestKicks:
    def test_sockets_kicked_every_100_ms_lose_nothing(
        self, start_cluster: StartCluster
    ) -> None:
        """Centrifugo's recovery storm: the line breaks before most are back."""
        cluster = start_cluster()
        writer = cluster.writer()
        people = cluster.people(5)
        cluster.open_all(people, tabs=2)
        seconds = 30 if THOROUGH else 4
        done = writer.stream(cluster.seed, people, seconds=seconds)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            cluster.chance.choice(cluster.links).cut()
            time.sleep(0.1)
        done()
        cluster.judge(staleness=5)
