"""What notify_user() costs its caller, against a bare ORM create() of the same row.

    DATABASE_URL=… python -m benchmarks.notify [--calls 300] [--rounds 5]

Without DATABASE_URL it starts a private PostgreSQL with fsync on. Nobody is connected
and nothing is pushed but to a private Redis. Rounds are interleaved; compare ratios.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable
from unittest import mock

from benchmarks.services import MEASURING, run_again


def _never(*_: object) -> bool:
    return False


def measure(calls: int, rounds: int) -> None:
    """Print a line per way to store a notification."""
    import django  # noqa: PLC0415 -- settings come from the environment made below

    django.setup()
    from django.contrib.auth import get_user_model  # noqa: PLC0415
    from django.db import connection, models, transaction  # noqa: PLC0415
    from django.test.utils import CaptureQueriesContext  # noqa: PLC0415

    from realtime.publishing import get_publisher  # noqa: PLC0415
    from themis import shortcut  # noqa: PLC0415
    from themis.models import UserNotification  # noqa: PLC0415
    from themis.notifications import notify_user  # noqa: PLC0415

    accounts = get_user_model().objects
    user = accounts.create_user(f"benchmark-{time.time_ns()}")

    def create() -> None:
        row = UserNotification(user=user, title="A task", pending=False)
        models.Model.save(row, force_insert=True)

    def alone() -> None:
        notify_user(user, "A task")

    def alone_deduplicated() -> None:
        notify_user(user, "A task", source_id=next(numbers), deduplicate=True)

    def within() -> None:
        with transaction.atomic():
            notify_user(user, "A task")

    numbers = iter(range(10**9))
    by_statements = mock.patch.object(shortcut, "leads_to", _never)(alone)
    ways: dict[str, Callable[[], None]] = {
        "bare create()": create,
        "no transaction open": alone,
        "the same, by statements": by_statements,
        "the same, deduplicate": alone_deduplicated,
        "in a transaction, late stamp": within,
    }
    taken: dict[str, list[float]] = {name: [] for name in ways}
    statements = {}
    for name, way in ways.items():
        way()
        with CaptureQueriesContext(connection) as captured:
            way()
        statements[name] = len(captured)
    for _round in range(rounds):
        for name, way in ways.items():
            started = time.perf_counter()
            for _call in range(calls):
                way()
            taken[name].append((time.perf_counter() - started) / calls)
            UserNotification._base_manager.all()._raw_delete("default")  # noqa: SLF001
    bare = statistics.median(taken["bare create()"])
    for name, seconds in taken.items():
        median = statistics.median(seconds)
        print(
            f"{name:30} {1e6 * median:7,.0f} µs {median / bare:5.1f} x  "
            f"{statements[name]:2} statements"
        )
    print(f"dropped pushes: {get_publisher().dropped}")


def main() -> None:
    """Start what the environment does not name, and measure in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=5)
    size = parser.parse_args()
    if os.environ.get(MEASURING):
        measure(size.calls, size.rounds)
        return
    run_again("benchmarks.notify")


if __name__ == "__main__":
    main()
