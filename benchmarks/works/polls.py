"""What a poll costs that brings nothing new."""

from __future__ import annotations

from benchmarks.stage import Stage
from benchmarks.works.work import Figures, Work


def measure(stage: Stage) -> Figures:
    """Poll over kept connections: Themis' 304, and beside it what others answer."""
    figures: Figures = {}
    for name in stage.peer.polls:
        with stage.measured(name):
            figures[name] = stage.poll(name)
    return figures


WORK = Work(
    key="polls",
    title="Polls with nothing new",
    unit="a second",
    more_is_better=True,
    measure=measure,
)
