"""The reconciler: whatever was lost, it finds, and it says how much it was."""

import asyncio
import itertools
import logging
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import OperationalError, models, transaction
from django.utils import timezone
from psycopg.errors import LockNotAvailable
from pytest_django import Settings

from realtime import reconciler
from realtime.expiry import stamp_due
from realtime.hub import Hub, running_hubs
from realtime.readers import DatabaseLostError
from realtime.reconciler import check, interval_of, reconcile
from tests.realtime.harness import (
    EPOCH,
    Box,
    Connection,
    make_message,
)
from tests.realtime.test_hub import Pages
from tests.waiting import await_until
from themis import mailbox
from themis.cleaning import clean_up
from themis.models import Mailbox, UserNotification
from themis.notifications import anotify_user, notify_user

TABLES: tuple[type[models.Model], ...] = (Mailbox, UserNotification)


class Ledger:
    """What the database says of all mailboxes."""

    def __init__(self) -> None:
        self.positions: dict[Any, tuple[str, int]] = {}
        self.expiries: dict[Any, datetime] = {}
        self.asked: list[list[Any]] = []
        self.stamped = 0
        self.error: Exception | None = None
        # What each renewal was asked for.
        self.renewed: list[dict[Any, tuple[str, int]]] = []
        # An answer that has been made up goes on when this is set.
        self.may_return = threading.Event()
        self.may_return.set()

    def read_positions(self, users: list[Any]) -> dict[Any, mailbox.Standing]:
        self.asked.append(users)
        if self.error is not None:
            raise self.error
        standings = {
            user: mailbox.Standing(*self.positions[user], self.expiries.get(user))
            for user in users
            if user in self.positions
        }
        if not self.may_return.wait(10):
            raise TimeoutError
        return standings

    def renew_epochs(self, seen: dict[Any, tuple[str, int]]) -> None:
        self.renewed.append(seen)

    def stamp_waiting(self) -> None:
        self.stamped += 1

    def count_waiting(self) -> int:
        return 0


@pytest.fixture
def ledger(monkeypatch: pytest.MonkeyPatch) -> Ledger:
    ledger = Ledger()
    monkeypatch.setattr(mailbox, "positions", ledger.read_positions)
    monkeypatch.setattr(mailbox, "stamp_waiting", ledger.stamp_waiting)
    monkeypatch.setattr(mailbox, "renew_epochs", ledger.renew_epochs)
    monkeypatch.setattr(mailbox, "count_waiting", ledger.count_waiting)
    return ledger


async def open_pages(hub: Hub, user: object, count: int, revision: int = 0) -> Pages:
    """Pages that have come in as the application lets them."""
    pages = Pages(hub, user, count, revision)
    await hub.broker.join(pages.feed)
    return pages


