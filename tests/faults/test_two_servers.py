"""Two servers, a process that notifies, PostgreSQL and Redis: together, and broken."""

import asyncio
import os
import statistics
import time
from contextlib import AsyncExitStack

from django.utils import timezone

from tests.clients import Page, sign_in
from tests.conftest import MakeDatabase, Serve
from tests.faults.conftest import ServeTwo, StartSender
from tests.faults.sender import Sender
from tests.processes import DaphneServer, RedisServer, free_port
from tests.waiting import await_until

# Where the reconciler isn't the point, checks that never come prove that it was pushed.
NEVER = "3600"
# And where it is, a check each second saves time.
SOON = "1"
# A machine that does other things besides may take this many times what is promised;
# the default of 15 s between checks, or a page that waits for ever, is well above.
BUSY = 3
# THEMIS_SEED=7 make pytest ARGS=tests/faults: another stream, and that one again.
SEED = int(os.environ.get("THEMIS_SEED", "2"))


def numbered(word: str, count: int) -> list[str]:
    return [f"{word} {number}" for number in range(count)]


async def in_thread(sender: Sender, *titles: str, how: str = "plain") -> list[float]:
    """Let the sender notify ada while pages go on reading."""
    return await asyncio.to_thread(sender.notify, "ada", *titles, how=how)


class TestTogether:
    async def test_every_page_rings_once_for_each_and_in_order(
        self, serve_two: ServeTwo, start_sender: StartSender
    ) -> None:
        servers = serve_two(THEMIS_REALTIME_CHECK_INTERVAL=NEVER)
        sender = start_sender(servers[0])
        cookies = {name: sign_in(servers[0], name) for name in ("ada", "grace")}
        async with AsyncExitStack() as stack:
            pages = {
                name: [
                    await stack.enter_async_context(Page(server, cookie))
                    for server in servers
                    for _tab in range(3)
                ]
                for name, cookie in cookies.items()
            }
            seen = await asyncio.to_thread(
                sender.stream, seed=SEED, count=200, users=["ada", "grace"]
            )
            assert min(map(len, seen.values())) > 50, f"seed {SEED}"
            for name, titles in seen.items():
                for page in pages[name]:
                    await page.rings(titles[-1])
            # Whatever else there is to come has come before this.
            for name, mine in pages.items():
                await asyncio.to_thread(sender.notify, name, "the end")
                for page in mine:
                    await page.rings("the end")
            for name, titles in seen.items():
                for page in pages[name]:
                    assert page.rung == [*titles, "the end"]
                    frames = page.state_frames
                    revisions = [frame["revision"] for frame in frames]
                    assert revisions == list(range(len(titles) + 2))
                    assert page.mirror.unread == len(titles) + 1

    async def test_what_is_said_to_everybody_is_pushed_to_everybody(
        self, serve_two: ServeTwo, start_sender: StartSender
    ) -> None:
        """In bundles, between what is said to one; and taken back from everybody."""
        servers = serve_two(THEMIS_REALTIME_CHECK_INTERVAL=NEVER)
        sender = start_sender(servers[0])
        async with AsyncExitStack() as stack:
            pages = [
                await stack.enter_async_context(Page(server, sign_in(server, name)))
                for server in servers
                for name in ("ada", "grace")
            ]
            for name in ("ada", "grace"):
                await asyncio.to_thread(sender.notify, name, "before")
            assert await asyncio.to_thread(sender.announce, "to all", among=600) == 600
            for name in ("ada", "grace"):
                await asyncio.to_thread(sender.notify, name, "after")
            for page in pages:
                await page.rings("after")
                assert page.rung == ["before", "to all", "after"]
                assert [frame["revision"] for frame in page.state_frames] == [
                    0,
                    1,
                    2,
                    3,
                ]
            assert await asyncio.to_thread(sender.withdraw, "to all") == 600
            for page in pages:
                await await_until(lambda page=page: page.mirror.unread == 2)
                shown = page.mirror.shown(timezone.now())
                assert [item["title"] for item in shown] == ["after", "before"]

    async def test_a_slow_host_holds_up_nobody_else(
        self, serve_two: ServeTwo, start_sender: StartSender
    ) -> None:
        servers = serve_two(THEMIS_REALTIME_CHECK_INTERVAL=SOON)
        host, other = start_sender(servers[0]), start_sender(servers[0])
        adas, graces = sign_in(servers[0]), sign_in(servers[0], "grace")
        async with Page(servers[1], adas) as ada, Page(servers[1], graces) as grace:
            host.hold("grace")
            began = time.monotonic()
            while time.monotonic() < began + 2.5:
                title = f"after {time.monotonic() - began}"
                await in_thread(other, title)
                # While the other transaction is open: it ends only below.
                await ada.rings(title, within=5)
                await asyncio.sleep(0.2)
            # One more of those whose mailbox is locked waits its second, no longer.
            [took] = await asyncio.to_thread(other.notify, "grace", "meanwhile")
            assert took < 3
            assert grace.rung == []
            host.release()
            for title in ("held back", "meanwhile"):
                await grace.rings(title, within=5)
            assert sorted(grace.rung) == ["held back", "meanwhile"]


