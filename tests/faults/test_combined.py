"""Two faults at once, chosen by the seed, on three servers."""

import itertools
import random
import threading

import pytest

from tests.faults.churn import Churn
from tests.faults.cluster import (
    BUSY,
    SEED,
    SOON,
    StartCluster,
)
from tests.faults.troubles import TROUBLES

SECONDS = 10
_pairs = list(itertools.combinations(TROUBLES, 2))
random.Random(SEED).shuffle(_pairs)  # noqa: S311 -- to be repeated
PAIRS = _pairs[:8]


@pytest.mark.thorough
@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_two_faults_at_once(
    start_cluster: StartCluster, first: str, second: str
) -> None:
    cluster = start_cluster(servers=3, THEMIS_REALTIME_CHECK_INTERVAL=SOON)
    cluster.expect_failures()
    writer = cluster.writer()
    people = cluster.people(4)
    cluster.open_all(people)
    with cluster.trouble():
        threads = [
            threading.Thread(target=TROUBLES[name], args=[cluster, SECONDS])
            for name in (first, second)
        ]
        done = writer.stream(cluster.seed, people, seconds=SECONDS)
        for thread in threads:
            thread.start()
        Churn(cluster, people, tabs=6).run(SECONDS)
        for thread in threads:
            thread.join()
        done()
    # A line that is stalled is noticed after 35 s of silence, unless it flows again.
    cluster.judge(staleness=SECONDS / 2 + BUSY * 1, within=60)
