"""notify_users: one text for many, by the rules of each."""

import gc
import logging
import tracemalloc
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import django
import pytest
from django.contrib.auth.models import AnonymousUser, Group, User
from django.db import connection, transaction
from django.db.models import F, Window
from django.db.models.functions import RowNumber
from django.utils import timezone
from pytest_django import Settings

from tests.themis.colleague import Colleague
from tests.themis.conftest import make_user
from tests.themis.statements import statements, transactions
from themis import mailbox, revisions
from themis.events import Changes
from themis.holding import USERS_PER_STAMP
from themis.models import Mailbox, UserNotification, UserProfile
from themis.notifications import anotify_users, notify_user, notify_users

pytestmark = pytest.mark.django_db(transaction=True)

SOURCE: Any = {"source_app": "tasks", "source_model": "Task", "source_id": "42"}


def make_users(number: int) -> list[User]:
    """Made in one statement: without profiles and mailboxes."""
    names = (f"user {n:06}" for n in range(number))
    return User.objects.bulk_create(User(username=name) for name in names)


@pytest.fixture
def team() -> list[User]:
    return [make_user(name) for name in ("ada", "grace", "mary")]


class TestWhom:
    def test_each_of_a_queryset_is_told(self, team: list[User]) -> None:
        """With the text and the source given."""
        told = notify_users(
            User.objects.all(), "Title", "Message", level="danger", url="/x/", **SOURCE
        )
        assert told == 3
        rows = UserNotification.objects.order_by("user_id")
        assert [row.user_id for row in rows] == [user.pk for user in team]
        for row in rows:
            assert (row.title, row.message, row.level) == ("Title", "Message", "danger")
            assert (row.url, row.source_app, row.source_id) == ("/x/", "tasks", "42")

    @pytest.mark.parametrize("kind", [list, tuple, iter, set])
    def test_any_iterable_will_do(self, team: list[User], kind: Any) -> None:
        assert notify_users(kind(team), "Title") == 3

    def test_a_fetched_queryset_means_those_that_were_fetched(
        self, team: list[User]
    ) -> None:
        """What the host has looked at is what it means."""
        fetched = User.objects.all()
        assert len(fetched) == 3
        make_user("late")
        assert notify_users(fetched, "Title") == 3

    @pytest.mark.parametrize("keys", [1, 2, 3, 4, 5, 6])
    def test_whoever_a_join_names_twice_is_told_once(
        self, team: list[User], keys: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A filter over groups repeats rows; nobody means two notifications by it."""
        monkeypatch.setattr("themis.recipients.KEYS_PER_QUERY", keys)
        for name in ("one", "two"):
            group = Group.objects.create(name=name)
            for user in team[:2]:
                user.groups.add(group)
        both = User.objects.filter(groups__name__in=["one", "two"])
        assert both.count() == 4
        assert notify_users(both, "Title") == 2
        assert len(both) == 4, "now it has been fetched"
        assert notify_users(both, "Title") == 2

    def test_a_slice_and_a_union_are_taken_as_they_are(self, team: list[User]) -> None:
        """They can't be filtered further, which is no concern of the host."""
        everybody = User.objects.order_by("username")
        assert notify_users(everybody[1:], "Slice") == 2
        ada = User.objects.filter(username="ada")
        assert notify_users(ada.union(User.objects.filter(username="mary")), "U") == 2
        told = UserNotification.objects.filter(title="Slice")
        assert {row.user.username for row in told} == {"grace", "mary"}

    @pytest.mark.parametrize("keys", [1, 2, 3, 4])
    def test_a_reversed_queryset_names_each_once(
        self, team: list[User], keys: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("themis.notifications.USERS_PER_STAMP", 2)
        monkeypatch.setattr("themis.recipients.KEYS_PER_QUERY", keys)
        assert notify_users(User.objects.order_by("username").reverse(), "Title") == 3
        told = UserNotification.objects.values_list("user", flat=True)
        assert sorted(told) == [user.pk for user in team]

    def test_a_window_is_looked_through_once(
        self, team: list[User], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """With a further filter it would begin anew, and show others."""
        monkeypatch.setattr("themis.notifications.USERS_PER_STAMP", 1)
        numbered = User.objects.annotate(number=Window(RowNumber(), order_by="pk"))
        assert notify_users(numbered.filter(number__lte=2), "Title") == 2

    def test_an_iterable_is_taken_at_its_word(self, ada: User, grace: User) -> None:
        """As a loop over notify_user would."""
        assert notify_users([ada, grace, ada], "Title") == 3
        assert notify_users([ada, grace, ada], "D", deduplicate=True) == 2

    def test_nobody_is_skipped_with_a_warning(
        self, ada: User, caplog: pytest.LogCaptureFixture
    ) -> None:
        """An unassigned task must not end a nightly command."""
        with caplog.at_level(logging.WARNING, "themis"):
            assert notify_users([None, ada, None], "Secret", **SOURCE) == 1
        assert len(caplog.records) == 2
        assert "tasks.Task 42" in caplog.text
        assert "Secret" not in caplog.text

    def test_whoever_was_deleted_meanwhile_is_left_out(
        self, ada: User, grace: User
    ) -> None:
        User.objects.filter(pk=ada.pk).delete()
        assert notify_users([ada, grace], "Title") == 1
        with transaction.atomic():
            assert notify_users([ada, grace], "Title") == 1

    def test_no_users_are_no_error(self) -> None:
        assert notify_users([], "Title") == 0
        assert notify_users(User.objects.none(), "Title") == 0

    async def test_the_twin_does_the_same(self) -> None:
        ada = await User.objects.acreate(username="ada")
        assert await anotify_users([ada], "Title") == 1


class TestRules:
    @pytest.fixture(
        params=[False, True], ids=["alone", "in a transaction"], autouse=True
    )
    def _in_a_transaction(self, request: pytest.FixtureRequest) -> Iterator[None]:
        if request.param == "alone":
            yield
            return
        with transaction.atomic():
            yield

    def test_each_user_has_their_own(self, team: list[User]) -> None:
        """Switched off; only what is urgent; no profile at all."""
        ada, grace, mary = team
        UserProfile.objects.filter(user=ada).update(notifications_enabled=False)
        UserProfile.objects.filter(user=grace).update(notification_min_level="danger")
        UserProfile.objects.filter(user=mary).delete()
        assert notify_users(team, "Title", level="warning") == 1
        assert notify_users(team, "Title", level="danger") == 2
        assert not ada.themis_notifications.exists()
        assert grace.themis_notifications.get().level == "danger"
        assert mary.themis_notifications.count() == 2

    def test_an_open_duplicate_skips_its_user_alone(self, team: list[User]) -> None:
        """However it was made; what is read, dismissed or expired is none."""
        ada, grace, mary = team
        now = timezone.now()
        notify_user(ada, "Other words", **SOURCE)
        notify_user(grace, "Read", **SOURCE, deduplicate=True)
        grace.themis_notifications.update(read_at=now)
        notify_user(
            mary, "Expired", **SOURCE, deduplicate=True, expires_at=now + timedelta(1)
        )
        mary.themis_notifications.update(expires_at=now)
        assert notify_users(team, "Title", **SOURCE, deduplicate=True) == 2
        assert notify_users(team, "Title", **SOURCE, deduplicate=True) == 0
        assert notify_users(team, "Title", **SOURCE) == 3

    def test_without_a_source_the_text_is_compared(self, team: list[User]) -> None:
        assert notify_user(team[0], "Title", "Message")
        assert notify_users(team, "Title", "Message", deduplicate=True) == 2
        assert notify_users(team, "Title", "Another", deduplicate=True) == 3

    def test_what_has_expired_is_stored_and_never_shown(self, team: list[User]) -> None:
        """As with one user."""
        assert notify_users(team, "Title", expires_at=timezone.now()) == 3
        state = mailbox.read_state(team[0].pk)
        assert (state.items, state.unread) == ([], 0)


class TestBadInput:
    @pytest.mark.parametrize(
        ("bad", "message"),
        [
            ({"level": "urgent"}, "level must be one of"),
            ({"title": ""}, "title must not be empty"),
            ({"url": "javascript:alert(1)"}, "url must be"),
            ({"users": None}, "users must be a queryset or another iterable of User"),
            ({"users": 42}, "users must be a queryset or another iterable of User"),
            ({"users": Group.objects.all()}, "not a queryset of Group"),
            ({"users": User.objects.values("groups")}, "not a queryset of values"),
            ({"users": User.objects.values_list("pk")}, "not a queryset of values"),
        ],
    )
    def test_arguments_are_checked_first(
        self, ada: User, bad: dict[str, Any], message: str
    ) -> None:
        with pytest.raises(ValueError, match=message):
            notify_users(**({"users": [ada], "title": "Title"} | bad))
        assert not UserNotification.objects.exists()

    @pytest.mark.parametrize("bad", [AnonymousUser(), User(username="new"), "ada", 1])
    def test_a_bad_element_raises_at_its_chunk(self, ada: User, bad: Any) -> None:
        """What came before stays, nothing of its chunk is written."""
        others = make_users(USERS_PER_STAMP)
        with pytest.raises(ValueError, match="user must be a saved User"):
            notify_users([*others, ada, bad], "Title")
        assert UserNotification.objects.count() == USERS_PER_STAMP
        assert not ada.themis_notifications.exists()


class TestBells:
    def test_each_chunk_rings_on_its_own(
        self, sent: list[Changes], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Committed, and told at once; one transaction for each."""
        monkeypatch.setattr("themis.notifications.USERS_PER_STAMP", 4)
        users = make_users(10)
        revisions.make_missing([user.pk for user in users], "default")
        with transactions() as begun:
            notify_users(User.objects.all(), "Title")
        assert len(begun) == 3, "one for the rows of each chunk"
        told = [int(change.user_key) for change in sent]
        for first in (0, 4, 8):
            # Within a chunk PostgreSQL returns the mailboxes in any order.
            chunk = users[first : first + 4]
            assert sorted(told[first : first + 4]) == [user.pk for user in chunk]
        for change in sent:
            assert (change.since, change.revision, change.unread) == (0, 1, 1)
            assert [item.title for item in change.items] == ["Title"]
            assert change.whole
        assert not UserNotification.objects.filter(pending=True).exists()

    def test_mailboxes_that_are_missing_are_made(self, sent: list[Changes]) -> None:
        """Of a chunk in one go, while none is held."""
        first, *others = make_users(10)
        revisions.make_missing([first.pk], "default")
        with transactions() as begun:
            assert notify_users(User.objects.all(), "Title") == 10
        # For the mailboxes, Django 5.2 begins one where one INSERT needs none.
        made = 1 if django.VERSION < (6, 1) else 0
        assert len(begun) == 2 + made, "one that finds it out, one for the rows"
        assert {change.revision for change in sent} == {1}
        assert len(sent) == 1 + len(others)

    def test_inside_a_transaction_all_ring_after_its_commit(
        self, sent: list[Changes]
    ) -> None:
        make_users(10)
        with transaction.atomic():
            with statements() as spent:
                notify_users(User.objects.all(), "Title")
            assert len(spent) == 2, "the users, the rows"
            assert not sent
            assert UserNotification.objects.filter(pending=True).count() == 10
        assert len(sent) == 10
        assert not UserNotification.objects.filter(pending=True).exists()

    def test_a_rollback_tells_nobody(self, sent: list[Changes]) -> None:
        make_users(10)
        with transaction.atomic():
            notify_users(User.objects.all(), "Title")
            transaction.set_rollback(True)
        assert not sent
        assert not UserNotification.objects.exists()

    # On SQLite, with one writer, all mailboxes are busy, or none.
    @pytest.mark.only("postgres")
    def test_one_busy_mailbox_does_not_keep_the_others(
        self,
        ada: User,
        grace: User,
        sent: list[Changes],
        colleague: Colleague,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """They are told at once, it is told by whoever stamps next."""
        monkeypatch.setattr("themis.stamping.STAMP_WAIT_MS", 200)
        mailbox.look(ada.pk)
        colleague.begin()
        colleague.run(lambda: Mailbox.objects.filter(pk=ada.pk).update(unread=0))
        assert notify_users([ada, grace], "Title") == 2
        assert [change.user_key for change in sent] == [str(grace.pk)]
        colleague.commit()
        mailbox.stamp_waiting()
        assert [change.user_key for change in sent] == [str(grace.pk), str(ada.pk)]


class TestCost:
    @pytest.mark.parametrize("deduplicate", [False, True])
    @pytest.mark.parametrize("open_", [False, True])
    def test_a_chunk_costs_what_a_user_costs(
        self, *, deduplicate: bool, open_: bool
    ) -> None:
        """Statements, whatever the number of users; all they need is there already."""
        make_users(200)
        notify_users(User.objects.all(), "The first makes the mailboxes")
        spent: list[int] = []
        for size in (2, 200):
            users = list(User.objects.order_by("pk")[:size])
            with statements() as found:
                if open_:
                    with transaction.atomic():
                        notify_users(users, f"T{size}", deduplicate=deduplicate)
                else:
                    notify_users(users, f"T{size}", deduplicate=deduplicate)
            spent.append(len(found))
        assert spent[0] == spent[1], spent
        claims = deduplicate * (3 if connection.vendor == "postgresql" else 1)
        if open_:
            # The rows; stamped: lock, rows, revisions, count.
            twins = int(deduplicate)
            assert spent[0] == 5 + claims + twins, spent
        else:
            # Lock, rows, count.
            assert spent[0] == 3 + claims, spent

    @pytest.mark.only("postgres")
    def test_a_mailbox_finds_room_where_it_is(self) -> None:
        """So no index of PostgreSQL is written, and no dead row waits for a vacuum."""
        make_users(500)
        notify_users(User.objects.all(), "The first makes the mailboxes")
        with transaction.atomic():
            before = _mailbox_updates()
            Mailbox.objects.update(revision=F("revision") + 1)
            after = _mailbox_updates()
        assert after[0] - before[0] == 500
        # All but some at the ends of pages; of full pages it would be 68.
        assert after[1] - before[1] > 450

    def test_memory_does_not_grow_with_the_users(self, settings: Settings) -> None:
        """A generator over 2,500 users, told in 10 chunks, whose rows are let go."""
        settings.THEMIS_BROADCASTER = None  # that of these tests keeps what it gets
        make_users(2_500)
        peaks = []
        for last in (750, 2_500):
            users = _tidily(User.objects.order_by("pk")[:last].iterator())
            tracemalloc.start()
            assert notify_users(users, "Title") == last
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
        assert peaks[1] < 1.5 * peaks[0], peaks


def _mailbox_updates() -> tuple[int, int]:
    """How many PostgreSQL has made in this connection lately; of them, in place."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_xact_user_tables"
            " WHERE relname = %s",
            [Mailbox._meta.db_table],
        )
        updates: tuple[int, int] = cursor.fetchone()
    return updates


def _tidily(users: Iterator[User]) -> Iterator[User]:
    """Collect garbage with each chunk, so that the peak is no matter of chance."""
    for number, user in enumerate(users):
        if number % USERS_PER_STAMP == 0:
            gc.collect()
        yield user
