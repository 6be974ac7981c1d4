"""How fast one user is told who has many pages open."""

from __future__ import annotations

from benchmarks.stage import Stage
from benchmarks.works.work import Figures, Work


def measure(stage: Stage) -> Figures:
    """Notify one user again and again; deliveries, until the last page has the last."""
    size = stage.size
    stage.open(size.sockets, one_user=True)
    first = stage.expect(size.messages, everybody=True)
    name = f"{size.sockets:,} sockets"
    with stage.measured(name) as window:
        sent = stage.loop(1, first, size.messages)
        arrived = stage.collect()
        window.seconds = arrived["last"] - sent["began"]
    return {name: arrived["arrived"] / window.seconds}


WORK = Work(
    key="burst",
    title="Deliveries to one user's sockets",
    unit="a second",
    more_is_better=True,
    measure=measure,
)
