"""What expires is stamped at the second, and the database is asked for nothing else."""

from collections.abc import Callable
from datetime import timedelta
from itertools import chain
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils import timezone
from pytest_django import Settings

from realtime import expiry
from realtime.expiry import expire, stamp_due
from realtime.hub import Hub
from tests.realtime.harness import EPOCH, Box, Connection, make_message
from tests.realtime.test_hub import Pages
from tests.waiting import await_until
from themis import mailbox
from themis.mailbox import Standing
from themis.models import UserNotification
from themis.notifications import anotify_user


def seconds_from_now(seconds: float) -> float:
    return timezone.now().timestamp() + seconds


class Stamper:
    """What stamps for the hub, in a reader's thread, and where mailboxes stand then."""

    def __init__(self) -> None:
        self.asked: list[list[Any]] = []
        self.asked_at: list[float] = []
        self.answers: dict[Any, Standing] = {}
        self.error: Exception | None = None
        self.meanwhile: Callable[[], object] = lambda: None

    def stamp_due(self, users: list[Any]) -> dict[Any, Standing]:
        self.asked.append(users)
        self.asked_at.append(timezone.now().timestamp())
        self.meanwhile()
        if self.error is not None:
            raise self.error
        usual = Standing(EPOCH, 1, None)
        return {
            user: self.answers.get(user, usual)
            for user in users
            if self.answers.get(user, usual) is not None
        }


@pytest.fixture
def stamper(monkeypatch: pytest.MonkeyPatch) -> Stamper:
    stamper = Stamper()
    monkeypatch.setattr(mailbox, "stamp_due", stamper.stamp_due)
    return stamper


@pytest.fixture
async def waiting_hub(idle_hub: Hub) -> Hub:
    """A hub within the process that waits for what falls due."""
    idle_hub.broker.layer = None
    idle_hub.start(expire)
    return idle_hub


