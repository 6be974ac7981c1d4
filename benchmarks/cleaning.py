"""What cleanup_notifications takes, and what a notify_user() beside it waits.

    DATABASE_URL=… python -m benchmarks.cleaning [--rows 1000000] [--users 10000]

Without DATABASE_URL it starts a private PostgreSQL with fsync on. All rows but a fifth
are read and old; that fifth is one user's, and unread. Another process notifies users
at random all the time, before and during the clean-up.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import statistics
import subprocess
import sys
import time
from datetime import timedelta
from typing import Any

from benchmarks.services import MEASURING, run_again


def measure(rows: int, users: int) -> None:
    """Fill the tables, clean them up, and print what it took."""
    import django  # noqa: PLC0415 -- settings come from the environment made below

    django.setup()
    from django.contrib.auth import get_user_model  # noqa: PLC0415
    from django.db import connection  # noqa: PLC0415
    from django.utils import timezone  # noqa: PLC0415

    from tests.themis.population import fill  # noqa: PLC0415
    from themis import cleaning  # noqa: PLC0415

    accounts = get_user_model().objects
    crowd = accounts.bulk_create(
        get_user_model()(username=f"user{number}") for number in range(users)
    )
    now = timezone.now()
    old = now - timedelta(days=100)
    fill(crowd[:1], rows // 5, created_at=old)
    fill(crowd[1:], rows - rows // 5, created_at=old, read_at=now)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    batches: list[float] = []
    clear = cleaning._clear  # noqa: SLF001 -- to time a batch

    def timed(*args: Any) -> Any:
        began = time.perf_counter()
        cleared = clear(*args)
        batches.append(time.perf_counter() - began)
        return cleared

    cleaning._clear = timed  # type: ignore[assignment] # noqa: SLF001 -- as above
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with notifying(crowd[0].pk, users) as beside:
        # How long a notify_user takes without a clean-up beside it.
        time.sleep(5)
        began = time.time()
        cleared = cleaning.clean_up()
        ended = time.time()
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(f"{dict(cleared)} in {ended - began:.1f} s, {len(batches)} batches")
    print(f"median batch {1e3 * statistics.median(batches):.0f} ms")
    print(f"longest batch {1e3 * max(batches):.0f} ms")
    print(f"peak memory grew by {grown / 1024:.1f} MB")
    calls = [tuple(map(float, line.split())) for line in beside]
    for name, inside in (("before", False), ("during", True)):
        waits = sorted(
            1e3 * took for at, took in calls if (began <= at <= ended) is inside
        )
        print(
            f"notify_user {name}: {len(waits)} calls, "
            f"median {statistics.median(waits):.1f} ms, "
            f"99 % {waits[len(waits) * 99 // 100]:.1f} ms, longest {waits[-1]:.1f} ms"
        )


class notifying:  # noqa: N801 -- reads as what it does
    """Another process that notifies while the block runs; the lines that it printed."""

    def __init__(self, first: int, users: int) -> None:
        self._command = [sys.executable, "-m", "benchmarks.cleaning"]
        self._command += ["--notify", str(first), "--users", str(users)]
        self._lines: list[str] = []

    def __enter__(self) -> list[str]:
        self._process = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        return self._lines

    def __exit__(self, *error: object) -> None:
        out, _error = self._process.communicate("stop")
        self._lines += out.splitlines()


def notify(first: int, users: int) -> None:
    """Notify at random until told to stop; print when, and how long each took."""
    import select  # noqa: PLC0415

    import django  # noqa: PLC0415

    django.setup()
    from django.contrib.auth import get_user_model  # noqa: PLC0415

    from themis.notifications import notify_user  # noqa: PLC0415

    while not select.select([sys.stdin], [], [], 0.005)[0]:
        user = get_user_model()(pk=random.randrange(first, first + users))  # noqa: S311 -- no secret
        at, began = time.time(), time.perf_counter()
        notify_user(user, "Beside")
        print(at, time.perf_counter() - began)


def main() -> None:
    """Start what the environment does not name, and measure in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--users", type=int, default=10_000)
    parser.add_argument("--notify", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.notify is not None:
        notify(options.notify, options.users)
        return
    if os.environ.get(MEASURING):
        measure(options.rows, options.users)
        return
    run_again("benchmarks.cleaning")


if __name__ == "__main__":
    main()
