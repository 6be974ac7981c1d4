"""When a process that serves looks for garbage."""

from __future__ import annotations

import gc

# How many new objects are there before they are looked at; how many such looks come
# before one at what they left; and how many of those before one at everything. Python's
# own are 700, 10 and 10.
THRESHOLDS = (50_000, 1, 1)


def collect_rarely() -> None:
    """
    Leave alone what is loaded, and look at the rest less often.

    Each open socket is some hundred objects that stay. While thousands come, Python
    walks over them again and again: 0.8 ms of a handshake under daphne, with these
    thresholds 0.3. What is no cycle goes at once, as ever. Daphne's connections are
    cycles, which pile up between two looks at everything, so the last threshold is low:
    with 200,000, 10 and 10 each 2,500 sockets that came and went added 30 MiB.
    That is a matter of the process, so the libraries in it leave it to whoever serves.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)
