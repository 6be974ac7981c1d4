"""mark_read and withdraw: what becomes of a source's notifications."""

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.db import transaction
from django.utils import timezone

from tests.mirror import Mirror, over_the_wire
from tests.themis.colleague import Colleague, dying_after_the_commit, give_way
from tests.themis.statements import statements, transactions
from themis import mailbox, revisions
from themis.events import Changes
from themis.models import Mailbox, Tombstone, UserNotification
from themis.notifications import (
    amark_read,
    awithdraw,
    mark_read,
    notify_user,
    notify_users,
    withdraw,
)

pytestmark = pytest.mark.django_db(transaction=True)

SOURCE: Any = {"source_app": "tasks", "source_model": "Task", "source_id": "42"}
OTHER: Any = SOURCE | {"source_id": "43"}


class TestMarkRead:
    def test_what_the_bell_shows_of_the_source_is_read(
        self, ada: User, grace: User, sent: list[Changes]
    ) -> None:
        """Of this user and this source; told in the same transaction."""
        notify_users([ada, grace], "One", **SOURCE)
        notify_user(ada, "Two", **SOURCE)
        notify_user(ada, "Another", **OTHER)
        sent.clear()
        with transactions() as begun:
            assert mark_read(ada, **SOURCE) == 2
        assert len(begun) == 1
        (change,) = sent
        assert (change.user_key, change.unread) == (str(ada.pk), 1)
        assert [item.title for item in change.items] == ["Two", "One"]
        times = {row.read_at for row in ada.themis_notifications.filter(**SOURCE)}
        assert len(times) == 1
        assert None not in times
        assert grace.themis_notifications.get().read_at is None
        assert mark_read(ada, **SOURCE) == 0
        assert len(sent) == 1

    def test_a_page_of_which_the_bell_says_nothing_takes_no_lock(
        self, ada: User
    ) -> None:
        """One read, no transaction."""
        notify_user(ada, "Another", **OTHER)
        with statements() as spent, transactions() as begun:
            assert mark_read(ada, **SOURCE) == 0
        assert (len(spent), len(begun)) == (1, 0)

    def test_that_time_is_the_handle_of_its_undo(self, ada: User) -> None:
        notify_user(ada, "One", **SOURCE)
        mark_read(ada, **SOURCE)
        mailbox.change(ada.pk, "unread", at=ada.themis_notifications.get().read_at)
        assert mailbox.count_unread(ada.pk) == 1

    def test_what_is_dismissed_or_expired_stays_as_it_is(self, ada: User) -> None:
        now = timezone.now()
        notify_user(ada, "Dismissed", **SOURCE)
        ada.themis_notifications.update(dismissed_at=now)
        notify_user(ada, "Expired", **SOURCE, expires_at=now)
        assert mark_read(ada, **SOURCE) == 0
        assert not ada.themis_notifications.filter(read_at__isnull=False).exists()

    def test_an_id_may_be_a_number(self, ada: User) -> None:
        notify_user(ada, "One", **SOURCE)
        assert mark_read(ada, **(SOURCE | {"source_id": 42})) == 1

    def test_inside_a_transaction_it_is_told_after_the_commit(
        self, ada: User, sent: list[Changes]
    ) -> None:
        """Also what was notified in the same transaction."""
        notify_user(ada, "One", **SOURCE)
        sent.clear()
        with transaction.atomic():
            notify_user(ada, "Two", **SOURCE)
            assert mark_read(ada, **SOURCE) == 2
            assert not sent
        (change,) = sent
        assert change.unread == 0

    def test_a_new_duplicate_may_follow(self, ada: User) -> None:
        """What is read keeps no key."""
        assert notify_user(ada, "One", **SOURCE, deduplicate=True)
        mark_read(ada, **SOURCE)
        assert notify_user(ada, "One", **SOURCE, deduplicate=True)

    @pytest.mark.only("postgres")
    def test_a_busy_mailbox_is_told_later(
        self, ada: User, colleague: Colleague, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The rows are marked; whoever stamps next tells."""
        monkeypatch.setattr("themis.stamping.STAMP_WAIT_MS", 200)
        notify_user(ada, "One", **SOURCE)
        colleague.begin()
        colleague.run(lambda: Mailbox.objects.filter(pk=ada.pk).update(unread=0))
        assert mark_read(ada, **SOURCE) == 1
        colleague.commit()
        state = mailbox.read_state(ada.pk)
        assert (state.unread, state.items[0].is_read) == (0, True)

    @pytest.mark.parametrize("user", [None, AnonymousUser(), User(username="new")])
    def test_whose_bell_must_be_known(self, user: Any) -> None:
        with pytest.raises(ValueError, match="user must be a saved User"):
            mark_read(user, **SOURCE)


class TestWithdraw:
    def test_it_vanishes_for_everyone(
        self, ada: User, grace: User, sent: list[Changes]
    ) -> None:
        """Whatever state it is in; pages that stand anywhere end up right."""
        notify_users([ada, grace], "Title", **SOURCE)
        notify_user(ada, "Read", **SOURCE)
        ada.themis_notifications.filter(title="Read").update(read_at=timezone.now())
        notify_user(ada, "Another", **OTHER)
        pages = {user: Mirror() for user in (ada, grace)}
        for user, page in pages.items():
            page.apply(over_the_wire(mailbox.read_state(user.pk)))
        sent.clear()
        with transactions() as begun:
            assert withdraw(**SOURCE) == 3
        assert len(begun) == 1
        assert {change.user_key for change in sent} == {str(ada.pk), str(grace.pk)}
        for user, page in pages.items():
            frame = mailbox.read_state(user.pk, **page.position)
            page.apply(over_the_wire(frame))
            fresh = Mirror()
            fresh.apply(over_the_wire(mailbox.read_state(user.pk)))
            now = timezone.now()
            assert page.shown(now) == fresh.shown(now)
        assert not UserNotification.objects.filter(**SOURCE).exists()
        assert withdraw(**SOURCE) == 0

    def test_one_user_is_told_what_takes_its_place(
        self, ada: User, sent: list[Changes]
    ) -> None:
        """The push is whole: no page has to ask."""
        notify_user(ada, "Title", **SOURCE)
        sent.clear()
        withdraw(**SOURCE)
        (change,) = sent
        assert change.whole
        assert len(change.removed) == 1
        assert change.unread == 0

    def test_inside_a_transaction_it_is_told_after_the_commit(
        self, ada: User, sent: list[Changes]
    ) -> None:
        notify_user(ada, "Title", **SOURCE)
        sent.clear()
        with transaction.atomic():
            notify_user(ada, "Never seen", **SOURCE)
            assert withdraw(**SOURCE) == 2
            assert not sent
        (change,) = sent
        assert (len(change.removed), change.unread) == (1, 0)

    def test_what_no_page_has_seen_goes_without_a_word(
        self, ada: User, sent: list[Changes]
    ) -> None:
        """Committed, but not stamped before its process died."""
        with dying_after_the_commit(), transaction.atomic():
            notify_user(ada, "Title", **SOURCE)
        assert withdraw(**SOURCE) == 1
        assert not UserNotification.objects.exists()
        assert not Tombstone.objects.exists()
        assert not sent

    def test_a_rollback_brings_it_back(self, ada: User, sent: list[Changes]) -> None:
        notify_user(ada, "Title", **SOURCE)
        sent.clear()
        with transaction.atomic():
            withdraw(**SOURCE)
            transaction.set_rollback(True)
        assert not sent
        assert not Tombstone.objects.exists()
        assert mailbox.read_state(ada.pk).unread == 1

    def test_many_go_in_chunks(
        self, sent: list[Changes], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Each its own transaction, a constant number of statements, flat memory."""
        monkeypatch.setattr("themis.notifications.USERS_PER_STAMP", 4)
        User.objects.bulk_create(User(username=f"user {n}") for n in range(10))
        notify_users(User.objects.all(), "Title", **SOURCE)
        sent.clear()
        with transactions() as begun, statements() as spent:
            assert withdraw(**SOURCE) == 10
        assert len(begun) == 3
        assert len(spent) == 3 * 6 + 1, spent
        assert len(sent) == 10

    @pytest.mark.only("postgres")
    def test_a_busy_mailbox_is_told_later(
        self, ada: User, colleague: Colleague, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("themis.stamping.STAMP_WAIT_MS", 200)
        notify_user(ada, "One", **SOURCE)
        colleague.begin()
        colleague.run(lambda: Mailbox.objects.filter(pk=ada.pk).update(unread=7))
        assert withdraw(**SOURCE) == 1
        colleague.commit()
        state = mailbox.read_state(ada.pk)
        assert (state.unread, state.items) == (0, [])

    def test_a_deletion_that_is_rolled_back_at_its_end_is_done_again(
        self, ada: User, grace: User, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The commit may still find somebody in the way: SQLite's, a reader."""
        notify_users([ada, grace], "One", **SOURCE)
        with monkeypatch.context() as patch:
            patch.setattr(revisions, "count", give_way)
            assert withdraw(**SOURCE) == 2
        assert not UserNotification.objects.exists()
        assert mailbox.read_state(ada.pk).unread == 0

    async def test_the_twins_do_the_same(self) -> None:
        ada = await User.objects.acreate(username="ada")
        await UserNotification.objects.acreate(user=ada, title="One", **SOURCE)
        assert await amark_read(ada, **SOURCE) == 1
        assert await awithdraw(**SOURCE) == 1


@pytest.mark.parametrize("verb", [withdraw, partial(mark_read, User(pk=1))])
@pytest.mark.parametrize("name", list(SOURCE))
@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ("", "must not be empty"),
        (None, "must not be None"),
        ("x" * 201, "must have at most"),
    ],
)
def test_a_source_is_named_whole(
    verb: Callable[..., int], name: str, bad: Any, message: str
) -> None:
    """An empty field would mean many sources at once."""
    with pytest.raises(ValueError, match=f"{name} {message}"):
        verb(**(SOURCE | {name: bad}))


def test_nobody_has_opened_nothing() -> None:
    """Unlike `notify_user` it takes no None, and says so."""
    nobody: Any = None
    with pytest.raises(ValueError, match="user must be a saved User, not None;"):
        mark_read(nobody, **SOURCE)


def test_what_expires_later_counts_until_then(ada: User) -> None:
    """A source with a notification still to expire."""
    notify_user(ada, "Soon", **SOURCE, expires_at=timezone.now() + timedelta(hours=1))
    assert mark_read(ada, **SOURCE) == 1
