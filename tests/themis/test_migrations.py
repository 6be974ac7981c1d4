"""An installation that is upgraded, with all that people have in it."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth.models import User
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.loader import MigrationLoader
from django.utils import timezone

from themis import mailbox
from themis.models import UserNotification
from themis.notifications import notify_user

pytestmark = pytest.mark.django_db(transaction=True)

EARLIER = sorted(
    name for app, name in MigrationLoader(None).disk_migrations or () if app == "themis"
)[:-1]
SOURCE: Any = {"source_app": "tasks", "source_model": "Task", "source_id": 42}


def migrate(*targets: tuple[str, str]) -> None:
    executor = MigrationExecutor(connection)
    executor.migrate(list(targets) or executor.loader.graph.leaf_nodes("themis"))


@pytest.fixture(autouse=True)
def _ends_upgraded() -> Iterator[None]:
    yield
    migrate()


def rows() -> dict[str, list[Any]]:
    """All rows of all tables, as they are."""
    return {
        model.__name__: list(model._base_manager.order_by("pk").values())
        for model in apps.get_app_config("themis").get_models()
    }


def one_of_each(user: User) -> None:
    """A notification in every state, a tombstone, and wishes."""
    later = timezone.now() + timedelta(hours=1)
    for title in ("unread", "read", "dismissed", "gone"):
        notify_user(user, title)
    notify_user(user, "from a source", deduplicate=True, **SOURCE)
    notify_user(user, "without one", deduplicate=True)
    notify_user(user, "expiring", expires_at=later, level="danger")
    notify_user(user, "expired", expires_at=timezone.now() - timedelta(hours=1))
    mine = user.themis_notifications
    mailbox.change(user.pk, "read", ids=[mine.get(title="read").pk])
    mailbox.change(user.pk, "dismiss", ids=[mine.get(title="dismissed").pk])
    mine.filter(title="gone").delete()
    user.profile.notification_min_level = "success"
    user.profile.notification_retention_days = 7
    user.profile.save()


@pytest.mark.parametrize("earlier", EARLIER)
def test_from_each_earlier_state_everything_is_kept(
    earlier: str, ada: User, grace: User
) -> None:
    for user in (ada, grace):
        one_of_each(user)
    before = rows()
    assert all(before.values())
    position = mailbox.look(ada.pk)
    migrate(("themis", earlier))
    assert rows() == before
    migrate()
    assert rows() == before
    # And it goes on from there.
    assert mailbox.look(ada.pk) == position
    assert notify_user(ada, "again", deduplicate=True, **SOURCE) is None
    notify_user(ada, "after the upgrade")
    assert mailbox.look(ada.pk).revision == position.revision + 1
    assert UserNotification.objects.filter(user=ada).unread().count() == 5
