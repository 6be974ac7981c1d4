"""The socket's application: who gets in, what comes first, and how it ends."""

import asyncio
import json
import logging
import threading
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from channels.routing import URLRouter
from channels.testing import WebsocketCommunicator
from django.contrib.auth.models import AnonymousUser, User
from django.core.exceptions import ObjectDoesNotExist
from django.db import transaction
from pytest_django import Settings

from realtime import broker as broker_module
from realtime import hub as hub_module
from realtime import metrics, sessions
from realtime.groups import EVERY_HUB, group_of
from realtime.hub import running_hubs
from realtime.protocol import MAX_FRAME_BYTES
from realtime.readers import READERS
from realtime.routing import websocket_urlpatterns
from realtime.sessions import Login
from tests.realtime.harness import (
    EPOCH,
    Box,
    Connection,
    FakeLayer,
    account,
    make_message,
)
from tests.waiting import await_until
from themis.models import Mailbox
from themis.notifications import anotify_user, notify_user
from themis.owners import owner_of

pytestmark = pytest.mark.usefixtures("hubs")


@pytest.fixture(autouse=True)
def _no_reconciler(settings: Settings) -> None:
    """What these tests see came by itself, not by a check."""
    settings.THEMIS_REALTIME_CHECK_INTERVAL = 3600


@pytest.fixture
def ada(transactional_db: None) -> User:
    return User.objects.create_user("ada")


@pytest.fixture
def grace(transactional_db: None) -> User:
    return User.objects.create_user("grace")


@pytest.fixture
def on_fake_layer(layer: FakeLayer, monkeypatch: pytest.MonkeyPatch) -> FakeLayer:
    """The application's hub is on a layer that reaches other processes."""
    monkeypatch.setattr(broker_module, "get_channel_layer", lambda _alias: layer)
    return layer


def titles(frame: dict[str, Any]) -> list[str]:
    return [item["title"] for item in frame["items"]]


class TestFirstFrame:
    async def test_a_page_that_holds_nothing_gets_a_snapshot(self, ada: User) -> None:
        for number in range(25):
            await anotify_user(ada, f"number {number}")
        async with Connection(ada) as page:
            (frame,) = await page.frames(1)
        assert page.wire.messages[0] == {"type": "websocket.accept"}
        assert (frame["type"], frame["v"]) == ("snapshot", 1)
        assert (frame["revision"], frame["unread"]) == (25, 25)
        assert titles(frame) == [f"number {number}" for number in range(24, 4, -1)]

    async def test_a_new_user_gets_an_empty_one(self, ada: User) -> None:
        async with Connection(ada) as page:
            (frame,) = await page.frames(1)
        assert (frame["type"], frame["revision"], frame["items"]) == ("snapshot", 0, [])

    async def test_a_page_that_comes_back_gets_what_it_missed(self, ada: User) -> None:
        await anotify_user(ada, "held")
        async with Connection(ada) as page:
            (held,) = await page.frames(1)
        await anotify_user(ada, "missed")
        position = {"since": held["revision"], "epoch": held["epoch"]}
        async with Connection(ada, query=position) as page:
            (frame,) = await page.frames(1)
        assert (frame["type"], frame["since"], frame["revision"]) == ("changes", 1, 2)
        assert titles(frame) == ["missed"]

    async def test_a_page_that_missed_nothing_is_told_so(self, ada: User) -> None:
        await anotify_user(ada, "held")
        box = await Mailbox.objects.aget(user=ada)
        async with Connection(ada, query={"since": 1, "epoch": box.epoch}) as page:
            (frame,) = await page.frames(1)
        assert (frame["type"], frame["since"], frame["revision"]) == ("changes", 1, 1)
        assert (frame["items"], frame["removed"]) == ([], [])

    @pytest.mark.parametrize(
        "query", ["since=1", "epoch=an+epoch", "since=&epoch=an+epoch"]
    )
    async def test_one_without_the_other_gets_a_snapshot(
        self, ada: User, query: str
    ) -> None:
        """As over HTTP: never a partial answer to half a position."""
        await anotify_user(ada, "one")
        async with Connection(ada, query=query) as page:
            (frame,) = await page.frames(1)
        assert (frame["type"], frame["revision"]) == ("snapshot", 1)

    @pytest.mark.parametrize("epoch", ["another", "\0", "é\ud800"])
    async def test_a_page_of_another_epoch_gets_a_snapshot(
        self, ada: User, epoch: str
    ) -> None:
        await anotify_user(ada, "one")
        query = b"since=1&epoch=" + epoch.encode("utf-8", "surrogatepass")
        async with Connection(ada, query_string=query) as page:
            (frame,) = await page.frames(1)
        assert frame["type"] == "snapshot"

    async def test_a_page_from_the_future_proves_a_rewind(
        self, ada: User, caplog: pytest.LogCaptureFixture
    ) -> None:
        await anotify_user(ada, "one")
        box = await Mailbox.objects.aget(user=ada)
        async with Connection(ada, query={"since": 9, "epoch": box.epoch}) as page:
            (frame,) = await page.frames(1)
        assert frame["type"] == "snapshot"
        assert frame["epoch"] != box.epoch
        errors = [r for r in caplog.records if r.levelno >= logging.ERROR]
        assert "went back" in errors[0].message

    async def test_what_nobody_has_stamped_is_in_it(self, ada: User) -> None:
        """A process died between commit and stamp: the handshake stamps."""

        def leave_pending() -> None:
            with transaction.atomic():
                notify_user(ada, "left behind")
                transaction.get_connection().run_on_commit.clear()

        await sync_to_async(leave_pending)()
        async with Connection(ada) as page:
            (frame,) = await page.frames(1)
        assert titles(frame) == ["left behind"]


