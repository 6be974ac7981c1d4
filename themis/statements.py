"""Statements written by hand: how they get their parameters.

Only what runs for each notification, poll or handshake is written by hand, because the
ORM takes ten times as long to build it as the database to run it. SQLite and PostgreSQL
understand all of it.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any

from django.contrib.auth import get_user_model
from django.db import connections


def run(
    statement: str, users: Collection[Any], using: str, **parameters: Any
) -> list[tuple[Any, ...]]:
    """
    Run *statement* on the database *using* and return its rows.

    Args:
        statement: SQL with parameters in the manner of ``%(name)s``; ``%(users)s``
            stands for the primary keys of *users*, separated by commas.
        users: The primary keys of users.
        using: The alias of the database.
        parameters: What it needs besides. Times and UUIDs are adapted to the database.
    """
    connection = connections[using]
    key = get_user_model()._meta.pk
    parameters |= {
        f"user{number}": key.get_db_prep_value(user, connection)
        for number, user in enumerate(users)
    }
    marks = ", ".join(f"%(user{number})s" for number in range(len(users)))
    parameters |= {"yes": True, "no": False}
    for name, value in parameters.items():
        if isinstance(value, datetime):
            parameters[name] = connection.ops.adapt_datetimefield_value(value)
    with connection.cursor() as cursor:
        cursor.execute(statement.replace("%(users)s", marks).strip(), parameters)
        rows: list[tuple[Any, ...]] = cursor.fetchall()
    return rows


def to_key(value: Any) -> Any:
    """Return a user's key as Python code knows it; SQLite stores UUIDs as text."""
    return get_user_model()._meta.pk.to_python(value)


def to_moment(value: Any, using: str) -> datetime | None:
    """Return a time as Python code knows it; SQLite stores it without its zone."""
    connection = connections[using]
    if value is not None and connection.vendor == "sqlite":
        operations: Any = connection.ops
        value = operations.convert_datetimefield_value(value, None, connection)
    moment: datetime | None = value
    return moment
