"""At most one open notification per user and source, whoever claims at the same time.

Real processes on PostgreSQL (and on SQLite, as far as one writer can race).
"""

import asyncio
import os
from collections.abc import Iterator
from contextlib import AsyncExitStack, ExitStack
from datetime import UTC, datetime
from itertools import count
from typing import Any

import pytest

from tests.clients import Page, sign_in
from tests.conftest import MakeDatabase, Serve
from tests.faults.caller import Call, Caller
from tests.mirror import Mirror
from tests.processes import PostgresServer, RedisServer
from tests.waiting import wait_until

# THEMIS_SEED=7 make pytest ARGS=tests/faults: other storms, and those again.
SEED = int(os.environ.get("THEMIS_SEED", "2"))
# The promise: a claim waits no longer than this, in seconds.
LONGEST = 0.5
# A machine that does other things besides may take this many times what is promised.
BUSY = 3
# Outside a transaction a call waits for a busy mailbox, too; what takes longer hangs.
HANGS = 5.0

_sources = (f"source {number}" for number in count())


@pytest.fixture
def source() -> str:
    """What this test alone is about."""
    return next(_sources)


def environment(database_url: str) -> dict[str, str]:
    return {
        **os.environ,
        "DATABASE_URL": database_url,
        # A connection that comes back from a pool is as isolated as it was made once.
        "DATABASE_POOL_SIZE": "0",
        "REDIS_URL": "",
        "DJANGO_SETTINGS_MODULE": "server.settings",
        "DJANGO_DEBUG": "1",
    }


@pytest.fixture(scope="module")
def everyone(
    _postgres_process: PostgresServer, _postgres_template: str
) -> Iterator[list[Caller]]:
    url = _postgres_process.create_database("dedup", template=_postgres_template)
    with ExitStack() as stack:
        yield [stack.enter_context(Caller(environment(url))) for _ in range(4)]


@pytest.fixture
def callers(everyone: list[Caller]) -> Iterator[list[Caller]]:
    """Three processes with no transaction open."""
    yield everyone[:3]
    for caller in everyone:
        caller.roll_back()


@pytest.fixture
def observer(everyone: list[Caller]) -> Caller:
    """A process that looks, as a page does that is loaded."""
    return everyone[3]


def assert_waited_no_longer(*calls: Call) -> None:
    for call in calls:
        assert call.took < BUSY * LONGEST, f"waited {call.took:.3f} s"


