"""Wait for a condition instead of sleeping for luck."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

_STEP = 0.02


def wait_until(condition: Callable[[], T], *, within: float = 10.0) -> T:
    """The first true value of `condition()`; TimeoutError if there is none in time."""
    deadline = time.monotonic() + within
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"Still {value!r} after {within} s: {condition}")
        time.sleep(_STEP)
    return value


async def await_until(
    condition: Callable[[], T] | Callable[[], Awaitable[T]], *, within: float = 10.0
) -> T:
    """See wait_until(). The condition may be a coroutine function."""
    deadline = time.monotonic() + within
    while True:
        outcome = condition()
        value = await outcome if isinstance(outcome, Awaitable) else outcome
        if value:
            return value
        if time.monotonic() > deadline:
            raise TimeoutError(f"Still {value!r} after {within} s: {condition}")
        await asyncio.sleep(_STEP)
