"""A channel layer that loses, repeats, delays, reorders, and says unknown things."""

import pytest

from tests.faults.cluster import BUSY, NEVER, SOON, THOROUGH, Cluster

SECONDS = 15 if THOROUGH else 2.5


class TestLayer:
    def test_what_is_repeated_late_reordered_or_unknown_needs_no_check(
        self, cluster: Cluster
    ) -> None:
        cluster.check_every(NEVER)
        writer = cluster.writer()
        people = cluster.people(4)
        cluster.open_all(people)
        shares = {"duplicate": 0.3, "delay": 0.3, "unknown": 0.2}
        cluster.arrange(layer=shares, seed=cluster.seed)
        writer.stream(cluster.seed, people, seconds=SECONDS)()
        # At most 0.5 s late, and what is ahead is held and then read.
        cluster.judge(staleness=BUSY * 0.7)

    @pytest.mark.parametrize(
        "share",
        [pytest.param(0.01, marks=pytest.mark.thorough), 0.5],
    )
    def test_what_is_lost_is_repaired_and_counted(
        self, cluster: Cluster, share: float
    ) -> None:
        cluster.check_every(SOON)
        writer = cluster.writer()
        people = cluster.people(4)
        cluster.open_all(people)
        cluster.arrange(layer={"drop": share, "delay": 0.1}, seed=cluster.seed)
        with cluster.trouble():
            writer.stream(cluster.seed, people, seconds=SECONDS)()
        cluster.judge(staleness=BUSY * 1)
        if share > 0.1:
            assert cluster.repairs() > 0