class TestClaims:
    def test_the_loser_gets_none(
        self, callers: list[Caller], observer: Caller, source: str
    ) -> None:
        """In whatever way it asks."""
        first, second, _third = callers
        won = first.notify("ada", source)
        assert won.pk
        assert not won.unclaimed
        assert second.notify("ada", source).pk is None
        second.begin()
        assert second.notify("ada", source).pk is None
        assert second.is_usable()
        second.commit()
        assert observer.shown("ada", source) == [won.pk]

    def test_all_at_once(
        self, callers: list[Caller], observer: Caller, source: str
    ) -> None:
        """One wins; nobody hears of an error."""
        answers = [caller.notify_soon("ada", source) for caller in callers]
        calls = [answer() for answer in answers]
        assert [call.pk for call in calls if call.pk] == observer.shown("ada", source)
        assert max(call.took for call in calls) < HANGS

    def test_a_claim_that_is_rolled_back_in_time(
        self, callers: list[Caller], observer: Caller, source: str
    ) -> None:
        """The one that waited for it has the key."""
        first, second, third = callers
        first.begin()
        assert first.notify("ada", source).pk
        waiting = second.notify_soon("ada", source)
        wait_until(observer.waits)
        first.roll_back()
        won = waiting()
        assert won.pk
        assert third.notify("ada", source).pk is None
        assert observer.shown("ada", source) == [won.pk]

    def test_a_claim_that_is_committed_in_time(
        self, callers: list[Caller], observer: Caller, source: str
    ) -> None:
        """The one that waited for it gets None."""
        first, second, _third = callers
        first.begin()
        won = first.notify("ada", source)
        waiting = second.notify_soon("ada", source)
        wait_until(observer.waits)
        first.commit()
        late = waiting()
        assert late.pk is None, (won, late)
        assert observer.shown("ada", source) == [won.pk]

    @pytest.mark.parametrize("ends", ["commit", "roll_back"])
    @pytest.mark.parametrize("within", [False, True])
    def test_a_claim_that_stays_open(
        self,
        callers: list[Caller],
        observer: Caller,
        source: str,
        ends: str,
        *,
        within: bool,
    ) -> None:
        """Others wait half a second at most; of two that are kept, a page sees one."""
        first, second, third = callers
        first.begin()
        held = first.notify("ada", source)
        if within:
            second.begin()
        late = second.notify("ada", source)
        assert_waited_no_longer(late)
        assert late.pk
        assert "timeout" in late.unclaimed
        if within:
            assert second.is_usable()
            second.commit()
        assert observer.shown("ada", source) == [late.pk]
        getattr(first, ends)()
        assert held.pk != late.pk
        assert observer.shown("ada", source) == [late.pk]
        assert observer.stored("ada", source) == [late.pk]
        assert third.notify("ada", source).pk is None

    def test_the_wait_is_half_a_second_at_most(
        self, callers: list[Caller], observer: Caller, source: str
    ) -> None:
        """As it is promised: some of these a busy machine holds up, not all."""
        first, second, _third = callers
        first.begin()
        second.begin()
        took = []
        for number in range(5):
            first.notify("ada", f"{source} {number}")
            took.append(second.notify("ada", f"{source} {number}").took)
        assert min(took) < LONGEST
        # All of them did wait: the other one's transaction was open.
        assert min(took) > LONGEST / 5

    def test_nobody_waits_for_another_ones_wait(
        self, everyone: list[Caller], callers: list[Caller], source: str
    ) -> None:
        """Three calls for one person, of three sources that one transaction holds."""
        first, *others = everyone
        took = []
        for attempt in range(3):
            first.begin()
            for number in range(3):
                first.notify("ada", f"{source} {number} {attempt}")
            answers = [
                other.notify_soon("ada", f"{source} {number} {attempt}")
                for number, other in enumerate(others)
            ]
            took.append(max(answer().took for answer in answers))
            first.roll_back()
        # Not all of these a busy machine holds up.
        assert min(took) < LONGEST

    def test_in_reverse_order(
        self, callers: list[Caller], observer: Caller, source: str
    ) -> None:
        """Two transactions that claim for two people each, neither fails."""
        first, second, _third = callers
        for caller in (first, second):
            caller.begin()
        calls = [first.notify("ada", source), second.notify("grace", source)]
        answers = [
            first.notify_soon("grace", source),
            second.notify_soon("ada", source),
        ]
        calls += [answer() for answer in answers]
        assert_waited_no_longer(*calls)
        for caller in (first, second):
            assert caller.is_usable()
            caller.commit()
        for user in ("ada", "grace"):
            assert len(observer.shown(user, source)) == 1
            assert len(observer.stored(user, source)) == 1

    def test_notify_then_lock_against_lock_then_notify(
        self, callers: list[Caller], observer: Caller, source: str
    ) -> None:
        """A lock of the host's own, and a claim, in reverse: no deadlock."""
        first, second, _third = callers
        task = observer.ask("make_task")
        for caller in (first, second):
            caller.begin()
        assert first.notify("ada", source).pk
        second.lock(task)
        locking = first.lock_soon(task)
        wait_until(observer.waits)
        claimed = second.notify("ada", source)
        assert_waited_no_longer(claimed)
        assert second.is_usable()
        second.commit()
        locking()
        assert first.is_usable()
        first.commit()
        assert len(observer.shown("ada", source)) == 1
        assert len(observer.stored("ada", source)) == 1

    @pytest.mark.parametrize("isolation", ["REPEATABLE_READ", "SERIALIZABLE"])
    @pytest.mark.parametrize("meanwhile", [True, False])
    def test_a_host_that_reads_an_old_snapshot(
        self,
        callers: list[Caller],
        observer: Caller,
        source: str,
        isolation: str,
        *,
        meanwhile: bool,
    ) -> None:
        """It can't see who was first; pages see one all the same."""
        first, second, _third = callers
        first.begin(isolation)
        won = second.notify("ada", source) if meanwhile else None
        late = first.notify("ada", source)
        assert_waited_no_longer(late)
        assert first.is_usable()
        first.commit()
        expected = won.pk if won else late.pk
        assert observer.shown("ada", source) == [expected]
        assert observer.stored("ada", source) == [expected]

    @pytest.mark.parametrize("isolation", ["REPEATABLE_READ", "SERIALIZABLE"])
    def test_a_host_that_holds_a_claim_under_isolation(
        self, callers: list[Caller], observer: Caller, source: str, isolation: str
    ) -> None:
        """A hold-up is a hold-up, whichever of the two is isolated."""
        first, second, _third = callers
        first.begin(isolation)
        assert first.notify("ada", source).pk
        second.begin(isolation)
        late = second.notify("ada", source)
        assert_waited_no_longer(late)
        assert second.is_usable()
        first.commit()
        second.roll_back()
        assert len(observer.shown("ada", source)) == 1
        assert len(observer.stored("ada", source)) == 1


