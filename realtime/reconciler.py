"""The reconciler: finds and repairs every loss, whatever caused it.

Pushes get lost: a broker restarts, a process dies between commit and push, a shell has
no broker at all. So each server process compares, once per interval, what its pages
were told with what the database says, and stamps what nobody has stamped.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from typing import Any

from themis import mailbox
from themis.conf import settings

from . import metrics
from .feeds import Feed
from .hub import Hub
from .readers import DatabaseLostError

logger = logging.getLogger("realtime")

HEALTHY_SECONDS = 15
# Where the broker fails, or can't reach other processes, this is the push. And where
# the database fails, what was lost with it is repaired so soon after it is back.
DEGRADED_SECONDS = 2
# What is younger may still be on its way through the broker.
ON_ITS_WAY_SECONDS = 0.1
SHORTEST_SECONDS = 0.1
SPREAD_SECONDS = (0.1, 0.3)
USERS_PER_QUERY = 1_000


def interval_of(hub: Hub) -> float:
    """Return how many seconds pass until the next check of *hub*."""
    if settings.check_interval is not None:
        # 0 would ask the database without a pause.
        return max(settings.check_interval, SHORTEST_SECONDS)
    sick = hub.broker.channel is None or hub.broker.is_failing or hub.is_database_down
    if hub.broker.is_local or sick:
        return DEGRADED_SECONDS
    return HEALTHY_SECONDS


async def reconcile(hub: Hub) -> None:
    """Check *hub* for ever, once per interval and whenever a check is wanted."""
    begun = hub.loop.time()
    while True:
        # Several processes on one database should not ask all at once.
        pause = interval_of(hub) * random.uniform(0.75, 0.95)  # noqa: S311 -- no secret
        # From one beginning to the next: a check of many mailboxes takes a while.
        left = max(begun + pause - hub.loop.time(), pause / 4)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(left):
                await hub.suspicion.wait()
                # Other connections are lost one by one; other processes lose theirs at
                # the same moment.
                await asyncio.sleep(random.uniform(*SPREAD_SECONDS))  # noqa: S311 -- no secret
        hub.suspicion.clear()
        begun = hub.loop.time()
        try:
            await check(hub)
        except Exception:
            metrics.FAILED_CHECKS.add()
            logger.exception(
                "A check of the mailboxes failed; the next one follows.",
                extra={"event": "check_failed"},
            )
        metrics.CHECKS.observe(hub.loop.time() - begun)


async def check(hub: Hub) -> None:
    """Repair what pages of *hub* have missed, and stamp what waits anywhere."""
    try:
        await _repair(hub)
    except DatabaseLostError:
        metrics.FAILED_CHECKS.add()
        logger.debug("The mailboxes could not be checked; the next one follows.")


async def _repair(hub: Hub) -> None:
    metrics.WAITING.set(await hub.read(mailbox.count_waiting))
    await hub.read(mailbox.stamp_waiting)
    feeds = {feed.user: feed for feed in hub.feeds.values() if feed.sockets}
    users = list(feeds)
    behind: list[Feed] = []
    for start in range(0, len(users), USERS_PER_QUERY):
        chunk = users[start : start + USERS_PER_QUERY]
        # Before the question, so that the answer can't be older.
        told = {user: feeds[user].told() for user in chunk}
        positions = await hub.read(mailbox.positions, chunk)
        await _renew_epochs(hub, _find_rewinds(told, positions), feeds)
        late = {}
        for user in chunk:
            if user not in positions:
                feeds[user].sign_out()
                continue
            epoch, revision, due = positions[user]
            feeds[user].note_due(due)
            if feeds[user].is_behind(epoch, revision):
                late[user] = (epoch, revision)
        if late:
            await asyncio.sleep(ON_ITS_WAY_SECONDS)
        behind += [feeds[user] for user in late if feeds[user].is_behind(*late[user])]
    for feed in behind:
        feed.catch_up()
    if behind:
        hub.repairs += len(behind)
        metrics.REPAIRS.add(count=len(behind))
        log = logger.debug if hub.broker.is_local else logger.warning
        extra = {"event": "repaired", "mailboxes": len(behind)}
        log("Repaired %d mailboxes whose push was lost.", len(behind), extra=extra)


def _find_rewinds(
    told: dict[Any, dict[str, int]], positions: dict[Any, mailbox.Standing]
) -> dict[Any, tuple[str, int]]:
    """Return what pages were told that their mailboxes have not reached."""
    rewinds = {}
    for user, standing in positions.items():
        revision = told[user].get(standing.epoch, 0)
        if revision > standing.revision:
            rewinds[user] = (standing.epoch, revision)
    return rewinds


async def _renew_epochs(
    hub: Hub, rewinds: dict[Any, tuple[str, int]], feeds: dict[Any, Feed]
) -> None:
    """Begin anew with the pages of mailboxes that have gone back."""
    if rewinds:
        await hub.read(mailbox.renew_epochs, rewinds)
    for user in rewinds:
        feeds[user].catch_up()
