"""Clean-up: what goes, what stays, and that no page is left with what is gone."""

import subprocess
import sys
import time
import tracemalloc
from collections import Counter
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import connection, models, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pytest_django import Settings

from tests.mirror import Mirror, over_the_wire
from tests.processes import ROOT
from tests.themis.colleague import (
    Colleague,
    dying_after_the_commit,
    give_way,
    somebody_waits,
)
from tests.themis.conftest import Clock, make_user
from tests.themis.population import fill
from tests.waiting import wait_until
from themis import cleaning, mailbox, revisions
from themis.cleaning import KINDS, clean_up
from themis.events import Changes, Snapshot
from themis.models import (
    Mailbox,
    Tombstone,
    UserNotification,
    UserProfile,
    is_open,
)
from themis.notifications import notify_user
from themis.queries import plain, plain_profiles

transactional = pytest.mark.django_db(transaction=True)

NOW = datetime(2030, 1, 1, tzinfo=UTC)
LONG_AGO = NOW - timedelta(days=100)


def age(**fields: Any) -> None:
    """All rows so far were written long ago."""
    plain("default").update(created_at=timezone.now() - timedelta(days=100), **fields)


def titles() -> list[str]:
    return list(plain("default").order_by("pk").values_list("title", flat=True))


def page_of(user: User) -> Mirror:
    """A page that knows all there is now."""
    page = Mirror()
    assert page.apply(over_the_wire(mailbox.read_state(user.pk)))[0] == "applied"
    return page


def ask(page: Mirror, user: User) -> str:
    """Let the page ask for what it missed; what kind of answer it got."""
    frame = over_the_wire(mailbox.read_state(user.pk, **page.position))
    outcome, _news = page.apply(frame)
    assert outcome != "gap"
    fresh = page_of(user)
    assert page.shown(timezone.now()) == fresh.shown(timezone.now())
    assert page.unread == fresh.unread
    return str(frame["type"])


# What is deleted


@dataclass(frozen=True)
class Case:
    """A row, and the number of days that its user keeps things."""

    days_old: float
    read: bool
    dismissed: bool
    expires_in: float | None
    pending: bool
    seen: bool
    user: int

    def fate(self, keeps: int | None, ceiling: int) -> str | None:
        """Why it is deleted, in plain Python."""
        if self.expires_in is not None and self.expires_in <= 0:
            return "expired"
        limit = ceiling if keeps is None else min(keeps, ceiling)
        if self.days_old <= limit:
            return None
        if self.dismissed:
            return "dismissed"
        return "read" if self.read else None

    def row(self, user: User) -> UserNotification:
        moment = NOW - timedelta(days=self.days_old)
        revision = 3 if self.seen else None
        return UserNotification(
            user=user,
            title="Title",
            created_at=moment,
            read_at=NOW if self.read else None,
            dismissed_at=NOW if self.dismissed else None,
            expires_at=None
            if self.expires_in is None
            else NOW + timedelta(days=self.expires_in),
            pending=self.pending,
            created_revision=revision,
            revision=revision,
        )


DAYS = st.sampled_from((0, 1e-9, 0.5, 1, 1 + 1e-9, 6.9, 7, 7.1, 30, 89, 90, 91, 9_000))
CASES = st.builds(
    Case,
    days_old=DAYS,
    read=st.booleans(),
    dismissed=st.booleans(),
    expires_in=st.sampled_from((None, None, None, -1000, -1e-9, 0, 1e-9, 10)),
    pending=st.booleans(),
    seen=st.booleans(),
    user=st.integers(0, 2),
)
KEEPS = st.sampled_from((None, None, 0, 1, 7, 89, 90, 91, 2**31 - 1))


