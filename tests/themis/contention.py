"""A real second connection that holds what a test wants to write."""

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from django.db import connections, transaction

from themis.models import UserNotification


@contextmanager
def elsewhere(held: AbstractContextManager[Any]) -> Iterator[None]:
    """Enter `held` on another thread and its connection; leave it with this block."""
    ready, done = threading.Event(), threading.Event()

    def hold() -> None:
        try:
            with held:
                ready.set()
                done.wait(timeout=30)
        finally:
            ready.set()
            connections.close_all()

    thread = threading.Thread(target=hold)
    thread.start()
    try:
        assert ready.wait(timeout=10)
        yield
    finally:
        done.set()
        thread.join(timeout=10)


def writing(row: UserNotification) -> AbstractContextManager[None]:
    """Another transaction is writing `row`, and takes its time.

    On PostgreSQL it locks the row; on SQLite, where one writes at a time, everything.
    """
    return elsewhere(_writing(row))


@contextmanager
def _writing(row: UserNotification) -> Iterator[None]:
    with transaction.atomic():
        UserNotification.objects.filter(pk=row.pk).update(title="Held")
        yield
