"""How fast many connected users are told the same."""

from __future__ import annotations

from benchmarks.stage import Stage
from benchmarks.works.work import Figures, Work, users


def measure(stage: Stage) -> Figures:
    """Call `notify_users` once; until the last page has it."""
    figures: Figures = {}
    opened = 0
    for count in stage.size.bulk:
        stage.open(count - opened, first=1 + opened)
        opened = count
        first = stage.expect(1, everybody=True)
        with stage.measured(users(count)) as window:
            sent = stage.bulk(count, first)
            arrived = stage.collect()
            window.seconds = arrived["last"] - sent["began"]
        figures[users(count)] = arrived["arrived"] / window.seconds
    return figures


WORK = Work(
    key="bulk",
    title="Users told at once",
    unit="a second",
    more_is_better=True,
    measure=measure,
)
