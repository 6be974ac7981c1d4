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


class TestProof:
    """Pages hold revisions that mailboxes have not reached."""

    @pytest.fixture
    def crowd(self, transactional_db: None) -> list[Any]:
        """Users whose mailboxes are at revision 1."""
        crowd = [make_user(f"user{number}") for number in range(12)]
        for user in crowd:
            notify_user(user, "Kept")
        return [user.pk for user in crowd]

    def test_many_are_renewed_a_chunk_at_a_time(
        self,
        crowd: list[Any],
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        monkeypatch.setattr(revisions, "EPOCHS_PER_TRANSACTION", 4)
        before = epochs()
        with CaptureQueriesContext(connection) as captured:
            mailbox.renew_epochs({user: (before[user], 2) for user in crowd})
        updates = [query for query in captured if query["sql"].startswith("UPDATE")]
        assert len(updates) == 3
        assert not set(before.values()) & set(epochs().values())
        assert len(set(epochs().values())) == 12
        assert len(caplog.records) == 3
        assert "4 mailboxes went back" in caplog.text

    def test_who_notices_later_does_nothing(
        self, crowd: list[Any], caplog: pytest.LogCaptureFixture
    ) -> None:
        """A second server has the same proof."""
        proof = {user: (epoch, 2) for user, epoch in epochs().items()}
        mailbox.renew_epochs(proof)
        renewed = epochs()
        caplog.clear()
        mailbox.renew_epochs(proof)
        assert epochs() == renewed
        assert caplog.records == []

    def test_what_was_reached_meanwhile_is_no_proof(
        self, crowd: list[Any], caplog: pytest.LogCaptureFixture
    ) -> None:
        before = epochs()
        mailbox.renew_epochs({user: (before[user], 1) for user in crowd})
        assert epochs() == before
        assert caplog.records == []

    @pytest.mark.only("postgres")
    def test_one_that_is_held_is_left_and_holds_up_no_other(
        self, crowd: list[Any], colleague: Colleague
    ) -> None:
        before = epochs()
        colleague.begin()
        held = Mailbox.objects.filter(pk=crowd[3])
        colleague.run(held.update, unread=models.F("unread"))
        mailbox.renew_epochs({user: (before[user], 2) for user in crowd})
        kept = [user for user, epoch in epochs().items() if epoch == before[user]]
        assert kept == [crowd[3]]

    def test_where_all_are_held_the_next_check_does_it(
        self,
        crowd: list[Any],
        colleague: Colleague,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        monkeypatch.setattr(revisions, "EPOCHS_WAIT_MS", 50)
        before = epochs()
        colleague.begin()
        held = Mailbox.objects.filter(pk=crowd[0])
        colleague.run(held.update, unread=models.F("unread"))
        mailbox.renew_epochs({crowd[0]: (before[crowd[0]], 2)})
        assert epochs() == before
        assert "left to the next check" in caplog.text


def epochs() -> dict[Any, str]:
    return dict(Mailbox.objects.values_list("pk", "epoch"))


@transactional
def test_without_mailboxes_there_is_nothing_to_do() -> None:
    assert renew() == "0 mailboxes have a new epoch."
