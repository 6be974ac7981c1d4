"""What a process answers about itself, in front of Django."""

import asyncio
import json
import threading
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import OperationalError

from realtime import canary, operations
from realtime.hub import Hub, running_hubs
from realtime.operations import Operations
from tests.realtime.harness import FakeLayer
from tests.waiting import await_until
from themis import mailbox


async def host(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """The application behind."""
    await send({"type": "http.response.start", "status": 299, "headers": []})
    await send({"type": "http.response.body", "body": scope["path"].encode()})


class Answer:
    def __init__(self, messages: list[dict[str, Any]]) -> None:
        start, *bodies = messages
        self.status = start["status"]
        self.headers = {n.decode(): v.decode() for n, v in start["headers"]}
        self.body = b"".join(body["body"] for body in bodies).decode()

    @property
    def json(self) -> Any:
        return json.loads(self.body)


async def ask(
    application: Operations, path: str, method: str = "GET", kind: str = "http"
) -> Answer:
    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    # No Host, no other header: probes need none.
    scope = {"type": kind, "path": path, "method": method, "headers": []}
    await application(scope, _receive, send)
    return Answer(sent)


async def _receive() -> dict[str, Any]:
    return {"type": "http.request", "body": b"", "more_body": False}


class Database:
    """What the mailbox says when it is asked whether it is there."""

    def __init__(self) -> None:
        self.asked = 0
        self.error: Exception | None = None

    def probe(self) -> None:
        self.asked += 1
        if self.error is not None:
            raise self.error


@pytest.fixture
def application(hubs: None) -> Operations:
    return Operations(host)


@pytest.fixture(autouse=True)
def database(monkeypatch: pytest.MonkeyPatch) -> Database:
    database = Database()
    monkeypatch.setattr(mailbox, "probe", database.probe)
    return database


@pytest.fixture
async def on_fake_layer(
    layer: FakeLayer, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> FakeLayer:
    """The hub that the application finds."""
    monkeypatch.setattr(canary, "PATIENCE_SECONDS", 0.1)
    monkeypatch.setattr(canary, "GRACE_SECONDS", 0.02)
    monkeypatch.setattr(operations, "own_hub", lambda: hub)
    await hub.broker.find_channel()
    return layer


class TestPaths:
    @pytest.mark.parametrize("path", ["/", "/healthz/", "/notifications/healthz"])
    async def test_everything_else_is_the_hosts(
        self, application: Operations, path: str
    ) -> None:
        answer = await ask(application, path)
        assert (answer.status, answer.body) == (299, path)

    async def test_sockets_are_the_hosts(self, application: Operations) -> None:
        answer = await ask(application, "/healthz", kind="websocket")
        assert answer.status == 299

    async def test_a_prefix_moves_them(self) -> None:
        application = Operations(host, prefix="/-")
        assert (await ask(application, "/-/healthz")).status == 200
        assert (await ask(application, "/healthz")).status == 299

    @pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
    async def test_they_are_never_stored(
        self, application: Operations, path: str
    ) -> None:
        got = await ask(application, path)
        assert got.status == 200
        assert got.headers["cache-control"] == "no-store"
        assert got.headers["content-length"] == str(len(got.body))
        head = await ask(application, path, "HEAD")
        assert (head.status, head.body) == (200, "")
        assert head.headers["content-type"] == got.headers["content-type"]

    @pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
    @pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
    async def test_they_only_tell(
        self, application: Operations, path: str, method: str
    ) -> None:
        answer = await ask(application, path, method)
        assert answer.status == 405
        assert answer.headers["allow"] == "GET, HEAD"


class TestReadiness:
    async def test_without_a_broker_the_database_is_all(
        self, application: Operations, database: Database
    ) -> None:
        answer = await ask(application, "/readyz")
        assert answer.status == 200
        assert answer.headers["content-type"] == "application/json"
        assert answer.json == {
            "ready": True,
            "process": "ok",
            "database": "ok",
            "broker": "none",
        }
        assert database.asked == 1

    async def test_a_hub_that_it_makes_does_all_that_a_hub_does(
        self, application: Operations
    ) -> None:
        await ask(application, "/readyz")
        (hub,) = running_hubs()
        names = {task.get_coro().__qualname__ for task in hub._tasks}  # type: ignore[union-attr]
        assert {"reconcile", "expire", "watch_broker"} <= names

    async def test_an_error_of_the_database_is_named_without_its_text(
        self, application: Operations, database: Database
    ) -> None:
        database.error = OperationalError("connection to db.internal, user themis")
        answer = await ask(application, "/readyz")
        assert answer.status == 503
        assert (answer.json["ready"], answer.json["database"]) == (
            False,
            "OperationalError",
        )
        assert "internal" not in answer.body
        database.error = None
        assert (await ask(application, "/readyz")).status == 200

    async def test_a_database_that_hangs_is_given_up_and_asked_once(
        self,
        application: Operations,
        hub: Hub,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """Each question would take one of the few threads that read."""
        monkeypatch.setattr(operations, "DATABASE_SECONDS", 0.05)
        monkeypatch.setattr(operations, "own_hub", lambda: hub)
        hub.broker.layer = None
        asked: list[Any] = []
        answers = asyncio.Event()

        async def hang(function: Any) -> None:
            asked.append(function)
            await answers.wait()

        monkeypatch.setattr(hub, "read", hang)
        for _ in range(3):
            answer = await ask(application, "/readyz")
            assert (answer.status, answer.json["database"]) == (503, "TimeoutError")
        assert len(asked) == 1
        answers.set()
        await await_until(lambda: hub.probing and hub.probing.done())
        assert (await ask(application, "/readyz")).status == 200

    async def test_a_broker_that_works_is_asked_through_itself(
        self, application: Operations, on_fake_layer: FakeLayer
    ) -> None:
        answer = await ask(application, "/readyz")
        assert (answer.status, answer.json["broker"]) == (200, "ok")
        assert [name for name, _ in on_fake_layer.done].count("send") == 1

    async def test_a_broker_that_takes_nothing_is_not_ready(
        self, application: Operations, on_fake_layer: FakeLayer
    ) -> None:
        on_fake_layer.errors["send"] = ConnectionRefusedError("redis.internal")
        answer = await ask(application, "/readyz")
        assert (answer.status, answer.json["broker"]) == (503, "ConnectionRefusedError")
        assert answer.json["database"] == "ok"

    async def test_a_broker_that_hangs_is_given_up(
        self, application: Operations, on_fake_layer: FakeLayer
    ) -> None:
        on_fake_layer.gates["send"].clear()
        answer = await ask(application, "/readyz")
        assert (answer.status, answer.json["broker"]) == (503, "TimeoutError")

    async def test_many_at_once_share_one_probe(
        self,
        application: Operations,
        on_fake_layer: FakeLayer,
        database: Database,
    ) -> None:
        asking = [ask(application, "/readyz") for _ in range(50)]
        answers = await asyncio.gather(*asking)
        assert {answer.status for answer in answers} == {200}
        assert [name for name, _ in on_fake_layer.calls].count("send") == 1
        assert database.asked == 1
        # The next one is answered afresh.
        database.error = OperationalError()
        assert (await ask(application, "/readyz")).status == 503

    async def test_one_that_asks_and_goes_leaves_the_others_their_answer(
        self, application: Operations, on_fake_layer: FakeLayer
    ) -> None:
        on_fake_layer.gates["send"].clear()
        first = asyncio.create_task(ask(application, "/readyz"))
        second = asyncio.create_task(ask(application, "/readyz"))
        await await_until(lambda: ("send", "themis-hub.1") in on_fake_layer.calls)
        first.cancel()
        on_fake_layer.gates["send"].set()
        assert (await second).status == 200

    async def test_a_process_that_ends_is_not_ready_but_healthy(
        self, application: Operations, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await ask(application, "/readyz")
        (hub,) = running_hubs()
        hub.retry_ms = 1_000
        answer = await ask(application, "/readyz")
        assert (answer.status, answer.json["process"]) == (503, "draining")
        assert (await ask(application, "/healthz")).status == 200


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
async def test_no_answer_waits_for_the_thread_that_synchronous_code_shares(
    application: Operations, path: str
) -> None:
    goes_on = threading.Event()
    blocked = asyncio.create_task(sync_to_async(goes_on.wait)(10))
    try:
        async with asyncio.timeout(5):
            assert (await ask(application, path)).status == 200
        assert not blocked.done()
    finally:
        goes_on.set()
        await blocked


class TestMetrics:
    async def test_without_the_client_it_says_what_to_install(
        self, application: Operations, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(operations, "prometheus", None)
        answer = await ask(application, "/metrics")
        assert answer.status == 501
        assert "django-themis[metrics]" in answer.body
