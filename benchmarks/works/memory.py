"""What an idle socket costs the server."""

from __future__ import annotations

import time

from benchmarks.cores import memory
from benchmarks.stage import Stage
from benchmarks.works.work import Figures, Work


def measure(stage: Stage) -> Figures:
    """Connect more and more; the process's own memory, without the kernel's."""
    figures: Figures = {}
    pid = stage.peer.pid
    before, opened = memory(pid), 0
    for count in stage.size.idle:
        stage.open(count - opened, first=1 + opened)
        opened = count
        # What pings and checks cost is the share of a core in this time.
        with stage.measured(name := f"{count:,} sockets"):
            time.sleep(stage.size.idle_seconds)
        figures[name] = (memory(pid) - before) / count / 1024
    return figures


WORK = Work(
    key="memory",
    title="Memory of an idle, signed-in socket",
    unit="KiB",
    more_is_better=False,
    measure=measure,
)
