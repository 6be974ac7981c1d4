"""Many at once: notified, told the same, and come back."""

import time

from tests.faults.cluster import BUSY, NEVER, THOROUGH, Cluster
from tests.faults.crowd import UNHURRIED
from tests.waiting import wait_until

USERS = 300 if THOROUGH else 40
READERS = 10_000 if THOROUGH else 500
PAGES = 2_000 if THOROUGH else 100


class TestBurst:
    def test_hundreds_are_notified_while_all_are_told_the_same(
        self, cluster: Cluster
    ) -> None:
        """Nothing is lost, and who has nothing to do with it is not kept waiting."""
        cluster.check_every(NEVER)
        people = cluster.people(USERS)
        for number, person in enumerate(people):
            cluster.open(person, number % len(cluster.servers))
        cluster.all_open(within=120)
        [burst, fan_out] = [cluster.writers[0], cluster.writer()]
        fan_out.ask("populate", count=READERS)
        told = fan_out.start("everybody", title="to all", users=people)
        for round_ in range(3):
            for person in people:
                burst.write("plain", f"{round_} for {person}", person)
        told()
        cluster.judge(staleness=BUSY * (3 if THOROUGH else 1), within=60)


class TestComingBack:
    def test_all_at_once_after_the_lines_have_broken(self, cluster: Cluster) -> None:
        """Jitter spreads them, and each reads its state once."""
        cluster.check_every(NEVER)
        people = cluster.people(PAGES // 20)
        writer = cluster.writers[0]
        # As many of each user as the cap lets in, with the waits of a browser.
        for person in people:
            for number in range(20):
                cluster.open(person, number % len(cluster.servers), luck=UNHURRIED)
        cluster.all_open(within=180)
        writer.write("users", "before", *people)
        wait_until(lambda: cluster.is_everywhere("before"), within=60)
        reads = _reads(cluster)
        tried = [len(link.attempts) for link in cluster.links]
        for link in cluster.links:
            link.cut()
        broken = time.monotonic()
        writer.write("users", "meanwhile", *people)
        wait_until(lambda: cluster.is_everywhere("meanwhile"), within=180)
        cluster.judge(within=180)
        attempts = sorted(
            at - broken
            for link, known in zip(cluster.links, tried, strict=True)
            for at in link.attempts[known:]
        )[:PAGES]
        assert len(attempts) == PAGES
        # The first wait is 0.25 to 1 s.
        begun, half, ended = attempts[0], attempts[PAGES // 2], attempts[-1]
        assert ended - begun > 0.5
        assert half - begun > 0.2
        assert _reads(cluster) - reads <= 2 * PAGES


def _reads(cluster: Cluster) -> int:
    return sum(server.numbers()["reads"] for server in cluster.servers)
