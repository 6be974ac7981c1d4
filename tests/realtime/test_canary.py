"""The canary: whether the broker brings what it takes, noticed in seconds."""

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest
from channels.layers import get_channel_layer
from pytest_django import Settings
from redis import Redis

from realtime import canary, metrics
from realtime.canary import LostError, probe, watch_broker
from realtime.groups import EVERY_HUB, group_of
from realtime.hub import Hub
from tests.processes import RedisServer
from tests.realtime.harness import Box, FakeLayer, make_message
from tests.realtime.test_hub import Pages
from tests.waiting import await_until


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(canary, "PERIOD_SECONDS", 0.02)
    monkeypatch.setattr(canary, "PATIENCE_SECONDS", 0.05)
    monkeypatch.setattr(canary, "GRACE_SECONDS", 0.02)


@pytest.fixture
async def watched(hub: Hub, layer: FakeLayer) -> AsyncIterator[Hub]:
    """A hub with a canary, after its first round."""
    watching = asyncio.create_task(watch_broker(hub))
    await await_until(lambda: rounds(layer) > 0)
    yield hub
    watching.cancel()


def rounds(layer: FakeLayer) -> int:
    return len([name for name, _ in layer.calls if name == "send"])


async def some_rounds(layer: FakeLayer, count: int = 5) -> None:
    before = rounds(layer)
    await await_until(lambda: rounds(layer) >= before + count)


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.message for r in caplog.records if r.levelno >= logging.WARNING]


def _listened(client: Redis, *, not_to: Any) -> int:
    """Return how many names Redis brings to somebody; none while it has *not_to*."""
    names: Any = client.pubsub_channels()
    return 0 if any(not_to.encode() in name for name in names) else len(names)