class TestHolders:
    def test_one_that_expires_while_another_claims(
        self, callers: list[Caller], observer: Caller, source: str
    ) -> None:
        """It blocks until then, and from then on no longer; one of two wins."""
        first, second, third = callers
        assert first.notify("ada", source, expires_in=1.0).pk
        assert second.notify("ada", source).pk is None
        wait_until(lambda: observer.stored("ada", source) == [])
        second.begin()
        held = second.notify("ada", source)
        assert held.pk
        assert_waited_no_longer(held)
        waiting = third.notify_soon("ada", source)
        wait_until(observer.waits)
        second.commit()
        # It waited for the expired holder's row; what it saw is as it was before.
        late = waiting()
        assert late.took < HANGS
        assert len(observer.shown("ada", source)) == 1
        assert len(observer.stored("ada", source)) == 1

    def test_one_that_expires_before_it_is_committed(
        self, callers: list[Caller], observer: Caller, source: str
    ) -> None:
        """It was never shown, and is in nobody's way."""
        first, second, third = callers
        first.begin()
        assert first.notify("ada", source, expires_in=0.1).pk
        late = second.notify("ada", source)
        assert late.pk
        assert_waited_no_longer(late)
        first.commit()
        assert observer.shown("ada", source) == [late.pk]
        assert third.notify("ada", source).pk is None

    @pytest.mark.parametrize("verb", ["read", "dismiss"])
    def test_one_that_is_put_away_blocks_nobody(
        self, callers: list[Caller], observer: Caller, source: str, verb: str
    ) -> None:
        """And when it is taken back, both are open, without an error."""
        first, second, third = callers
        old = first.notify("ada", source)
        at = second.change(verb, "ada", ids=[old.pk])
        new = third.notify("ada", source)
        assert new.pk
        assert observer.shown("ada", source) == [new.pk]
        undo = {"read": "unread", "dismiss": "restore"}[verb]
        second.change(undo, "ada", at=at)
        assert observer.shown("ada", source) == [new.pk, old.pk]
        assert third.notify("ada", source).pk is None
        second.change("read", "ada", ids=[new.pk, old.pk])
        assert third.notify("ada", source).pk

    @pytest.mark.parametrize("ends", ["commit", "roll_back"])
    def test_an_undo_while_another_claims(
        self, callers: list[Caller], observer: Caller, source: str, ends: str
    ) -> None:
        """It does not wait for the claim, and nobody hears of an error."""
        first, second, third = callers
        old = first.notify("ada", source)
        at = first.change("read", "ada", ids=[old.pk])
        second.begin()
        new = second.notify("ada", source)
        assert new.pk
        first.change("unread", "ada", at=at)
        assert observer.shown("ada", source) == [old.pk]
        getattr(second, ends)()
        assert old.pk in observer.shown("ada", source)
        assert third.notify("ada", source).pk is None

    def test_one_that_is_being_put_away(
        self, callers: list[Caller], observer: Caller, source: str
    ) -> None:
        """Until that is committed it is open; the claim is a duplicate."""
        first, second, third = callers
        old = first.notify("ada", source)
        first.begin()
        first.change("read", "ada", ids=[old.pk])
        call = second.notify("ada", source)
        assert call.took < HANGS
        first.commit()
        again = third.notify("ada", source)
        assert bool(call.pk) is not bool(again.pk)
        assert len(observer.shown("ada", source)) == 1


class TestMany:
    def test_notify_users_against_notify_user(
        self, callers: list[Caller], observer: Caller, source: str
    ) -> None:
        """A claim of one that stays open does not undo those of the others."""
        first, second, third = callers
        first.begin()
        held = first.notify("ada", source)
        assert held.pk
        took, told = second.notify_all(["ada", "grace"], source)
        assert took < BUSY * LONGEST
        assert told == 2
        first.commit()
        for user in ("ada", "grace"):
            assert len(observer.shown(user, source)) == 1
            assert len(observer.stored(user, source)) == 1
            assert third.notify(user, source).pk is None

    def test_in_reverse_order(
        self, callers: list[Caller], observer: Caller, source: str
    ) -> None:
        """Two calls for the same people, the other way round, in transactions."""
        first, second, _third = callers
        for caller, users in ((first, ["ada", "grace"]), (second, ["grace", "ada"])):
            caller.begin()
            took, _told = caller.notify_all(users, source)
            assert took < BUSY * LONGEST
            assert caller.is_usable()
        for caller in (first, second):
            caller.commit()
        for user in ("ada", "grace"):
            assert len(observer.shown(user, source)) == 1
            assert len(observer.stored(user, source)) == 1

    def test_those_who_have_one_are_left_out(
        self, callers: list[Caller], observer: Caller, source: str
    ) -> None:
        first, second, _third = callers
        won = first.notify("ada", source)
        _took, told = second.notify_all(["ada", "grace"], source)
        assert told == 1
        assert observer.shown("ada", source) == [won.pk]
        assert len(observer.shown("grace", source)) == 1


