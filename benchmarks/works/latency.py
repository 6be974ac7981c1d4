"""How long a notification takes to the page."""

from __future__ import annotations

import statistics

from benchmarks.stage import Stage
from benchmarks.works.work import Figures, Work


def measure(stage: Stage) -> Figures:
    """Notify connected users at a steady rate: from before the call to the arrival."""
    size = stage.size
    calls = int(size.rate * size.paced_seconds)
    stage.open(size.connected)
    first = stage.expect(calls, everybody=False)
    with stage.measured("latency"):
        sent = stage.loop(size.connected, first, calls, rate=size.rate)
    arrived = stage.collect(times=True)
    pairs = zip(sent["times"], arrived["times"], strict=True)
    taken = [1e3 * (at - began) for began, at in pairs if at]
    cuts = statistics.quantiles(taken, n=100, method="inclusive")
    return {"p50": cuts[49], "p95": cuts[94], "p99": cuts[98]}


WORK = Work(
    key="latency",
    title="From the call to the page, at a steady rate",
    unit="ms",
    more_is_better=False,
    measure=measure,
)
