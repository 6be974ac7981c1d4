"""`themis_new_epoch`: after a backup was restored, every page begins anew."""

from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, models
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from tests.mirror import Mirror, over_the_wire
from tests.themis.colleague import Colleague
from tests.themis.conftest import make_user
from themis import mailbox, revisions
from themis.models import Mailbox, UserNotification
from themis.notifications import notify_user

transactional = pytest.mark.django_db(transaction=True)


def renew() -> str:
    out = StringIO()
    call_command("themis_new_epoch", stdout=out)
    return out.getvalue().strip()


def rewind(tables: dict[Any, list[Any]]) -> None:
    """Restore a backup."""
    for table, rows in tables.items():
        models.QuerySet(table)._raw_delete(using="default")
        models.QuerySet(table).bulk_create(rows)


@transactional
def test_a_page_that_holds_lost_revisions_sees_what_there_is() -> None:
    """The mailbox has given them out again: only the epoch tells."""
    ada = make_user("ada")
    notify_user(ada, "Before")
    backup = {table: list(table.objects.all()) for table in (Mailbox, UserNotification)}
    page = Mirror()
    notify_user(ada, "Lost")
    page.apply(over_the_wire(mailbox.read_state(ada.pk)))
    rewind(backup)
    notify_user(ada, "After")
    assert page.position["since"] == mailbox.look(ada.pk).revision
    assert renew() == "1 mailboxes have a new epoch."
    frame = over_the_wire(mailbox.read_state(ada.pk, **page.position))
    outcome, news = page.apply(frame)
    assert (frame["type"], outcome, news) == ("snapshot", "applied", [])
    shown = [item["title"] for item in page.shown(timezone.now())]
    assert shown == ["After", "Before"]
    # What comes from now on rings again.
    notify_user(ada, "New")
    changes = over_the_wire(mailbox.read_state(ada.pk, **page.position))
    _outcome, (new,) = page.apply(changes)
    assert new["title"] == "New"


@transactional
def test_each_mailbox_has_an_epoch_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """All get one, chunk by chunk, in so many statements a chunk."""
    monkeypatch.setattr(revisions, "EPOCHS_PER_TRANSACTION", 4)
    for number in range(12):
        mailbox.look(make_user(f"user{number}").pk)
    before = set(Mailbox.objects.values_list("epoch", flat=True))
    with CaptureQueriesContext(connection) as captured:
        assert renew() == "12 mailboxes have a new epoch."
    updates = [query for query in captured if query["sql"].startswith("UPDATE")]
    assert len(updates) == 3
    after = set(Mailbox.objects.values_list("epoch", flat=True))
    assert len(after) == len(before) == 12
    assert not before & after


@transactional
def test_a_mailbox_that_is_held_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody may believe that all have one."""
    monkeypatch.setattr(revisions, "EPOCHS_WAIT_MS", 50)
    ada = make_user("ada")
    mailbox.look(ada.pk)
    with Colleague() as colleague:
        colleague.begin()
        held = Mailbox.objects.filter(pk=ada.pk)
        colleague.run(held.update, unread=models.F("unread"))
        with pytest.raises(CommandError, match="run this again"):
            renew()
        colleague.roll_back()
    assert renew() == "1 mailboxes have a new epoch."


@transactional
def test_without_mailboxes_there_is_nothing_to_do() -> None:
    assert renew() == "0 mailboxes have a new epoch."
