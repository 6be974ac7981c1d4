"""Sessions that end somewhere: their sockets close in every process, and no others."""

import asyncio
import http.client
from contextlib import AsyncExitStack

import psycopg

from tests.clients import Page, sign_in
from tests.faults.conftest import ServeTwo, StartSender
from tests.faults.crowd import Crowd
from tests.processes import DaphneServer, RedisServer
from tests.waiting import await_until

NEVER = "3600"

_TOKEN = "x" * 32
DELETE = "DELETE FROM django_session WHERE session_key = %s"
EXPIRE = "UPDATE django_session SET expire_date = now() WHERE session_key = %s"
DEACTIVATE = "UPDATE auth_user SET is_active = false WHERE username = %s"


def post(server: DaphneServer, path: str, cookie: str) -> int:
    """Submit an empty form as the page of a session does; the status."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    headers = {
        "Cookie": f"{cookie}; csrftoken={_TOKEN}",
        "X-CSRFToken": _TOKEN,
        "Origin": server.url,
    }
    connection.request("POST", path, headers=headers)
    status = connection.getresponse().status
    connection.close()
    return status


def poll(server: DaphneServer, cookie: str) -> tuple[int, str]:
    """Ask for the state as a page without a socket does."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    path = "/notifications/api/state"
    connection.request("GET", path, headers={"Cookie": cookie})
    response = connection.getresponse()
    text = response.read().decode()
    connection.close()
    return response.status, text


def execute(server: DaphneServer, statement: str, subject: str) -> None:
    """Change a row as no signal of Django's tells."""
    url = server.environment()["DATABASE_URL"]
    with psycopg.connect(url, autocommit=True) as connection:
        assert connection.execute(statement.encode(), [subject]).rowcount == 1


def shell(server: DaphneServer, code: str) -> None:
    """Run code in a third process."""
    server.manage("shell", "-v0", "-c", code)


def key_of(cookie: str) -> str:
    return cookie.partition("=")[2]


async def open_both(
    stack: AsyncExitStack, servers: tuple[DaphneServer, DaphneServer], cookie: str
) -> list[Page]:
    return [await stack.enter_async_context(Page(s, cookie)) for s in servers]


async def closed(pages: list[Page]) -> set[int | None]:
    return {await page.wait_closed() for page in pages}


class TestLogout:
    async def test_it_closes_the_sockets_of_that_session_in_every_process(
        self, serve_two: ServeTwo, start_sender: StartSender
    ) -> None:
        servers = serve_two(
            THEMIS_REALTIME_CHECK_INTERVAL=NEVER,
            THEMIS_REALTIME_SESSION_CHECK_INTERVAL=NEVER,
        )
        sender = start_sender(servers[0])
        here, there = sign_in(servers[0]), sign_in(servers[1])
        graces = sign_in(servers[0], "grace")
        async with AsyncExitStack() as stack:
            pages = await open_both(stack, servers, here)
            stay = await open_both(stack, servers, there)
            stay += await open_both(stack, servers, graces)
            crowd = stack.enter_context(Crowd())
            shipped = crowd.open("ada", key_of(here), servers[1].url)
            await await_until(lambda: shipped.is_open)
            assert await asyncio.to_thread(
                post, servers[0], "/accounts/logout/", here
            ) in {200, 302}
            assert await closed(pages) == {4401}
            told = [list(page.frames) for page in pages]
            for name in ("ada", "grace"):
                await asyncio.to_thread(sender.notify, name, "after")
            for page in stay:
                await page.rings("after")
            assert [page.frames for page in pages] == told
            # Neither a new socket nor a poll brings that session anything.
            for page in pages:
                await page.open()
            assert await closed(pages) == {4401}
            assert [page.frames for page in pages] == told
            for server in servers:
                status, text = await asyncio.to_thread(poll, server, here)
                assert status == 401
                assert "after" not in text
            # The shipped page has stopped, and shows nothing more.
            await await_until(lambda: shipped.state == "stopped")
            assert "after" not in {title for _at, title in shipped.rung}

    async def test_with_a_dead_broker_the_check_finds_it(
        self, serve_two: ServeTwo, redis_server: RedisServer
    ) -> None:
        servers = serve_two(
            THEMIS_REALTIME_CHECK_INTERVAL=NEVER,
            THEMIS_REALTIME_SESSION_CHECK_INTERVAL="1",
        )
        for server in servers:
            server.expect_failures()  # channels_redis logs the loss with a traceback
        here, there, last = (sign_in(servers[0]) for _session in range(3))
        async with AsyncExitStack() as stack:
            pages = await open_both(stack, servers, here)
            stay = await open_both(stack, servers, there)
            ends = await open_both(stack, servers, last)
            redis_server.kill()
            for cookie in (here, last):
                # What the second check finds tells that the first has left these alone.
                await asyncio.to_thread(post, servers[0], "/accounts/logout/", cookie)
                assert await closed(pages if cookie == here else ends) == {4401}
            assert not any(page.is_closed for page in stay)


class TestAccounts:
    async def test_a_change_in_a_third_process_closes_them_at_once(
        self, serve_two: ServeTwo, start_sender: StartSender
    ) -> None:
        servers = serve_two(
            THEMIS_REALTIME_CHECK_INTERVAL=NEVER,
            THEMIS_REALTIME_SESSION_CHECK_INTERVAL=NEVER,
        )
        sender = start_sender(servers[0])
        async with AsyncExitStack() as stack:
            adas: list[Page] = []
            for cookie in (sign_in(servers[0]), sign_in(servers[1])):
                adas += await open_both(stack, servers, cookie)
            graces = await open_both(stack, servers, sign_in(servers[0], "grace"))
            await asyncio.to_thread(
                shell,
                servers[0],
                "ada = User.objects.get(username='ada')\n"
                "ada.set_password('another'); ada.save()",
            )
            assert await closed(adas) == {4401}
            await asyncio.to_thread(sender.notify, "grace", "still here")
            for page in graces:
                await page.rings("still here")
            await asyncio.to_thread(
                shell,
                servers[0],
                "grace = User.objects.get(username='grace')\n"
                "grace.is_active = False; grace.save()",
            )
            assert await closed(graces) == {4401}
            told = [list(page.frames) for page in adas + graces]
            for name in ("ada", "grace"):
                await asyncio.to_thread(sender.notify, name, "after")
            for page in adas + graces:
                await page.open()
            assert await closed(adas + graces) == {4401}
            assert [page.frames for page in adas + graces] == told

    async def test_what_sql_has_done_the_check_finds(self, serve_two: ServeTwo) -> None:
        servers = serve_two(
            THEMIS_REALTIME_CHECK_INTERVAL=NEVER,
            THEMIS_REALTIME_SESSION_CHECK_INTERVAL="1",
        )
        gone, late, kept = (sign_in(servers[0]) for _session in range(3))
        graces = sign_in(servers[0], "grace")
        async with AsyncExitStack() as stack:
            stay = await open_both(stack, servers, kept)
            for cookie, statement, subject in (
                (gone, DELETE, key_of(gone)),
                (late, EXPIRE, key_of(late)),
                (graces, DEACTIVATE, "grace"),
            ):
                pages = await open_both(stack, servers, cookie)
                await asyncio.to_thread(execute, servers[0], statement, subject)
                assert await closed(pages) == {4401}
                status, _text = await asyncio.to_thread(poll, servers[0], cookie)
                assert status == 401
            assert not any(page.is_closed for page in stay)
