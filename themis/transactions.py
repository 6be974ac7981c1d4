"""Transactions of our own: how they begin, how long they wait, how that ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from django.db import InterfaceError, OperationalError, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.http import HttpResponseBase

_LOCK_TIMEOUT = "55P03"
# undefined_function, and insufficient_privilege, which a table's owner has to grant.
_UNUSABLE = frozenset({"42883", "42501"})
# PostgreSQL: lock_not_available, serialization_failure, deadlock_detected, and
# query_canceled, which is also the end of `limited_wait`.
_CONTENDED = frozenset({_LOCK_TIMEOUT, "40001", "40P01", "57014"})
# PostgreSQL's classes of connections, resources and an operator's intervention; no
# state at all has what found no server. And the same of SQLite's file.
_OUTAGES = ("08", "53", "57")
_SQLITE_OUTAGES = ("SQLITE_CANTOPEN", "SQLITE_FULL", "SQLITE_IOERR")


def is_contention(error: BaseException) -> bool:
    """Tell whether *error* means that another transaction was in the way."""
    if not isinstance(error, OperationalError):
        return False
    cause = error.__cause__
    if getattr(cause, "sqlstate", None) in _CONTENDED:
        return True
    return getattr(cause, "sqlite_errorname", "").startswith("SQLITE_BUSY")


def is_outage(error: BaseException) -> bool:
    """Tell whether *error* means that the database does not answer."""
    if isinstance(error, InterfaceError):
        return True
    if not isinstance(error, OperationalError) or is_contention(error):
        return False
    cause = error.__cause__
    name: str | None = getattr(cause, "sqlite_errorname", None)
    if name is not None:
        return name.startswith(_SQLITE_OUTAGES)
    state: str = getattr(cause, "sqlstate", None) or "08"
    return state.startswith(_OUTAGES)


def is_lock_timeout(error: BaseException) -> bool:
    """Tell whether *error* is that of PostgreSQL's ``lock_timeout``."""
    return getattr(error.__cause__, "sqlstate", None) == _LOCK_TIMEOUT


def is_unusable(error: BaseException) -> bool:
    """Tell whether *error* means that PostgreSQL has no such function for this role."""
    return getattr(error.__cause__, "sqlstate", None) in _UNUSABLE


def is_awaited(using: str) -> bool:
    """Tell whether anybody waits for a lock that this connection has (PostgreSQL)."""
    with connections[using].cursor() as cursor:
        cursor.execute(
            "SELECT EXISTS (SELECT 1 FROM pg_locks WHERE NOT granted"
            " AND pg_backend_pid() = ANY(pg_blocking_pids(pid)))"
        )
        return bool(cursor.fetchone()[0])


def is_isolated(connection: BaseDatabaseWrapper) -> bool:
    """Tell whether OPTIONS ask for more than PostgreSQL's READ COMMITTED."""
    asked = connection.settings_dict["OPTIONS"]
    parameters = asked.get("options", "")
    return "isolation_level" in asked or "transaction_isolation" in parameters


View = TypeVar("View", bound=Callable[..., HttpResponseBase])


def outside_transactions(view: View) -> View:
    """
    Exempt *view* from ``ATOMIC_REQUESTS``, whichever database has Themis' tables.

    What it does is committed, and told to open pages, before it answers.
    """
    for alias in connections:
        view = transaction.non_atomic_requests(using=alias)(view)
    return view


def in_transaction(using: str) -> bool:
    """Tell whether the caller has a transaction open, which ours must not outlive."""
    connection = transaction.get_connection(using)
    return connection.in_atomic_block or not connection.get_autocommit()


@contextmanager
def own_transaction(using: str, *, wait_ms: int) -> Iterator[BaseDatabaseWrapper]:
    """
    Open a short transaction in which no statement waits longer than *wait_ms*.

    Inside an open atomic block, as in a host's `TestCase`, it is a savepoint.

    Raises:
        OperationalError: a lock was not to be had in time (see `is_contention`).
    """
    connection = transaction.get_connection(using)
    if connection.vendor == "sqlite" and not connection.in_atomic_block:
        # SQLite waits where the transaction begins, so the limit must come before.
        usual = int(1000 * connection.settings_dict["OPTIONS"].get("timeout", 5))
        with connection.cursor() as cursor:
            cursor.execute(f"PRAGMA busy_timeout = {wait_ms:d}")
        try:
            with transaction.atomic(using=using):
                yield connection
        finally:
            with connection.cursor() as cursor:
                cursor.execute(f"PRAGMA busy_timeout = {usual:d}")
        return
    with transaction.atomic(using=using):
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                if not connection.savepoint_ids and is_isolated(connection):
                    # Under REPEATABLE READ, a host's default, the lock would be got
                    # but what it guards not be seen.
                    cursor.execute("SET TRANSACTION ISOLATION LEVEL READ COMMITTED")
                cursor.execute(f"SET LOCAL lock_timeout = {wait_ms:d}")
        yield connection


@contextmanager
def limited_wait(
    using: str, *, wait_ms: int, lock_ms: int | None = None
) -> Iterator[None]:
    """
    Open a savepoint in the caller's transaction with a limit of its own on waiting.

    No statement in it takes longer than *wait_ms*, however many locks it waits for, nor
    waits for one longer than *lock_ms* (four fifths of it). The caller's limits are
    back afterwards. SQLite has one writer at a time, so nobody waits for a row there.

    Raises:
        OperationalError: a lock was not to be had in time (see `is_contention`).
    """
    connection = transaction.get_connection(using)
    with transaction.atomic(using=using):
        if connection.vendor != "postgresql":
            yield
            return
        with connection.cursor() as cursor:
            # A single lock ends the wait first, and its error says what was the matter.
            cursor.execute(
                "SELECT current_setting('lock_timeout'),"
                " current_setting('statement_timeout'),"
                " set_config('lock_timeout', %s, true),"
                " set_config('statement_timeout', %s, true)",
                [str(lock_ms or wait_ms * 4 // 5), str(wait_ms)],
            )
            usual = cursor.fetchone()[:2]
        yield
        # Not after an error: the rollback of the savepoint takes the settings back.
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT set_config('lock_timeout', %s, true),"
                " set_config('statement_timeout', %s, true)",
                usual,
            )
