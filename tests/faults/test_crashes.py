"""Processes that are killed at the worst moment, and what is seen of it."""

import pytest

from tests.faults.cluster import BUSY, Cluster
from tests.waiting import wait_until


def write_and_die(cluster: Cluster, point: str, *, nth: int = 3) -> None:
    """A writer writes to its death: between commit and stamp, or stamp and publish."""
    people = cluster.people(3)
    cluster.open_all(people)
    writer = cluster.writer({"die": {point: nth}})
    mix = {"atomic": 3, "users": 1} if point == "publish" else {"atomic": 1}
    writer.stream(cluster.seed, people, seconds=30, mix=mix)
    assert writer.wait() == -9


class TestWriters:
    @pytest.mark.parametrize("point", ["stamp", "publish"])
    def test_killed_with_their_work_half_done(
        self, cluster: Cluster, point: str
    ) -> None:
        """Who stamps what nobody stamped, and tells what nobody told: the check."""
        write_and_die(cluster, point)
        run = cluster.judge(staleness=BUSY * 1)
        [last] = run.history.only("unknown")
        assert last.committed is not None
        assert cluster.repairs() > 0 or point == "stamp"


class TestServers:
    def test_killed_between_stamp_and_publish_of_a_persons_click(
        self, cluster: Cluster
    ) -> None:
        people = cluster.people(2)
        writer = cluster.writer()
        for number in range(5):
            writer.write("users", f"number {number}", *people)
        pages = cluster.open_all(people)
        wait_until(lambda: all(page.applied for page in pages))
        first, other = cluster.servers
        first.arrange(die={"publish": 1})
        up_to = pages[0].position[1]
        clicked = cluster.crowd.post(pages[0], "read", {"up_to": up_to})
        assert clicked.result(20) == 0  # no answer: it is dead
        assert first.wait() == -9
        writer.write("plain", "while one is down", people[0])
        first.start()
        run = cluster.judge(staleness=BUSY * 1)
        assert run.books.unread(people[0]) == 1
        assert other.running
