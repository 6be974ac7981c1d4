"""The whole of docker-compose.yml, driven through nginx, on one machine."""

import gzip
import http.client
import json
import re
import urllib.request
from collections.abc import Iterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from tests.clients import Page, sign_in
from tests.deploy.composition import PLAIN_PORT, Composition
from tests.e2e.shell import Shell
from tests.processes import PostgresServer, PrivateProcess
from tests.server.test_settings import KEY
from tests.waiting import await_until, wait_until

pytestmark = [pytest.mark.once, pytest.mark.timeout(600)]

VARIABLES = {
    "DJANGO_ALLOWED_HOSTS": "127.0.0.1",
    "DJANGO_SECRET_KEY": KEY,
    "POSTGRES_PASSWORD": "ignored",
    "CLEANUP_INTERVAL": "1",
}
PUSH_SECONDS = 5
OLD = """
old = timezone.now() - timedelta(days=1000)
rows = [
    UserNotification(user=User.objects.get(username="ada"), title="old", **fields)
    for fields in ({}, {"read_at": old})
]
UserNotification.objects.bulk_create(rows)
UserNotification.objects.filter(title="old").update(created_at=old)
"""


@pytest.fixture(scope="module")
def stack(_postgres_process: PostgresServer) -> Iterator[Composition]:
    _postgres_process.resume()
    _postgres_process.start()
    _postgres_process.create_database("themis")
    stack = Composition(VARIABLES, postgres_port=_postgres_process.port)
    try:
        stack.up()
        yield stack
    finally:
        stack.down()
        _postgres_process.drop_database("themis")


@pytest.fixture(scope="module")
def shell(stack: Composition) -> Iterator[Shell]:
    project = {"DJANGO_SETTINGS_MODULE": "server.settings"}
    with Shell(stack.processes["migrate"].environment() | project) as shell:
        shell.run("User.objects.create_user('ada', password='themis-demo')")
        yield shell


@pytest.fixture(scope="module")
def cookie(stack: Composition, shell: Shell) -> str:
    return sign_in(stack)


@pytest.fixture(autouse=True)
def _logs(stack: Composition, processes: list[PrivateProcess]) -> None:
    processes += stack.processes.values()


class Answer:
    """What nginx says to one request."""

    def __init__(self, stack: Composition, path: str, **headers: str) -> None:
        connection = http.client.HTTPSConnection(
            "127.0.0.1", stack.port("nginx"), context=stack.tls, timeout=10
        )
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request("GET", path, headers=named)
        answer = connection.getresponse()
        self.status = answer.status
        self.headers = answer.headers
        self.body = answer.read()
        connection.close()


def metric(stack: Composition, server: str, name: str) -> int:
    url = f"http://127.0.0.1:{stack.port(server)}/metrics"
    with urllib.request.urlopen(url, timeout=10) as answer:
        (number,) = re.findall(rf"\n{name} (\d+)", answer.read().decode())
    return int(number)


def sockets_of(stack: Composition, server: str) -> int:
    return metric(stack, server, "themis_sockets")


def test_pages_come_with_a_policy_and_files_for_ever(
    stack: Composition, cookie: str
) -> None:
    page = Answer(stack, "/", Cookie=cookie)
    assert "require-trusted-types-for" in page.headers["Content-Security-Policy"]
    assert "max-age" in page.headers["Strict-Transport-Security"]
    paths = re.findall(r'"(/static/[^"]+\.(?:css|js))"', page.body.decode())
    assert paths
    compressed = 0
    for path in paths:
        assert re.search(r"\.[0-9a-f]{12}\.\w+$", path), path
        file = Answer(stack, path, Accept_Encoding="gzip")
        assert file.status == 200
        assert "immutable" in file.headers["Cache-Control"]
        assert file.headers["X-Content-Type-Options"] == "nosniff"
        # Of small ones there is no shorter copy.
        if file.headers["Content-Encoding"] == "gzip":
            compressed += 1
            assert gzip.decompress(file.body) == Answer(stack, path).body
    assert compressed
    # A module names the others by their hashed names, too.
    script = next(path for path in paths if path.endswith(".js"))
    imported = re.findall(r'from\s*"([^"]+)"', Answer(stack, script).body.decode())
    assert all(re.search(r"\.[0-9a-f]{12}\.js$", name) for name in imported)
    plain = re.sub(r"\.[0-9a-f]{12}", "", script)
    assert "Cache-Control" not in Answer(stack, plain).headers
    assert Answer(stack, "/static/none.0123456789ab.js").status == 404


