"""What is asked of the rows."""

from datetime import timedelta

import pytest
from django.utils import timezone

from tests.themis.conftest import make_user
from themis import mailbox
from themis.models import UserNotification
from themis.notifications import notify_user
from themis.queries import WINDOW, database, newest, read_window


def values_of(row: UserNotification) -> list[tuple[object, type]]:
    """Each field with its type, which SQLite does not know."""
    names = [field.attname for field in UserNotification._meta.concrete_fields]
    return [(getattr(row, name), type(getattr(row, name))) for name in names]


@pytest.mark.django_db(transaction=True)
def test_the_window_by_hand_is_that_of_the_orm() -> None:
    ada, now, using = make_user("ada"), timezone.now(), database()
    soon, late = now + timedelta(minutes=1), now + timedelta(days=1)
    for number in range(WINDOW + 1):
        notify_user(ada, f"Number {number}", expires_at=late if number % 2 else None)
    notify_user(ada, "Expires", expires_at=soon)
    notify_user(ada, "Read", deduplicate=True)
    notify_user(ada, "Dismissed")
    UserNotification.objects.filter(title="Read").update(read_at=now)
    UserNotification.objects.filter(title="Dismissed").update(dismissed_at=now)
    notify_user(make_user("grace"), "Of another one")
    revision = mailbox.look(ada.pk).revision
    notify_user(ada, "Too late")

    for moment in (now, soon):
        known = newest(ada.pk, moment, using).filter(created_revision__lte=revision)
        window = read_window(ada.pk, revision, moment, using)
        assert [*map(values_of, window)] == [*map(values_of, known[:WINDOW])]
        assert len(window) == WINDOW
        assert ("Expires" in {row.title for row in window}) is (moment == now)
