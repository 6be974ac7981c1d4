"""When a process that serves looks for garbage."""

from __future__ import annotations

import gc

# How many new objects may be there before they are looked at; Python's own is 700.
YOUNG = 200_000


def collect_rarely() -> None:
    """
    Leave alone what is loaded, and look at the rest less often.

    Each open socket is some hundred objects that stay. While thousands come, Python
    walks over all of them again and again, and everybody's pushes wait for a quarter of
    a second. What is no cycle goes at once, as ever. That is a matter of the process,
    so the libraries in it leave it to whoever serves.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, *gc.get_threshold()[1:])
