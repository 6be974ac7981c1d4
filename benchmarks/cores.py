"""Which process runs on which core, and how busy each is. Linux only."""

from __future__ import annotations

import contextlib
import os
import resource
from collections.abc import Iterable
from pathlib import Path

_CORES = sorted(os.sched_getaffinity(0))
# The server has the first core for itself. All others share the second: what it asks,
# who sends, who listens, and this process. On a single core all share that.
SERVER_CORE = _CORES[0]
OTHER_CORE = _CORES[min(1, len(_CORES) - 1)]

_TICKS = os.sysconf("SC_CLK_TCK")


def leave_the_server_its_core() -> None:
    """Move this process, and what it starts from now on, to the second core."""
    os.sched_setaffinity(0, {OTHER_CORE})


def allow_many_files() -> int:
    """Allow as many open sockets as the system does; returns how many."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def on_server_core(command: Iterable[str]) -> list[str]:
    """Return *command* so that it, with all its threads, runs on the first core."""
    return ["taskset", "--cpu-list", str(SERVER_CORE), *command]


def family(pid: int) -> list[int]:
    """Return *pid* and all that descend from it."""
    found = [pid]
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for child in task.read_text().split():
                found += family(int(child))
    return found


def cpu_seconds(pid: int) -> float:
    """Return what *pid* and its descendants have used, those that ended included."""
    ticks = 0
    for member in family(pid):
        with contextlib.suppress(OSError):
            stat = Path(f"/proc/{member}/stat").read_text()
            # utime, stime, and of children that were waited for cutime, cstime.
            ticks += sum(map(int, stat.rpartition(") ")[2].split()[11:15]))
    return ticks / _TICKS


def memory(pid: int) -> int:
    """Return how many bytes *pid* and its descendants have to themselves."""
    total = 0
    for member in family(pid):
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{member}/smaps_rollup").read_text().splitlines():
                if line.startswith(("Private_Clean:", "Private_Dirty:")):
                    total += 1024 * int(line.split()[1])
    return total
