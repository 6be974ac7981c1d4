"""The canary: a message to itself, by which a process notices that the broker fails.

No layer tells. Redis pub/sub drops whoever is not connected, publishes to nobody with
success, and reconnects without a word. So each hub sends itself a message every two
seconds, through the broker, and waits for it. When none comes, the reconciler is woken
and becomes the push; when they come again, groups are joined again and one check finds
what was lost meanwhile.
"""

from __future__ import annotations

import asyncio
import logging
import random
from uuid import uuid4

from . import metrics
from .hub import Hub, running_hubs

logger = logging.getLogger("realtime")

PERIOD_SECONDS = 2
# How long one may be under way.
PATIENCE_SECONDS = 1
# A loop that was busy itself sees that the time is up before it sees what has come.
GRACE_SECONDS = 0.1
# So many in a row, and the broker is trusted again; the first is no proof, where
# connections are cut again and again.
TRUSTED_AFTER = 3
# When so many in a row are lost, half a minute, connections are made anew; and then
# ever more rarely, because channels_redis remembers each layer.
RENEWED_AFTER = 10
# A broker may forget who is in a group: channels_redis' RedisChannelLayer after a day.
REJOIN_SECONDS = 6 * 60 * 60


class LostError(Exception):
    """The broker took a message to this process, and did not bring it."""


async def probe(hub: Hub) -> float:
    """
    Send *hub* a message through the broker; return the seconds until it was there.

    Any number may be under way at once.

    Raises:
        LostError: it did not come within `PATIENCE_SECONDS`.
        Exception: the broker did not take it; layers raise what they like.
    """
    channel = await hub.broker.find_channel()
    name = uuid4().hex
    begun = hub.loop.time()
    arrival = hub.broker.echoes[name] = hub.loop.create_future()
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            await hub.broker.layer.send(channel, {"type": "themis.echo", "name": name})
        left = begun + PATIENCE_SECONDS - hub.loop.time()
        for patience in (left, GRACE_SECONDS):
            await asyncio.wait([arrival], timeout=max(patience, 0))
        if not arrival.done():
            raise LostError
    finally:
        hub.broker.echoes.pop(name, None)
    return hub.loop.time() - begun


async def watch_broker(hub: Hub) -> None:
    """Notice, for ever, when the broker of *hub* fails and when it is back."""
    if hub.broker.is_local:
        return
    in_a_row = lost = 0
    renewed_after = RENEWED_AFTER
    joined_at = hub.loop.time()
    while True:
        # Several processes should not send all at once.
        await asyncio.sleep(PERIOD_SECONDS * random.uniform(0.8, 1))  # noqa: S311 -- no secret
        try:
            took = await probe(hub)
            in_a_row += 1
            is_back = hub.broker.is_failing and in_a_row == 1
            if is_back or hub.loop.time() - joined_at > REJOIN_SECONDS:
                await hub.broker.join_again()
                joined_at = hub.loop.time()
            else:
                await hub.broker.join_missing()
        except Exception as error:  # noqa: BLE001 -- layers raise what they like
            in_a_row = 0
            lost += 1
            _fail(hub, error)
            if lost >= renewed_after:
                renewed_after *= 2
                await hub.broker.renew()
        else:
            lost, renewed_after = 0, RENEWED_AFTER
            metrics.CANARY.observe(took)
            if is_back:
                # What was published while connections came back reached nobody.
                hub.suspicion.set()
            if hub.broker.is_failing and in_a_row >= TRUSTED_AFTER:
                hub.broker.is_failing = False
                logger.warning(
                    "The broker brings messages again.", extra={"event": "broker_back"}
                )


def _fail(hub: Hub, error: Exception) -> None:
    metrics.LOST_CANARIES.add()
    hub.broker.answers = False
    if hub.broker.is_failing:
        return
    hub.broker.is_failing = True
    hub.suspicion.set()
    logger.warning(
        "The broker does not bring messages, so the database is asked: %r",
        error,
        extra={"event": "broker_lost"},
    )


@metrics.BROKER_UP.read_by
def _count_hubs_that_work() -> int:
    return int(not any(hub.broker.is_failing for hub in running_hubs()))
