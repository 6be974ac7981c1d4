"""Statements written by hand: how they get their parameters.

Only what runs for each notification, poll or handshake is written by hand, because the
ORM takes ten times as long to build it as the database to run it. SQLite and PostgreSQL
understand all of it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import datetime
from functools import cache
from typing import Any

from django.contrib.auth import get_user_model
from django.db import connections
from django.db.models import AutoField, BigAutoField, Field, SmallAutoField


def run(
    statement: str, users: Collection[Any], using: str, **parameters: Any
) -> list[tuple[Any, ...]]:
    """
    Run *statement* on the database *using* and return its rows.

    Args:
        statement: SQL with parameters in the manner of ``%(name)s``;
            ``IN (%(users)s)`` asks for the primary keys of *users*.
        users: The primary keys of users.
        using: The alias of the database.
        parameters: What it needs besides. Times and UUIDs are adapted to the database.
    """
    connection = connections[using]
    prepare = _user_key().get_db_prep_value
    stored = _are_stored(users)
    keys = [user if stored else prepare(user, connection) for user in users]
    if len(keys) > 1 and connection.vendor == "postgresql":
        # One text however many they are: it is parsed once, and keeps its plan.
        statement = statement.replace("IN (%(users)s)", "= ANY(%(users)s)")
        parameters["users"] = _to_array(keys)
    else:
        marks = {f"user{number}": key for number, key in enumerate(keys)}
        parameters |= marks
        names = ", ".join(f"%({name})s" for name in marks)
        statement = statement.replace("%(users)s", names)
    parameters |= {"yes": True, "no": False}
    for name, value in parameters.items():
        if isinstance(value, datetime):
            parameters[name] = connection.ops.adapt_datetimefield_value(value)
    with connection.cursor() as cursor:
        cursor.execute(statement.strip(), parameters)
        rows: list[tuple[Any, ...]] = cursor.fetchall()
    return rows


def _to_array(keys: list[Any]) -> list[Any] | str:
    """Return *keys* as psycopg takes them; it needs microseconds for each of a list."""
    if all(type(key) is int for key in keys):
        return "{" + ",".join(map(str, keys)) + "}"
    return keys


def _are_stored(users: Collection[Any]) -> bool:
    """Tell whether these keys are what is in the tables: asking for each costs."""
    is_own = type(_user_key()) in {AutoField, BigAutoField, SmallAutoField}
    return is_own and all(type(user) is int for user in users)


@cache
def _user_key() -> Field[Any, Any]:
    return get_user_model()._meta.pk


def to_key(value: Any) -> Any:
    """Return a user's key as Python code knows it, of its text, too."""
    return _user_key().to_python(value)


def key_reader(using: str) -> Callable[[Any], Any]:
    """Return what makes a user's key in a row what the ORM would make of it."""
    connection = connections[using]
    key = _user_key()
    column = key.get_col(key.model._meta.db_table)
    converters = [
        *connection.ops.get_db_converters(column),
        *key.get_db_converters(connection),
    ]

    def read(value: Any) -> Any:
        for convert in converters:
            value = convert(value, column, connection)
        return value

    return read


def to_moment(value: Any, using: str) -> datetime | None:
    """Return a time as Python code knows it; SQLite stores it without its zone."""
    # Which most mailboxes have: a connection is not looked up for that.
    if value is None:
        return None
    connection = connections[using]
    if connection.vendor == "sqlite":
        operations: Any = connection.ops
        value = operations.convert_datetimefield_value(value, None, connection)
    moment: datetime = value
    return moment
