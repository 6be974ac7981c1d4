"""How fast many connected users are told the same."""

from __future__ import annotations

from benchmarks.stage import Stage
from benchmarks.works.work import Figures, Work, users

# One call to few users is over in a fifth of a second, which says little by itself: so
# that many are told in all, by so many calls at most.
_USERS = 5_000
_MOST_CALLS = 5


def measure(stage: Stage) -> Figures:
    """Call `notify_users`, each time until the last page has it."""
    figures: Figures = {}
    opened = 0
    for count in stage.size.bulk:
        stage.open(count - opened, first=1 + opened)
        opened = count
        arrivals = 0
        with stage.measured(users(count)) as window:
            for _ in range(max(1, min(_USERS // count, _MOST_CALLS))):
                first = stage.expect(1, everybody=True)
                sent = stage.bulk(count, first)
                arrived = stage.collect()
                window.seconds += arrived["last"] - sent["began"]
                arrivals += arrived["arrived"]
        figures[users(count)] = arrivals / window.seconds
    return figures


WORK = Work(
    key="bulk",
    title="Users told at once",
    unit="a second",
    more_is_better=True,
    measure=measure,
)