class TestPush:
    async def test_what_is_committed_comes_to_every_page_of_the_user_alone(
        self, ada: User, grace: User
    ) -> None:
        one, other, stranger = Connection(ada), Connection(ada), Connection(grace)
        async with one, other, stranger:
            for page in (one, other, stranger):
                await page.frames(1)
            for number in range(5):
                await anotify_user(ada, f"number {number}")
            for page in (one, other):
                pushed = (await page.frames(6))[1:]
                assert [titles(frame)[0] for frame in pushed] == [
                    f"number {number}" for number in range(5)
                ]
                assert page.wire.revisions == [0, 1, 2, 3, 4, 5]
            assert stranger.wire.revisions == [0]
        assert one.wire.texts[1:] == other.wire.texts[1:]

    async def test_a_rollback_pushes_nothing(self, ada: User) -> None:
        def roll_back() -> None:
            with transaction.atomic():
                notify_user(ada, "undone")
                transaction.set_rollback(True)

        async with Connection(ada) as page:
            await page.frames(1)
            await sync_to_async(roll_back)()
            await anotify_user(ada, "done")
            frames = await page.frames(2)
        assert [titles(frame) for frame in frames] == [[], ["done"]]
        assert frames[1]["revision"] == 1

    async def test_a_push_is_forwarded_without_a_query(
        self, ada: User, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async with Connection(ada) as one, Connection(ada) as other:
            for page in (one, other):
                await page.frames(1)
            (hub,) = running_hubs()

            async def refuse(*_: Any, **__: Any) -> None:
                raise AssertionError

            monkeypatch.setattr(hub, "read", refuse)
            for _number in range(3):
                await anotify_user(ada, "pushed")
            for page in (one, other):
                await page.frames(4)
        assert one.wire.revisions == [0, 1, 2, 3]

    async def test_too_much_for_a_push_is_read_by_the_hub(self, ada: User) -> None:
        async with Connection(ada) as page:
            await page.frames(1)
            # Over 32 KiB in UTF-8, though not in characters.
            rows = [("𝄞" * 200, "𝄞" * 4000)] * 3

            def notify_all() -> None:
                with transaction.atomic():
                    for title, message in rows:
                        notify_user(ada, title, message)

            await sync_to_async(notify_all)()
            frames = await page.frames(2)
        assert (frames[1]["since"], frames[1]["revision"]) == (0, 1)
        assert len(frames[1]["items"]) == 3

    async def test_more_than_a_hundred_at_once_come_as_a_snapshot(
        self, ada: User
    ) -> None:
        def notify_all() -> None:
            with transaction.atomic():
                for number in range(101):
                    notify_user(ada, f"number {number}")

        async with Connection(ada) as page:
            await page.frames(1)
            await sync_to_async(notify_all)()
            frames = await page.frames(2)
        assert (frames[1]["type"], frames[1]["unread"]) == ("snapshot", 101)


class TestOrderOfJoiningAndReading:
    """What is stamped between the two is pushed, held and sent; never lost."""

    @pytest.mark.parametrize("first_of_the_process", [True, False])
    async def test_what_is_written_in_between_is_not_lost(
        self, on_fake_layer: FakeLayer, box: Box, *, first_of_the_process: bool
    ) -> None:
        if not first_of_the_process:
            async with Connection(account(2)) as earlier:
                await earlier.frames(1)
            box.reads.clear()
        box.revision = 5
        box.may_return.clear()
        async with Connection(account(1)) as page:
            await await_until(lambda: box.reads)
            # The read has seen revision 5. Now 6 is committed and pushed.
            await on_fake_layer.group_send(group_of("1"), make_message(6))
            box.may_return.set()
            await await_until(lambda: page.wire.revisions == [5, 6])

    async def test_the_first_page_of_a_process_waits_for_the_channel(
        self, on_fake_layer: FakeLayer, box: Box
    ) -> None:
        on_fake_layer.gates["new_channel"].clear()
        async with Connection(account(1)) as page:
            await await_until(lambda: on_fake_layer.calls)
            assert box.reads == []
            on_fake_layer.gates["new_channel"].set()
            await page.frames(1)
            assert on_fake_layer.groups == {EVERY_HUB, group_of("1")}


class TestRefusals:
    @pytest.mark.parametrize("user", [None, AnonymousUser()])
    async def test_nobody_is_signed_in(self, user: Any) -> None:
        page = Connection(user)
        page.start()
        assert await page.close_code() == 4401
        assert page.wire.texts == []

    async def test_the_page_was_made_for_somebody_else(self) -> None:
        for named in (owner_of(2), "x", "%C3%A9"):
            page = Connection(account(), query=f"for={named}")
            page.start()
            assert await page.close_code() == 4401
            assert page.wire.texts == []

    async def test_the_page_was_made_for_the_same_person(self, box: Box) -> None:
        async with Connection(account(), query=f"for={owner_of(1)}") as page:
            await page.frames(1)

    @pytest.mark.parametrize(
        "origin",
        [None, "null", "https://testserver", "http://testserver:81", "http://x.test"],
    )
    async def test_the_page_is_of_another_site(self, origin: str | None) -> None:
        page = Connection(account(), origin=origin)
        page.start()
        assert await page.close_code() == 4403
        assert page.wire.texts == []
        assert running_hubs() == []

    async def test_another_site_does_not_learn_who_is_signed_in(self) -> None:
        codes = []
        for user in (account(), AnonymousUser()):
            page = Connection(user, origin="http://evil.example")
            page.start()
            codes.append(await page.close_code())
        assert codes == [4403, 4403]

    @pytest.mark.parametrize(
        "query",
        [
            "since=-1",
            "since=-1&epoch=e",
            "since=1.0&epoch=e",
            "since=1e3&epoch=e",
            "since=1_000&epoch=e",
            "since=+1&epoch=e",
            "since=%D9%A1&epoch=e",
            f"since={2**63}&epoch=e",
            f"since={'9' * 5000}&epoch=e",
            f"since=1&epoch={'e' * 65}",
            "since=null&epoch=null",
        ],
    )
    async def test_a_position_that_is_none(self, query: str) -> None:
        page = Connection(account(), query=query)
        page.start()
        assert await page.close_code() == 4400
        (error,) = page.wire.frames
        assert error["type"] == "error"
        assert error["detail"]
        assert not any(hub.feeds for hub in running_hubs())

    @pytest.mark.parametrize("query", ["", "since=&epoch=", "other=1"])
    async def test_no_position_at_all_is_fine(self, box: Box, query: str) -> None:
        async with Connection(account(), query=query) as page:
            await page.frames(1)
        assert box.reads == [(1, None, None)]

    async def test_a_position_is_asked_with(self, box: Box) -> None:
        query = f"since={2**63 - 1}&epoch={'e' * 64}"
        async with Connection(account(), query=query) as page:
            await page.frames(1)
        assert box.reads == [(1, 2**63 - 1, "e" * 64)]

    @pytest.mark.parametrize(
        "frame",
        [
            "not JSON",
            "[]",
            {"type": "notify"},
            {"type": "pong"},
            {"type": "sync", "since": -1},
            {"type": "ack"},
            '{"type": "ping"}'.ljust(MAX_FRAME_BYTES + 1),
            b'{"type": "ping"}',
            b"",
        ],
        ids=repr,
    )
    async def test_what_the_protocol_does_not_know_ends_it(
        self, box: Box, frame: dict[str, Any] | str | bytes
    ) -> None:
        neighbour = Connection(account())
        async with neighbour:
            await neighbour.frames(1)
            page = Connection(account())
            page.start()
            await page.frames(1)
            page.say(frame)
            assert await page.close_code() == 4400
            state, error = page.wire.frames
            assert error["type"] == "error"
            assert error["detail"]
            (hub,) = running_hubs()
            assert len(hub.feeds["1"].sockets) == 1
            hub.receive(make_message(1))
            assert neighbour.wire.revisions == [0, 1]
            assert page.wire.revisions == [state["revision"]]

    async def test_a_refusal_leaves_even_where_the_server_makes_it_wait(
        self,
    ) -> None:
        """Some servers drop what an application that has ended has not sent."""
        page = Connection(account(), query="since=x")
        page.wire.yields = True
        page.start()
        assert await page.close_code() == 4400
        assert [frame["type"] for frame in page.wire.frames] == ["error"]


class TestConversation:
    async def test_a_ping_is_answered_with_what_the_page_was_told(
        self, box: Box
    ) -> None:
        box.revision = 3
        async with Connection(account()) as page:
            await page.frames(1)
            page.say({"type": "ping"})
            frames = await page.frames(2)
        assert frames[1] == {"type": "pong", "epoch": EPOCH, "revision": 3}

    async def test_an_ack_is_taken_without_a_word(self, box: Box) -> None:
        async with Connection(account()) as page:
            await page.frames(1)
            page.say({"type": "ack", "revision": 0})
            page.say({"type": "ack", "revision": 10**12})
            page.say({"type": "ping"})
            frames = await page.frames(2)
        assert [frame["type"] for frame in frames] == ["snapshot", "pong"]

    async def test_a_sync_brings_what_the_page_says_it_lacks(self, ada: User) -> None:
        for number in range(3):
            await anotify_user(ada, f"number {number}")
        async with Connection(ada) as page:
            (snapshot,) = await page.frames(1)
            page.say({"type": "sync", "since": 1, "epoch": snapshot["epoch"]})
            frame = (await page.frames(2))[1]
            assert (frame["type"], frame["since"]) == ("changes", 1)
            assert titles(frame) == ["number 2", "number 1"]
            page.say({"type": "sync"})
            page.say({"type": "sync", "since": 1, "epoch": "another"})
            frames = await page.frames(4)
            assert [frame["type"] for frame in frames[2:]] == ["snapshot"] * 2
            await anotify_user(ada, "after that")
            assert titles((await page.frames(5))[4]) == ["after that"]

    async def test_a_page_that_goes_while_its_state_is_read_leaves_nothing(
        self, box: Box
    ) -> None:
        box.may_return.clear()
        page = Connection(account())
        page.start()
        await await_until(lambda: box.reads)
        leaving = asyncio.create_task(page.leave())
        box.may_return.set()
        await leaving
        (hub,) = running_hubs()
        assert hub.feeds["1"].sockets == []
        assert not any(hub._beats)

    async def test_who_gives_up_before_being_identified_is_not_waited_for(
        self, ada: User, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Else a crowd that has given up keeps the next one waiting until that does."""
        go_on = threading.Event()
        asked: list[str] = []

        def authenticate(key: str) -> Login:
            asked.append(key)
            assert go_on.wait(10)
            return Login(ada.pk, key)

        monkeypatch.setattr(sessions, "authenticate", authenticate)
        before = dict(metrics.HANDSHAKES.values)
        crowd = [Connection(cookie=f"sessionid={number}") for number in range(50)]
        for page in crowd:
            page.start()
        await await_until(lambda: len(asked) == READERS)
        late = crowd.pop()
        late.say({"type": "ping"})
        leaving = [asyncio.create_task(page.leave()) for page in crowd]
        await await_until(lambda: sum(one.done() for one in leaving) > READERS)
        go_on.set()
        await asyncio.gather(*leaving)
        # What was said before is not lost.
        (_snapshot, pong) = await late.frames(2)
        assert pong["type"] == "pong"
        await late.leave()
        assert len(asked) == READERS + 1
        counts = metrics.HANDSHAKES.values
        assert counts["gone"] - before["gone"] == len(crowd)
        assert counts["accepted"] - before["accepted"] == 1

    async def test_of_a_crowd_those_who_are_in_are_served_first(
        self, box: Box, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Else all get their state when the last is identified, which is too late."""
        go_on = threading.Event()
        served: list[int] = []

        def authenticate(key: str) -> Login:
            assert go_on.wait(10)
            served.append(len(box.reads))
            return Login(int(key), key)

        monkeypatch.setattr(sessions, "authenticate", authenticate)
        crowd = [Connection(cookie=f"sessionid={number}") for number in range(60)]
        for page in crowd:
            page.start()
        await asyncio.sleep(0)
        go_on.set()
        for page in crowd:
            await page.frames(1)
        for page in crowd:
            await page.leave()
        assert len(served) == len(crowd)
        assert served[-1] > len(crowd) / 2

    async def test_a_read_that_fails_ends_the_socket_and_leaves_nothing(
        self, box: Box
    ) -> None:
        box.error = ValueError("the database is ill")
        page = Connection(account())
        page.start()
        assert page.task is not None
        # The server answers that with 1011, and the page comes back with backoff.
        with pytest.raises(ValueError, match="ill"):
            await page.task
        (hub,) = running_hubs()
        assert hub.feeds["1"].sockets == []

    async def test_who_is_deleted_during_the_handshake_is_signed_out(
        self, ada: User
    ) -> None:
        """The session was looked up in time, the mailbox too late."""
        await ada.adelete()
        ada.pk = 1_000_001
        page = Connection(ada)
        page.start()
        assert await page.close_code() == 4401
        assert page.wire.texts == []
        (hub,) = running_hubs()
        assert hub.feeds[str(ada.pk)].sockets == []

    async def test_who_is_deleted_before_a_sync_is_signed_out(self, box: Box) -> None:
        page = Connection(account())
        page.start()
        await page.frames(1)
        box.error = ObjectDoesNotExist()
        page.say({"type": "sync"})
        assert await page.close_code() == 4401

    async def test_over_the_limit_the_oldest_goes(
        self, box: Box, settings: Settings
    ) -> None:
        settings.THEMIS_REALTIME_MAX_CONNECTIONS_PER_USER = 2
        pages = [Connection(account()) for _page in range(3)]
        for page in pages:
            page.start()
            await page.frames(1)
        assert [page.wire.close_code for page in pages] == [4429, None, None]
        (hub,) = running_hubs()
        hub.receive(make_message(1))
        assert [page.wire.revisions for page in pages] == [[0], [0, 1], [0, 1]]
        for page in pages:
            await page.leave()
        assert hub.feeds["1"].sockets == []

    @pytest.mark.parametrize("reading", [True, False])
    async def test_in_a_storm_of_connects_the_newest_stay_and_nothing_of_the_others(
        self, box: Box, settings: Settings, *, reading: bool
    ) -> None:
        settings.THEMIS_REALTIME_MAX_CONNECTIONS_PER_USER = 5
        if reading:
            box.may_return.clear()
        pages = [Connection(account()) for _page in range(100)]
        for page in pages:
            page.start()
        codes = await asyncio.gather(*[page.close_code() for page in pages[:-5]])
        assert set(codes) == {4429}
        (hub,) = running_hubs()
        box.may_return.set()
        for page in pages[-5:]:
            await page.frames(1)
        hub.receive(make_message(1))
        assert [page.wire.revisions for page in pages[-5:]] == [[0, 1]] * 5
        assert len(hub.feeds["1"].sockets) == sum(map(len, hub._beats)) == 5
        # However many ask, they ask the same.
        assert len(box.reads) <= 2
        for page in pages[-5:]:
            await page.leave()
        assert hub.feeds["1"].sockets == []
        assert not any(hub._beats)


class TestDeletedUsers:
    @pytest.fixture(autouse=True)
    def _pushing(self, settings: Settings) -> None:
        settings.THEMIS_BROADCASTER = "realtime.broadcasting.ChannelsBroadcaster"

    @pytest.mark.parametrize("how", ["instance", "queryset"])
    async def test_their_sockets_are_closed_at_once_and_nobody_elses(
        self, ada: User, grace: User, how: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(hub_module, "LINGER_SECONDS", 0.01)
        await anotify_user(ada, "never read")
        tabs = [Connection(ada), Connection(ada)]
        async with Connection(grace) as other:
            for tab in tabs:
                tab.start()
                await tab.frames(1)
            await other.frames(1)
            (hub,) = running_hubs()
            if how == "instance":
                await (await User.objects.aget(pk=ada.pk)).adelete()
            else:
                await User.objects.filter(pk=ada.pk).adelete()
            await await_until(lambda: all(tab.wire.close_code for tab in tabs))
            assert [tab.wire.close_code for tab in tabs] == [4401, 4401]
            for tab in tabs:
                await tab.leave()
            # No feed, no group and no place in the heartbeat is left of them.
            await await_until(lambda: list(hub.feeds) == [str(grace.pk)])
            assert sum(map(len, hub._beats)) == 1
            await anotify_user(grace, "still here")
            assert titles((await other.frames(2))[1]) == ["still here"]

    async def test_a_deletion_that_is_rolled_back_closes_nothing(
        self, ada: User
    ) -> None:
        def think_better_of_it() -> None:
            with transaction.atomic():
                User.objects.get(pk=ada.pk).delete()
                transaction.set_rollback(True)

        async with Connection(ada) as page:
            await page.frames(1)
            await sync_to_async(think_better_of_it)()
            await anotify_user(ada, "still here")
            assert titles((await page.frames(2))[1]) == ["still here"]
            assert page.wire.close_code is None

    async def test_nothing_is_told_before_the_deletion_is_committed(
        self, ada: User
    ) -> None:
        deleted, commit = threading.Event(), threading.Event()

        def delete_slowly() -> None:
            with transaction.atomic():
                User.objects.get(pk=ada.pk).delete()
                deleted.set()
                assert commit.wait(10)

        async with Connection(ada) as page:
            await page.frames(1)
            deleting = asyncio.create_task(sync_to_async(delete_slowly)())
            await await_until(deleted.is_set)
            page.say({"type": "ping"})
            await page.frames(2)
            assert page.wire.close_code is None
            commit.set()
            await deleting
            await await_until(lambda: page.wire.close_code == 4401)


class TestWiring:
    async def test_the_hub_reconciles(self, box: Box) -> None:
        async with Connection(account()) as page:
            await page.frames(1)
            (hub,) = running_hubs()
            names = {task.get_coro().__qualname__ for task in hub._tasks}  # type: ignore[union-attr]
        assert names == {
            "Hub._beat",
            "drain",
            "expire",
            "reconcile",
            "watch",
            "watch_broker",
        }

    async def test_the_socket_is_at_its_path(self, box: Box) -> None:
        communicator = WebsocketCommunicator(
            URLRouter(websocket_urlpatterns),
            "/ws/notifications/",
            headers=[(b"host", b"testserver"), (b"origin", b"http://testserver")],
        )
        communicator.scope["user"] = account()  # type: ignore[typeddict-unknown-key]
        connected, _subprotocol = await communicator.connect()
        assert connected
        frame = json.loads(await communicator.receive_from())
        assert frame["type"] == "snapshot"
        await communicator.disconnect()
