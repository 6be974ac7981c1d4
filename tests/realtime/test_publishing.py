"""The publisher: a broker's trouble is never the caller's."""

import asyncio
import json
import logging
import multiprocessing
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
import redis
from channels.layers import channel_layers
from channels_redis.pubsub import RedisPubSubChannelLayer
from django.test import override_settings

from realtime import publishing
from realtime.publishing import Publisher, get_publisher
from tests.processes import ROOT, RedisServer, free_port
from tests.waiting import wait_until


def redis_config(url: str) -> dict[str, Any]:
    """What the runnable project configures the layer with."""
    patience = {"socket_timeout": 1, "socket_connect_timeout": 1}
    return {"hosts": [{"address": url, **patience}]}


def redis_layers(url: str) -> dict[str, Any]:
    backend = "channels_redis.pubsub.RedisPubSubChannelLayer"
    return {"default": {"BACKEND": backend, "CONFIG": redis_config(url)}}


class RecordingLayer:
    """Takes messages as fast, as slowly or as badly as the test says."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, dict[str, Any]]] = []
        self.tried = 0
        self.error: Exception | None = None
        self.may_send = threading.Event()
        self.may_send.set()

    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        self.tried += 1
        while not self.may_send.is_set():  # noqa: ASYNC110 -- set by another thread
            await asyncio.sleep(0.005)
        if self.error is not None:
            raise self.error
        self.sent.append((group, message))


@pytest.fixture
def layer(monkeypatch: pytest.MonkeyPatch) -> RecordingLayer:
    layer = RecordingLayer()
    monkeypatch.setattr(publishing, "get_channel_layer", lambda: layer)
    return layer


@pytest.fixture
def publisher(layer: RecordingLayer) -> Iterator[Publisher]:
    publisher = Publisher()
    yield publisher
    layer.may_send.set()
    layer.error = None
    assert publisher.flush(5)


def send(publisher: Publisher, *numbers: int) -> None:
    for number in numbers:
        publisher.send("group", {"number": number})


def numbers(layer: RecordingLayer) -> list[int]:
    return [message["number"] for _group, message in layer.sent]


def test_messages_are_sent_in_order(
    publisher: Publisher, layer: RecordingLayer
) -> None:
    send(publisher, *range(500))
    assert publisher.flush(5)
    assert numbers(layer) == list(range(500))
    assert layer.sent[0] == ("group", {"number": 0})
    assert publisher.dropped == 0


def test_each_thread_that_sends_keeps_its_order(
    publisher: Publisher, layer: RecordingLayer
) -> None:
    def send_all(thread: int) -> None:
        send(publisher, *range(1000 * thread, 1000 * thread + 200))

    threads = [threading.Thread(target=send_all, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert publisher.flush(5)
    for number in range(4):
        mine = [n for n in numbers(layer) if n // 1000 == number]
        assert mine == list(range(1000 * number, 1000 * number + 200))
    workers = [t for t in threading.enumerate() if t.name == "themis-publisher"]
    assert len([t for t in workers if t is publisher._thread]) == 1


def test_flush_waits_for_the_last_message(
    publisher: Publisher, layer: RecordingLayer
) -> None:
    for number in range(500):
        send(publisher, number)
        assert publisher.flush(5)
        assert len(layer.sent) == number + 1


def test_flush_waits_for_a_message_that_came_as_the_thread_went_idle(
    publisher: Publisher, layer: RecordingLayer
) -> None:
    """Between any two steps of a caller, the thread may finish what it had."""

    send(publisher, 0)
    assert publisher.flush(5)
    assert publisher._loop is not None
    wake = partial(publisher._loop.call_soon_threadsafe, publisher._wake.set)

    class Idle(threading.Event):
        def clear(self) -> None:
            super().clear()
            wake()
            time.sleep(0.05)

    publisher._idle = Idle()
    layer.may_send.clear()
    send(publisher, 1)
    assert not publisher.flush(0.1)
    layer.may_send.set()
    assert publisher.flush(5)
    assert numbers(layer) == [0, 1]


def test_flush_without_any_message_returns_at_once() -> None:
    assert Publisher().flush(60)


def test_a_caller_waits_for_nothing(
    publisher: Publisher, layer: RecordingLayer
) -> None:
    """Sending takes a small part of what one round trip to a broker would."""
    layer.may_send.clear()
    took = []
    for number in range(1000):
        begun = time.perf_counter()
        send(publisher, number)
        took.append(time.perf_counter() - begun)
    # Microseconds, within ten times what is usual.
    assert statistics.median(took) < 100e-6
    assert sum(took) < 0.5
    assert layer.sent == []


def test_a_full_queue_drops_what_is_new(
    publisher: Publisher,
    layer: RecordingLayer,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(publishing, "QUEUE_LENGTH", 5)
    layer.may_send.clear()
    send(publisher, 0)
    wait_until(lambda: layer.tried == 1)
    send(publisher, *range(1, 120))
    assert publisher.dropped == 114
    layer.may_send.set()
    assert publisher.flush(5)
    assert numbers(layer) == [0, 1, 2, 3, 4, 5]
    # The first, the tenth and the hundredth.
    assert len([r for r in caplog.records if r.levelno == logging.WARNING]) == 3


class TestBrokenLayer:
    def test_an_error_costs_one_message(
        self, publisher: Publisher, layer: RecordingLayer
    ) -> None:
        layer.error = OSError("gone")
        send(publisher, 0)
        assert publisher.flush(5)
        layer.error = None
        send(publisher, 1)
        assert publisher.flush(5)
        assert numbers(layer) == [1]
        assert publisher.dropped == 1

    def test_after_three_errors_nothing_is_tried_for_a_while(
        self,
        publisher: Publisher,
        layer: RecordingLayer,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(publishing, "OPEN_SECONDS", 0.2)
        layer.error = OSError("gone")
        send(publisher, *range(100))
        assert publisher.flush(5)
        assert layer.tried == publishing.FAILURES_TO_OPEN
        assert publisher.dropped == 100
        time.sleep(0.25)
        # One try tells whether it is back, and it is not.
        send(publisher, *range(100))
        assert publisher.flush(5)
        assert layer.tried == publishing.FAILURES_TO_OPEN + 1
        time.sleep(0.25)
        layer.error = None
        send(publisher, 7, 8, 9)
        assert publisher.flush(5)
        assert numbers(layer) == [7, 8, 9]

    def test_a_layer_that_hangs_is_given_up(
        self,
        publisher: Publisher,
        layer: RecordingLayer,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(publishing, "SEND_SECONDS", 0.1)
        layer.may_send.clear()
        send(publisher, 0)
        assert publisher.flush(2)
        assert publisher.dropped == 1
        layer.may_send.set()
        send(publisher, 1)
        assert publisher.flush(5)
        assert numbers(layer) == [1]


class TestProcesses:
    def test_a_process_has_one(self) -> None:
        assert get_publisher() is get_publisher()

    def test_a_forked_child_sends_with_its_own(self, layer: RecordingLayer) -> None:
        parents = get_publisher()
        send(parents, 0)
        assert parents.flush(5)
        read_end, write_end = os.pipe()
        child = os.fork()
        if child == 0:
            # Nothing of pytest's may run in here, so no way leads out.
            try:
                layer.sent.clear()
                mine = get_publisher()
                send(mine, 1)
                flushed = mine.flush(5)
                report = [mine is not parents, flushed, numbers(layer)]
                os.write(write_end, json.dumps(report).encode())
            finally:
                os._exit(0)
        os.close(write_end)
        with os.fdopen(read_end) as pipe:
            report = json.loads(pipe.read())
        os.waitpid(child, 0)
        assert report == [True, True, [1]]
        send(parents, 2)
        assert parents.flush(5)
        assert numbers(layer) == [0, 2]

    @pytest.mark.parametrize("method", ["fork", "spawn"])
    def test_a_child_of_multiprocessing_sends(
        self, method: Any, redis_server: RedisServer
    ) -> None:
        context = multiprocessing.get_context(method)
        with listen(redis_server) as heard:
            child = context.Process(target=publish_once, args=(redis_server.url,))
            child.start()
            child.join(30)
            assert child.exitcode == 0
            assert heard() == 1


def publish_once(url: str) -> None:
    """In a child: what a task of a prefork worker does."""
    with override_settings(CHANNEL_LAYERS=redis_layers(url)):
        channel_layers.backends.clear()
        publisher = get_publisher()
        publisher.send("group", {"type": "themis.echo"})
        assert publisher.flush(5)


class listen:  # noqa: N801 -- reads as a verb
    """Count the messages that a Redis publishes."""

    def __init__(self, server: RedisServer) -> None:
        self._client = redis.Redis.from_url(server.url, socket_timeout=10)
        self._pubsub = self._client.pubsub()  # type: ignore[no-untyped-call]

    def __enter__(self) -> Callable[[], int]:
        self._pubsub.psubscribe("*")
        assert self._pubsub.get_message(timeout=5)
        return self._count

    def __exit__(self, *error: object) -> None:
        self._pubsub.close()
        self._client.close()

    def _count(self) -> int:
        count = 0
        while self._pubsub.get_message(timeout=0.1 if count else 2):
            count += 1
        return count


_SEND_AND_END = """
import json, sys, time
from django.conf import settings
settings.configure(CHANNEL_LAYERS=json.loads(sys.argv[1]))
from realtime.publishing import get_publisher
begun = time.perf_counter()
for number in range(int(sys.argv[2])):
    get_publisher().send("group", {"type": "themis.echo"})
