"""Connections that a host has set up in its own way."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.utils import timezone

from tests.themis.colleague import Colleague, somebody_waits
from themis import mailbox, revisions
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


@pytest.mark.only("postgres")
@pytest.mark.parametrize("source", [{}, {"source_app": TEXT, "source_id": TEXT}])
@pytest.mark.parametrize(
    "asked", [{"server_side_binding": True}, {"prepare_threshold": 0}], ids=str
)
def test_the_server_binds_parameters(
    ada: User, options: dict[str, Any], asked: dict[str, Any], source: dict[str, str]
) -> None:
    """Then each has but one type, however often it is used."""
    options |= asked
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


@pytest.mark.only("postgres")
@pytest.mark.parametrize(
    "asked",
    [
        {"isolation_level": 3},
        {"options": "-c default_transaction_isolation=repeatable\\ read"},
    ],
    ids=["by Django", "by libpq"],
)
def test_the_hosts_isolation_is_not_that_of_a_stamp(
    ada: User, options: dict[str, Any], asked: dict[str, Any]
) -> None:
    """Who waits for a mailbox must see what was stamped meanwhile."""
    mailbox.look(ada.pk)
    options |= asked
    connection.close()
    with Colleague() as colleague:
        colleague.begin()
        for step in (revisions.bump, revisions.count):
            colleague.run(step, [ada.pk], timezone.now(), "default")
        stamped = colleague.commit_when(somebody_waits)
        row = notify_user(ada, "Title")
        stamped.result()
    assert row is not None
    assert row.revision == 2


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
