"""How fast connected users are told one by one."""

from __future__ import annotations

from benchmarks.stage import Stage
from benchmarks.works.work import Figures, Work, users

# Once is over in little more than a second, in which others may want the machine.
_TIMES = 3


def measure(stage: Stage) -> Figures:
    """Call `notify_user` for each, no transaction open, until the last page has it."""
    count = stage.size.connected
    calls = _TIMES * count
    stage.open(count)
    first = stage.expect(calls, everybody=False)
    with stage.measured(users(count)) as window:
        sent = stage.loop(count, first, calls)
        arrived = stage.collect()
        window.seconds = arrived["last"] - sent["began"]
    return {users(count): arrived["arrived"] / window.seconds}


WORK = Work(
    key="looped",
    title="Users told one by one",
    unit="a second",
    more_is_better=True,
    measure=measure,
)
