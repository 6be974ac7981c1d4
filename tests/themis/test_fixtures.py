"""What loaddata brings, which Django writes past every `save`."""

import json
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command

from tests.mirror import Mirror, over_the_wire
from themis import mailbox
from themis.events import Changes
from themis.models import Mailbox, UserNotification, UserProfile
from themis.notifications import notify_user

pytestmark = pytest.mark.django_db(transaction=True)


class Load:
    """Load objects as a fixture."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __call__(self, *objects: dict[str, Any]) -> None:
        self._path.write_text(json.dumps(objects))
        call_command("loaddata", self._path, verbosity=0)


@pytest.fixture
def load(tmp_path: Path) -> Load:
    return Load(tmp_path / "fixture.json")


def of_notification(user: User, pk: int, **fields: Any) -> dict[str, Any]:
    fields = {"user": user.pk, "title": f"Number {pk}", **fields}
    return {"model": "themis.usernotification", "pk": pk, "fields": fields}


def test_what_it_brings_is_told_when_all_of_it_is_there(
    ada: User, load: Load, sent: list[Changes]
) -> None:
    load(of_notification(ada, 1), of_notification(ada, 2))
    (change,) = sent
    assert [item.title for item in change.items] == ["Number 2", "Number 1"]
    assert change.unread == 2
    assert not UserNotification.objects.filter(pending=True).exists()


def test_what_it_writes_over_is_told(
    ada: User, load: Load, sent: list[Changes]
) -> None:
    row = notify_user(ada, "Title")
    assert row
    load(of_notification(ada, row.pk, title="Edited", created_revision=1, revision=1))
    assert [item.title for item in sent[-1].items] == ["Edited"]
    assert sent[-1].items[0].created_revision == 1


def test_a_revision_that_the_mailbox_has_not_reached_is_none(
    ada: User, load: Load
) -> None:
    """It comes from another mailbox; here the notification is new."""
    stamped = {"created_revision": 900, "revision": 901, "pending": False}
    page = Mirror()
    page.apply(over_the_wire(mailbox.read_state(ada.pk)))
    load(of_notification(ada, 1, **stamped))
    assert notify_user(ada, "After")
    state = mailbox.read_state(ada.pk, since=page.revision, epoch=page.epoch)
    _outcome, news = page.apply(over_the_wire(state))
    assert [item["title"] for item in news] == ["After", "Number 1"]
    assert [row.created_revision for row in state.items] == [2, 1]


def test_duplicates_in_it_stay(ada: User, load: Load) -> None:
    """It is data, not a call: nothing of it is dropped."""
    same = {"title": "Same", "deduplicate": True}
    stamped = {"created_revision": 5, "revision": 5, "pending": False}
    load(*(of_notification(ada, pk, **same, **stamped) for pk in (1, 2)))
    assert len(mailbox.read_state(ada.pk).items) == 2
    assert notify_user(ada, "Same", deduplicate=True) is None


def test_a_mailbox_counts_anew(ada: User, load: Load) -> None:
    """Its pages may have seen revisions that the dump doesn't know."""
    notify_user(ada, "Title")
    box = Mailbox.objects.get()
    fields = {"epoch": box.epoch, "revision": 1}
    load({"model": "themis.mailbox", "pk": ada.pk, "fields": fields})
    state = mailbox.read_state(ada.pk, since=1, epoch=box.epoch)
    assert state.epoch != box.epoch
    assert [row.title for row in state.items] == ["Title"]


def test_a_wish_reaches_every_tab(ada: User, load: Load, sent: list[Changes]) -> None:
    profile = UserProfile.objects.get()
    fields = {"user": ada.pk, "browser_notifications_enabled": True}
    load({"model": "themis.userprofile", "pk": profile.pk, "fields": fields})
    (change,) = sent
    assert change.desktop
