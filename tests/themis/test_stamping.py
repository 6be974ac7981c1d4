"""Stamping: one number per mailbox, in the order of commits, on both ways through."""

import logging
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import OperationalError, connection, connections, transaction
from django.db.models import Model
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django import DjangoCaptureOnCommitCallbacks

from tests.mirror import Mirror, over_the_wire
from tests.themis.broadcasting import CollectingBroadcaster
from tests.themis.colleague import (
    Colleague,
    dying_after_the_commit,
    somebody_waits,
)
from tests.themis.conftest import Clock, make_user
from tests.themis.contention import elsewhere
from tests.themis.statements import statements, transactions
from tests.waiting import wait_until
from themis import (
    holding,
    mailbox,
    queries,
    revisions,
    ringing,
    stamping,
)
from themis import (
    transactions as themis_transactions,
)
from themis.events import Changes
from themis.models import Mailbox, Tombstone, UserNotification, UserProfile
from themis.notifications import notify_user, notify_users, withdraw

transactional = pytest.mark.django_db(transaction=True)

SOURCE: dict[str, Any] = {
    "source_app": "tasks",
    "source_model": "Task",
    "source_id": "42",
}


def stored(row: UserNotification | None) -> UserNotification:
    """The row as it is in the database."""
    assert row is not None
    return UserNotification.objects.get(pk=row.pk)


def tell_in_one(*users: User) -> None:
    with transaction.atomic():
        for user in users:
            notify_user(user, "Title")


def is_next(told: threading.Event, before: list[Future[None]]) -> bool:
    """Whether those before are done, and somebody has waited a while for the next."""
    done = all(end.done() for end in before)
    return told.is_set() or (done and somebody_waits(seconds=0.1))


def titles(change: Changes) -> list[str]:
    return [row.title for row in change.items]


