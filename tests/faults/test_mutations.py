"""Themis with a fault put in on purpose: the same scenario, and the checker objects.

`make faults` runs each scenario a second time: on servers that are whole it must pass,
so that it is the mutation that is seen and nothing else.
"""

from collections.abc import Callable
from tempfile import TemporaryDirectory

import pytest

from tests.faults.cluster import Cluster
from tests.faults.runs import BrokenPromiseError, Run
from tests.faults.test_crashes import write_and_die
from tests.waiting import wait_until

Scenario = Callable[..., Run]

# What is to come has come long before; a mutated run waits it out.
_QUIET = 3.0


def leave_work_undone(cluster: Cluster, *mutations: str) -> Run:
    """A process dies between commit and stamp."""
    cluster.arrange(mutations=mutations)
    write_and_die(cluster, "stamp", nth=1)
    return cluster.judge(within=_QUIET)


def write_to_who_just_came(cluster: Cluster, *mutations: str) -> Run:
    """That a page is told of a write is due to its push alone."""
    writer = cluster.writer()
    # Else a check, which a slow broker brings about at once, would repair the loss.
    cluster.arrange(mutations=["without the reconciler", *mutations])
    for person in cluster.people(4):
        page = cluster.open(person)
        wait_until(lambda page=page: page.is_open)  # type: ignore[misc]
        writer.write("plain", f"for {person}", person)
    return cluster.judge(within=_QUIET)


def cross(cluster: Cluster, *mutations: str) -> Run:
    """A notifies u1 and then u2 in a transaction, B meanwhile u2 and then u1."""
    writers = [cluster.writer(), cluster.writer()]
    cluster.arrange(mutations=mutations)
    people = cluster.people(2)
    cluster.open_all(people)
    orders = (people, people[::-1])
    with TemporaryDirectory() as meeting:
        for writer, title, users in zip(writers, "AB", orders, strict=True):
            # Neither tells its second before both have told their first.
            writer.start("cross", title=title, users=users, meeting=meeting)
        # What a call raised is in its journal, for the checker.
        wait_until(lambda: _are_done(cluster), within=30)
    return cluster.judge(within=_QUIET)


def _are_done(cluster: Cluster) -> bool:
    writes = cluster.read_history().writes
    return len(writes) == 2 and all(write.ended for write in writes)


def put_some_away(cluster: Cluster, *mutations: str) -> Run:
    """Of 25 notifications a page shows 20; of these the person dismisses 3."""
    writer = cluster.writer()
    cluster.arrange(mutations=mutations)
    [person] = cluster.people(1)
    for number in range(25):
        writer.write("plain", f"number {number}", person)
    pages = cluster.open_all([person])
    ids = [*pages[0].applied[-1].titles][:3]
    assert cluster.crowd.post(pages[0], "dismiss", {"ids": ids}).result(10) == 200
    return cluster.judge(within=_QUIET)


CASES = [
    ("without the reconciler", leave_work_undone, {"pending"}),
    ("read before join", write_to_who_just_came, {"behind"}),
    ("bump in the caller's transaction", cross, {"failed"}),
    ("without the refill", put_some_away, {"screen"}),
]


@pytest.mark.parametrize(("mutation", "scenario", "kinds"), CASES)
class TestTheSuiteSees:
    def test_a_mutation(
        self, cluster: Cluster, mutation: str, scenario: Scenario, kinds: set[str]
    ) -> None:
        with pytest.raises(BrokenPromiseError) as caught:
            scenario(cluster, mutation)
        assert caught.value.kinds >= kinds
        if mutation.startswith("bump"):
            assert "deadlock detected" in str(caught.value)

    @pytest.mark.thorough
    def test_nothing_where_nothing_is_wrong(
        self, cluster: Cluster, mutation: str, scenario: Scenario, kinds: set[str]
    ) -> None:
        assert scenario(cluster).pages
