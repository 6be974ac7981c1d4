"""Metrics: each number moves with what it counts, and by as much."""

import asyncio
import math
import subprocess
import sys
import time
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import transaction
from prometheus_client.parser import text_string_to_metric_families

from realtime import hub as hub_module
from realtime import metrics
from realtime.draining import empty, send_away
from realtime.hub import Hub
from realtime.metrics import BUCKETS, CODES, METRICS, Counter, Histogram
from realtime.operations import Operations
from realtime.sockets import Socket
from tests.processes import ROOT
from tests.realtime.harness import Box, Connection, Wire, account, make_message
from tests.realtime.test_hub import Pages
from tests.realtime.test_operations import ask, host
from tests.waiting import await_until
from themis import mailbox
from themis.models import UserNotification
from themis.notifications import notify_user


async def scrape() -> dict[tuple[str, str], float]:
    """All samples as Prometheus' own parser reads them: (name, label): value."""
    answer = await ask(Operations(host), "/metrics")
    assert answer.status == 200
    return {
        (sample.name, ",".join(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(answer.body)
        for sample in family.samples
        if sample.name.startswith("themis_")
    }


class Growth:
    """How much each sample has grown since."""

    def __init__(self, before: dict[tuple[str, str], float]) -> None:
        self._before = before

    async def of(self, name: str, label: str = "") -> float:
        now = await scrape()
        return now.get((name, label), 0) - self._before.get((name, label), 0)


@pytest.fixture
async def growth() -> Growth:
    return Growth(await scrape())


class TestExposition:
    async def test_each_metric_is_shown_with_its_meaning(self) -> None:
        answer = await ask(Operations(host), "/metrics")
        assert answer.headers["content-type"].startswith("text/plain; version=")
        families = {
            family.name: family
            for family in text_string_to_metric_families(answer.body)
        }
        for metric in METRICS.values():
            family = families[metric.name.removesuffix("_total")]
            assert family.type == metric.type
            assert family.documentation == metric.meaning
            labels = {name for sample in family.samples for name in sample.labels}
            if metric.label and family.samples:
                assert labels == {metric.label}

    def test_names_are_those_that_prometheus_wants(self) -> None:
        for metric in METRICS.values():
            assert metric.name.startswith("themis_")
            assert metric.name.endswith("_total") == isinstance(metric, Counter)
            assert metric.name.endswith("_seconds") == isinstance(metric, Histogram)

    async def test_what_may_happen_is_shown_before_it_does(self) -> None:
        """So that the first one is a rise, and an alert on it fires."""
        samples = await scrape()
        for label in ("accepted", "signed_out", "wrong_origin", "malformed"):
            assert ("themis_handshakes_total", label) in samples
        assert ("themis_repairs_total", "") in samples
        assert ("themis_dropped_total", "queue_full") in samples

    def test_a_histogram_counts_up_to_each_bound(self) -> None:
        histogram = Histogram("test_seconds", "A test.")
        try:
            for seconds in (-5, 0, 0.001, 0.0011, 100):
                histogram.observe(seconds)
        finally:
            del METRICS["test_seconds"]
        counts = dict(metrics.bucket_counts(histogram))
        assert counts["0.001"] == 3
        assert counts["0.0025"] == counts[str(BUCKETS[-1])] == 4
        assert counts["+Inf"] == 5
        assert math.isclose(histogram.sum, 100.0021)


class TestSockets:
    async def test_sockets_and_users_are_counted(
        self, hub: Hub, growth: Growth
    ) -> None:
        pages, others = Pages(hub, 1, 2), Pages(hub, 2, 1)
        samples = await scrape()
        assert samples["themis_sockets", ""] == 3
        assert samples["themis_users", ""] == 2
        for socket in pages.sockets:
            hub.remove(socket, pages.feed)
        others.feed.sign_out()
        samples = await scrape()
        assert samples["themis_users", ""] == 0

    async def test_forwarded_pushes_are_counted_by_socket(
        self, hub: Hub, growth: Growth
    ) -> None:
        Pages(hub, 1, 3)
        hub.receive(make_message(1) | {"at": time.time() - 0.2})
        # Known already.
        hub.receive(make_message(1))
        hub.receive(make_message(1, user="nobody"))
        assert await growth.of("themis_pushes_total") == 2
        assert await growth.of("themis_frames_total", "push") == 3
        assert await growth.of("themis_commit_to_send_seconds_bucket", "0.1") == 0
        assert await growth.of("themis_commit_to_send_seconds_bucket", "1.0") == 1

    async def test_a_push_of_the_future_took_no_time(
        self, hub: Hub, growth: Growth
    ) -> None:
        """Clocks differ."""
        Pages(hub, 1, 1)
        hub.receive(make_message(1) | {"at": time.time() + 60})
        assert await growth.of("themis_commit_to_send_seconds_sum") == 0
        assert await growth.of("themis_commit_to_send_seconds_count") == 1

    async def test_what_was_missed_is_a_state_frame(
        self, hub: Hub, box: Box, growth: Growth
    ) -> None:
        pages = Pages(hub, 1, 2)
        box.revision = 9
        hub.receive(make_message(9, poke=True))
        await await_until(lambda: pages.revisions == [[9], [9]])
        assert await growth.of("themis_frames_total", "state") == 2
        assert await growth.of("themis_frames_total", "push") == 0

    async def test_who_is_sent_away_is_told_to_come_back(
        self, hub: Hub, growth: Growth
    ) -> None:
        Pages(hub, 1, 3)
        hub.retry_ms = 1000
        send_away(hub, Socket(Wire()))
        assert await growth.of("themis_frames_total", "restart") == 1
        assert await growth.of("themis_closes_total", "4012") == 1
        await empty(hub)
        assert await growth.of("themis_frames_total", "restart") == 4
        assert await growth.of("themis_closes_total", "4012") == 4

    async def test_pings_are_counted(
        self, hub: Hub, growth: Growth, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        Pages(hub, 1, 2)
        sleep = asyncio.sleep

        async def pass_quickly(_seconds: float) -> None:
            await sleep(0)

        monkeypatch.setattr(asyncio, "sleep", pass_quickly)
        beating = asyncio.create_task(hub._beat())
        for _ in range(hub_module.PING_SECONDS + 1):
            await sleep(0)
        beating.cancel()
        monkeypatch.undo()
        assert await growth.of("themis_frames_total", "ping") >= 2


@pytest.mark.usefixtures("hubs", "box")
class TestConversations:
    async def test_who_is_let_in(self, growth: Growth) -> None:
        async with Connection(account()) as page:
            await page.frames(1)
            page.say({"type": "ping"})
            await page.frames(2)
        assert await growth.of("themis_handshakes_total", "accepted") == 1
        assert await growth.of("themis_frames_total", "state") == 1
        assert await growth.of("themis_frames_total", "pong") == 1
        # The page went by itself.
        assert await growth.of("themis_closes_total", "1001") == 1

    @pytest.mark.parametrize(
        ("asked", "outcome", "code"),
        [
            ({"origin": "http://evil.example"}, "wrong_origin", 4403),
            ({"query": "since=x&epoch=y"}, "malformed", 4400),
        ],
    )
    async def test_who_is_not(
        self, asked: dict[str, Any], outcome: str, code: int, growth: Growth
    ) -> None:
        page = Connection(account(), **asked)
        page.start()
        assert await page.close_code() == code
        assert await growth.of("themis_handshakes_total", outcome) == 1
        assert await growth.of("themis_handshakes_total", "accepted") == 0
        assert await growth.of("themis_closes_total", str(code)) == 1

    async def test_a_close_is_counted_once(self, growth: Growth) -> None:
        socket = Socket(Wire())
        socket.close(4408)
        socket.close(4401)
        assert await growth.of("themis_closes_total", "4408") == 1
        assert await growth.of("themis_closes_total", "4401") == 0

    async def test_a_page_can_make_no_code_of_its_own(self, growth: Growth) -> None:
        before = len(metrics.CLOSES.values)
        for code in range(3000, 5000):
            metrics.count_close(code)
        assert len(metrics.CLOSES.values) <= before + len(CODES) + 1
        assert await growth.of("themis_closes_total", "other") > 1900


@pytest.mark.django_db(transaction=True)
class TestWaiting:
    def test_what_nobody_has_stamped_is_counted(self) -> None:
        ada = User.objects.create_user("ada")
        assert mailbox.count_waiting() == 0
        with transaction.atomic():
            for number in range(3):
                notify_user(ada, f"number {number}")
            ada.profile.notification_min_level = "warning"
            ada.profile.save()
            transaction.get_connection().run_on_commit.clear()
        assert mailbox.count_waiting() == 4
        mailbox.stamp_waiting()
        assert mailbox.count_waiting() == 0
        with transaction.atomic():
            UserNotification.objects.all().delete()
            transaction.get_connection().run_on_commit.clear()
        assert mailbox.count_waiting() == 3

    def test_the_count_is_bounded(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(mailbox, "COUNTED_WAITING", 2)
        ada = User.objects.create_user("ada")
        with transaction.atomic():
            for number in range(3):
                notify_user(ada, f"number {number}")
            transaction.get_connection().run_on_commit.clear()
        assert mailbox.count_waiting() == 2


def test_counting_costs_a_push_little() -> None:
    """A microsecond, within ten times of it: less than a hundredth of a delivery."""
    begun = time.perf_counter()
    try:
        for _ in range(10_000):
            metrics.PUSHES.add()
            metrics.FRAMES.add("push", 20)
            metrics.COMMIT_TO_SEND.observe(0.003)
        took = (time.perf_counter() - begun) / 10_000
    finally:
        metrics.PUSHES.add(count=-10_000)
    assert took < 10e-6


_WITHOUT_CLIENT = """
import sys
sys.modules["prometheus_client"] = None
import asyncio, os
os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
import django
django.setup()
from tests.realtime.test_operations import ask, host
from realtime.operations import Operations
answer = asyncio.run(ask(Operations(host), "/metrics"))
print(answer.status, answer.body)
"""


@pytest.mark.once
def test_everything_works_without_the_client() -> None:
    run = subprocess.run(
        [sys.executable, "-c", _WITHOUT_CLIENT],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.startswith("501 ")
