"""The broadcaster: what leaves for the channel layer, and what the caller pays."""

import asyncio
import dataclasses
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from channels_redis.serializers import registry
from django.test import RequestFactory
from django.urls import set_script_prefix
from pytest_django import Settings

from realtime import broadcasting
from realtime.broadcasting import (
    BUNDLE_LENGTH,
    MAX_PUSH_BYTES,
    ChannelsBroadcaster,
    to_message,
)
from realtime.groups import EVERY_HUB, group_of
from realtime.hub import Hub
from realtime.publishing import BUNDLE
from tests.realtime.harness import EPOCH, FakeLayer
from tests.realtime.test_hub import Pages
from tests.waiting import await_until
from themis.broadcasters import get_broadcaster
from themis.events import Changes, encode
from themis.models import UserNotification


def make_changes(
    revision: int = 1,
    *,
    user: object = 1,
    items: Sequence[UserNotification] = (),
    whole: bool = True,
) -> Changes:
    return Changes(
        user_key=str(user),
        epoch=EPOCH,
        since=revision - 1,
        revision=revision,
        unread=1,
        items=items,
        removed=[],
        whole=whole,
        now=datetime(2030, 1, 1, tzinfo=UTC),
        poll_interval=60,
        desktop=False,
    )


def make_item(message: str) -> UserNotification:
    return UserNotification(pk=1, title="title", message=message, created_revision=1)