@pytest.mark.django_db
@pytest.mark.parametrize("sizes", [(50_000, 1_000, 250), (3, 2, 1)])
def test_what_goes_is_what_the_rule_says(
    monkeypatch: pytest.MonkeyPatch, sizes: tuple[int, int, int]
) -> None:
    """Clean-up deletes exactly that, a dry run says so before, and then it is done."""
    users = [make_user(name) for name in ("ada", "grace", "alan")]
    names = ("WINDOW", "ROWS_PER_BATCH", "USERS_PER_BATCH")
    for name, size in zip(names, sizes, strict=True):
        monkeypatch.setattr(cleaning, name, size)
    monkeypatch.setattr(timezone, "now", lambda: NOW)

    @hypothesis_settings(
        max_examples=40, deadline=None, suppress_health_check=list(HealthCheck)
    )
    @given(
        cases=st.lists(CASES, max_size=12),
        keeps=st.tuples(KEEPS, KEEPS, KEEPS),
        ceiling=st.sampled_from((1, 7, 90, 10_000, 10**12)),
    )
    def holds(cases: list[Case], keeps: tuple[int | None, ...], ceiling: int) -> None:
        plain("default")._raw_delete(using="default")
        Mailbox.objects.all().delete()
        for user, days in zip(users, keeps, strict=True):
            Mailbox.objects.create(user=user, revision=3)
            profiles = plain_profiles("default").filter(user=user)
            profiles.update(notification_retention_days=days)
        rows = plain("default").bulk_create(
            [case.row(users[case.user]) for case in cases]
        )
        fates = [case.fate(keeps[case.user], ceiling) for case in cases]
        expected = {kind: fates.count(kind) for kind in KINDS}
        survivors = {row.pk for row, fate in zip(rows, fates, strict=True) if not fate}

        before = list(plain("default").values()), list(Mailbox.objects.values())
        assert clean_up(ceiling, dry_run=True) == expected
        assert before == (
            list(plain("default").values()),
            list(Mailbox.objects.values()),
        )
        assert clean_up(ceiling) == expected
        assert set(plain("default").values_list("pk", flat=True)) == survivors
        assert not clean_up(ceiling).total()

    holds()


@transactional
class TestCommand:
    def run(self, *arguments: str, **options: Any) -> str:
        out = StringIO()
        call_command("cleanup_notifications", *arguments, stdout=out, **options)
        return out.getvalue().strip()

    def test_it_says_how_many_of_each(self, ada: User) -> None:
        for _ in range(3):
            notify_user(ada, "Read")
        notify_user(ada, "Dismissed")
        notify_user(ada, "Expired", expires_at=timezone.now() + timedelta(days=1))
        notify_user(ada, "Removed")
        UserNotification.objects.filter(title="Removed").delete()
        stays = notify_user(ada, "Unread")
        now = timezone.now()
        plain("default").filter(title="Read").update(read_at=now)
        plain("default").filter(title="Dismissed").update(dismissed_at=now)
        plain("default").filter(title="Expired").update(expires_at=now)
        age()
        Tombstone.objects.update(created_at=now - timedelta(days=8))
        numbers = "3 read, 1 dismissed and 1 expired notifications, and 1 tombstones."
        assert self.run("--dry-run") == f"Would delete {numbers}"
        assert plain("default").count() == 6
        assert self.run() == f"Deleted {numbers}"
        assert stays is not None
        assert titles() == [stays.title]
        assert not Tombstone.objects.exists()

    def test_the_setting_is_the_ceiling(self, ada: User, settings: Settings) -> None:
        """And the option takes its place."""
        notify_user(ada, "Read")
        age(read_at=timezone.now())
        settings.THEMIS_NOTIFICATION_MAX_AGE_DAYS = 101
        assert "Deleted 0 read" in self.run()
        assert "Would delete 1 read" in self.run("--max-age-days", "99", "--dry-run")
        settings.THEMIS_NOTIFICATION_MAX_AGE_DAYS = 99
        assert "Deleted 1 read" in self.run()

    @pytest.mark.parametrize("number", ["0", "-3", "x", "1.5", ""])
    def test_a_wrong_number_is_told(self, number: str) -> None:
        with pytest.raises(CommandError, match=r"max.age.days"):
            self.run("--max-age-days", number)

    @pytest.mark.parametrize("number", [0, "x", None, -1, float("inf")])
    def test_a_wrong_setting_is_told(self, settings: Settings, number: object) -> None:
        settings.THEMIS_NOTIFICATION_MAX_AGE_DAYS = number
        with pytest.raises(CommandError, match="THEMIS_NOTIFICATION_MAX_AGE_DAYS must"):
            self.run()

    @pytest.mark.parametrize("number", [10**6, 10**10, 10**30])
    def test_a_huge_number_means_for_ever(self, ada: User, number: int) -> None:
        """Longer than calendars reach; what users have chosen counts all the same."""
        notify_user(ada, "Read")
        age(read_at=timezone.now())
        assert "Deleted 0 read" in self.run("--max-age-days", str(number))
        UserProfile.objects.filter(user=ada).update(notification_retention_days=30)
        assert "Deleted 1 read" in self.run("--max-age-days", str(number))


# What pages make of it


