"""What is measured."""

from __future__ import annotations

from benchmarks.works import (
    bulk,
    burst,
    calls,
    handshakes,
    latency,
    looped,
    memory,
    polls,
)
from benchmarks.works.work import Work

WORKS: dict[str, Work] = {
    module.WORK.key: module.WORK
    for module in (handshakes, memory, latency, looped, bulk, burst, polls, calls)
}