class TestMessage:
    def test_it_carries_the_numbers_and_the_text_of_the_frame(self) -> None:
        changes = make_changes(7, user="ada")
        message = to_message(changes)
        assert message == {
            "type": "themis.push",
            "v": 1,
            "user": "ada",
            "epoch": EPOCH,
            "since": 6,
            "revision": 7,
            "text": encode(changes.to_wire()),
            "at": changes.now.timestamp(),
            "due": None,
        }

    def test_it_tells_when_the_next_item_expires(self) -> None:
        moment = datetime(2030, 1, 2, tzinfo=UTC)
        changes = dataclasses.replace(make_changes(7), next_expiry_at=moment)
        assert to_message(changes)["due"] == moment.timestamp()
        # The pages are told nothing of it: the wire format is fixed.
        assert to_message(changes)["text"] == to_message(make_changes(7))["text"]

    def test_over_a_hundred_rows_it_is_a_poke(self) -> None:
        message = to_message(make_changes(7, whole=False))
        assert message["text"] is None
        assert (message["since"], message["revision"]) == (6, 7)

    @pytest.mark.parametrize("character", ["a", "ü", "€", "𝄞"])
    @pytest.mark.parametrize("over", [0, 1])
    def test_over_32_kib_it_is_a_poke(self, character: str, over: int) -> None:
        width = len(character.encode())
        bare = len(encode(make_changes(items=[make_item("")]).to_wire()).encode())
        room = MAX_PUSH_BYTES - bare
        body = character * (room // width) + "a" * (room % width + over)
        message = to_message(make_changes(items=[make_item(body)]))
        if over:
            assert message["text"] is None
        else:
            assert len(message["text"].encode()) == MAX_PUSH_BYTES

    def test_redis_takes_it(self) -> None:
        serializer = registry.get_serializer("msgpack")
        message = to_message(make_changes(items=[make_item("ü €")]))
        assert serializer.deserialize(serializer.serialize(message)) == message
        assert json.loads(message["text"])["items"][0]["message"] == "ü €"


class TestBroadcasting:
    async def test_within_the_process_the_hub_is_told_from_any_thread(
        self, idle_hub: Hub, settings: Settings
    ) -> None:
        idle_hub.broker.layer = None
        idle_hub.start()
        pages = Pages(idle_hub, 1, 2)
        changes = [make_changes(1), make_changes(2), make_changes(1, user=2)]
        await asyncio.to_thread(ChannelsBroadcaster().broadcast, changes)
        await await_until(lambda: pages.revisions == [[1, 2]] * 2)
        # No layer at all is one within the process, too.
        settings.CHANNEL_LAYERS = {}
        await asyncio.to_thread(ChannelsBroadcaster().broadcast, [make_changes(3)])
        await await_until(lambda: pages.revisions == [[1, 2, 3]] * 2)

    async def test_sockets_of_the_gone_are_closed_from_any_thread(
        self, idle_hub: Hub
    ) -> None:
        idle_hub.broker.layer = None
        idle_hub.start()
        gone, here = Pages(idle_hub, "ada", 2), Pages(idle_hub, "grace", 1)
        await asyncio.to_thread(ChannelsBroadcaster().disconnect, ["ada", "nobody"])
        await await_until(
            lambda: [wire.close_code for wire in gone.wires] == [4401, 4401]
        )
        assert here.wires[0].close_code is None

    def test_a_hub_whose_loop_has_ended_is_no_error(self) -> None:
        async def start() -> Hub:
            hub = Hub()
            hub.broker.layer = None
            hub.start()
            return hub

        with asyncio.Runner() as runner:
            hub = runner.run(start())
        ChannelsBroadcaster().broadcast([make_changes()])
        assert hub.loop.is_closed()

    async def test_others_are_told_through_the_layer(
        self, monkeypatch: pytest.MonkeyPatch, layer: FakeLayer
    ) -> None:
        published: list[tuple[str, Any]] = []

        class Publisher:
            def send(self, group: str, message: dict[str, Any]) -> None:
                published.append((group, message))

        monkeypatch.setattr(broadcasting, "get_channel_layer", lambda: layer)
        monkeypatch.setattr(broadcasting, "get_publisher", Publisher)
        changes = [make_changes(1, user="ada"), make_changes(4, user="grace")]
        ChannelsBroadcaster().broadcast(changes)
        assert published == [
            (group_of("ada"), to_message(changes[0])),
            (group_of("grace"), to_message(changes[1])),
        ]
        published.clear()
        ChannelsBroadcaster().disconnect(["ada"])
        message = {"type": "themis.disconnect", "v": 1, "user": "ada"}
        assert published == [(group_of("ada"), message)]

    async def test_many_at_once_go_to_all_hubs_together(
        self, monkeypatch: pytest.MonkeyPatch, layer: FakeLayer
    ) -> None:
        """And each hub takes out what concerns its pages, in order."""
        published: list[tuple[str, Any]] = []

        class Publisher:
            def send(self, group: str, message: dict[str, Any]) -> None:
                published.append((group, message))

        monkeypatch.setattr(broadcasting, "get_channel_layer", lambda: layer)
        monkeypatch.setattr(broadcasting, "get_publisher", Publisher)
        changes = [make_changes(user=number) for number in range(7, 7 + BUNDLE)]
        changes += [make_changes(2, user=7)]
        ChannelsBroadcaster().broadcast(changes)
        ((group, bundle),) = published
        assert group == EVERY_HUB
        assert bundle["messages"] == [to_message(change) for change in changes]
        hub = Hub()
        pages = Pages(hub, 7, 2)
        hub.receive(bundle)
        assert pages.revisions == [[1, 2]] * 2

    def test_a_bundle_is_bounded(
        self, monkeypatch: pytest.MonkeyPatch, layer: FakeLayer
    ) -> None:
        """Brokers and hubs don't like messages of many megabytes."""
        sent: list[list[dict[str, Any]]] = []

        class Publisher:
            def send(self, group: str, message: dict[str, Any]) -> None:
                assert group == EVERY_HUB
                sent.append(message["messages"])

        monkeypatch.setattr(broadcasting, "get_channel_layer", lambda: layer)
        monkeypatch.setattr(broadcasting, "get_publisher", Publisher)
        long = make_item("x" * 30_000)
        changes = [make_changes(user=number, items=[long]) for number in range(100)]
        ChannelsBroadcaster().broadcast(changes)
        assert [message["user"] for bundle in sent for message in bundle] == [
            str(number) for number in range(100)
        ]
        for bundle in sent:
            length = sum(len(message["text"]) for message in bundle)
            assert length < BUNDLE_LENGTH + MAX_PUSH_BYTES


class TestSocketUrl:
    @pytest.fixture
    def request_of_a_page(self) -> Any:
        return RequestFactory().get("/")

    def test_it_is_the_path_of_the_routing(self, request_of_a_page: Any) -> None:
        broadcaster = get_broadcaster()
        assert isinstance(broadcaster, ChannelsBroadcaster)
        assert broadcaster.socket_url(request_of_a_page) == "/ws/notifications/"

    def test_it_is_under_the_prefix_of_the_site(self, request_of_a_page: Any) -> None:
        set_script_prefix("/intranet/")
        try:
            url = ChannelsBroadcaster().socket_url(request_of_a_page)
        finally:
            set_script_prefix("/")
        assert url == "/intranet/ws/notifications/"

    def test_it_is_what_the_setting_says(
        self, request_of_a_page: Any, settings: Settings
    ) -> None:
        settings.THEMIS_REALTIME_URL = "wss://push.example/ws/"
        url = ChannelsBroadcaster().socket_url(request_of_a_page)
        assert url == "wss://push.example/ws/"