# Storms

USERS = ["ada", "grace"]
SOURCES = ["one", "two", "three"]


@pytest.mark.timeout(180)
async def test_a_storm_on_postgres(
    redis_server: RedisServer, make_database: MakeDatabase, serve: Serve
) -> None:
    """Whatever four processes do at once, no page ever shows two."""
    server = serve(make_database("postgres"), redis_url=redis_server.url)
    async with AsyncExitStack() as stack:
        pages = [
            await stack.enter_async_context(Page(server, sign_in(server, user)))
            for user in USERS
        ]
        took = await asyncio.to_thread(_let_it_storm, server.environment(), 4)
        for page in pages:
            await page.rings("the end", within=60)
        assert max(took) < HANGS, f"seed {SEED}"
        print(f"{len(took)} calls, the longest {max(took):.3f} s")  # noqa: T201
        for page in pages:
            assert_never_two(page.state_frames)


@pytest.mark.timeout(180)
def test_a_storm_on_sqlite(make_database: MakeDatabase) -> None:
    """One writer at a time leaves less to go wrong."""
    _let_it_storm(environment(make_database("sqlite")), 2)


def _let_it_storm(env: dict[str, str], processes: int) -> list[float]:
    """Let them storm, and judge by the table; the seconds that calls took."""
    with ExitStack() as stack:
        callers = [stack.enter_context(Caller(env)) for _ in range(processes)]
        took: list[float] = []
        for episode in range(3):
            answers = [
                caller.start(
                    "storm",
                    seed=1000 * SEED + 10 * episode + number,
                    count=20,
                    users=USERS,
                    sources=SOURCES,
                )
                for number, caller in enumerate(callers)
            ]
            for answer in answers:
                took += answer()
            # What expires between a question and the next would be judged wrongly.
            wait_until(lambda: callers[0].ask("expiring") == 0)
            for user in USERS:
                for source in SOURCES:
                    judge(callers[0], user, source)
        for user in USERS:
            callers[0].ask("notify", user=user, source="the end", deduplicate=False)
    return took


def judge(caller: Caller, user: str, source: str) -> None:
    """When all is quiet there is one open, or none and room for one."""
    shown = caller.shown(user, source)
    assert len(shown) <= 1, f"seed {SEED}: {user} has {shown} of {source}"
    assert caller.stored(user, source) == shown, f"seed {SEED}"
    call = caller.notify(user, source)
    assert (call.pk is None) is bool(shown), f"seed {SEED}"
    assert len(caller.shown(user, source)) == 1, f"seed {SEED}"


def assert_never_two(frames: list[dict[str, Any]]) -> None:
    """Show the frames to a page; of no source it holds two that are open."""
    page = Mirror()
    now = datetime.min.replace(tzinfo=UTC)
    for frame in frames:
        page.apply(frame)
        # Of two calls at once the later to be stamped may have begun first.
        now = max(now, datetime.fromisoformat(frame["now"]))
        unread = [
            item["source"]["id"] for item in page.shown(now) if item["read_at"] is None
        ]
        assert len(unread) == len({*unread}), frame


def test_the_judge_sees_two() -> None:
    """What it is there for."""
    with pytest.raises(AssertionError):
        assert_never_two([_two_of_one(second=0)])


def test_the_judge_looks_at_no_past() -> None:
    """A frame that was made sooner may come later, with its time."""
    page = [_two_of_one(second=1), _two_of_one(second=0)]

    assert_never_two(page)

    with pytest.raises(AssertionError):
        assert_never_two(page[::-1])


def _two_of_one(second: int) -> dict[str, Any]:
    """A frame with two of the same source, of which one expires after a second."""
    item = {
        "id": "1",
        "title": "T",
        "source": {"id": "one"},
        "created_revision": 1,
        "read_at": None,
        "expires_at": "2030-01-01T00:00:01Z",
    }
    return {
        "type": "snapshot",
        "epoch": "e",
        "revision": 2,
        "unread": 2,
        "desktop": False,
        "now": f"2030-01-01T00:00:0{second}Z",
        "items": [item, {**item, "id": "2", "created_revision": 2, "expires_at": None}],
    }
