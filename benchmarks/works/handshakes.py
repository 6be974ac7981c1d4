"""How many signed-in users can connect in a second."""

from __future__ import annotations

from benchmarks.stage import Stage
from benchmarks.works.work import Figures, Work, users


def measure(stage: Stage) -> Figures:
    """Connect all, 32 at a time; a page of Themis is there when it has its state."""
    figures: Figures = {}
    for count in stage.size.handshakes:
        name = users(count)
        with stage.measured(name):
            figures[name] = stage.open(count)
        stage.close()
    return figures


WORK = Work(
    key="handshakes",
    title="Signed-in handshakes",
    unit="a second",
    more_is_better=True,
    measure=measure,
)
