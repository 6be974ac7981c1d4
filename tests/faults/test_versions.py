"""Two versions of the code at once, as during every deployment: no close, no loss."""

import asyncio
from typing import Any

import redis
from channels_redis.pubsub import RedisPubSubChannelLayer

from realtime.groups import EVERY_HUB, group_of
from tests.clients import Page, sign_in
from tests.conftest import MakeDatabase, Serve
from tests.faults.conftest import StartSender
from tests.processes import DaphneServer, RedisServer
from tests.waiting import await_until

# A check each second, so that what only it can repair is soon repaired.
SOON = {"THEMIS_REALTIME_CHECK_INTERVAL": "1"}


async def test_a_process_of_another_version_closes_nothing_and_loses_nothing(
    redis_server: RedisServer,
    make_database: MakeDatabase,
    serve: Serve,
    start_sender: StartSender,
) -> None:
    database = make_database()
    server = serve(database, redis_url=redis_server.url, env=SOON)
    sender = start_sender(server)
    # Whose pushes this server does not understand: it may as well send none.
    newer = DaphneServer(database_url=database, env={"DJANGO_DEBUG": "1"})
    stranger = start_sender(newer)
    layer = RedisPubSubChannelLayer(hosts=[redis_server.url])
    async with Page(server, sign_in(server)) as page:
        with redis_server.client() as client, client.pubsub() as listener:
            listener.psubscribe("asgi__group__themis.user.*")
            await asyncio.to_thread(sender.notify, "ada", "first")
            push = layer.deserialize(await await_until(lambda: _data_of(listener)))
            group = group_of(push["user"])
            await page.rings("first")
            for message in _strange_forms_of(push):
                await layer.group_send(group, message)
                bundle = [message, 7, None, {**push, "later": 1}]
                await layer.group_send(
                    EVERY_HUB, {"type": "themis.bundle", "v": 1, "messages": bundle}
                )
            client.publish(f"asgi__group__{group}", b"\xc1")
        await asyncio.to_thread(stranger.notify, "ada", "of a newer version")
        later = {**push, "v": 2, "since": 1, "revision": 2}
        await layer.group_send(group, later)
        await page.rings("of a newer version")
        await asyncio.to_thread(sender.notify, "ada", "of this version")
        await page.rings("of this version")
        assert page.rung == ["first", "of a newer version", "of this version"]
        assert page.mirror.unread == 3
        assert not page.is_closed
    await layer.flush()
    newer.close()


def _strange_forms_of(push: dict[str, Any]) -> list[dict[str, Any]]:
    """What this version can't read, though it speaks of a revision to come."""
    ahead = {**push, "since": 1, "revision": 2}
    needed = ["type", "v", "user", "epoch", "since", "revision", "text"]
    less = [{key: ahead[key] for key in ahead if key != left} for left in needed]
    return [
        {},
        {"type": "themis.later", "v": 1},
        {"type": "themis.disconnect", "v": 2, "user": push["user"]},
        {"type": "themis.bundle", "v": 2, "messages": [ahead]},
        {**ahead, "v": 2},
        {**ahead, "revision": "2"},
        {**ahead, "text": {"type": "changes"}},
        *less,
    ]


def _data_of(listener: redis.client.PubSub) -> bytes | None:
    message = listener.get_message(ignore_subscribe_messages=True)
    return bytes(message["data"]) if message else None
