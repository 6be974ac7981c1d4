"""What a block sends to the database."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection
from django.test.utils import CaptureQueriesContext

CONTROL = ("BEGIN", "COMMIT", "ROLLBACK", "SAVEPOINT", "RELEASE", "PRAGMA", "SET ")


@contextmanager
def statements() -> Iterator[list[str]]:
    """What is sent to the database in this block, but for transaction control."""
    found: list[str] = []
    with CaptureQueriesContext(connection) as captured:
        yield found
    found += [
        query["sql"] for query in captured if not query["sql"].startswith(CONTROL)
    ]


@contextmanager
def transactions() -> Iterator[list[str]]:
    """Which transactions are begun in this block."""
    found: list[str] = []
    with CaptureQueriesContext(connection) as captured:
        yield found
    found += [query["sql"] for query in captured if query["sql"].startswith("BEGIN")]