@transactional
class TestPages:
    def test_a_page_hears_that_what_it_shows_is_gone(
        self, ada: User, sent: list[Changes]
    ) -> None:
        """A read one is still listed: the page is poked, and loads the state anew."""
        for number in range(25):
            notify_user(ada, f"Title {number}")
        mailbox.change(ada.pk, "read", up_to=24)
        age()
        notify_user(ada, "Young")
        page = page_of(ada)
        sent.clear()
        assert clean_up()["read"] == 24
        (poke,) = sent
        assert not poke.whole
        assert (poke.since, poke.unread) == (page.revision, 2)
        assert poke.revision == page.revision + 1
        assert ask(page, ada) == "snapshot"
        assert len(page.shown(timezone.now())) == 2

    def test_nobody_is_disturbed_for_what_no_page_shows(
        self, ada: User, sent: list[Changes]
    ) -> None:
        """Of what is dismissed, only a page that hasn't heard it needs a snapshot."""
        first = notify_user(ada, "One")
        assert first is not None
        behind = page_of(ada)
        mailbox.change(ada.pk, "dismiss", ids=[first.pk])
        heard = page_of(ada)
        notify_user(ada, "Two")
        age()
        sent.clear()
        assert clean_up()["dismissed"] == 1
        assert sent == []
        assert mailbox.look(ada.pk).revision == 3
        assert Mailbox.objects.get(pk=ada.pk).floor_revision == 2
        frame = mailbox.read_state(ada.pk, **heard.position)
        assert isinstance(frame, Changes)
        assert isinstance(mailbox.read_state(ada.pk, **behind.position), Snapshot)

    def test_an_expiry_that_was_not_told_is_told(
        self, ada: User, clock: Clock, sent: list[Changes]
    ) -> None:
        """The count goes down, and who asks loads anew."""
        notify_user(ada, "Short", expires_at=clock.time + timedelta(hours=1))
        page = page_of(ada)
        assert page.unread == 1
        clock.advance(hours=2)
        sent.clear()
        assert clean_up()["expired"] == 1
        assert [change.unread for change in sent] == [0]
        box = Mailbox.objects.get(pk=ada.pk)
        assert (box.unread, box.next_expiry_at) == (0, None)
        assert ask(page, ada) == "snapshot"

    @pytest.mark.parametrize("field", ["read_at", "dismissed_at"])
    def test_a_change_that_nobody_stamped_is_not_lost(
        self, ada: User, field: str
    ) -> None:
        """The page shows it as unread; the process died that had read it."""
        notify_user(ada, "One")
        page = page_of(ada)
        with dying_after_the_commit():
            UserNotification.objects.update(**{field: timezone.now()})
        age()
        clean_up()
        assert Mailbox.objects.get(pk=ada.pk).unread == 0
        assert ask(page, ada) == "snapshot"
        assert page.unread == 0

    def test_what_no_page_has_seen_goes_without_a_sign(
        self, ada: User, sent: list[Changes]
    ) -> None:
        """Stored as expired, or never stamped: revision and floor stay."""
        notify_user(ada, "Late", expires_at=timezone.now() - timedelta(days=1))
        with dying_after_the_commit(), transaction.atomic():
            notify_user(ada, "Imported")
            UserNotification.objects.filter(title="Imported").update(
                dismissed_at=timezone.now()
            )
        age()
        assert clean_up() == Counter(dismissed=1, expired=1)
        assert sent == []
        box = Mailbox.objects.get(pk=ada.pk)
        assert (box.revision, box.floor_revision) == (0, 0)

    def test_old_tombstones_raise_the_floor(self, ada: User) -> None:
        """Who was away for a week loads the state; who was not hears the rest."""
        for title in ("One", "Two"):
            notify_user(ada, title)
        away = page_of(ada)
        UserNotification.objects.filter(title="One").delete()
        back = page_of(ada)
        Tombstone.objects.update(created_at=timezone.now() - timedelta(days=8))
        UserNotification.objects.filter(title="Two").delete()
        assert clean_up() == Counter(tombstones=1)
        assert Mailbox.objects.get(pk=ada.pk).floor_revision == 3
        assert isinstance(mailbox.read_state(ada.pk, **back.position), Changes)
        assert ask(back, ada) == "changes"
        assert ask(away, ada) == "snapshot"

    def test_deletions_that_nobody_has_heard_of_are_kept(self, ada: User) -> None:
        notify_user(ada, "One")
        with dying_after_the_commit():
            UserNotification.objects.all().delete()
        Tombstone.objects.update(created_at=timezone.now() - timedelta(days=8))
        assert clean_up() == Counter()
        assert Tombstone.objects.count() == 1

    def test_what_deleted_users_left_goes(self, ada: User) -> None:
        notify_user(ada, "One")
        UserNotification.objects.all().delete()
        ada.delete()
        Tombstone.objects.update(created_at=timezone.now() - timedelta(days=8))
        assert clean_up(dry_run=True) == Counter(tombstones=1)
        assert clean_up() == Counter(tombstones=1)
        assert not Tombstone.objects.exists()


