"""What operators see of servers to which something happens."""

import asyncio
import json
import re
import time
import urllib.error
import urllib.request
from contextlib import AsyncExitStack
from typing import Any

import pytest
from django.utils import timezone

from tests.clients import Page, sign_in
from tests.conftest import MakeDatabase, Serve
from tests.e2e.shell import Shell
from tests.faults.cluster import THOROUGH
from tests.faults.conftest import StartSender
from tests.hosts import Visitor
from tests.processes import DaphneServer, PostgresServer, RedisServer
from tests.waiting import await_until, wait_until

# Checks that never come by themselves: what comes is pushed, or was wanted.
NEVER = {"THEMIS_REALTIME_CHECK_INTERVAL": "3600"}


# Longer than a socket_timeout of 1 s: what must happen is that nothing comes.
IDLE_SECONDS = 1.2


def ask(server: DaphneServer, path: str, *, timeout: float = 5) -> tuple[int, str]:
    """The status and the body; 0 if there is no answer in time."""
    try:
        with urllib.request.urlopen(f"{server.url}{path}", timeout=timeout) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()
    except OSError:
        return 0, ""


def readiness(server: DaphneServer) -> tuple[int, dict[str, Any]]:
    status, body = ask(server, "/readyz")
    return status, json.loads(body)


def sample(server: DaphneServer, name: str) -> float:
    """One number of /metrics, by its name and labels."""
    _status, body = ask(server, "/metrics")
    (value,) = re.findall(rf"^{re.escape(name)} (\S+)$", body, re.MULTILINE)
    return float(value)


def test_readiness_names_what_is_not_ready(
    serve: Serve,
    make_database: MakeDatabase,
    redis_server: RedisServer,
    postgres_server: PostgresServer,
) -> None:
    server = serve(make_database("postgres"), redis_url=redis_server.url)
    ready = {"ready": True, "process": "ok", "database": "ok", "broker": "ok"}
    assert readiness(server) == (200, ready)
    redis_server.pause()
    begun = time.monotonic()
    status, body = readiness(server)
    assert time.monotonic() - begun < 3
    assert (status, body["broker"][-12:], body["database"]) == (
        503,
        "TimeoutError",
        "ok",
    )
    redis_server.resume()
    wait_until(lambda: readiness(server)[0] == 200)
    postgres_server.pause()
    begun = time.monotonic()
    status, body = readiness(server)
    assert time.monotonic() - begun < 5
    assert (status, body["database"], body["broker"]) == (503, "TimeoutError", "ok")
    assert ask(server, "/healthz")[0] == 200
    postgres_server.resume()
    wait_until(lambda: readiness(server)[0] == 200)


@pytest.mark.parametrize("how", ["killed", "paused"] if THOROUGH else ["killed"])
async def test_a_broker_that_is_gone_is_noticed_within_seconds(
    how: str,
    make_database: MakeDatabase,
    serve: Serve,
    start_sender: StartSender,
    redis_server: RedisServer,
) -> None:
    """Every setting as it is: not within the 15 seconds of a healthy one's check."""
    server = serve(make_database("postgres"), redis_url=redis_server.url)
    sender = start_sender(server)
    async with Page(server, sign_in(server)) as page:
        await asyncio.to_thread(sender.notify, "ada", "before")
        await page.rings("before")
        redis_server.kill() if how == "killed" else redis_server.pause()
        begun = time.monotonic()
        await asyncio.to_thread(sender.notify, "ada", "meanwhile")
        # 2 s to the next canary, 1 s of patience, and the check.
        assert await page.rings("meanwhile", within=12) - begun < 8
        # From now on the check is the push.
        begun = time.monotonic()
        await asyncio.to_thread(sender.notify, "ada", "and now")
        assert await page.rings("and now", within=12) - begun < 6
        redis_server.start() if how == "killed" else redis_server.resume()

        await asyncio.to_thread(
            wait_until, lambda: sample(server, "themis_broker_up") == 1, within=20
        )
    assert server.log.count("does not bring messages") == 1
    assert server.log.count("brings messages again") == 1


async def test_the_numbers_follow_what_happens(
    make_database: MakeDatabase,
    serve: Serve,
    start_sender: StartSender,
    redis_server: RedisServer,
) -> None:
    server = serve(make_database("postgres"), redis_url=redis_server.url, env=NEVER)
    sender = start_sender(server)
    cookie = sign_in(server)
    async with AsyncExitStack() as stack:
        pages = [
            await stack.enter_async_context(Page(server, cookie)) for _tab in range(3)
        ]
        for number in range(4):
            await asyncio.to_thread(sender.notify, "ada", f"number {number}")
            for page in pages:
                await page.rings(f"number {number}")
        stranger = Page(server, cookie, origin="http://evil.example")
        await stranger.open()
        assert await stranger.wait_closed() == 4403

        def value_of(name: str) -> float:
            return sample(server, name)

        def compare() -> None:
            assert value_of("themis_sockets") == 3
            assert value_of("themis_users") == 1
            assert value_of('themis_handshakes_total{outcome="accepted"}') == 3
            assert value_of('themis_handshakes_total{outcome="wrong_origin"}') == 1
            assert value_of('themis_closes_total{code="4403"}') == 1
            assert value_of("themis_pushes_total") == 4
            assert value_of('themis_frames_total{kind="push"}') == 12
            assert value_of('themis_frames_total{kind="state"}') == 3
            assert value_of("themis_commit_to_send_seconds_count") == 4
            assert value_of("themis_commit_to_send_seconds_sum") < 4 * 1
            assert value_of("themis_repairs_total") == 0
            assert value_of("themis_canary_seconds_count") > 0

        await asyncio.to_thread(
            wait_until, lambda: value_of("themis_canary_seconds_count") > 0
        )
        await asyncio.to_thread(compare)
    _status, body = await asyncio.to_thread(ask, server, "/metrics")
    assert "ada" not in body
    assert "evil" not in re.sub(r"# HELP .*", "", body)