class TestExpiry:
    async def test_both_follow_at_the_second_by_one_revision(
        self, serve_two: ServeTwo, start_sender: StartSender
    ) -> None:
        servers = serve_two(THEMIS_REALTIME_CHECK_INTERVAL=NEVER)
        sender = start_sender(servers[0])
        async with AsyncExitStack() as stack:
            pages = await open_pages(stack, servers)
            # Known of a push to one, of the state to the other that comes later.
            at = await asyncio.to_thread(sender.remind, "ada", seconds=3)
            pages += await open_pages(stack, servers)
            await in_thread(sender, "stays")
            for page in pages:
                await await_until(lambda page=page: page.mirror.unread == 2)
            for page in pages:
                await await_until(lambda page=page: page.mirror.unread == 1)
            late = [page.told_at[3] - at for page in pages]
            assert min(late) >= 0
            assert max(late) < BUSY * 0.5
            # Whoever else stamped would have made a fourth.
            await in_thread(sender, "the end")
            for page in pages:
                await page.rings("the end")
                assert page.state_frames[-1]["revision"] == 4
                assert len(page.state_frames[-2]["removed"]) == 1
        for server in servers:
            assert "left to the reconciler" not in server.log
            assert "Repaired" not in server.log

    async def test_many_users_at_once(
        self, serve_two: ServeTwo, start_sender: StartSender
    ) -> None:
        """A meeting that all were reminded of begins."""
        servers = serve_two(THEMIS_REALTIME_CHECK_INTERVAL=NEVER)
        sender = start_sender(servers[0])
        async with AsyncExitStack() as stack:
            pages = []
            for name in ("ada", "grace"):
                cookie = sign_in(servers[0], name)
                for server in servers:
                    page = Page(server, cookie)
                    pages.append(await stack.enter_async_context(page))
            at = await asyncio.to_thread(sender.remind, "ada", "grace", seconds=2)
            for page in pages:
                await page.rings("a reminder")
            for page in pages:
                await await_until(lambda page=page: page.mirror.revision == 2)
                assert page.mirror.unread == 0
                assert 0 <= page.told_at[2] - at < BUSY * 0.5


class TestDeletedUsers:
    async def test_their_sockets_are_closed_in_every_process(
        self, serve_two: ServeTwo, start_sender: StartSender
    ) -> None:
        servers = serve_two(THEMIS_REALTIME_CHECK_INTERVAL=NEVER)
        sender = start_sender(servers[0])
        graces = sign_in(servers[0], "grace")
        async with AsyncExitStack() as stack, Page(servers[1], graces) as grace:
            pages = await open_pages(stack, servers)
            await in_thread(sender, "the last one")
            await everywhere(pages, "the last one")
            await asyncio.to_thread(sender.delete, "ada")
            assert {await page.wait_closed() for page in pages} == {4401}
            # Coming back with the old session is no way in.
            for page in pages:
                await page.open()
            assert {await page.wait_closed() for page in pages} == {4401}
            await asyncio.to_thread(sender.notify, "grace", "still here")
            await grace.rings("still here")

    async def test_what_nobody_was_told_of_the_check_finds(
        self, serve_two: ServeTwo, start_sender: StartSender
    ) -> None:
        servers = serve_two(THEMIS_REALTIME_CHECK_INTERVAL=SOON)
        sender = start_sender(servers[0])
        async with AsyncExitStack() as stack:
            pages = await open_pages(stack, servers)
            await asyncio.to_thread(sender.delete, "ada", how="sql")
            assert {await page.wait_closed() for page in pages} == {4401}