STEPS = st.tuples(
    st.sampled_from(
        ("notify", "expiring", "read", "dismiss", "delete", "delete", "wait", "forget")
    ),
    st.sampled_from((0, 0, 1, 2)),  # which row
    st.sampled_from((False, False, True)),  # the process dies before it stamps
    st.sampled_from((False, True, True)),  # somebody opens a page afterwards
)


def write(user: User, clock: Clock, kind: str, pick: int) -> None:
    """One thing that happens to the mailbox of `user`."""
    rows = UserNotification.objects.order_by("-pk")
    row = rows[pick : pick + 1].first()
    if kind == "notify":
        notify_user(user, "Title")
    elif kind == "expiring":
        notify_user(user, "Title", expires_at=clock.time + timedelta(seconds=1))
    elif kind == "wait":
        clock.advance(seconds=2)
    elif kind == "forget":
        clean_up(1)
    elif row is not None and kind == "delete":
        row.delete()
    elif row is not None:
        field = {"read": "read_at", "dismiss": "dismissed_at"}[kind]
        rows.filter(pk=row.pk).update(**{field: clock.now()})


@transactional
def test_pages_that_stand_anywhere_end_alike(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However a mailbox came about, and whatever a page has missed of it."""
    monkeypatch.setattr(cleaning, "TOMBSTONE_DAYS", 0)
    ada = make_user("ada")
    plain_profiles("default").update(notification_retention_days=0)

    @hypothesis_settings(
        max_examples=40, deadline=None, suppress_health_check=list(HealthCheck)
    )
    @given(steps=st.lists(STEPS, min_size=3, max_size=10), late=st.booleans())
    def holds(steps: list[tuple[str, int, bool, bool]], late: bool) -> None:
        for table in (UserNotification, Tombstone, Mailbox):
            models.QuerySet(table)._raw_delete(using="default")
        pages = [page_of(ada)]
        for kind, pick, dies, opens in steps:
            with dying_after_the_commit() if dies else nullcontext():
                write(ada, clock, kind, pick)
            if opens:
                pages.append(page_of(ada))
        if late:
            # What expires now nobody has told.
            clock.advance(seconds=2)
        clean_up(1)
        assert not UserNotification.objects.exclude(is_open(clock.time)).exists()
        for page in pages:
            ask(page, ada)
            assert page.unread == UserNotification.objects.count()

    holds()


# Beside others


@transactional
class TestBesideOthers:
    @pytest.mark.only("postgres")
    def test_what_a_host_is_writing_is_left(
        self, ada: User, grace: User, colleague: Colleague
    ) -> None:
        """Nobody waits for it, and it is not lost: it is unread again afterwards."""
        for user in (ada, grace):
            notify_user(user, "Read")
        age(read_at=timezone.now())
        colleague.begin()
        mine = UserNotification.objects.filter(user=ada)
        colleague.run(mine.update, read_at=None)
        began = time.monotonic()
        assert clean_up()["read"] == 1
        assert time.monotonic() - began < 1
        colleague.commit()
        assert not clean_up()["read"]
        (left,) = plain("default")
        assert (left.user_id, left.read_at) == (ada.pk, None)

    @pytest.mark.only("postgres")
    def test_a_busy_mailbox_does_not_keep_the_others_waiting(
        self,
        ada: User,
        grace: User,
        colleague: Colleague,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        """It is left to the next clean-up, and the log says so."""
        for user in (ada, grace):
            notify_user(user, "Read")
        age(read_at=timezone.now())
        colleague.begin()
        held = Mailbox.objects.filter(pk=ada.pk)
        colleague.run(held.update, unread=models.F("unread"))
        assert clean_up()["read"] == 1
        assert "left to the next clean-up" in caplog.text
        colleague.commit()
        assert clean_up()["read"] == 1
        assert not plain("default").exists()

    @pytest.mark.only("postgres")
    def test_what_is_rolled_back_at_its_end_is_counted_once(
        self, ada: User, grace: User, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for user in (ada, grace):
            notify_user(user, "Read")
        age(expires_at=timezone.now() - timedelta(days=1))
        count = revisions.count

        def give_way_once(*_: object) -> None:
            monkeypatch.setattr(revisions, "count", count)
            give_way()

        monkeypatch.setattr(revisions, "count", give_way_once)
        assert clean_up()["expired"] == 2
        assert not plain("default").exists()

    def test_one_that_becomes_unread_in_time_stays(
        self, ada: User, colleague: Colleague, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Clean-up looks again when it has the lock."""
        notify_user(ada, "Read")
        age(read_at=timezone.now())
        batches = cleaning._batches

        def meanwhile(places: Any) -> Iterator[list[Any]]:
            for batch in batches(places):
                colleague.run(UserNotification.objects.all().update, read_at=None)
                yield batch

        monkeypatch.setattr(cleaning, "_batches", meanwhile)
        assert clean_up() == Counter()
        assert titles() == ["Read"]


ROWS = 12_000


class Cleaner:
    """`manage.py cleanup_notifications` in a process of its own."""

    def __init__(self, database_url: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "manage.py", "cleanup_notifications"],
            cwd=ROOT,
            env={
                "DATABASE_URL": database_url,
                "DJANGO_SETTINGS_MODULE": "server.settings",
                "DJANGO_DEBUG": "1",
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def finish(self) -> int:
        """How many read ones it has deleted."""
        out, error = self.process.communicate(timeout=50)
        assert self.process.returncode == 0, error
        return int(out.split()[1])


@pytest.fixture
def crowd(transactional_db: None) -> list[User]:
    """Forty users with many old read ones each, and a young one."""
    now = timezone.now()
    users = [make_user(f"user{number}") for number in range(40)]
    old = now - timedelta(days=100)
    fill(users, ROWS, created_at=old, read_at=now)
    for user in users:
        notify_user(user, "Unread")
    return users


@transactional
def test_two_at_once_share_the_work(crowd: list[User], test_database_url: str) -> None:
    """Neither fails, nothing is counted twice, and pages are right."""
    pages = [page_of(user) for user in crowd]
    cleaners = [Cleaner(test_database_url) for _ in range(2)]
    assert sum(cleaner.finish() for cleaner in cleaners) == ROWS
    assert titles() == ["Unread"] * len(crowd)
    for user, page in zip(crowd, pages, strict=True):
        assert ask(page, user) == "snapshot"


@pytest.mark.only("postgres")
@transactional
def test_one_that_is_killed_leaves_all_in_order(
    crowd: list[User], colleague: Colleague, test_database_url: str
) -> None:
    """Some batches are done, some not; pages are right, and the next one finishes."""
    pages = [page_of(user) for user in crowd]
    colleague.begin()
    last = Mailbox.objects.filter(pk=crowd[-1].pk)
    colleague.run(last.update, unread=models.F("unread"))
    cleaner = Cleaner(test_database_url)
    # It stands in the last batch, with locks.
    wait_until(somebody_waits, within=30)
    cleaner.process.kill()
    cleaner.process.communicate()
    wait_until(lambda: not somebody_waits())
    colleague.roll_back()
    left = plain("default").filter(title="Title").count()
    assert 0 < left < ROWS
    answers = {ask(page, user) for user, page in zip(crowd, pages, strict=True)}
    assert answers == {"snapshot", "changes"}
    assert clean_up()["read"] == left
    assert titles() == ["Unread"] * len(crowd)
    for user, page in zip(crowd, pages, strict=True):
        ask(page, user)


@transactional
def test_memory_and_statements_are_bounded(
    monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    """Five times the rows take no more memory, and no more statements a batch."""
    # The other one keeps what it is given.
    settings.THEMIS_BROADCASTER = "themis.broadcasters.DummyBroadcaster"
    monkeypatch.setattr(cleaning, "WINDOW", 2_000)
    now = timezone.now()
    old = now - timedelta(days=100)
    users = [make_user(f"user{number}") for number in range(100)]
    # What is imported and prepared only once is not what grows.
    fill(users, 1_000, created_at=old, read_at=now)
    clean_up()
    peaks = []
    for rows in (4_000, 20_000):
        fill(users, rows, created_at=old, read_at=now)
        tracemalloc.start()
        assert clean_up()["read"] == rows
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    small, large = peaks
    # Sixteen thousand more, if they were all held, would be three million bytes.
    assert large - small < 800_000
    statements = []
    for rows in (1_000, 5_000):
        fill(users, rows, created_at=old, read_at=now)
        with CaptureQueriesContext(connection) as captured:
            clean_up()
        statements.append(len(captured))
    one, five = statements
    # BEGIN, the limits on waiting, eight statements, COMMIT.
    assert (five - one) / 4 <= 13
