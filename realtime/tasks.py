"""Tasks that are to end."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Any


async def end(tasks: Collection[asyncio.Task[Any]], *, again_after: float) -> None:
    """
    Cancel *tasks*, as often as it takes, and wait until they have ended.

    Asked once, one may go on: until Python 3.12 the `asyncio.wait_for` by which
    redis-py writes loses a cancellation that comes as the write is done (gh-86296).

    Args:
        tasks: What is to end; errors that they end with are not raised.
        again_after: When those that still run are asked again (seconds).
    """
    running = set(tasks)
    while running:
        for task in running:
            task.cancel()
        _ended, running = await asyncio.wait(running, timeout=again_after)
    await asyncio.gather(*tasks, return_exceptions=True)
