"""What notify_users() costs, against a bare ORM bulk_create() of the same rows.

    DATABASE_URL=… python -m benchmarks.bulk [--users 100000]

Without DATABASE_URL it starts a private PostgreSQL with fsync on. Nobody is connected
and nothing is pushed but to a private Redis. Also: how much the process grows.
"""

from __future__ import annotations

import argparse
import os
import resource
import time
from collections.abc import Iterator
from typing import Any

from benchmarks.services import MEASURING, run_again


def measure(size: int) -> None:
    """Print a line per way to tell all users the same."""
    import django  # noqa: PLC0415 -- settings come from the environment made below

    django.setup()
    from django.contrib.auth import get_user_model  # noqa: PLC0415
    from django.db import connection, transaction  # noqa: PLC0415
    from django.test.utils import CaptureQueriesContext  # noqa: PLC0415

    from themis.models import UserNotification  # noqa: PLC0415
    from themis.notifications import notify_users  # noqa: PLC0415

    accounts = get_user_model()
    for start in range(0, size, 1_000):
        accounts.objects.bulk_create(
            accounts(username=f"benchmark {number:07}")
            for number in range(start, min(start + 1_000, size))
        )
    everybody = accounts.objects.filter(username__startswith="benchmark ")

    def generate() -> Iterator[Any]:
        yield from everybody.iterator(chunk_size=1_000)

    def create() -> None:
        rows = UserNotification._base_manager
        for start in range(0, size, 250):
            rows.bulk_create(
                UserNotification(user_id=key, title="A task", pending=False)
                for key in everybody.order_by("pk").values_list("pk", flat=True)[
                    start : start + 250
                ]
            )

    def within() -> None:
        with transaction.atomic():
            notify_users(everybody, "A task")

    source: Any = {"source_app": "a", "source_model": "b", "source_id": "c"}
    ways = {
        "bare bulk_create()": create,
        "a queryset": lambda: notify_users(everybody, "A task"),
        "a generator": lambda: notify_users(generate(), "A task"),
        "the queryset, deduplicate": lambda: notify_users(
            everybody, "A task", deduplicate=True, **source
        ),
        "the same again: all skipped": lambda: notify_users(
            everybody, "A task", deduplicate=True, **source
        ),
        "in a transaction, late stamps": within,
    }
    notify_users(everybody.order_by("pk")[:250], "The first makes the mailboxes")
    with CaptureQueriesContext(connection) as captured:
        notify_users(everybody.order_by("pk")[:250], "A task")
    print(f"{len(captured)} statements for 250 users, transaction control included")
    bare = 0.0
    for name, way in ways.items():
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        started = time.perf_counter()
        way()
        taken = time.perf_counter() - started
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        bare = bare or taken
        print(
            f"{name:30} {size / taken:8,.0f} users/s {taken / bare:5.1f} x  "
            f"+{grown / 1024:.0f} MiB"
        )


def main() -> None:
    """Start what the environment does not name, and measure in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, default=100_000)
    size = parser.parse_args().users
    if os.environ.get(MEASURING):
        measure(size)
        return
    run_again("benchmarks.bulk")


if __name__ == "__main__":
    main()