class TestProbe:
    async def test_it_measures_the_round_trip(self, hub: Hub) -> None:
        took = await asyncio.gather(*(probe(hub) for _ in range(10)))
        assert all(0 < seconds < 1 for seconds in took)
        assert hub.broker.echoes == {}

    async def test_what_is_not_brought_back_is_lost(
        self, hub: Hub, layer: FakeLayer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def swallow(channel: str, message: dict[str, Any]) -> None:
            del channel, message

        await hub.broker.find_channel()
        monkeypatch.setattr(layer, "send", swallow)
        with pytest.raises(LostError):
            await probe(hub)
        assert hub.broker.echoes == {}

    async def test_only_its_own_message_counts(
        self, hub: Hub, layer: FakeLayer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def repeat_an_old_one(channel: str, message: dict[str, Any]) -> None:
            del channel, message
            hub.receive({"type": "themis.echo", "name": "older"})

        await hub.broker.find_channel()
        monkeypatch.setattr(layer, "send", repeat_an_old_one)
        with pytest.raises(LostError):
            await probe(hub)

    async def test_a_broker_that_hangs_is_given_up(
        self, hub: Hub, layer: FakeLayer
    ) -> None:
        layer.gates["send"].clear()
        with pytest.raises(TimeoutError):
            await probe(hub)
        assert hub.broker.echoes == {}

    async def test_without_a_channel_it_fails(
        self, idle_hub: Hub, layer: FakeLayer
    ) -> None:
        layer.errors["new_channel"] = ConnectionRefusedError("gone")
        idle_hub.start()
        with pytest.raises(ConnectionError):
            await probe(idle_hub)


class TestWatch:
    async def test_a_broker_that_works_changes_nothing(
        self, watched: Hub, layer: FakeLayer, caplog: pytest.LogCaptureFixture
    ) -> None:
        await some_rounds(layer)
        assert not watched.broker.is_failing
        assert not watched.suspicion.is_set()
        assert metrics.BROKER_UP.read() == 1
        assert warnings(caplog) == []
        # Nobody is joined again and again.
        assert layer.calls.count(("group_add", EVERY_HUB)) == 1

    async def test_a_failure_is_noticed_by_the_first_canary(
        self, watched: Hub, layer: FakeLayer, caplog: pytest.LogCaptureFixture
    ) -> None:
        lost = metrics.LOST_CANARIES.values[""]
        layer.errors["send"] = OSError("gone")
        await await_until(lambda: watched.broker.is_failing)
        assert watched.suspicion.is_set()
        assert metrics.BROKER_UP.read() == 0
        await some_rounds(layer)
        assert metrics.LOST_CANARIES.values[""] >= lost + 5
        # Said once, however many are lost.
        assert len(warnings(caplog)) == 1
        assert "gone" in warnings(caplog)[0]

    async def test_a_broker_that_is_back_is_checked_at_once_and_trusted_later(
        self, watched: Hub, layer: FakeLayer, caplog: pytest.LogCaptureFixture
    ) -> None:
        layer.errors["send"] = OSError("gone")
        await await_until(lambda: watched.broker.is_failing)
        watched.suspicion.clear()
        layer.errors.clear()
        await await_until(watched.suspicion.is_set)
        assert watched.broker.is_failing
        watched.suspicion.clear()
        await await_until(lambda: not watched.broker.is_failing)
        # One check was enough.
        assert not watched.suspicion.is_set()
        assert len(warnings(caplog)) == 2

    async def test_one_that_comes_and_goes_is_not_trusted(
        self,
        watched: Hub,
        layer: FakeLayer,
        caplog: pytest.LogCaptureFixture,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        send, count = layer.send, 0

        async def send_two_of_three(channel: str, message: dict[str, Any]) -> None:
            nonlocal count
            count += 1
            if count % 3 == 0:
                raise OSError("gone")
            await send(channel, message)

        monkeypatch.setattr(layer, "send", send_two_of_three)
        await await_until(lambda: watched.broker.is_failing)
        await await_until(lambda: count > 15)
        assert watched.broker.is_failing
        assert len(warnings(caplog)) == 1

    async def test_groups_are_joined_again_when_it_is_back(
        self, watched: Hub, layer: FakeLayer, box: Box
    ) -> None:
        """It may have been restarted, and remember nobody."""
        pages = Pages(watched, 1, 1)
        await watched.broker.join(pages.feed)
        layer.errors["send"] = OSError("gone")
        await await_until(lambda: watched.broker.is_failing)
        layer.groups.clear()
        layer.errors.clear()
        await await_until(lambda: {EVERY_HUB, group_of("1")} <= layer.groups)
        await layer.group_send(group_of("1"), make_message(1))
        await await_until(lambda: pages.revisions == [[1]])

    async def test_groups_that_it_refused_are_joined_later(
        self, watched: Hub, layer: FakeLayer, box: Box
    ) -> None:
        layer.errors["group_add"] = OSError("refused")
        pages = Pages(watched, 1, 1)
        await watched.broker.join(pages.feed)
        assert group_of("1") not in layer.groups
        # Back again; and what was told before it was joined is not missed.
        box.revision = 1
        layer.errors.clear()
        await await_until(lambda: group_of("1") in layer.groups)
        await await_until(lambda: pages.revisions == [[1]])

    async def test_groups_are_joined_again_before_a_broker_forgets_them(
        self, watched: Hub, layer: FakeLayer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        pages = Pages(watched, 1, 1)
        await watched.broker.join(pages.feed)
        layer.groups.clear()
        monkeypatch.setattr(canary, "REJOIN_SECONDS", 0.05)
        await await_until(lambda: {EVERY_HUB, group_of("1")} <= layer.groups)

    async def test_a_page_that_comes_meanwhile_does_not_wait_for_it(
        self, watched: Hub, layer: FakeLayer
    ) -> None:
        layer.gates["send"].clear()
        layer.gates["group_add"].clear()
        await await_until(lambda: watched.broker.is_failing)
        joins = layer.calls.count(("group_add", group_of("1")))
        async with asyncio.timeout(0.5):
            await watched.broker.join(Pages(watched, 1, 1).feed)
        assert layer.calls.count(("group_add", group_of("1"))) == joins

    async def test_a_layer_in_the_process_is_not_watched(self, idle_hub: Hub) -> None:
        idle_hub.broker.layer = None
        async with asyncio.timeout(5):
            await watch_broker(idle_hub)


@pytest.mark.once
class TestDeafness:
    async def test_a_connection_that_brings_nothing_is_replaced(
        self,
        settings: Settings,
        redis_server: RedisServer,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """Nobody has closed it, so nobody but the canary knows."""
        # A busy machine is no deaf connection: the new one is not replaced as well.
        monkeypatch.setattr(canary, "PATIENCE_SECONDS", 0.5)
        monkeypatch.setattr(canary, "RENEWED_AFTER", 3)
        settings.CHANNEL_LAYERS = {
            "default": {
                "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
                "CONFIG": {"hosts": [redis_server.url]},
            }
        }
        hub = Hub()
        hub.start(watch_broker)
        pages = Pages(hub, 1, 1)
        others: Any = get_channel_layer()
        try:
            await hub.broker.join(pages.feed)
            deaf, channel = hub.broker.layer, hub.broker.channel
            (shard,) = deaf._get_layer()._shards
            # As after a TimeoutError: channels_redis never starts it again.
            shard._receive_task.cancel()
            await await_until(lambda: hub.broker.layer is not deaf)
            await await_until(lambda: hub.broker.channel and pages.feed.member)
            assert hub.broker.channel != channel
            with redis_server.client() as client:
                # Joined is who has said so; Redis may not have read it yet.
                await await_until(lambda: _listened(client, not_to=channel) == 3)
                await others.group_send(group_of("1"), make_message(1))
                await await_until(lambda: pages.wires[0].revisions == [1])
                await await_until(lambda: not hub.broker.is_failing)
                # The others', and those of a host's own consumers, are left alone.
                assert others not in {deaf, hub.broker.layer}
                assert _listened(client, not_to=channel) == 3
        finally:
            await hub.stop()
            await hub.broker.layer.flush()
            await others.flush()

    async def test_it_is_done_ever_more_rarely(
        self, watched: Hub, layer: FakeLayer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        renewed = []

        async def renew() -> None:
            renewed.append(rounds(layer))

        monkeypatch.setattr(watched.broker, "renew", renew)
        layer.errors["send"] = OSError("gone")
        before = rounds(layer)
        await await_until(lambda: len(renewed) == 3)
        assert [count - before for count in renewed] == pytest.approx(
            [10, 20, 40], abs=1
        )
