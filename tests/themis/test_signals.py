"""notification_created: host code hears what was made, once it is committed."""

import logging
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction

from tests.themis.conftest import make_user
from tests.themis.statements import statements
from themis.models import UserNotification
from themis.notifications import notify_user, notify_users
from themis.signals import notification_created

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def heard() -> Iterator[list[UserNotification]]:
    """What a host's receiver was told, outside of any transaction."""
    heard: list[UserNotification] = []

    def hear(sender: type, notification: UserNotification, **_: Any) -> None:
        assert sender is UserNotification
        assert not connection.in_atomic_block
        heard.append(notification)

    notification_created.connect(hear)
    yield heard
    notification_created.disconnect(hear)


def test_it_is_sent_once_for_each(ada: User, heard: list[UserNotification]) -> None:
    """Stamped already; what was skipped is none."""
    row = notify_user(ada, "One", deduplicate=True)
    assert heard == [row]
    assert heard[0].created_revision == 1
    assert notify_user(ada, "One", deduplicate=True) is None
    assert notify_users([ada, make_user("grace")], "Two") == 2
    assert [row.title for row in heard] == ["One", "Two", "Two"]


def test_it_is_sent_after_the_commit_and_the_stamp(
    ada: User, heard: list[UserNotification]
) -> None:
    with transaction.atomic():
        notify_user(ada, "One")
        notify_users([ada], "Two")
        assert not heard
    assert [(row.title, row.pending) for row in heard] == [
        ("One", False),
        ("Two", False),
    ]


def test_a_rollback_sends_nothing(ada: User, heard: list[UserNotification]) -> None:
    with transaction.atomic():
        notify_user(ada, "Kept")
        with transaction.atomic():
            notify_user(ada, "Lost")
            transaction.set_rollback(True)
    assert [row.title for row in heard] == ["Kept"]


def test_with_autocommit_off_it_is_sent_when_that_is_over(
    ada: User, heard: list[UserNotification]
) -> None:
    """Django runs no callbacks before, and takes none outside a block."""
    transaction.set_autocommit(False)
    try:
        assert notify_user(ada, "One") is not None
        assert notify_users([ada], "Two") == 1
        transaction.commit()
    finally:
        transaction.set_autocommit(True)
    assert [row.title for row in heard] == ["One", "Two"]


def test_an_error_of_a_receiver_is_logged(
    ada: User, heard: list[UserNotification], caplog: pytest.LogCaptureFixture
) -> None:
    """It is the receiver's, not the caller's; the others hear all the same."""

    def fail(**_: Any) -> None:
        msg = "the receiver's own"
        raise RuntimeError(msg)

    notification_created.connect(fail)
    try:
        with caplog.at_level(logging.ERROR):
            assert notify_user(ada, "One")
    finally:
        notification_created.disconnect(fail)
    assert "the receiver's own" in caplog.text
    assert len(heard) == 1


def test_it_costs_nothing_where_nobody_listens(ada: User) -> None:
    """Nothing inside Themis does."""
    assert not notification_created.has_listeners()
    notify_user(ada, "The first makes the mailbox")
    with statements() as spent:
        notify_user(ada, "One")
    assert len(spent) == (1 if connection.vendor == "postgresql" else 3)