class TestWaiting:
    async def test_it_stamps_soon_after_the_moment_and_not_before(
        self, waiting_hub: Hub, stamper: Stamper
    ) -> None:
        pages = Pages(waiting_hub, 1, 2)
        due = seconds_from_now(0.3)
        pages.feed.note_due(due)
        await await_until(lambda: stamper.asked)
        assert stamper.asked == [[1]]
        assert 0 < stamper.asked_at[0] - due < 1

    async def test_an_earlier_time_wakes_it(
        self, waiting_hub: Hub, stamper: Stamper
    ) -> None:
        Pages(waiting_hub, 1, 1).feed.note_due(seconds_from_now(3600))
        # It sleeps by now, for as long as it ever does.
        await await_until(lambda: not waiting_hub.due_earlier.is_set())
        begun = waiting_hub.loop.time()
        Pages(waiting_hub, 2, 1).feed.note_due(seconds_from_now(0.1))
        await await_until(lambda: stamper.asked)
        assert waiting_hub.loop.time() - begun < expiry.LONGEST_SECONDS / 2
        assert stamper.asked == [[2]]

    async def test_nothing_due_asks_the_database_nothing(
        self,
        waiting_hub: Hub,
        stamper: Stamper,
        box: Box,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(expiry, "LONGEST_SECONDS", 0.01)
        looked: list[float] = []
        now = timezone.now

        def look() -> Any:
            looked.append(1)
            return now()

        Pages(waiting_hub, 1, 1).feed.note_due(seconds_from_now(3600))
        monkeypatch.setattr(timezone, "now", look)
        await await_until(lambda: len(looked) > 20)
        assert (stamper.asked, box.reads) == ([], [])

    async def test_what_falls_due_together_is_stamped_together(
        self, waiting_hub: Hub, stamper: Stamper
    ) -> None:
        due = seconds_from_now(0.2)
        for user in range(50):
            Pages(waiting_hub, user, 1).feed.note_due(due)
        await await_until(lambda: stamper.asked)
        assert stamper.asked == [list(range(50))]

    async def test_many_users_are_stamped_in_chunks(
        self, idle_hub: Hub, stamper: Stamper, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(expiry, "USERS_PER_QUERY", 2)
        for user in range(5):
            Pages(idle_hub, user, 1).feed.note_due(seconds_from_now(-1))
        await stamp_due(idle_hub)
        assert stamper.asked == [[0, 1], [2, 3], [4]]

    async def test_a_failure_is_logged_and_tried_again(
        self,
        waiting_hub: Hub,
        stamper: Stamper,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        monkeypatch.setattr(expiry, "RETRY_SECONDS", 0.05)
        stamper.error = ValueError("the database is ill")
        Pages(waiting_hub, 1, 1).feed.note_due(seconds_from_now(-1))
        await await_until(lambda: len(stamper.asked) >= 2)
        stamper.error = None
        asked = len(stamper.asked)
        await await_until(lambda: len(stamper.asked) > asked)
        assert "could not be stamped" in caplog.text


class TestWhatComesNext:
    async def test_it_is_learned_from_the_stamp(
        self, idle_hub: Hub, stamper: Stamper
    ) -> None:
        pages = Pages(idle_hub, 1, 1)
        pages.feed.note_due(seconds_from_now(-1))
        later = timezone.now() + timedelta(hours=1)
        stamper.answers[1] = Standing(EPOCH, 2, later)
        await stamp_due(idle_hub)
        assert pages.feed.due == later.timestamp()

    async def test_what_somebody_else_is_stamping_is_looked_at_again_later(
        self, idle_hub: Hub, stamper: Stamper
    ) -> None:
        pages = Pages(idle_hub, 1, 1)
        pages.feed.note_due(seconds_from_now(-1))
        stamper.answers[1] = Standing(EPOCH, 1, timezone.now())
        before = seconds_from_now(0)
        await stamp_due(idle_hub)
        assert pages.feed.due is not None
        wait = pages.feed.due - before
        assert expiry.RETRY_SECONDS <= wait < expiry.RETRY_SECONDS + 1

    async def test_what_is_pushed_during_the_stamp_is_not_forgotten(
        self, idle_hub: Hub, stamper: Stamper
    ) -> None:
        pages = Pages(idle_hub, 1, 1)
        pages.feed.note_due(seconds_from_now(-1))
        soon = seconds_from_now(10)
        stamper.meanwhile = lambda: pages.feed.note_due(soon)
        stamper.answers[1] = Standing(EPOCH, 1, timezone.now() + timedelta(hours=1))
        await stamp_due(idle_hub)
        assert pages.feed.due == soon

    @pytest.mark.parametrize("due", [2_000_000_000, 2_000_000_000.5])
    async def test_a_push_carries_it(self, idle_hub: Hub, due: float) -> None:
        pages = Pages(idle_hub, 1, 1)
        idle_hub.receive({**make_message(1), "due": due})
        assert (pages.revisions, pages.feed.due) == ([[1]], due)

    @pytest.mark.parametrize("extra", [{}, {"due": None}, {"due": "2030-01-01"}])
    async def test_a_push_of_another_version_is_forwarded_without(
        self, idle_hub: Hub, extra: dict[str, Any]
    ) -> None:
        pages = Pages(idle_hub, 1, 1)
        idle_hub.receive({**make_message(1), **extra})
        assert (pages.revisions, pages.feed.due) == ([[1]], None)

    async def test_users_who_are_gone_are_signed_out(
        self, idle_hub: Hub, stamper: Stamper, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        pages = Pages(idle_hub, 1, 2)
        pages.feed.note_due(seconds_from_now(-1))
        monkeypatch.setattr(mailbox, "stamp_due", lambda _users: {})
        await stamp_due(idle_hub)
        assert [wire.close_code for wire in pages.wires] == [4401, 4401]
        assert pages.feed.due is None

    async def test_users_without_pages_are_left_to_the_reconciler(
        self, idle_hub: Hub, stamper: Stamper
    ) -> None:
        pages = Pages(idle_hub, 1, 1)
        pages.feed.note_due(seconds_from_now(-1))
        idle_hub.remove(pages.sockets[0], pages.feed)
        await stamp_due(idle_hub)
        assert (stamper.asked, pages.feed.due) == ([], None)


@pytest.mark.usefixtures("hubs")
class TestOnADatabase:
    @pytest.fixture
    def ada(self, transactional_db: None) -> User:
        return User.objects.create_user("ada")

    @pytest.fixture(autouse=True)
    def _no_reconciler(self, settings: Settings) -> None:
        settings.THEMIS_REALTIME_CHECK_INTERVAL = 3600

    @pytest.mark.parametrize("before", [True, False])
    async def test_pages_follow_at_the_second_without_a_check(
        self, ada: User, *, before: bool, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Whether the page read of the expiry or was pushed it."""

        async def remind() -> UserNotification:
            soon = timezone.now() + timedelta(seconds=1)
            row = await anotify_user(ada, "a reminder", expires_at=soon)
            assert isinstance(row, UserNotification)
            return row

        row = await remind() if before else None
        async with Connection(ada) as page:
            await page.frames(1)
            row = row or await remind()
            told = 2 if before else 3
            frames = await page.frames(told)
            assert row.expires_at is not None
            late = timezone.now() - row.expires_at
        assert frames[-1]["removed"] == [str(row.pk)]
        assert frames[-1]["unread"] == 0
        assert (
            [frame["revision"] for frame in frames] == [1, 2] if before else [0, 1, 2]
        )
        assert timedelta(0) < late < timedelta(seconds=1)
        assert caplog.records == []

    async def test_one_after_the_other(self, ada: User) -> None:
        async with Connection(ada) as page:
            await page.frames(1)
            numbers = {}
            for number in (3, 1, 2):
                at = timezone.now() + timedelta(seconds=0.5 * number + 1)
                row = await anotify_user(ada, f"number {number}", expires_at=at)
                assert isinstance(row, UserNotification)
                numbers[str(row.pk)] = number
            await page.frames(4)
            await await_until(lambda: page.wire.frames[-1]["unread"] == 0)
            frames = page.wire.frames
        assert [frame["unread"] for frame in frames[:4]] == [0, 1, 2, 3]
        # Each in a frame of its own, where the machine keeps up.
        gone = [
            sorted(numbers[key] for key in frame["removed"]) for frame in frames[4:]
        ]
        assert list(chain.from_iterable(gone)) == [1, 2, 3]

    async def test_an_extended_one_stays_and_goes_later(self, ada: User) -> None:
        async with Connection(ada) as page:
            await page.frames(1)
            soon = timezone.now() + timedelta(seconds=1)
            row = await anotify_user(ada, "a reminder", expires_at=soon)
            assert isinstance(row, UserNotification)
            row.expires_at = soon + timedelta(seconds=1)
            await row.asave()
            frames = await page.frames(4)
            late = timezone.now() - row.expires_at
        assert [len(frame["removed"]) for frame in frames[1:]] == [0, 0, 1]
        assert timedelta(0) < late < timedelta(seconds=1)

    async def test_one_that_comes_back_is_not_new(self, ada: User) -> None:
        async with Connection(ada) as page:
            await page.frames(1)
            soon = timezone.now() + timedelta(seconds=1)
            row = await anotify_user(ada, "a reminder", expires_at=soon)
            assert isinstance(row, UserNotification)
            await page.frames(3)
            row.expires_at = soon + timedelta(hours=1)
            await row.asave()
            frames = await page.frames(4)
        (item,) = frames[3]["items"]
        assert (item["id"], item["created_revision"]) == (str(row.pk), 1)
        assert (frames[3]["removed"], frames[3]["unread"]) == ([], 1)
        # What makes an item new to a page: created after what the page held.
        assert item["created_revision"] <= frames[2]["revision"]
