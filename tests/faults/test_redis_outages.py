"""Redis dies, freezes, forgets and runs full, while others write."""

import time
from functools import partial

import pytest

from tests.faults.cluster import BUSY, THOROUGH, Cluster
from tests.waiting import wait_until


@pytest.fixture
def people(cluster: Cluster) -> list[str]:
    """Users with a page on each server; somebody is there to write."""
    cluster.expect_failures()  # channels_redis logs the loss with a traceback
    people = cluster.people(4)
    cluster.open_all(people)
    return people


def assert_nobody_waited(cluster: Cluster) -> None:
    """Who writes never waits for the broker, which would be a second."""
    writes = cluster.read_history().writes
    assert max(write.seconds for write in writes) < 0.9


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
        wait_until(partial(cluster.is_everywhere, title))
        # Long enough that nothing but a push can have been that quick each time.
        time.sleep(0.1)
        pushed = pushed + 1 if cluster.repairs() == repairs else 0


class TestKilled:
    def test_and_wiped_while_all_write(
        self, cluster: Cluster, people: list[str]
    ) -> None:
        assert cluster.redis_server is not None
        dead = 30 if THOROUGH else 3
        with cluster.trouble():
            done = cluster.writers[0].stream(cluster.seed, people, seconds=dead + 1)
            time.sleep(0.5)
            # It keeps nothing on disk: what starts again is empty.
            cluster.redis_server.kill()
            time.sleep(dead)
            cluster.redis_server.start()
            done()
        pushes_come_back(cluster, people[0])
        run = cluster.judge(staleness=BUSY * 1)
        assert len(run.history.writes) > 10 * dead
        assert run.books.rows
        assert_nobody_waited(cluster)


@pytest.mark.thorough
class TestFrozen:
    def test_while_all_write(self, cluster: Cluster, people: list[str]) -> None:
        assert cluster.redis_server is not None
        frozen = 60
        with cluster.trouble():
            done = cluster.writers[0].stream(cluster.seed, people, seconds=frozen + 1)
            time.sleep(0.5)
            cluster.redis_server.pause()
            time.sleep(frozen)
            cluster.redis_server.resume()
            done()
        cluster.judge(staleness=BUSY * 1)
        assert_nobody_waited(cluster)


class TestSubscribers:
    def test_their_connections_are_killed_again_and_again(
        self, cluster: Cluster, people: list[str]
    ) -> None:
        """What is published meanwhile reaches nobody, and nobody is told so."""
        assert cluster.redis_server is not None
        seconds = 20 if THOROUGH else 3
        end = time.monotonic() + seconds
        with cluster.trouble(), cluster.redis_server.client() as client:
            done = cluster.writers[0].stream(cluster.seed, people, seconds=seconds)
            while time.monotonic() < end:
                client.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
                time.sleep(0.1)
            done()
        cluster.judge(staleness=BUSY * 1)
        assert cluster.repairs() > 0


@pytest.mark.thorough
class TestFull:
    @pytest.mark.parametrize(
        ("name", "value", "usual"),
        [
            ("maxmemory", "1", "0"),
            ("maxclients", "1", "10000"),
            ("requirepass", "another", ""),
        ],
    )
    def test_it_takes_nothing_more(
        self, cluster: Cluster, people: list[str], name: str, value: str, usual: str
    ) -> None:
        assert cluster.redis_server is not None
        writer = cluster.writers[0]
        with cluster.trouble(), cluster.redis_server.client() as client:
            client.config_set("maxmemory-policy", "noeviction")
            client.config_set(name, value)
            try:
                client.client_kill_filter(_type="normal", skipme=True)
                client.client_kill_filter(_type="pubsub")
                writer.stream(cluster.seed, people, seconds=5)()
                # Somebody comes just then.
                cluster.all_open([cluster.open(people[0])])
            finally:
                client.config_set(name, usual)
        pushes_come_back(cluster, people[0])
        cluster.judge(staleness=BUSY * 1)
        assert_nobody_waited(cluster)
