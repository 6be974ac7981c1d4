"""A real worker with a pool of processes, a real broker, and open pages."""

import asyncio
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import psycopg
import pytest
from django.utils import timezone

from tests.clients import Page, sign_in
from tests.conftest import MakeDatabase, Serve
from tests.e2e.shell import Shell
from tests.hosts import Visitor
from tests.processes import CeleryWorker, DaphneServer, PrivateProcess, RedisServer
from tests.waiting import await_until, wait_until

# Checks that never come: what rings was pushed.
NEVER = {"THEMIS_REALTIME_CHECK_INTERVAL": "3600"}
# A push takes milliseconds; so does a busy machine, but some more.
PUSH_SECONDS = 3

MAKE_REPORTS = """
from demo.models import Report
ada = User.objects.get(username="ada")
result = [Report.objects.create(owner=ada, report_type=kind).pk for kind in kinds]
result.append(ada.pk)
"""
ENQUEUE = """
from demo.tasks import notify_report_ready
for report in reports:
    notify_report_ready.delay(user, report)
"""


@pytest.fixture
def server(
    make_database: MakeDatabase, redis_server: RedisServer, serve: Serve
) -> DaphneServer:
    return serve(make_database("postgres"), redis_url=redis_server.url, env=NEVER)


@pytest.fixture
def stack(server: DaphneServer) -> Iterator[ExitStack]:
    """What ends before the server does."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def shell(server: DaphneServer, stack: ExitStack) -> Shell:
    return stack.enter_context(Shell(server.environment()))


def start_worker(
    server: DaphneServer,
    stack: ExitStack,
    processes: list[PrivateProcess],
    *options: str,
) -> CeleryWorker:
    worker = CeleryWorker(server, options=options)
    processes.append(worker)
    return stack.enter_context(worker)


@contextmanager
def reports_locked(database_url: str, *, waiting: int) -> Iterator[None]:
    """Let nobody read the reports until so many connections wait to."""
    with psycopg.connect(database_url) as holder:
        holder.execute("LOCK TABLE demo_report IN ACCESS EXCLUSIVE MODE")
        yield
        with psycopg.connect(database_url, autocommit=True) as watcher:
            wait_until(lambda: waiters(watcher) == waiting)


def waiters(connection: psycopg.Connection[Any]) -> int:
    answer = connection.execute(
        "SELECT count(*) FROM pg_stat_activity "
        "WHERE datname = current_database() AND wait_event_type = 'Lock'"
    ).fetchone()
    assert answer
    return int(answer[0])


async def test_each_process_of_a_pool_pushes_though_its_parent_has_pushed(
    server: DaphneServer,
    stack: ExitStack,
    shell: Shell,
    processes: list[PrivateProcess],
) -> None:
    *reports, ada = shell.run(MAKE_REPORTS, kinds=["weekly", "monthly"])
    async with Page(server, sign_in(server)) as page:
        worker = await asyncio.to_thread(
            start_worker, server, stack, processes, "--include=tests.faults.forking"
        )
        await page.rings("Before the fork", within=PUSH_SECONDS)

        def enqueue() -> None:
            with reports_locked(server.environment()["DATABASE_URL"], waiting=2):
                shell.run(ENQUEUE, reports=reports, user=ada)

        await asyncio.to_thread(enqueue)
        await await_until(lambda: len(page.rung) == 4, within=PUSH_SECONDS)
        assert page.rung == ["Before the fork"] * 2 + ["Report ready"] * 2
        messages = {item["message"] for item in page.mirror.shown(timezone.now())}
        assert messages == {
            "",
            "Your weekly report is ready to download.",
            "Your monthly report is ready to download.",
        }
        done = (
            r"(ForkPoolWorker-\d+)\] Task demo.tasks.notify_report_ready\S+ succeeded"
        )
        await await_until(lambda: len(re.findall(done, worker.log)) == 2)
        assert len(set(re.findall(done, worker.log))) == 2
        await asyncio.to_thread(end_cleanly, worker)


async def test_what_a_page_orders_a_worker_makes_and_rings(
    server: DaphneServer, stack: ExitStack, processes: list[PrivateProcess]
) -> None:
    ada = Visitor(server.url)
    ada.sign_in("/accounts/login/", "ada", "themis-demo")
    # Ordered before there is a worker, and kept for it by the broker.
    listed = await asyncio.to_thread(ada.submit, "/reports/", report_type="weekly")
    assert "waiting for a worker" in listed
    async with Page(server, sign_in(server)) as page:
        worker = await asyncio.to_thread(start_worker, server, stack, processes)
        await page.rings("Report ready", within=PUSH_SECONDS)
        (item,) = page.state_frames[-1]["items"]
        report = await asyncio.to_thread(ada.get, item["url"])
        assert "tasks created: 0" in report
        # Who looks at the report need not be told of it any more.
        await await_until(lambda: page.mirror.unread == 0, within=PUSH_SECONDS)

        fields = {"title": "The lift is broken", "message": "Take the stairs."}
        await asyncio.to_thread(ada.submit, "/teams/everybody/", **fields)
        await page.rings("The lift is broken", within=PUSH_SECONDS)
        await asyncio.to_thread(end_cleanly, worker)


async def test_a_broker_that_is_gone_is_told_and_leaves_nothing_behind(
    server: DaphneServer, redis_server: RedisServer
) -> None:
    ada = Visitor(server.url)
    ada.sign_in("/accounts/login/", "ada", "themis-demo")
    redis_server.kill()
    listed = await asyncio.to_thread(ada.submit, "/reports/", report_type="weekly")
    assert "No worker can be reached now." in listed
    assert "No reports yet." in listed


def end_cleanly(worker: CeleryWorker) -> None:
    assert worker.stop() == 0
    assert "Traceback" not in worker.log