class TestRedis:
    async def test_killed_and_back(
        self,
        serve_two: ServeTwo,
        start_sender: StartSender,
        redis_server: RedisServer,
    ) -> None:
        servers = serve_two(THEMIS_REALTIME_CHECK_INTERVAL=SOON)
        for server in servers:
            server.expect_failures()  # channels_redis logs the loss with a traceback
        sender = start_sender(servers[0])
        async with AsyncExitStack() as stack:
            pages = await open_pages(stack, servers)
            usual = await in_thread(sender, *numbered("before", 20))
            await everywhere(pages, "before 19")
            redis_server.kill()
            took = await in_thread(sender, *numbered("dead", 20), how="atomic")
            assert_no_wait(took, usual)
            # Within the interval, and what the check itself may take.
            await everywhere(pages, "dead 19", within=BUSY * 1)
            redis_server.start()
            await pushes_come_back(servers, start_sender(servers[0]), pages)
            assert_rung_once_in_order(
                pages, [*numbered("before", 20), *numbered("dead", 20)]
            )

    async def test_paused_and_resumed(
        self,
        serve_two: ServeTwo,
        start_sender: StartSender,
        redis_server: RedisServer,
    ) -> None:
        servers = serve_two(THEMIS_REALTIME_CHECK_INTERVAL=SOON)
        for server in servers:
            server.expect_failures()
        sender = start_sender(servers[0])
        async with AsyncExitStack() as stack:
            pages = await open_pages(stack, servers)
            usual = await in_thread(sender, *numbered("before", 20))
            await everywhere(pages, "before 19")
            redis_server.pause()
            took = await in_thread(sender, *numbered("frozen", 20))
            assert_no_wait(took, usual)
            await everywhere(pages, "frozen 19", within=BUSY * 1)
            # A page that comes now is let in all the same.
            late = Page(servers[0], sign_in(servers[0]))
            begun = time.monotonic()
            await stack.enter_async_context(late)
            assert time.monotonic() - begun < BUSY * 2
            await in_thread(sender, "late")
            await everywhere([*pages, late], "late", within=3)
            redis_server.resume()
            await pushes_come_back(servers, start_sender(servers[0]), [*pages, late])
            before = [*numbered("before", 20), *numbered("frozen", 20), "late"]
            assert_rung_once_in_order(pages, before)

    async def test_its_connections_killed(
        self,
        serve_two: ServeTwo,
        start_sender: StartSender,
        redis_server: RedisServer,
    ) -> None:
        servers = serve_two(THEMIS_REALTIME_CHECK_INTERVAL=SOON)
        for server in servers:
            server.expect_failures()
        sender = start_sender(servers[0])
        async with AsyncExitStack() as stack:
            pages = await open_pages(stack, servers)
            titles = []
            for number in range(3):
                with redis_server.client() as client:
                    client.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
                # Published to nobody, and nobody is told so.
                titles += numbered(f"round {number},", 4)
                await in_thread(sender, *titles[-4:])
                await everywhere(pages, titles[-1], within=3)
            await pushes_come_back(servers, sender, pages)
            assert_rung_once_in_order(pages, titles)

    async def test_never_there(
        self, make_database: MakeDatabase, serve: Serve, start_sender: StartSender
    ) -> None:
        """With the settings as they are: it checks every 2 s by itself."""
        nowhere = f"redis://127.0.0.1:{free_port()}/0"
        server = serve(make_database("postgres"), redis_url=nowhere)
        sender = start_sender(server)
        cookie = sign_in(server)
        begun = time.monotonic()
        async with Page(server, cookie) as page:
            assert time.monotonic() - begun < BUSY * 1
            for number in range(2):
                [took] = await in_thread(sender, f"number {number}")
                assert took < 0.9
                begun = time.monotonic()
                rung = await page.rings(f"number {number}")
                assert rung - begun < BUSY * 2
            assert page.rung == numbered("number", 2)


async def open_pages(
    stack: AsyncExitStack, servers: tuple[DaphneServer, ...]
) -> list[Page]:
    """Two tabs of ada on each server."""
    cookie = sign_in(servers[0])
    return [
        await stack.enter_async_context(Page(server, cookie))
        for server in servers
        for _tab in range(2)
    ]


async def everywhere(pages: list[Page], title: str, *, within: float = 5) -> None:
    for page in pages:
        await page.rings(title, within=within)


def assert_no_wait(took: list[float], usual: list[float]) -> None:
    """A broker's trouble costs the caller nothing that is felt."""
    assert statistics.median(took) < 10 * statistics.median(usual)
    assert max(took) < 0.9  # who waits for a broker waits for a second


async def pushes_come_back(
    servers: tuple[DaphneServer, ...], sender: Sender, pages: list[Page]
) -> None:
    """Wait until five in a row have come without a repair by the reconciler."""
    deadline = time.monotonic() + 15
    pushed = 0
    while pushed < 5:
        assert time.monotonic() < deadline, "Nothing is pushed any more."
        repairs = repairs_of(servers)
        title = f"back {time.monotonic()}"
        await in_thread(sender, title)
        await everywhere(pages, title)
        # Long enough that nothing but a push can have been that quick each time.
        await asyncio.sleep(0.1)
        pushed = pushed + 1 if repairs_of(servers) == repairs else 0