class TestCheck:
    async def test_pages_that_missed_something_are_told_and_counted(
        self, hub: Hub, box: Box, ledger: Ledger
    ) -> None:
        behind, level = (
            await open_pages(hub, 1, 2, revision=3),
            await open_pages(hub, 2, 1, revision=3),
        )
        ledger.positions = {1: (EPOCH, 5), 2: (EPOCH, 3)}
        box.revision = 5
        await check(hub)
        await await_until(lambda: behind.revisions == [[5], [5]])
        assert level.revisions == [[]]
        assert box.reads == [(1, 3, EPOCH)]
        assert hub.repairs == 1
        assert ledger.asked == [[1, 2]]
        assert ledger.stamped == 1

    async def test_nothing_missed_costs_one_query_and_says_nothing(
        self,
        hub: Hub,
        box: Box,
        ledger: Ledger,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        for user in range(5):
            await open_pages(hub, user, 2, revision=3)
            ledger.positions[user] = (EPOCH, 3)
        await check(hub)
        assert len(ledger.asked) == 1
        assert (box.reads, hub.repairs, caplog.records) == ([], 0, [])

    async def test_another_epoch_is_noticed(
        self, hub: Hub, box: Box, ledger: Ledger
    ) -> None:
        pages = await open_pages(hub, 1, 1, revision=9)
        box.epoch, box.revision = "another", 0
        ledger.positions = {1: ("another", 0)}
        await check(hub)
        await await_until(lambda: pages.revisions == [[0]])

    async def test_what_is_still_on_its_way_is_no_loss(
        self, hub: Hub, box: Box, ledger: Ledger
    ) -> None:
        pages = await open_pages(hub, 1, 1)
        ledger.positions = {1: (EPOCH, 1)}
        checking = asyncio.create_task(check(hub))
        await await_until(lambda: ledger.asked)
        hub.receive(make_message(1))
        await checking
        assert pages.revisions == [[1]]
        assert (box.reads, hub.repairs) == ([], 0)

    async def test_users_without_pages_are_not_asked_about(
        self, hub: Hub, ledger: Ledger
    ) -> None:
        pages = await open_pages(hub, 1, 1)
        hub.remove(pages.sockets[0], pages.feed)
        await check(hub)
        assert ledger.asked == []

    async def test_many_users_are_asked_about_in_chunks(
        self, hub: Hub, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(reconciler, "USERS_PER_QUERY", 2)
        for user in range(5):
            await open_pages(hub, user, 1)
        await check(hub)
        assert [len(users) for users in ledger.asked] == [2, 2, 1]

    async def test_repairs_are_warned_of_where_a_broker_lost_them(
        self,
        hub: Hub,
        box: Box,
        ledger: Ledger,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        pages = await open_pages(hub, 1, 1)
        ledger.positions, box.revision = {1: (EPOCH, 1)}, 1
        await check(hub)
        await await_until(lambda: pages.revisions == [[1]])
        warned = [r for r in caplog.records if r.levelno == logging.WARNING]
        assert ["Repaired" in record.message for record in warned] == [True]

    async def test_when_something_expires_is_learned(
        self, hub: Hub, box: Box, ledger: Ledger
    ) -> None:
        pages = await open_pages(hub, 1, 1)
        ledger.positions = {1: (EPOCH, 0)}
        for day, known in ((9, 9), (7, 7), (8, 7)):
            ledger.expiries[1] = datetime(2030, 1, day, tzinfo=UTC)
            await check(hub)
            # Never later than was known: this may be the older news.
            assert pages.feed.due == datetime(2030, 1, known, tzinfo=UTC).timestamp()
        assert (ledger.stamped, box.reads) == (3, [])

    async def test_pages_of_users_who_are_gone_are_closed(
        self, hub: Hub, box: Box, ledger: Ledger
    ) -> None:
        gone, here = await open_pages(hub, 1, 2), await open_pages(hub, 2, 1)
        ledger.positions = {2: (EPOCH, 0)}
        await check(hub)
        assert [wire.close_code for wire in gone.wires] == [4401, 4401]
        assert here.wires[0].close_code is None
        hub.receive(make_message(1))
        hub.receive(make_message(1, user=2))
        assert (gone.revisions, here.revisions) == ([[], []], [[1]])
        # Nobody is left to be asked about.
        await check(hub)
        assert ledger.asked == [[1, 2], [2]]
        assert hub.repairs == 0


class TestRewind:
    """An older database under pages that are ahead: what they were told is proof."""

    async def test_mailboxes_that_went_back_begin_anew_together(
        self, hub: Hub, box: Box, ledger: Ledger
    ) -> None:
        pages = [await open_pages(hub, user, 2, revision=9) for user in range(3)]
        pages[0].sockets[0].revision = 8
        ledger.positions = {0: (EPOCH, 7), 1: (EPOCH, 8), 2: (EPOCH, 9)}
        box.epoch, box.revision = "another", 7
        await check(hub)
        assert ledger.renewed == [{0: (EPOCH, 9), 1: (EPOCH, 9)}]
        await await_until(lambda: [p.revisions for p in pages[:2]] == 2 * [[[7], [7]]])
        assert pages[2].revisions == [[], []]
        # No push was lost.
        assert hub.repairs == 0

    async def test_what_is_pushed_while_the_database_answers_is_no_proof(
        self, hub: Hub, box: Box, ledger: Ledger
    ) -> None:
        pages = await open_pages(hub, 1, 1, revision=3)
        ledger.positions = {1: (EPOCH, 3)}
        ledger.may_return.clear()
        checking = asyncio.create_task(check(hub))
        await await_until(lambda: ledger.asked)
        hub.receive(make_message(4))
        ledger.may_return.set()
        await checking
        assert (ledger.renewed, box.reads) == ([], [])
        assert pages.revisions == [[4]]

    async def test_a_page_in_an_earlier_epoch_is_no_proof(
        self, hub: Hub, box: Box, ledger: Ledger
    ) -> None:
        """Somebody else has noticed before."""
        pages = await open_pages(hub, 1, 2, revision=9)
        pages.sockets[1].epoch, pages.sockets[1].revision = "another", 2
        box.epoch, box.revision = "another", 2
        ledger.positions = {1: ("another", 2)}
        await check(hub)
        await await_until(lambda: pages.revisions == [[2], []])
        assert ledger.renewed == []

    async def test_a_page_that_is_not_told_yet_is_no_proof(
        self, hub: Hub, ledger: Ledger
    ) -> None:
        pages = await open_pages(hub, 1, 1)
        pages.sockets[0].epoch, pages.sockets[0].revision = "", None
        ledger.positions = {1: (EPOCH, 0)}
        await check(hub)
        assert ledger.renewed == []


class TestOutage:
    """A database that goes away, and comes back as what it was, or is not."""

    @pytest.fixture(autouse=True)
    def _rarely(self, settings: Settings) -> None:
        settings.THEMIS_REALTIME_CHECK_INTERVAL = 3600

    async def test_the_return_of_connections_is_a_reason_to_check_at_once(
        self, hub: Hub, ledger: Ledger
    ) -> None:
        await open_pages(hub, 1, 1)
        ledger.positions = {1: (EPOCH, 0)}
        reconciling = asyncio.create_task(reconcile(hub))
        await hub.read(once_raising(OperationalError("terminated")))
        await await_until(lambda: ledger.asked)
        reconciling.cancel()

    async def test_checks_are_frequent_while_it_is_down(
        self, hub: Hub, settings: Settings
    ) -> None:
        settings.THEMIS_REALTIME_CHECK_INTERVAL = None
        await await_until(lambda: hub.broker.channel)
        with pytest.raises(DatabaseLostError):
            await hub.read(raising, OperationalError("refused"))
        assert interval_of(hub) == 2
        await hub.read(int)
        assert interval_of(hub) == 15

    async def test_it_is_said_once(
        self,
        hub: Hub,
        box: Box,
        ledger: Ledger,
        caplog: pytest.LogCaptureFixture,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        pages = await open_pages(hub, 1, 1)
        ledger.error = box.error = OperationalError("refused")
        monkeypatch.setattr(mailbox, "stamp_due", ledger.read_positions)

        def count_waiting() -> int:
            return len(ledger.read_positions([]))

        monkeypatch.setattr(mailbox, "count_waiting", count_waiting)
        for _time in range(3):
            await check(hub)
            pages.feed.note_due(1.0)
            with pytest.raises(DatabaseLostError):
                await stamp_due(hub)
            pages.feed.catch_up()
        await await_until(lambda: len(box.reads) >= 2)
        ledger.error = box.error = None
        ledger.positions = {1: (EPOCH, 0)}
        await check(hub)
        said = [(record.levelname, record.getMessage()) for record in caplog.records]
        assert said == [
            ("ERROR", "The database does not answer: OperationalError('refused')"),
            ("WARNING", "The database answers again."),
        ]
        assert all(record.exc_info is None for record in caplog.records)

    async def test_contention_is_no_outage(self, hub: Hub) -> None:
        contention = OperationalError("canceling statement due to lock timeout")
        contention.__cause__ = LockNotAvailable()
        with pytest.raises(DatabaseLostError):
            await hub.read(raising, contention)
        assert not hub.is_database_down
        assert not hub.suspicion.is_set()


def raising(error: Exception) -> None:
    raise error


def once_raising(error: Exception) -> Callable[[], None]:
    errors = [error]

    def read() -> None:
        while errors:
            raise errors.pop()

    return read


class TestInterval:
    @pytest.fixture
    async def healthy(self, hub: Hub) -> Hub:
        await await_until(lambda: hub.broker.channel)
        return hub

    async def test_a_broker_that_works_is_checked_rarely(self, healthy: Hub) -> None:
        assert interval_of(healthy) == 15

    async def test_a_setting_decides(self, healthy: Hub, settings: Settings) -> None:
        settings.THEMIS_REALTIME_CHECK_INTERVAL = 7
        assert interval_of(healthy) == 7

    async def test_a_setting_that_is_no_number_decides_nothing(
        self, healthy: Hub, settings: Settings
    ) -> None:
        """The system check tells; a server runs none, and must not lose the check."""
        settings.THEMIS_REALTIME_CHECK_INTERVAL = "15"
        assert interval_of(healthy) == 15

    async def test_without_a_broker_it_is_the_push(self, idle_hub: Hub) -> None:
        idle_hub.broker.layer = None
        assert interval_of(idle_hub) == 2

    async def test_before_there_is_a_channel_it_is_the_push(
        self, idle_hub: Hub
    ) -> None:
        assert interval_of(idle_hub) == 2

    async def test_while_the_broker_fails_it_is_the_push(self, healthy: Hub) -> None:
        healthy.broker.is_failing = True
        assert interval_of(healthy) == 2

    async def test_a_check_that_is_wanted_comes_at_once(
        self, healthy: Hub, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        checked: list[Hub] = []

        async def note(hub: Hub) -> None:
            checked.append(hub)

        monkeypatch.setattr(reconciler, "check", note)
        reconciling = asyncio.create_task(reconcile(healthy))
        for count in (1, 2):
            healthy.suspicion.set()
            await await_until(lambda count=count: len(checked) == count, within=5)
        # One for each wish: the next would come by itself, long after.
        await asyncio.sleep(2 * reconciler.SPREAD_SECONDS[1])
        assert len(checked) == 2
        reconciling.cancel()

    async def test_checks_begin_once_per_interval_however_long_they_take(
        self,
        hub: Hub,
        monkeypatch: pytest.MonkeyPatch,
        settings: Settings,
    ) -> None:
        settings.THEMIS_REALTIME_CHECK_INTERVAL = 0.2
        begun: list[float] = []

        async def slow_check(hub: Hub) -> None:
            begun.append(hub.loop.time())
            await asyncio.sleep(0.1)

        monkeypatch.setattr(reconciler, "check", slow_check)
        reconciling = asyncio.create_task(reconcile(hub))
        await await_until(lambda: len(begun) == 5)
        reconciling.cancel()
        pauses = [after - before for before, after in itertools.pairwise(begun)]
        assert max(pauses) < 0.2 + 0.05
        assert min(pauses) > 0.1

    async def test_a_check_that_fails_is_followed_by_the_next(
        self,
        hub: Hub,
        box: Box,
        ledger: Ledger,
        settings: Settings,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        settings.THEMIS_REALTIME_CHECK_INTERVAL = 0.05
        ledger.error = ValueError("the database is ill")
        pages = await open_pages(hub, 1, 1)
        ledger.positions, box.revision = {1: (EPOCH, 1)}, 1
        reconciling = asyncio.create_task(reconcile(hub))
        await await_until(lambda: len(ledger.asked) >= 3)
        ledger.error = None
        await await_until(lambda: pages.revisions == [[1]])
        reconciling.cancel()
        assert "the next one follows" in caplog.text


def back_up() -> dict[type[models.Model], list[Any]]:
    return {table: list(table._base_manager.all()) for table in TABLES}


def restore(backup: dict[type[models.Model], list[Any]]) -> None:
    with transaction.atomic():
        for table, rows in backup.items():
            models.QuerySet(table)._raw_delete(using="default")
            models.QuerySet(table).bulk_create(rows)


@pytest.mark.usefixtures("hubs")
class TestOnADatabase:
    @pytest.fixture
    def ada(self, transactional_db: None) -> User:
        return User.objects.create_user("ada")

    @pytest.fixture(autouse=True)
    def _quick(self, settings: Settings) -> None:
        settings.THEMIS_REALTIME_CHECK_INTERVAL = 0.1
        # Another process without a broker.
        settings.THEMIS_BROADCASTER = None

    async def test_what_another_process_told_nobody_arrives(self, ada: User) -> None:
        async with Connection(ada) as page:
            await page.frames(1)
            for number in range(3):
                await anotify_user(ada, f"number {number}")
            await await_until(lambda: page.wire.revisions[-1] == 3)
            items = [item["title"] for f in page.wire.frames for item in f["items"]]
        assert sorted(items) == ["number 0", "number 1", "number 2"]
        assert page.wire.revisions == sorted(set(page.wire.revisions))

    async def test_what_a_dead_process_left_unstamped_arrives(self, ada: User) -> None:
        def leave_pending() -> None:
            with transaction.atomic():
                notify_user(ada, "left behind")
                transaction.get_connection().run_on_commit.clear()

        async with Connection(ada) as page:
            await page.frames(1)
            await sync_to_async(leave_pending)()
            frames = await page.frames(2)
        assert [item["title"] for item in frames[1]["items"]] == ["left behind"]

    async def test_what_expires_is_removed_without_any_write(self, ada: User) -> None:
        soon = timezone.now() + timedelta(seconds=0.5)
        row = await anotify_user(ada, "a reminder", expires_at=soon)
        assert isinstance(row, UserNotification)
        async with Connection(ada) as page:
            (snapshot,) = await page.frames(1)
            assert snapshot["unread"] == 1
            frames = await page.frames(2)
        assert frames[1]["removed"] == [str(row.pk)]
        assert frames[1]["unread"] == 0

    async def test_clean_up_is_heard_of(self, ada: User) -> None:
        """What it deletes has no tombstone: the page gets the whole state."""
        row = await anotify_user(ada, "read long ago")
        assert isinstance(row, UserNotification)
        await sync_to_async(mailbox.change)(ada.pk, "read", ids=[row.pk])
        old = UserNotification.objects.all()
        await old.aupdate(created_at=timezone.now() - timedelta(days=365))
        async with Connection(ada) as page:
            await page.frames(1)
            await sync_to_async(clean_up)()
            frames = await page.frames(2)
        assert (frames[1]["type"], frames[1]["items"]) == ("snapshot", [])

    async def test_a_new_epoch_is_heard_of(self, ada: User) -> None:
        """A restored backup: the page loads its state, and nothing in it is new."""
        await anotify_user(ada, "before")
        async with Connection(ada) as page:
            (before,) = await page.frames(1)
            await sync_to_async(call_command)("themis_new_epoch", stdout=StringIO())
            frames = await page.frames(2)
        assert frames[1]["type"] == "snapshot"
        assert frames[1]["epoch"] != before["epoch"]
        assert frames[1]["items"] == before["items"]

    async def test_an_older_database_is_noticed_without_any_question(
        self, ada: User, caplog: pytest.LogCaptureFixture
    ) -> None:
        """No page asks, and nothing is written: the check alone proves it."""
        await anotify_user(ada, "kept")
        async with Connection(ada) as page:
            await page.frames(1)
            backup = await sync_to_async(back_up)()
            await anotify_user(ada, "lost")
            (kept, lost) = await page.frames(2)
            await sync_to_async(restore)(backup)
            frames = await page.frames(3)
        assert frames[2]["type"] == "snapshot"
        assert frames[2]["epoch"] != lost["epoch"]
        assert frames[2]["items"] == kept["items"]
        errors = [r for r in caplog.records if r.levelno == logging.ERROR]
        assert ["went back" in record.getMessage() for record in errors] == [True]

    async def test_repairs_without_a_broker_are_not_warned_of(
        self, ada: User, caplog: pytest.LogCaptureFixture
    ) -> None:
        async with Connection(ada) as page:
            await page.frames(1)
            await anotify_user(ada, "from a shell")
            await page.frames(2)
            (hub,) = running_hubs()
            assert hub.repairs == 1
        assert caplog.records == []