def test_http_leads_to_https(stack: Composition) -> None:
    port = stack.port("nginx", PLAIN_PORT)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", "/tasks/?page=2")
    answer = connection.getresponse()
    assert answer.status == 301
    assert answer.headers["Location"] == "https://127.0.0.1/tasks/?page=2"
    connection.close()


def test_what_is_for_the_inner_network_stays_there(stack: Composition) -> None:
    assert Answer(stack, "/healthz").body == b"ok\n"
    assert [Answer(stack, f"/{name}").status for name in ("metrics", "readyz")] == [
        404,
        404,
    ]
    ready = f"http://127.0.0.1:{stack.port('web-2')}/readyz"
    with urllib.request.urlopen(ready, timeout=10) as answer:
        parts = json.load(answer)
    assert parts["database"] == parts["broker"] == "ok"


def test_who_polls_is_told_nothing_twice(stack: Composition, cookie: str) -> None:
    path = "/notifications/api/state"
    first = Answer(stack, path, Cookie=cookie)
    assert json.loads(first.body)["type"] == "snapshot"
    tag = first.headers["ETag"]
    assert Answer(stack, path, Cookie=cookie, If_None_Match=tag).status == 304
    assert Answer(stack, path).status == 401


async def open_on_both(
    stack: Composition, cookie: str, pages: AsyncExitStack
) -> list[Page]:
    """
    Open a page on each server.

    Which one a page gets is nginx's choice, and for ten seconds it spares one that has
    been down.
    """
    opened = [await pages.enter_async_context(Page(stack, cookie))]

    async def is_open_on_both() -> bool:
        async with AsyncExitStack() as attempt:
            page = await attempt.enter_async_context(Page(stack, cookie))
            if all(sockets_of(stack, server) for server in ("web-1", "web-2")):
                await pages.enter_async_context(attempt.pop_all())
                opened.append(page)
        return len(opened) > 1

    condition: Any = is_open_on_both  # mypy can't tell which of two kinds it is
    await await_until(condition, within=30)
    return opened


async def test_a_task_of_the_worker_rings_on_both_servers(
    stack: Composition, shell: Shell, cookie: str
) -> None:
    async with AsyncExitStack() as pages:
        opened = await open_on_both(stack, cookie, pages)
        order = "from demo.models import Report; from demo.tasks import make_report\n"
        order += "ada = User.objects.get(username='ada')\n"
        order += "make_report.delay(Report.objects.create(owner=ada).pk)"
        shell.run(order)
        for page in opened:
            await page.rings("Report ready", within=PUSH_SECONDS)
    for server in ("web-1", "web-2"):
        # It was the push, and no check that found what a push had lost.
        assert metric(stack, server, "themis_repairs_total") == 0
        await await_until(lambda server=server: not sockets_of(stack, server))


def test_the_scheduler_clears_what_is_old(stack: Composition, shell: Shell) -> None:
    shell.run(OLD)
    left = "rows = UserNotification.objects.filter(title='old')\n"
    left += "result = [row.is_read for row in rows]"
    # What nobody has read stays.
    wait_until(lambda: shell.run(left) == [False])
    wait_until(lambda: "Deleted 1 read" in stack.processes["scheduler"].log)


async def test_pages_of_a_killed_server_go_on_at_the_other(
    stack: Composition, shell: Shell, cookie: str
) -> None:
    def notify(title: str) -> None:
        shell.run("notify_user(User.objects.get(username='ada'), title)", title=title)

    async with Page(stack, cookie) as one, Page(stack, cookie) as other:
        stack.processes["web-1"].kill()
        try:
            await await_until(lambda: one.is_closed or other.is_closed)
            lost, kept = (one, other) if one.is_closed else (other, one)
            assert not kept.is_closed
            notify("while one was away")
            await kept.rings("while one was away", within=PUSH_SECONDS)
            await lost.open()
            await lost.rings("while one was away", within=PUSH_SECONDS)
            assert sockets_of(stack, "web-2") == 2
            notify("and now")
            for page in (lost, kept):
                await page.rings("and now", within=PUSH_SECONDS)
            assert Answer(stack, "/").status == 200
        finally:
            stack.processes["web-1"].start()


def test_a_server_that_is_stopped_ends_in_its_time(stack: Composition) -> None:
    server = stack.processes["web-2"]
    grace = int(stack.services["web-2"]["stop_grace_period"].removesuffix("s"))
    assert server.stop(within=grace) == 0
    server.start()