print(time.perf_counter() - begun)
"""


def run_and_end(url: str, count: int = 3) -> tuple[float, float, str]:
    """Send from a process that ends at once: seconds to send, to end; and stderr."""
    begun = time.perf_counter()
    done = subprocess.run(
        [
            *[sys.executable, "-c", _SEND_AND_END],
            *[json.dumps(redis_layers(url)), str(count)],
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    return float(done.stdout), time.perf_counter() - begun, done.stderr


@pytest.mark.once
class TestRedis:
    @pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
    def test_a_process_that_ends_at_once_has_sent_all(
        self, redis_server: RedisServer, host: str
    ) -> None:
        url = redis_server.url.replace("127.0.0.1", host)
        with listen(redis_server) as heard:
            _sending, _ending, errors = run_and_end(url)
            assert heard() == 3, errors
        assert errors == ""

    def test_a_process_whose_redis_is_gone_ends_soon(self) -> None:
        sending, _ending, errors = run_and_end(f"redis://127.0.0.1:{free_port()}/0")
        assert sending < 0.5
        assert "Dropped push number 1" in errors
        assert "Traceback" not in errors

    def test_a_process_whose_redis_hangs_ends_soon(
        self, redis_server: RedisServer
    ) -> None:
        redis_server.pause()
        sending, ending, errors = run_and_end(redis_server.url)
        assert sending < 0.5
        assert ending < publishing.FLUSH_SECONDS + 5
        assert "Traceback" not in errors

    def test_a_redis_that_hangs_and_goes_on(
        self,
        redis_server: RedisServer,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(publishing, "OPEN_SECONDS", 0.2)
        monkeypatch.setattr(publishing, "SEND_SECONDS", 0.4)
        layer = RedisPubSubChannelLayer(**redis_config(redis_server.url))
        monkeypatch.setattr(publishing, "get_channel_layer", lambda: layer)
        publisher = Publisher()
        with listen(redis_server) as heard:
            publisher.send("group", {})
            assert publisher.flush(5)
            assert heard() == 1
            redis_server.pause()
            begun = time.perf_counter()
            for _message in range(100):
                publisher.send("group", {})
            assert time.perf_counter() - begun < 0.1
            assert publisher.flush(10)
            waited = time.perf_counter() - begun
            # Three times its patience, then it stops trying.
            assert waited < 10 * publishing.SEND_SECONDS * publishing.FAILURES_TO_OPEN
            dropped = publisher.dropped
            assert dropped == 100
            redis_server.resume()
            wait_until(redis_server.is_ready)

            def gets_through() -> bool:
                publisher.send("group", {})
                return publisher.flush(5) and heard() > 0

            wait_until(gets_through, within=10)