def repairs_of(servers: tuple[DaphneServer, ...]) -> int:
    return sum(server.log.count("whose push was lost") for server in servers)


def assert_rung_once_in_order(pages: list[Page], titles: list[str]) -> None:
    for page in pages:
        assert len(page.rung) == len(set(page.rung))
        assert page.rung[: len(titles)] == titles
        revisions = [frame["revision"] for frame in page.state_frames]
        assert revisions == sorted(set(revisions))


class TestServer:
    async def test_killed_and_restarted(
        self,
        serve_two: ServeTwo,
        start_sender: StartSender,
    ) -> None:
        servers = serve_two(THEMIS_REALTIME_CHECK_INTERVAL=NEVER)
        sender = start_sender(servers[0])
        cookie = sign_in(servers[0])
        pages = [Page(servers[0], cookie) for _tab in range(3)]
        async with Page(servers[1], cookie) as witness:
            for page in pages:
                await page.open()
            await in_thread(sender, *numbered("before", 5))
            await everywhere([*pages, witness], "before 4")
            servers[0].kill()
            assert {await page.wait_closed() for page in pages} == {1006}
            await in_thread(sender, *numbered("missed", 7))
            await everywhere([witness], "missed 6")
            await asyncio.to_thread(servers[0].start)
            for page in pages:
                await page.open()
                frame = page.state_frames[-1]
                assert (frame["type"], frame["since"]) == ("changes", 5)
                titles = [item["title"] for item in frame["items"]]
                assert titles == numbered("missed", 7)[::-1]
            await in_thread(sender, *numbered("after", 3))
            await everywhere([*pages, witness], "after 2")
            expected = [
                *numbered("before", 5),
                *numbered("missed", 7),
                *numbered("after", 3),
            ]
            assert_rung_once_in_order([*pages, witness], expected)
            for page in pages:
                await page.close()

    async def test_without_a_broker_a_shell_reaches_the_pages(
        self, serve: Serve, start_sender: StartSender
    ) -> None:
        """SQLite, the layer within the process, and every setting as it is."""
        server = serve()
        sender = start_sender(server)
        async with Page(server, sign_in(server)) as page:
            for number in range(2):
                await in_thread(sender, f"number {number}", how="atomic")
                begun = time.monotonic()
                rung = await page.rings(f"number {number}")
                assert rung - begun < BUSY * 2
            assert page.rung == numbered("number", 2)

    async def test_what_is_as_long_as_can_be_reaches_the_page(
        self, serve: Serve, start_sender: StartSender
    ) -> None:
        """daphne's limit for messages is one for what it sends, too."""
        server = serve(env={"THEMIS_REALTIME_CHECK_INTERVAL": "1"})
        sender = start_sender(server)
        cookie = sign_in(server)
        async with Page(server, cookie) as page:
            await in_thread(sender, "short")
            await page.rings("short")
        await in_thread(sender, *numbered("long", 75), how="long")
        # The one comes back to 1.2 MB of changes; the other one is new.
        for tab in (page, Page(server, cookie)):
            async with tab:
                assert tab.state_frames[-1]["type"] == "snapshot"
                items = tab.mirror.shown(timezone.now())
                titles = [item["title"] for item in items]
                assert titles == numbered("long", 75)[:-21:-1]

    async def test_it_says_why_it_lets_nobody_in(self, serve: Serve) -> None:
        """The codes reach a real client, as daphne sends them."""
        server = serve(env={"THEMIS_REALTIME_MAX_CONNECTIONS_PER_USER": "2"})
        cookie = sign_in(server)
        nobody = Page(server, "sessionid=none")
        await nobody.open()
        assert await nobody.wait_closed() == 4401
        async with Page(server, cookie) as page:
            await page.say(b"binary")
            assert await page.wait_closed() == 4400
        async with Page(server, cookie) as page:
            await page.say("x" * 5000)
            assert await page.wait_closed() == 4400
        assert page.frames[-1]["type"] == "error"
        stranger = Page(server, cookie, origin="http://evil.example")
        await stranger.open()
        assert await stranger.wait_closed() == 4403
        tabs = [Page(server, cookie) for _tab in range(3)]
        for tab in tabs:
            await tab.open()
        assert await tabs[0].wait_closed() == 4429
        for tab in tabs[1:]:
            assert not tab.is_closed
            await tab.close()
