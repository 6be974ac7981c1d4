"""Connections that a host has set up in its own way."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction

from themis.models import UserNotification
from themis.notifications import notify_user, notify_users

pytestmark = pytest.mark.django_db(transaction=True)

# What could be taken for a part of a statement.
TEXT = r"""100 % sure, %s, %(title)s, {columns}, \n, "two", 'one', ::text; --"""


@pytest.fixture
def options(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """The ``OPTIONS`` of the database; the test connects after it has changed them."""
    options = connection.settings_dict["OPTIONS"].copy()
    monkeypatch.setitem(connection.settings_dict, "OPTIONS", options)
    yield options
    connection.close()


@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite always does")
@pytest.mark.parametrize("source", [{}, {"source_app": TEXT, "source_id": TEXT}])
def test_the_server_binds_parameters(
    ada: User, options: dict[str, Any], source: dict[str, str]
) -> None:
    """Then each has but one type, however often it is used."""
    options["server_side_binding"] = True
    connection.close()
    said: dict[str, Any] = {"title": TEXT, "message": TEXT} | source
    for _time in range(2):
        notify_user(ada, deduplicate=True, **said)
        with transaction.atomic():
            notify_user(ada, deduplicate=True, **said)
    assert notify_users([ada], deduplicate=True, **said) == 0
    assert notify_users([ada], **said) == 1
    told = UserNotification.objects.values_list("title", "message", "source_app")
    assert list(told) == 2 * [(TEXT, TEXT, source.get("source_app", ""))]


@pytest.mark.parametrize("alone", [False, True], ids=["inside", "outside"])
@pytest.mark.parametrize("source", [{}, {"source_app": TEXT, "source_id": TEXT}])
def test_texts_are_no_statements(
    ada: User, source: dict[str, str], *, alone: bool
) -> None:
    """Whatever they look like, they are stored as they are."""
    said: dict[str, Any] = {"title": TEXT, "message": TEXT, "url": "/%s/{id}/"} | source
    if alone:
        row = notify_user(ada, deduplicate=True, **said)
    else:
        with transaction.atomic():
            row = notify_user(ada, deduplicate=True, **said)
    assert notify_user(ada, deduplicate=True, **said) is None
    assert row is not None
    stored = UserNotification.objects.get()
    for name, text in said.items():
        assert getattr(row, name) == getattr(stored, name) == text
