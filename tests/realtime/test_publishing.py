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
from typing import Any, Protocol

import pytest
import redis
from channels.exceptions import InvalidChannelLayerError
from channels.layers import channel_layers
from channels_redis.pubsub import RedisPubSubChannelLayer
from django.test import override_settings

from realtime import metrics, publishing
from realtime.groups import EVERY_HUB
from realtime.publishing import BUNDLE, Publisher, get_publisher
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
    return [
        one["number"]
        for _group, message in layer.sent
        for one in (message["messages"] if "v" in message else [message])
    ]


def test_messages_are_sent_in_order(
    publisher: Publisher, layer: RecordingLayer
) -> None:
    send(publisher, *range(500))
    assert publisher.flush(5)
    assert numbers(layer) == list(range(500))
    assert publisher.dropped == 0
    send(publisher, 500)
    assert publisher.flush(5)
    assert layer.sent[-1] == ("group", {"number": 500})


def test_what_has_piled_up_goes_together_to_all_hubs(
    publisher: Publisher, layer: RecordingLayer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else there would be no more in a second than round trips."""
    monkeypatch.setattr(publishing, "BUNDLE_BYTES", 60_000)
    published = metrics.PUBLISHED.values[""]
    layer.may_send.clear()
    send(publisher, 0)
    wait_until(lambda: layer.tried == 1)
    send(publisher, *range(1, 41))
    publisher.send("group", {"number": 41, "text": "x" * 100_000})
    send(publisher, *range(42, 80))
    layer.may_send.set()
    assert publisher.flush(5)
    assert numbers(layer) == list(range(80))
    groups = [group for group, _message in layer.sent]
    assert groups[:4] == ["group", *[EVERY_HUB] * 3]
    sizes = [len(message.get("messages", ())) for _group, message in layer.sent]
    # As many as are within the bound; one that is more goes alone.
    assert sizes[:4] == [0, 40, 1, 38]
    assert layer.sent[1][1]["type"] == "themis.bundle"
    assert metrics.PUBLISHED.values[""] - published == 80
    assert publisher._held == 0


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
    publisher: Publisher, layer: RecordingLayer, monkeypatch: pytest.MonkeyPatch
) -> None:
    # So that each finds the thread as it goes idle.
    monkeypatch.setattr(publishing, "PAUSE_SECONDS", 0)
    for number in range(500):
        send(publisher, number)
        assert publisher.flush(5)
        assert len(layer.sent) == number + 1


def test_a_message_goes_at_once_and_those_close_behind_it_together(
    publisher: Publisher, layer: RecordingLayer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else each call of a loop would pay for a round trip to the broker."""
    rests: list[float] = []
    rested = threading.Event()
    sleep = asyncio.sleep

    async def rest(seconds: float) -> None:
        """For as long as the test says, whatever the machine does meanwhile."""
        rests.append(seconds)
        while not rested.is_set():
            await sleep(0.001)

    monkeypatch.setattr(publishing, "PAUSE_SECONDS", 60)
    monkeypatch.setattr(asyncio, "sleep", rest)
    send(publisher, 0)
    assert publisher.flush(5)
    assert numbers(layer) == [0]
    assert rests == []
    send(publisher, *range(1, BUNDLE))
    wait_until(lambda: rests)
    assert 0 < rests[0] <= 60
    assert numbers(layer) == [0]
    rested.set()
    assert publisher.flush(5)
    # So few that not each hub should look at them.
    assert layer.sent == [("group", {"number": n}) for n in range(BUNDLE)]
    rested.clear()
    send(publisher, *range(BUNDLE, 3 * BUNDLE))
    rested.set()
    assert publisher.flush(5)
    assert numbers(layer) == list(range(3 * BUNDLE))
    ((group, bundle),) = layer.sent[BUNDLE:]
    assert group == EVERY_HUB
    assert bundle["type"] == "themis.bundle"


def test_flush_waits_for_a_message_that_came_as_the_thread_went_idle(
    publisher: Publisher, layer: RecordingLayer
) -> None:
    late = threading.Thread(target=send, args=(publisher, 1))

    class Idle(threading.Event):
        def set(self) -> None:
            if not late.ident:
                layer.may_send.clear()
                late.start()
                # Time enough to come in between, if that were possible.
                late.join(0.05)
            super().set()

    publisher._idle = Idle()
    send(publisher, 0)
    wait_until(lambda: late.ident)
    late.join()
    wait_until(lambda: layer.tried == 2)
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


def test_the_memory_of_the_queue_is_bounded_too(
    publisher: Publisher, layer: RecordingLayer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """10,000 of the largest frames would be 320 MB."""
    monkeypatch.setattr(publishing, "QUEUE_BYTES", 100_000)
    layer.may_send.clear()
    send(publisher, 0)
    wait_until(lambda: layer.tried == 1)
    full = metrics.DROPPED.values["queue_full"]
    for number in range(5):
        publisher.send("group", {"number": number, "text": "x" * 30_000})
    bundle = [{"text": "x" * 30_000}] * 3
    publisher.send("group", {"number": 7, "messages": bundle})
    assert publisher.dropped == 3
    assert metrics.DROPPED.values["queue_full"] - full == 3
    layer.may_send.set()
    assert publisher.flush(5)
    assert numbers(layer) == [0, 0, 1, 2]
    # What has gone no longer counts.
    for number in range(10):
        publisher.send("group", {"number": number, "text": "x" * 30_000})
        assert publisher.flush(5)
    assert publisher.dropped == 3


def test_a_signal_may_notify_while_its_thread_notifies(
    publisher: Publisher, layer: RecordingLayer
) -> None:
    with publisher._lock:
        send(publisher, 0)
    assert publisher.flush(5)
    assert numbers(layer) == [0]


def test_a_signal_may_notify_while_the_thread_is_started(
    layer: RecordingLayer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A start waits for the thread, and signals are handled in waits."""
    publisher, start = Publisher(), threading.Thread.start
    started: list[str] = []

    def start_and_be_interrupted(thread: threading.Thread) -> None:
        started.append(thread.name)
        start(thread)
        if len(started) == 1:
            send(publisher, 1)

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start_and_be_interrupted)
        send(publisher, 0)
    assert publisher.flush(5)
    assert started == ["themis-publisher"]
    assert numbers(layer) == [0, 1]


def test_a_process_that_may_have_no_thread_drops(
    layer: RecordingLayer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As Python says while it ends."""

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    publisher = Publisher()
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        send(publisher, 0)
    assert publisher.dropped == 1
    assert publisher.flush(5)
    send(publisher, 1)
    assert publisher.flush(5)
    assert numbers(layer) == [1]


async def test_async_code_does_not_wait_for_it(
    publisher: Publisher, layer: RecordingLayer
) -> None:
    layer.may_send.clear()
    begun = time.perf_counter()
    send(publisher, *range(100))
    assert time.perf_counter() - begun < 0.1
    layer.may_send.set()
    assert await asyncio.to_thread(publisher.flush, 5)
    assert numbers(layer) == list(range(100))


def test_what_was_sent_and_what_was_not_is_counted(
    publisher: Publisher, layer: RecordingLayer, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = dict(metrics.DROPPED.values)
    published = metrics.PUBLISHED.values[""]
    monkeypatch.setattr(publishing, "SEND_SECONDS", 0.05)

    def counted(reason: str) -> float:
        return metrics.DROPPED.values[reason] - before[reason]

    send(publisher, 0, 1)
    assert publisher.flush(5)
    layer.may_send.clear()
    send(publisher, 2)
    assert publisher.flush(5)
    layer.may_send.set()
    layer.error = OSError("gone")
    for number in range(5):
        # One by one: what waits together is lost together.
        send(publisher, number)
        assert publisher.flush(5)
    assert metrics.PUBLISHED.values[""] - published == 2
    assert counted("timeout") == 1
    assert counted("error") == publishing.FAILURES_TO_OPEN - 1
    assert counted("circuit_open") == 3


class TestBrokenLayer:
    def test_a_layer_that_can_not_be_made_costs_the_message(
        self, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail() -> None:
            raise InvalidChannelLayerError("no such backend")

        with monkeypatch.context() as patch:
            patch.setattr(publishing, "get_channel_layer", fail)
            send(publisher, 0)
            assert publisher.flush(5)
        assert publisher.dropped == 1

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

    def test_a_connection_that_has_ended_costs_nothing(
        self,
        publisher: Publisher,
        layer: RecordingLayer,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """The broker restarts while nobody notifies: the next one finds that out."""
        group_send = layer.group_send

        async def fail_once(group: str, message: dict[str, Any]) -> None:
            monkeypatch.setattr(layer, "group_send", group_send)
            raise OSError("gone")

        for number in range(2):
            monkeypatch.setattr(layer, "group_send", fail_once)
            send(publisher, number)
            assert publisher.flush(5)
        assert numbers(layer) == [0, 1]
        assert publisher.dropped == 0

    def test_after_three_errors_nothing_is_tried_for_a_while(
        self,
        publisher: Publisher,
        layer: RecordingLayer,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(publishing, "OPEN_SECONDS", 0.2)
        layer.error = OSError("gone")
        for number in range(10):
            send(publisher, number)
            assert publisher.flush(5)
        assert layer.tried == publishing.FAILURES_TO_OPEN
        assert publisher.dropped == 10
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


class OnRedis(Protocol):
    """Make a publisher whose layer is on a Redis."""

    def __call__(
        self, server: RedisServer | None = None, **options: object
    ) -> Publisher: ...


@pytest.fixture
def on_redis(redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> OnRedis:
    monkeypatch.setattr(publishing, "OPEN_SECONDS", 0.2)
    monkeypatch.setattr(publishing, "SEND_SECONDS", 0.4)

    def make(server: RedisServer | None = None, **options: object) -> Publisher:
        config = redis_config((server or redis_server).url)
        config["hosts"][0] |= options
        layer = RedisPubSubChannelLayer(**config)
        monkeypatch.setattr(publishing, "get_channel_layer", lambda: layer)
        return Publisher()

    return make


def gets_through(publisher: Publisher) -> bool:
    """Whether one more message is sent."""
    dropped = publisher.dropped
    publisher.send("group", {})
    return publisher.flush(5) and publisher.dropped == dropped


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

    def test_a_burst_of_threads_makes_one_connection(
        self, on_redis: OnRedis, redis_server: RedisServer
    ) -> None:
        publisher = on_redis()

        def burst() -> None:
            for _message in range(50):
                publisher.send("group", {})

        def send_from_threads() -> None:
            threads = [threading.Thread(target=burst) for _ in range(20)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert publisher.flush(10)

        with redis_server.client() as client:
            send_from_threads()
            # The other one asks.
            assert len(client.client_list()) == 2
            client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            send_from_threads()
            assert len(client.client_list()) == 2
        assert publisher.dropped <= publishing.FAILURES_TO_OPEN

    def test_a_layer_without_timeouts_hangs_no_longer(
        self, on_redis: OnRedis, redis_server: RedisServer
    ) -> None:
        """What a host forgets to configure is bounded, and given back."""
        publisher = on_redis(socket_timeout=None, socket_connect_timeout=None)
        publisher.send("group", {})
        assert publisher.flush(5)
        redis_server.pause()
        begun = time.perf_counter()
        for _message in range(10):
            publisher.send("group", {})
        assert publisher.flush(10)
        waited = time.perf_counter() - begun
        assert waited < 10 * publishing.SEND_SECONDS * publishing.FAILURES_TO_OPEN
        assert publisher.dropped == 10
        redis_server.resume()
        wait_until(redis_server.is_ready)
        wait_until(partial(gets_through, publisher), within=10)
        with redis_server.client() as client:
            wait_until(lambda: len(client.client_list()) == 2)

    def test_a_full_memory_does_not_concern_it(
        self, on_redis: OnRedis, make_redis: Callable[..., RedisServer]
    ) -> None:
        full = make_redis("--maxmemory", "1kb")
        with full.client() as client, pytest.raises(redis.OutOfMemoryError):
            client.set("key", "value")
        publisher = on_redis(full)
        with listen(full) as heard:
            publisher.send("group", {})
            assert publisher.flush(5)
            assert heard() == 1

    @pytest.mark.parametrize(
        ("break_it", "mend_it"),
        [
            (["requirepass", "secret"], ["requirepass", ""]),
            (["maxclients", "1"], ["maxclients", "1000"]),
        ],
    )
    def test_a_redis_that_lets_nobody_in_is_no_error_of_the_caller(
        self,
        on_redis: OnRedis,
        redis_server: RedisServer,
        break_it: list[str],
        mend_it: list[str],
    ) -> None:
        publisher = on_redis()
        with redis_server.client() as client:
            client.execute_command("CONFIG", "SET", *break_it)
            publisher.send("group", {})
            assert publisher.flush(5)
            assert publisher.dropped == 1
            client.execute_command("CONFIG", "SET", *mend_it)
        wait_until(partial(gets_through, publisher), within=10)