async def test_the_other_layer_heals_from_its_time_outs(
    make_database: MakeDatabase,
    serve: Serve,
    start_sender: StartSender,
    redis_server: RedisServer,
) -> None:
    """Each idle second ends with an error: nothing is lost of it, and little said."""
    env = {**NEVER, "DJANGO_SETTINGS_MODULE": "tests.faults.core_layer"}
    server = serve(make_database("postgres"), redis_url=redis_server.url, env=env)
    sender = start_sender(server)
    async with Page(server, sign_in(server)) as page:
        await asyncio.to_thread(sender.notify, "ada", "number 0")
        await page.rings("number 0")
        # Until it has been idle for longer than its patience, again and again.
        await await_until(lambda: "listen to it" in server.log, within=20)
        rounds = 10 if THOROUGH else 1
        for number in range(1, rounds + 1):
            await asyncio.sleep(IDLE_SECONDS)
            await asyncio.to_thread(sender.notify, "ada", f"number {number}")
            await page.rings(f"number {number}", within=5)
        with redis_server.client() as client:
            client.flushall()
            client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        # It had forgotten who is in which group. The check that the canary asks for
        # brings the first, if that was lost; the last one has to be pushed.
        await asyncio.to_thread(sender.notify, "ada", "after the loss")
        await page.rings("after the loss", within=12)
        await asyncio.to_thread(sender.notify, "ada", "the end")
        await page.rings("the end", within=5)
        assert page.rung[:-2] == [f"number {number}" for number in range(rounds + 1)]
    assert server.log.count("listen to it") <= 2


TITLE, MESSAGE, URL = "Zanzibar", "Quetzalcoatl", "/xylophone/"
NOTIFY = """
from themis.notifications import notify_user
notify_user(User.objects.get(username="ada"), title, message, url=url)
notify_user(None, title, message, url=url)
"""


async def test_the_log_is_json_and_holds_nothing_of_people(
    make_database: MakeDatabase,
    serve: Serve,
    redis_server: RedisServer,
) -> None:
    """Also of what goes wrong: a broker that dies, pages that are refused."""
    env = {"LOG_FORMAT": "json"}
    server = serve(make_database("postgres"), redis_url=redis_server.url, env=env)
    cookie = sign_in(server)
    ada = Visitor(server.url)
    await asyncio.to_thread(ada.sign_in, "/accounts/login/", "ada", "themis-demo")
    with Shell(server.environment()) as shell:

        def notify(number: int) -> str:
            title = f"{TITLE} {number}"
            shell.run(NOTIFY, title=title, message=MESSAGE, url=URL)
            return title

        async with Page(server, cookie) as page:
            await page.rings(await asyncio.to_thread(notify, 0))
            redis_server.kill()
            await page.rings(await asyncio.to_thread(notify, 1), within=12)
            # From inside the server, whose publisher can't send it either.
            (row, _other) = page.mirror.shown(timezone.now())
            fields = {"verb": "read", "ids": row["id"]}
            await asyncio.to_thread(ada.submit, "/notifications/", **fields)
            await await_until(lambda: page.mirror.unread == 1, within=12)
            redis_server.start()
            stranger = Page(server, cookie, origin="http://evil.example")
            await stranger.open()
            assert await stranger.wait_closed() == 4403
            babbler = Page(server, cookie)
            await babbler.open()
            await babbler.say(f"{TITLE}")
            assert await babbler.wait_closed() == 4400
            await await_until(lambda: "broker_lost" in server.log)
    for path in ("/notifications/api/state", "/nowhere/", "/readyz"):
        await asyncio.to_thread(ask, server, path)
    await asyncio.to_thread(server.stop)
    lines = [json.loads(line) for line in server.log.splitlines()]
    events = {line.get("event") for line in lines}
    assert {"broker_lost", "dropped", "repaired"} <= events
    for line in lines:
        assert {"time", "level", "logger", "message"} <= line.keys()
    key = cookie.partition("=")[2]
    for secret in (TITLE, MESSAGE, URL.strip("/"), key, "sessionid", "themis-demo"):
        assert secret not in server.log