@transactional
class TestOwnTransaction:
    def test_it_returns_stamped(self, ada: User, sent: list[Changes]) -> None:
        """With no transaction open, the write and the stamp are one."""
        row = notify_user(ada, "One")
        assert row is not None
        for seen in (row, stored(row)):
            assert (seen.created_revision, seen.revision, seen.pending) == (1, 1, False)
        (change,) = sent
        assert (change.user_key, change.since, change.revision) == (str(ada.pk), 0, 1)
        assert (change.unread, titles(change), change.removed) == (1, ["One"], [])
        box = Mailbox.objects.get(pk=ada.pk)
        assert (box.epoch, box.revision, box.unread) == (change.epoch, 1, 1)

    def test_revisions_rise_by_one(self, ada: User, sent: list[Changes]) -> None:
        """Each call is a revision, and each is told."""
        for number in range(3):
            notify_user(ada, f"Title {number}")
        assert [(change.since, change.revision) for change in sent] == [
            (0, 1),
            (1, 2),
            (2, 3),
        ]
        assert [change.unread for change in sent] == [1, 2, 3]

    def test_mailboxes_are_apart(
        self, ada: User, grace: User, sent: list[Changes]
    ) -> None:
        """Another user's revisions are another user's."""
        notify_user(ada, "One")
        notify_user(grace, "Two")
        assert [(change.user_key, change.revision) for change in sent] == [
            (str(ada.pk), 1),
            (str(grace.pk), 1),
        ]
        first, second = sent
        assert first.epoch != second.epoch

    def test_a_skipped_duplicate_is_no_revision(
        self, ada: User, sent: list[Changes]
    ) -> None:
        """Nothing happened, so nothing is told."""
        notify_user(ada, "One", **SOURCE, deduplicate=True)
        sent.clear()
        assert notify_user(ada, "Two", **SOURCE, deduplicate=True) is None
        assert not sent
        assert Mailbox.objects.get().revision == 1

    def test_what_it_costs(self, ada: User) -> None:
        """The preferences, the lock, the row, the count: nothing grows with use."""
        notify_user(ada, "The first makes the mailbox")
        with statements() as spent:
            notify_user(ada, "Title")
        if connection.vendor == "postgresql":
            assert len(spent) == 1, spent
        else:
            assert len(spent) == 3, spent
            assert spent[0].startswith("UPDATE"), "the lock is first"
        with statements() as spent:
            notify_user(ada, "Title", **SOURCE, deduplicate=True)
        claim = 2 if connection.vendor == "postgresql" else 0
        assert len(spent) == 4 + claim, spent

    def test_what_is_skipped_by_preference_leaves_no_trace(self, ada: User) -> None:
        """The lock, the rules, and whether there is such a user; nothing is counted."""
        notify_user(ada, "The first makes the mailbox")
        UserProfile.objects.update(notifications_enabled=False)
        with statements() as spent:
            assert notify_user(ada, "Title") is None
        assert len(spent) == (2 if connection.vendor == "postgresql" else 3), spent
        assert mailbox.read_state(ada.pk).revision == 2, "the row and the profile"

    def test_a_busy_mailbox_does_not_keep_the_call_waiting(
        self,
        ada: User,
        sent: list[Changes],
        colleague: Colleague,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """The row is stored unstamped, and whoever looks next shows it."""
        noticed = threading.Event()

        def is_contention(error: BaseException) -> bool:
            noticed.set()
            return themis_transactions.is_contention(error)

        monkeypatch.setattr("themis.notifications.is_contention", is_contention)
        mailbox.look(ada.pk)
        colleague.begin()
        colleague.run(lambda: Mailbox.objects.filter(pk=ada.pk).update(unread=0))
        committed = colleague.commit_when(noticed.is_set)
        began = time.monotonic()
        row = notify_user(ada, "Title")
        assert 0.4 < time.monotonic() - began < 2.5
        committed.result()
        assert stored(row).pending
        assert stored(row).created_revision is None
        assert not sent
        assert mailbox.look(ada.pk).revision == 1
        assert titles(sent[0]) == ["Title"]


@transactional
class TestLate:
    def test_inside_a_transaction_a_row_is_only_inserted(
        self, ada: User, sent: list[Changes]
    ) -> None:
        """No lock on anything shared: the mailbox isn't even read."""
        mailbox.look(ada.pk)
        with transaction.atomic():
            with statements() as spent:
                row = notify_user(ada, "Title")
            assert row is not None
            assert (row.pending, row.created_revision, row.revision) == (
                True,
                None,
                None,
            )
            assert not sent
            assert Mailbox.objects.get().revision == 0
        assert len(spent) == 1
        assert not [sql for sql in spent if "themis_mailbox" in sql]

    def test_after_the_commit_it_is_stamped_and_told(
        self, ada: User, sent: list[Changes]
    ) -> None:
        """One revision for all that the transaction wrote."""
        with transaction.atomic():
            first, second = notify_user(ada, "One"), notify_user(ada, "Two")
        (change,) = sent
        assert (change.since, change.revision, change.unread) == (0, 1, 2)
        assert titles(change) == ["Two", "One"]
        for row in (stored(first), stored(second)):
            assert (row.created_revision, row.revision, row.pending) == (1, 1, False)

    @pytest.mark.parametrize("nested", [False, True])
    @pytest.mark.parametrize("with_callbacks", [False, True])
    def test_a_loop_over_a_team_is_stamped_in_one_transaction(
        self, sent: list[Changes], *, nested: bool, with_callbacks: bool
    ) -> None:
        """Whatever else the host does in its loop; twice the team, the same cost."""
        spent: list[int] = []
        for size in (4, 8):
            sent.clear()
            team = [make_user(f"member {size} {number}") for number in range(size)]
            for member in team:
                mailbox.look(member.pk)
            with statements() as found, transactions() as begun:
                _tell(team, nested=nested, with_callbacks=with_callbacks)
            assert len(begun) == 2, "the host's and one of ours"
            assert len(sent) == size
            assert {change.user_key for change in sent} == {
                str(member.pk) for member in team
            }
            spent.append(len(found) - size)
        assert spent[0] == spent[1]

    def test_a_rollback_stamps_nobody(self, ada: User, sent: list[Changes]) -> None:
        """Not a statement after it."""
        with CaptureQueriesContext(connection) as captured, transaction.atomic():
            notify_user(ada, "Title")
            transaction.set_rollback(True)
        assert captured[-1]["sql"] == "ROLLBACK"
        assert not sent
        assert not Mailbox.objects.exists()

    def test_only_those_whose_savepoint_survived_are_told(
        self, ada: User, grace: User, sent: list[Changes]
    ) -> None:
        """A member whose own block failed hears nothing, the others do."""
        with transaction.atomic():
            with transaction.atomic():
                notify_user(ada, "Lost")
                transaction.set_rollback(True)
            with transaction.atomic():
                notify_user(grace, "Kept")
            with transaction.atomic():
                notify_user(ada, "Lost")
                transaction.set_rollback(True)
        assert [(change.user_key, titles(change)) for change in sent] == [
            (str(grace.pk), ["Kept"])
        ]

    def test_a_savepoint_inside_another_one_that_fails(
        self, ada: User, grace: User, sent: list[Changes]
    ) -> None:
        """What was released into a block goes with it."""
        with transaction.atomic():
            notify_user(ada, "Kept")
            with transaction.atomic():
                with transaction.atomic():
                    notify_user(grace, "Lost")
                notify_user(ada, "Lost")
                transaction.set_rollback(True)
        assert [(change.user_key, titles(change)) for change in sent] == [
            (str(ada.pk), ["Kept"])
        ]

    def test_a_callback_of_the_host_that_fails_loses_nothing(
        self, ada: User, sent: list[Changes]
    ) -> None:
        """Django skips the callbacks after it; the next look stamps."""

        def fail() -> None:
            raise LookupError

        with pytest.raises(LookupError), transaction.atomic():  # noqa: PT012
            transaction.on_commit(fail)
            notify_user(ada, "Title")
        assert not sent
        assert mailbox.look(ada.pk).revision == 1
        assert titles(sent[0]) == ["Title"]

    def test_with_autocommit_off_it_waits_for_the_hosts_commit(
        self, ada: User, sent: list[Changes]
    ) -> None:
        """A host that begins and commits by itself is a host with a transaction."""
        transaction.set_autocommit(False)
        try:
            row = notify_user(ada, "Title")
            assert row is not None
            assert row.pending
            assert not sent
            transaction.commit()
        finally:
            transaction.set_autocommit(True)
        assert titles(sent[0]) == ["Title"]

    def test_one_that_is_called_in_a_callback_is_stamped(
        self, ada: User, sent: list[Changes]
    ) -> None:
        """After the commit no transaction is open."""
        with transaction.atomic():
            transaction.on_commit(lambda: notify_user(ada, "Title") and None)
        (change,) = sent
        assert titles(change) == ["Title"]

    def test_an_account_that_is_deleted_after_it_was_notified(
        self, ada: User, grace: User, sent: list[Changes], caplog: Any
    ) -> None:
        """Nobody to tell, and no error; the others are told."""
        with transaction.atomic():
            notify_user(ada, "One")
            notify_user(grace, "Two")
            ada.delete()
        assert [change.user_key for change in sent] == [str(grace.pk)]
        sent.clear()
        with transaction.atomic():
            notify_user(grace, "Three")
            grace.delete()
        assert not sent
        assert not caplog.records


def _tell(team: list[User], *, nested: bool, with_callbacks: bool) -> None:
    with transaction.atomic():
        for member in team:
            if nested:
                with transaction.atomic():
                    notify_user(member, "Title")
            else:
                notify_user(member, "Title")
            if with_callbacks:
                transaction.on_commit(lambda: None)


@transactional
class TestBounds:
    def test_many_rows_are_stamped_a_part_at_a_time(
        self, ada: User, sent: list[Changes], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """And all of them in the end, each in one revision, in order."""
        monkeypatch.setattr(stamping, "ROWS_PER_STAMP", 3)
        with transaction.atomic():
            for number in range(7):
                notify_user(ada, f"Title {number}")
        assert [len(change.items) for change in sent] == [3, 3, 1]
        assert [change.revision for change in sent] == [1, 2, 3]
        created = UserNotification.objects.order_by("pk").values_list(
            "created_revision", flat=True
        )
        assert list(created) == [1, 1, 1, 2, 2, 2, 3]

    def test_many_users_are_stamped_a_part_at_a_time(
        self, sent: list[Changes], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A transaction never locks more mailboxes than this."""
        monkeypatch.setattr(stamping, "USERS_PER_STAMP", 2)
        team = [make_user(f"member {number}") for number in range(5)]
        for member in team:
            mailbox.look(member.pk)
        with transactions() as begun:
            _tell(team, nested=False, with_callbacks=False)
        assert len(begun) == 1 + 3
        assert len(sent) == 5

    def test_more_than_a_hundred_changes_are_no_frame(
        self, ada: User, sent: list[Changes]
    ) -> None:
        """100 are whole; with 101, the broadcast is good only for its numbers."""
        for number in (100, 101):
            UserNotification.objects.bulk_create(
                UserNotification(user=ada, title="Bulk") for _ in range(number)
            )
        assert [change.whole for change in sent] == [True, False]
        assert [change.unread for change in sent] == [100, 201]

    def test_a_hundred_changes_are_read_whole_and_one_more_is_a_snapshot(
        self, ada: User
    ) -> None:
        """Never a partial answer."""
        start = mailbox.look(ada.pk)
        for number in (100, 1):
            UserNotification.objects.bulk_create(
                UserNotification(user=ada, title="Bulk") for _ in range(number)
            )
            state = mailbox.read_state(ada.pk, since=0, epoch=start.epoch)
            assert isinstance(state, Changes) is (number == 100)
            assert len(state.items) == (100 if number == 100 else 20)
        UserNotification.objects.all().delete()
        state = mailbox.read_state(ada.pk, since=0, epoch=start.epoch)
        assert not isinstance(state, Changes)

    def test_the_count_says_when_it_is_too_high_to_count(
        self, ada: User, sent: list[Changes], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Exact below the limit; the limit means that or more."""
        monkeypatch.setattr(revisions, "COUNT_LIMIT", 3)
        for _ in range(5):
            notify_user(ada, "Title")
        assert [change.unread for change in sent] == [1, 2, 3, 3, 3]
        assert mailbox.count_unread(ada.pk) == 3

    def test_stamping_costs_the_same_for_any_number_of_rows(self, ada: User) -> None:
        """Statements don't grow with what they stamp."""
        spent = []
        for number in (1, 50):
            with dying_after_the_commit():
                UserNotification.objects.bulk_create(
                    UserNotification(user=ada, title="Bulk") for _ in range(number)
                )
            with statements() as found:
                stamping.stamp([ada.pk])
            spent.append(len(found))
        assert spent[0] >= spent[1]

    def test_a_look_where_nothing_waits_is_one_statement(self, ada: User) -> None:
        """And opens no transaction."""
        notify_user(ada, "Title")
        with CaptureQueriesContext(connection) as captured:
            mailbox.look(ada.pk)
        assert len(captured) == 1


@transactional
class TestCrash:
    def test_what_was_left_is_stamped_by_the_next_look(
        self, ada: User, sent: list[Changes]
    ) -> None:
        """A row, a deletion and a preference, in one revision."""
        gone = notify_user(ada, "Gone")
        assert gone is not None
        sent.clear()
        with dying_after_the_commit(), transaction.atomic():
            notify_user(ada, "New")
            gone_pk = gone.pk
            gone.delete()
            UserProfile.objects.update(browser_notifications_enabled=True)
        assert not sent
        assert mailbox.look(ada.pk).revision == 2
        (change,) = sent
        assert (titles(change), change.removed) == (["New"], [gone_pk])
        assert change.desktop
        assert change.unread == 1

    def test_the_reconciler_stamps_what_was_left_in_any_mailbox(
        self, ada: User, grace: User, sent: list[Changes], clock: Clock
    ) -> None:
        """And what falls due; then it costs two statements."""
        expires_at = clock.time + timedelta(seconds=1)
        notify_user(ada, "Reminder", expires_at=expires_at)
        with dying_after_the_commit(), transaction.atomic():
            notify_user(grace, "Left")
        clock.advance(seconds=1)
        sent.clear()
        mailbox.stamp_waiting()
        assert {(change.user_key, change.unread) for change in sent} == {
            (str(ada.pk), 0),
            (str(grace.pk), 1),
        }
        with CaptureQueriesContext(connection) as captured:
            mailbox.stamp_waiting()
        assert len(captured) == 2

    def test_what_was_left_by_a_late_claim_is_dropped_for_good(
        self, ada: User, sent: list[Changes]
    ) -> None:
        """It doesn't wait for ever, and is no revision."""
        notify_user(ada, "One", **SOURCE)
        sent.clear()
        _store_without_a_claim(ada, "Two")
        assert [row.title for row in UserNotification.objects.all()] == ["One"]
        assert not sent
        assert mailbox.look(ada.pk).revision == 1

    def test_of_two_late_claims_one_is_shown(
        self, ada: User, sent: list[Changes]
    ) -> None:
        """Both were stored before either was stamped."""
        with dying_after_the_commit():
            _store_without_a_claim(ada, "One")
            _store_without_a_claim(ada, "Two")
        assert mailbox.look(ada.pk).unread == 1
        assert titles(sent[0]) == ["One"]

    @pytest.mark.parametrize("name", ["read_at", "dismissed_at"])
    def test_a_late_claim_that_is_no_longer_open_stays(
        self, ada: User, name: str
    ) -> None:
        """It is no second open one, and the person may look for it."""
        notify_user(ada, "One", **SOURCE)
        with dying_after_the_commit():
            _store_without_a_claim(ada, "Two")
            UserNotification.objects.filter(title="Two").update(
                **{name: timezone.now()}
            )
        mailbox.look(ada.pk)
        assert UserNotification.objects.count() == 2

    def test_one_that_somebody_moves_is_not_dropped(
        self, ada: User, grace: User
    ) -> None:
        """It asked to be dropped when it was made, not when it is moved."""
        notify_user(ada, "One", **SOURCE, deduplicate=True)
        notify_user(grace, "Two", **SOURCE, deduplicate=True)
        UserNotification.objects.filter(user=ada).update(user=grace)
        assert mailbox.read_state(grace.pk).unread == 2


def _store_without_a_claim(user: User, title: str) -> UserNotification:
    """Do what notify_user does when a claim has waited too long."""
    row = UserNotification(user=user, title=title, **SOURCE, deduplicate=True)
    with ringing.followed("default") as users:
        Model.save(row, force_insert=True)
        users.add(user.pk)
    return row


class TestInATestCase:
    """A host's tests run inside a transaction that never commits."""

    def test_captured_callbacks_stamp(
        self,
        db: None,
        ada: User,
        sent: list[Changes],
        django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
    ) -> None:
        """The broadcast is among them."""
        del db
        with django_capture_on_commit_callbacks(execute=True):
            notify_user(ada, "Title")
        (change,) = sent
        assert (titles(change), change.revision) == (["Title"], 1)

    def test_also_when_another_call_came_before(
        self,
        db: None,
        ada: User,
        grace: User,
        sent: list[Changes],
        django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
    ) -> None:
        """What Django hides from the block is stamped with it, or later."""
        del db
        notify_user(ada, "Before")
        notify_user(grace, "Before")
        for round_ in ("One", "Two"):
            sent.clear()
            with django_capture_on_commit_callbacks(execute=True):
                notify_user(ada, round_)
            told = {change.user_key: titles(change) for change in sent}
            assert round_ in told[str(ada.pk)]
        assert mailbox.look(grace.pk).unread == 1

    def test_a_look_stamps(self, db: None, ada: User) -> None:
        """Views and handshakes work in a TestCase."""
        del db
        notify_user(ada, "Title")
        state = mailbox.read_state(ada.pk)
        assert (state.revision, state.unread, titles_of(state)) == (1, 1, ["Title"])

    def test_a_change_stamps(self, db: None, ada: User) -> None:
        """So does reading."""
        del db
        row = notify_user(ada, "Title")
        assert row is not None
        mailbox.look(ada.pk)
        frame, at = mailbox.change(ada.pk, "read", ids=[row.pk])
        assert (frame.revision, frame.unread) == (2, 0)
        assert stored(row).read_at == at

    def test_the_orm_never_stamps(self, db: None, ada: User) -> None:
        """Counts and lists of the ORM see pending rows at once; the wire waits."""
        del db
        notify_user(ada, "Title")
        assert UserNotification.objects.listed().count() == 1
        assert UserNotification.objects.unread().count() == 1
        assert mailbox.count_unread(ada.pk) == 1
        assert UserNotification.objects.get().pending
        assert not Mailbox.objects.exists()


def titles_of(state: Any) -> list[str]:
    return [row.title for row in state.items]


@pytest.mark.only("postgres")
@transactional
class TestConcurrentWriters:
    def test_who_waits_for_a_mailbox_holds_no_other(
        self, ada: User, grace: User, sent: list[Changes], colleague: Colleague
    ) -> None:
        """After the commit of a team's transaction: the others have it already."""
        first, second = sorted([ada.pk, grace.pk])
        for user in (second, first):
            mailbox.look(user)
        for held in (first, second):
            sent.clear()
            (free,) = {first, second} - {held}
            boxes = Mailbox.objects.select_for_update().filter(pk=held)
            colleague.begin()
            colleague.run(boxes.get)
            with Colleague() as other:
                told = other.start(tell_in_one, ada, grace)
                wait_until(somebody_waits)
                assert [change.user_key for change in sent] == [str(free)]
                with transaction.atomic():
                    Mailbox.objects.select_for_update(nowait=True).get(pk=free)
                colleague.roll_back()
                told.result(10)
            assert [change.user_key for change in sent] == [str(free), str(held)]

    def test_busy_mailboxes_are_waited_for_a_second_in_all(
        self,
        colleague: Colleague,
        sent: list[Changes],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """However many there are; the others are told before."""
        monkeypatch.setattr(stamping, "STAMP_WAIT_MS", 400)
        users = [make_user(f"user {number}") for number in range(6)]
        keys = [user.pk for user in users]
        revisions.make_missing(keys, "default")
        colleague.begin()
        boxes = Mailbox.objects.select_for_update().filter(pk__in=keys[:5])
        colleague.run(lambda: list(boxes))
        began = time.monotonic()
        tell_in_one(*users)
        assert 0.35 < time.monotonic() - began < 1.2
        assert [change.user_key for change in sent] == [str(keys[5])]
        began = time.monotonic()
        assert notify_users(users, "Title") == 6
        assert 0.35 < time.monotonic() - began < 1.2
        assert [change.user_key for change in sent] == 2 * [str(keys[5])]
        colleague.roll_back()
        mailbox.stamp_waiting()
        assert len(sent) == 7

    def test_who_waits_for_a_row_to_withdraw_it_holds_no_mailbox(
        self, ada: User, grace: User, sent: list[Changes], colleague: Colleague
    ) -> None:
        """And the others have lost theirs already."""
        rows = [notify_user(user, "Title", **SOURCE) for user in (ada, grace)]
        assert rows[0] is not None
        sent.clear()
        held = UserNotification.objects.filter(pk=rows[0].pk)
        colleague.begin()
        colleague.run(held.update, title="Held")
        with Colleague() as other:
            gone = other.start(lambda: withdraw(**SOURCE))
            wait_until(somebody_waits)
            with transaction.atomic():
                free = Mailbox.objects.select_for_update(nowait=True)
                assert len(free.filter(pk__in=[ada.pk, grace.pk])) == 2
            assert [change.user_key for change in sent] == [str(grace.pk)]
            colleague.roll_back()
            assert gone.result(10) == 2
        assert [change.user_key for change in sent] == [str(grace.pk), str(ada.pk)]

    def test_commits_in_reverse_order_lose_nothing(
        self, ada: User, sent: list[Changes], colleague: Colleague
    ) -> None:
        """The smaller id is committed last, and has the higher revision."""
        colleague.begin()
        slow = colleague.run(notify_user, ada, "Slow")
        with transaction.atomic():
            fast = notify_user(ada, "Fast")
        epoch, since = sent[-1].epoch, sent[-1].revision
        assert titles(sent[-1]) == ["Fast"]
        colleague.commit()
        assert slow is not None
        assert fast is not None
        assert slow.pk < fast.pk
        assert stored(fast).created_revision == 1
        assert stored(slow).created_revision == 2
        state = mailbox.read_state(ada.pk, since=since, epoch=epoch)
        assert titles_of(state) == ["Slow"]
        assert titles_of(mailbox.read_state(ada.pk)) == ["Slow", "Fast"]

    def test_a_host_that_holds_a_row_holds_up_no_other(
        self, ada: User, sent: list[Changes], colleague: Colleague
    ) -> None:
        """Stamping skips what is locked; it is stamped when that is committed."""
        with dying_after_the_commit(), transaction.atomic():
            held, other = notify_user(ada, "Held"), notify_user(ada, "Other")
        assert held is not None
        rows = UserNotification.objects.filter(pk=held.pk)
        colleague.begin()
        colleague.run(rows.update, message="Edited")
        began = time.monotonic()
        assert mailbox.look(ada.pk).revision == 1
        assert time.monotonic() - began < 0.5
        assert titles(sent[-1]) == ["Other"]
        assert stored(held).created_revision is None
        colleague.commit()
        assert titles(sent[-1]) == ["Held"]
        assert (stored(held).created_revision, stored(held).message) == (2, "Edited")
        assert stored(other).revision == 1

    def test_an_expired_row_that_is_held_is_stamped_later(
        self, ada: User, sent: list[Changes], colleague: Colleague, clock: Clock
    ) -> None:
        """The mailbox doesn't forget that it is due."""
        expires_at = clock.time + timedelta(seconds=1)
        row = notify_user(ada, "Reminder", expires_at=expires_at)
        assert row is not None
        clock.advance(seconds=1)
        rows = UserNotification.objects.filter(pk=row.pk)
        colleague.begin()
        colleague.run(lambda: list(rows.select_for_update()))
        assert mailbox.look(ada.pk).revision == 1
        colleague.roll_back()
        assert mailbox.look(ada.pk).revision == 2
        assert (sent[-1].removed, sent[-1].unread) == ([row.pk], 0)

    def test_a_locked_mailbox_is_left_to_the_next_look(
        self,
        ada: User,
        sent: list[Changes],
        colleague: Colleague,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        """After one second; the caller of the commit gets no error."""
        mailbox.look(ada.pk)
        colleague.begin()
        colleague.run(
            lambda: list(Mailbox.objects.filter(pk=ada.pk).select_for_update())
        )
        began = time.monotonic()
        with transaction.atomic():
            row = notify_user(ada, "Title")
        assert 0.9 < time.monotonic() - began < 2
        assert stored(row).pending
        assert not sent
        (record,) = caplog.records
        assert record.levelno == logging.WARNING
        colleague.commit()
        mailbox.look(ada.pk)
        assert titles(sent[-1]) == ["Title"]

    def test_a_person_waits_at_most_a_second_for_a_host(
        self, ada: User, colleague: Colleague
    ) -> None:
        """Then reading is an error that the view can answer, and nothing changed."""
        row = notify_user(ada, "Title")
        assert row is not None
        colleague.begin()
        colleague.run(UserNotification.objects.update, title="Held")
        began = time.monotonic()
        with pytest.raises(OperationalError):
            mailbox.change(ada.pk, "read", ids=[row.pk])
        assert 0.4 < time.monotonic() - began < 2
        colleague.commit()
        assert not stored(row).is_read
        frame, _at = mailbox.change(ada.pk, "read", ids=[row.pk])
        assert frame.unread == 0

    def test_the_host_keeps_its_own_lock_timeout(self, ada: User) -> None:
        """Ours is for our statements alone."""
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SET LOCAL lock_timeout = '7s'")
            assert notify_user(ada, "One", **SOURCE, deduplicate=True)
            assert notify_user(ada, "One", **SOURCE, deduplicate=True) is None
            cursor.execute("SHOW lock_timeout")
            assert cursor.fetchone() == ("7s",)
        notify_user(ada, "Two")
        with connection.cursor() as cursor:
            cursor.execute("SHOW lock_timeout")
            assert cursor.fetchone() == ("0",)

    def test_it_holds_nothing_that_another_notification_needs(
        self, ada: User, sent: list[Changes], colleague: Colleague
    ) -> None:
        """While a host's transaction is open, others notify the same user at once."""
        mailbox.look(ada.pk)
        colleague.begin()
        colleague.run(notify_user, ada, "Open", **SOURCE, deduplicate=True)
        began = time.monotonic()
        assert notify_user(ada, "Own")
        with transaction.atomic():
            assert notify_user(ada, "Late")
        assert mailbox.look(ada.pk).unread == 2
        assert time.monotonic() - began < 0.5
        assert len(sent) == 2

    def test_it_holds_nothing_that_the_account_needs(
        self, ada: User, colleague: Colleague
    ) -> None:
        """The user signs in while a host's transaction has notified them."""
        colleague.begin()
        colleague.run(notify_user, ada, "Open")
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SET LOCAL lock_timeout = '200ms'")
            User.objects.update(last_login=timezone.now())

    @pytest.mark.parametrize("deduplicate", [False, True])
    def test_loops_over_the_same_users_in_reverse_do_not_deadlock(
        self, sent: list[Changes], *, deduplicate: bool
    ) -> None:
        """Everyone is told everything, whoever goes first."""
        team = [make_user(f"member {number}") for number in range(4)]
        rounds = 8

        def tell(members: list[User], name: str) -> None:
            for number in range(rounds):
                with transaction.atomic():
                    for member in members:
                        assert notify_user(
                            member,
                            "Title",
                            source_id=f"{name} {number}",
                            deduplicate=deduplicate,
                        )

        _at_once(
            lambda: tell(team, "forth"),
            lambda: tell(team[::-1], "back"),
            lambda: tell(team[::2] + team[1::2], "across"),
        )
        mailbox.stamp_waiting()
        for member in team:
            assert mailbox.look(member.pk).unread == 3 * rounds
            _assert_each_is_told_once(sent, member, 3 * rounds)

    def test_claims_in_reverse_do_not_deadlock(
        self, ada: User, grace: User, sent: list[Changes]
    ) -> None:
        """Two transactions claim the same two keys, in opposite order."""
        del sent

        def tell(members: list[User]) -> None:
            for number in range(3):
                with transaction.atomic():
                    for member in members:
                        notify_user(
                            member, "T", source_id=f"{number}", deduplicate=True
                        )

        _at_once(lambda: tell([ada, grace]), lambda: tell([grace, ada]))
        mailbox.stamp_waiting()
        for member in (ada, grace):
            assert mailbox.read_state(member.pk).unread == 3


def _at_once(*works: Any) -> None:
    """Do all of it at the same time; an error of any is the test's."""

    def run(work: Any) -> None:
        try:
            work()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(len(works)) as threads:
        done, _waiting = wait([threads.submit(run, work) for work in works])
    for future in done:
        future.result()


def _assert_each_is_told_once(sent: list[Changes], user: User, number: int) -> None:
    """Revisions without a hole or a repetition, each row new in one of them."""
    mine = [change for change in sent if change.user_key == str(user.pk)]
    mine.sort(key=lambda change: change.revision)
    assert [change.since for change in mine] == list(range(len(mine)))
    assert [change.revision for change in mine] == list(range(1, len(mine) + 1))
    new = [
        row.pk
        for change in mine
        for row in change.items
        if row.created_revision == change.revision
    ]
    assert len(new) == len(set(new)) == number


@transactional
class TestManyAtOnce:
    def test_calls_from_many_threads_are_one_order(
        self, ada: User, sent: list[Changes]
    ) -> None:
        """On both ways at once: no hole, no repetition, the right count each time."""
        mailbox.look(ada.pk)

        def own() -> None:
            for _ in range(5):
                assert notify_user(ada, "Own")

        def late() -> None:
            for _ in range(5):
                with transaction.atomic():
                    # On SQLite a transaction that begins with a write can wait.
                    User.objects.filter(pk=ada.pk).update(first_name="x")
                    assert notify_user(ada, "Late")

        _at_once(own, late, own, late)
        mailbox.look(ada.pk)
        _assert_each_is_told_once(sent, ada, 20)
        for change in sent:
            created = UserNotification.objects.filter(
                created_revision__lte=change.revision
            )
            assert change.unread == created.count()

    def test_the_first_calls_for_a_user_make_one_mailbox(
        self, ada: User, grace: User, sent: list[Changes]
    ) -> None:
        """Whoever comes first, and none is lost."""

        def tell() -> None:
            with transaction.atomic():
                User.objects.filter(pk=ada.pk).update(first_name="x")
                notify_user(ada, "Late")
                notify_user(grace, "Late")

        _at_once(tell, lambda: notify_user(grace, "Own"), tell)
        mailbox.stamp_waiting()
        _assert_each_is_told_once(sent, ada, 2)
        _assert_each_is_told_once(sent, grace, 3)

    def test_a_race_for_a_key_shows_one(self, ada: User, sent: list[Changes]) -> None:
        """Never an error, never two, and whoever lost gets None."""
        mailbox.look(ada.pk)
        rows: list[UserNotification | None] = []

        def claim() -> None:
            rows.append(notify_user(ada, "Title", **SOURCE, deduplicate=True))

        _at_once(*[claim] * 6)
        mailbox.look(ada.pk)
        kept = list(UserNotification.objects.all())
        assert len(kept) == 1
        assert kept[0] in rows
        assert sum(len(change.items) for change in sent) == 1


@pytest.mark.only("postgres")
@transactional
class TestClaims:
    """Two transactions want the same dedup key."""

    def test_the_loser_waits_and_gets_none_when_the_winner_commits(
        self, ada: User, colleague: Colleague
    ) -> None:
        """Then there is a duplicate."""
        colleague.begin()
        colleague.run(notify_user, ada, "Winner", **SOURCE, deduplicate=True)
        committed = colleague.commit_when(somebody_waits)
        with transaction.atomic():
            row = notify_user(ada, "Loser", **SOURCE, deduplicate=True)
        committed.result()
        assert row is None
        assert titles_of(mailbox.read_state(ada.pk)) == ["Winner"]

    def test_the_loser_wins_when_the_winner_rolls_back(
        self, ada: User, colleague: Colleague
    ) -> None:
        """Then there is none."""
        colleague.begin()
        colleague.run(notify_user, ada, "Winner", **SOURCE, deduplicate=True)
        rolled_back = colleague.roll_back_when(somebody_waits)
        with transaction.atomic():
            row = notify_user(ada, "Loser", **SOURCE, deduplicate=True)
        rolled_back.result()
        assert stored(row).dedup_key is not None
        assert titles_of(mailbox.read_state(ada.pk)) == ["Loser"]

    def test_who_has_waited_for_the_loser_is_no_victim(
        self, ada: User, grace: User, colleague: Colleague
    ) -> None:
        """A second after it began to, PostgreSQL looks for a cycle, and finds none."""
        mine = User.objects.select_for_update().filter(pk=grace.pk)
        colleague.begin()
        colleague.run(notify_user, ada, "Winner", **SOURCE, deduplicate=True)
        with transaction.atomic():
            mine.get()
            waiting = colleague.start(mine.get)
            wait_until(lambda: somebody_waits(seconds=0.9))
            row = notify_user(ada, "Loser", **SOURCE, deduplicate=True)
        assert waiting.result() == grace
        colleague.commit()
        assert row is not None
        assert titles_of(mailbox.read_state(ada.pk)) == ["Loser"]

    def test_claims_for_many_wait_half_a_second_in_all(
        self, transactional_db: None, sent: list[Changes]
    ) -> None:
        """Each of six claims is given up after a while that is short of the limit."""
        users = [make_user(f"user {number}") for number in range(6)]
        told = threading.Event()
        with ExitStack() as stack:
            ends: list[Future[None]] = []
            for user in users:
                holder = stack.enter_context(Colleague())
                holder.begin()
                holder.run(notify_user, user, "Held", **SOURCE, deduplicate=True)
                ends.append(holder.roll_back_when(partial(is_next, told, ends[-1:])))
            with transaction.atomic():
                began = time.monotonic()
                assert notify_users(users, "Mine", **SOURCE, deduplicate=True) == 6
                waited = time.monotonic() - began
                given_up = sum(end.done() for end in ends)
                told.set()
            for end in ends:
                end.result(10)
        # Not because there was nothing more to wait for.
        assert given_up < 5
        assert waited < 0.6
        assert len(sent) == 6

    # A call without a transaction has ended when it returns.
    @pytest.mark.parametrize(
        ("own", "first"), [(False, "winner"), (False, "loser"), (True, "loser")]
    )
    def test_the_loser_waits_at_most_half_a_second(
        self,
        ada: User,
        sent: list[Changes],
        colleague: Colleague,
        *,
        own: bool,
        first: str,
    ) -> None:
        """It gets a row; whichever is stamped second is deleted unseen."""
        mailbox.look(ada.pk)
        colleague.begin()
        colleague.run(notify_user, ada, "Winner", **SOURCE, deduplicate=True)
        began = time.monotonic()
        if own:
            row = notify_user(ada, "Loser", **SOURCE, deduplicate=True)
            waited = time.monotonic() - began
        else:
            with transaction.atomic():
                row = notify_user(ada, "Loser", **SOURCE, deduplicate=True)
                waited = time.monotonic() - began
                # The caller's transaction is usable.
                assert notify_user(ada, "Another")
                if first == "winner":
                    colleague.commit()
        assert waited < 0.7
        assert row is not None
        if first == "loser":
            colleague.commit()
        shown = "Winner" if first == "winner" else "Loser"
        state = mailbox.read_state(ada.pk)
        assert [title for title in titles_of(state) if title != "Another"] == [shown]
        told = [title for change in sent for title in titles(change)]
        assert told.count("Winner") + told.count("Loser") == 1
        assert not UserNotification.objects.filter(pending=True).exists()

    def test_an_expired_holder_that_is_held_does_not_block(
        self, ada: User, colleague: Colleague, clock: Clock
    ) -> None:
        """Its key can't be taken in time, so the call goes without one."""
        expires_at = clock.time + timedelta(seconds=1)
        row = notify_user(ada, "1", **SOURCE, deduplicate=True, expires_at=expires_at)
        assert row is not None
        clock.advance(seconds=1)
        colleague.begin()
        colleague.run(UserNotification.objects.update, title="Held")
        began = time.monotonic()
        second = notify_user(ada, "Second", **SOURCE, deduplicate=True)
        assert time.monotonic() - began < 0.7
        assert stored(second).dedup_key is None
        colleague.commit()
        assert titles_of(mailbox.read_state(ada.pk)) == ["Second"]

    @pytest.mark.parametrize("level", ["REPEATABLE READ", "SERIALIZABLE"])
    def test_a_duplicate_that_the_host_cannot_see_is_no_error(
        self, ada: User, colleague: Colleague, level: str
    ) -> None:
        """Its snapshot is older than the duplicate."""
        with transaction.atomic():
            _begin_at(level)
            colleague.run(notify_user, ada, "First", **SOURCE, deduplicate=True)
            notify_user(ada, "Second", **SOURCE, deduplicate=True)
            assert User.objects.count() == 1
        assert mailbox.read_state(ada.pk).unread == 1

    @pytest.mark.parametrize("level", ["REPEATABLE READ", "SERIALIZABLE"])
    def test_a_holder_that_the_host_may_not_change_is_no_error(
        self, ada: User, colleague: Colleague, clock: Clock, level: str
    ) -> None:
        """Its isolation level refuses, so the row goes without a key."""
        expires_at = clock.time + timedelta(seconds=1)
        notify_user(ada, "1", **SOURCE, deduplicate=True, expires_at=expires_at)
        clock.advance(seconds=1)
        with transaction.atomic():
            _begin_at(level)
            colleague.run(UserNotification.objects.update, title="Edited")
            row = notify_user(ada, "Second", **SOURCE, deduplicate=True)
            assert User.objects.count() == 1
        assert stored(row).dedup_key is None
        assert titles_of(mailbox.read_state(ada.pk)) == ["Second"]


def _begin_at(level: str) -> None:
    """Take the host's snapshot at its isolation level."""
    with connection.cursor() as cursor:
        cursor.execute(f"SET TRANSACTION ISOLATION LEVEL {level}")
        cursor.execute("SELECT 1 FROM auth_user")


@transactional
class TestDeletions:
    def test_a_tombstone_tells_of_a_deleted_row(
        self, ada: User, sent: list[Changes]
    ) -> None:
        """With the revision of its deletion, and the user's key."""
        row = notify_user(ada, "Title")
        assert row is not None
        pk = row.pk
        row.delete()
        tombstone = Tombstone.objects.get()
        assert tombstone.notification_id == pk
        assert (tombstone.user_id, tombstone.revision) == (ada.pk, 2)
        assert (sent[-1].removed, sent[-1].unread, sent[-1].items) == ([pk], 0, [])

    def test_one_that_was_never_stamped_leaves_none(
        self, ada: User, sent: list[Changes]
    ) -> None:
        """Nobody has heard of it."""
        with transaction.atomic():
            notify_user(ada, "Title")
            UserNotification.objects.all().delete()
        assert not Tombstone.objects.exists()
        assert not sent

    def test_a_rolled_back_deletion_deleted_nothing(
        self, ada: User, sent: list[Changes]
    ) -> None:
        """No tombstone, no revision."""
        notify_user(ada, "Title")
        sent.clear()
        with transaction.atomic():
            UserNotification.objects.all().delete()
            transaction.set_rollback(True)
        assert not Tombstone.objects.exists()
        assert not sent
        assert mailbox.read_state(ada.pk).unread == 1

    def test_what_moves_up_comes_with_the_removal(
        self, ada: User, sent: list[Changes], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As many of the end of the window as were removed."""
        monkeypatch.setattr(queries, "WINDOW", 3)
        for number in range(6):
            notify_user(ada, f"{number}")
        UserNotification.objects.filter(title__in=["5", "4"]).delete()
        assert titles(sent[-1]) == ["2", "1"]
        assert len(sent[-1].removed) == 2


@transactional
class TestWindow:
    """A page that loses k of its newest gets the last k of what is newest then."""

    @pytest.fixture(autouse=True)
    def _window_of_three(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(queries, "WINDOW", 3)

    @pytest.mark.parametrize("pushed", [False, True])
    def test_it_stays_right_when_not_all_removals_are_stamped(
        self, ada: User, sent: list[Changes], *, pushed: bool
    ) -> None:
        """What a host has just deleted is still held, but no longer in the table."""
        rows = [notify_user(ada, f"{number}") for number in range(6)]
        page = Mirror(window=3)
        page.apply(over_the_wire(mailbox.read_state(ada.pk)))
        with dying_after_the_commit():
            UserNotification.objects.filter(title="3").delete()
        assert rows[4] is not None
        _dismiss_and_leave_the_rest(rows[4])
        if pushed:
            page.apply(over_the_wire(sent[-1]))
        else:
            box = revisions.find(ada.pk, timezone.now(), "default")
            frame = mailbox.read_state(ada.pk, **page.position, box=box)
            page.apply(over_the_wire(frame))
        mailbox.look(ada.pk)
        page.apply(over_the_wire(sent[-1]))
        shown = [item["title"] for item in page.shown(timezone.now())]
        assert shown == ["5", "2", "1"]


def _dismiss_and_leave_the_rest(row: UserNotification) -> None:
    """What `change` does when the deletion is committed just after it has looked."""
    with holding.hold([row.user_id], "default") as stamps:
        (held,) = stamps.values()
        row.dismissed_at = held.now
        row.revision = held.box.revision
        Model.save(row)
        held.rows.append(row)


def test_the_broadcaster_is_asked_once_per_stamp(
    transactional_db: None, ada: User, grace: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All changes of a transaction are handed over together."""
    del transactional_db
    batches: list[int] = []
    monkeypatch.setattr(
        CollectingBroadcaster,
        "broadcast",
        lambda _self, changes: batches.append(len(changes)),
    )
    with transaction.atomic():
        notify_user(ada, "Title")
        notify_user(grace, "Title")
    assert batches == [2]


@transactional
@pytest.mark.only("postgres")
def test_one_busy_mailbox_keeps_no_other_waiting(ada: User, grace: User) -> None:
    """The reconciler stamps the others of the chunk, and ada's next time."""
    for user in (ada, grace):
        mailbox.look(user.pk)
        queries.plain("default").bulk_create([UserNotification(user=user, title="One")])
    waiting = queries.plain("default").filter(pending=True)
    with elsewhere(holding.hold([ada.pk], "default")):
        mailbox.stamp_waiting()
        assert [row.user_id for row in waiting] == [ada.pk]
    mailbox.stamp_waiting()
    assert not waiting.all().exists()
