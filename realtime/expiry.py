"""Expiry at the second: what falls due in the mailboxes of users connected here.

An expiry is no write, so nobody stamps it and nothing is pushed. Each hub knows when
the next one comes, from the states that it reads, the pushes and the reconciler; it
sleeps until then and stamps, for all users concerned in one go. While nothing falls due
the database is not asked.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from typing import Any

from django.utils import timezone

from themis import mailbox

from .feeds import Feed
from .hub import Hub
from .readers import DatabaseLostError

logger = logging.getLogger("realtime")

# After the moment: what expires together is stamped together, and of several processes
# one does it before the next asks.
SPREAD_SECONDS = (0.05, 0.25)
# When to look again after what others are stamping just then, or what failed.
RETRY_SECONDS = 1.0
# The longest sleep: clocks are set, and a computer sleeps.
LONGEST_SECONDS = 5.0
USERS_PER_QUERY = 1_000


async def expire(hub: Hub) -> None:
    """Stamp what falls due in the mailboxes of *hub*'s pages, for ever."""
    while True:
        await _wait_for_due(hub)
        await asyncio.sleep(random.uniform(*SPREAD_SECONDS))  # noqa: S311 -- no secret
        try:
            await stamp_due(hub)
        except DatabaseLostError:
            logger.debug("What has expired could not be stamped; it is tried again.")
        except Exception:
            logger.exception(
                "What has expired could not be stamped; it is tried again.",
                extra={"event": "expiry_failed"},
            )


async def _wait_for_due(hub: Hub) -> None:
    while True:
        dues = [feed.due for feed in hub.feeds.values() if feed.due is not None]
        hub.next_due = min(dues, default=None)
        hub.due_earlier.clear()
        left = LONGEST_SECONDS
        if hub.next_due is not None:
            left = min(left, hub.next_due - timezone.now().timestamp())
        if left <= 0:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(left):
                await hub.due_earlier.wait()


async def stamp_due(hub: Hub) -> None:
    """Stamp what is due by now, and learn what comes next."""
    now = timezone.now().timestamp()
    feeds: dict[Any, Feed] = {}
    for feed in hub.feeds.values():
        if feed.due is not None and feed.due <= now:
            feed.due = None
            # Whoever comes back reads the state, and the time with it.
            if feed.sockets:
                feeds[feed.user] = feed
    users = list(feeds)
    try:
        for start in range(0, len(users), USERS_PER_QUERY):
            chunk = users[start : start + USERS_PER_QUERY]
            positions = await hub.read(mailbox.stamp_due, chunk)
            for user in chunk:
                _learn(feeds.pop(user), positions.get(user))
    finally:
        for feed in feeds.values():
            feed.note_due(now + RETRY_SECONDS)


def _learn(feed: Feed, position: mailbox.Standing | None) -> None:
    if position is None:
        feed.sign_out()
    elif position.next_expiry_at is not None:
        now = timezone.now().timestamp()
        due = position.next_expiry_at.timestamp()
        # What is still due is being stamped by somebody else, or was too much.
        feed.note_due(due if due > now else now + RETRY_SECONDS)
