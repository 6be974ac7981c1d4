"""What a call costs the caller while nobody is connected."""

from __future__ import annotations

from benchmarks.stage import Stage
from benchmarks.works.work import Figures, Work


def measure(stage: Stage) -> Figures:
    """Notify users who are not there, one by one; the time of the caller alone."""
    calls = stage.size.calls
    with stage.measured("calls"):
        sent = stage.loop(stage.size.connected, 1, calls)
    return {"a call": 1e6 * (sent["ended"] - sent["began"]) / calls}


WORK = Work(
    key="calls",
    title="A call with nobody connected",
    unit="µs",
    more_is_better=False,
    measure=measure,
)
