"""The watch: closes the sockets of sessions that have ended, whatever ended them.

Most ends are heard of at once (see `logouts`). A session that expires, a row deleted by
hand or an account deactivated by an UPDATE tells nobody; so all are read anew once per
interval. And news gets lost: they are hints, this is the rule.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Collection
from itertools import islice

from themis.conf import settings

from . import sessions
from .feeds import Feed
from .hub import Hub
from .readers import DatabaseLostError
from .sessions import Login

logger = logging.getLogger("realtime")

LOGINS_PER_READ = 1_000
# A host may save its users at each request: no reason to read as often.
PAUSE_SECONDS = 0.1
SHORTEST_SECONDS = 0.1
LONGEST_SECONDS = 24 * 60 * 60


async def watch(hub: Hub) -> None:
    """Watch the sessions of *hub*'s sockets, for ever."""
    while True:
        interval = settings.session_check_interval
        interval = min(max(interval, SHORTEST_SECONDS), LONGEST_SECONDS)
        # Several processes on one database should not ask all at once.
        pause = interval * random.uniform(0.75, 0.95)  # noqa: S311 -- no secret
        await _answer_news(hub, until=hub.loop.time() + pause)
        hub.endings.forget()
        await check(hub, hub.feeds.values())


async def _answer_news(hub: Hub, *, until: float) -> None:
    """Look at the users whom the hub is told of, until the next full check is due."""
    while hub.loop.time() < until:
        try:
            async with asyncio.timeout_at(until):
                await hub.endings.news.wait()
        except TimeoutError:
            return
        users = hub.endings.take()
        await check(hub, [hub.feeds[key] for key in users if key in hub.feeds])
        await asyncio.sleep(PAUSE_SECONDS)


async def check(hub: Hub, feeds: Collection[Feed]) -> None:
    """
    Close the sockets of *feeds* whose sessions have ended, with 4401.

    What can't be read is logged, and goes on.
    """
    logins = iter(
        {
            socket.login
            for feed in feeds
            for socket in feed.sockets
            if socket.login is not None
        }
    )
    try:
        while chunk := list(islice(logins, LOGINS_PER_READ)):
            await _check(hub, chunk)
    except DatabaseLostError:
        return


async def _check(hub: Hub, logins: list[Login]) -> None:
    try:
        ended = await hub.read(sessions.find_ended, logins)
    except DatabaseLostError:
        raise
    except Exception:
        if len(logins) == 1:
            logger.exception(
                "A session could not be read; the next check follows.",
                extra={"event": "sessions_failed"},
            )
            return
        # One that the host's own code can't read must not protect the others.
        half = len(logins) // 2
        await _check(hub, logins[:half])
        await _check(hub, logins[half:])
    else:
        for login in ended:
            _close(hub, login)


def _close(hub: Hub, login: Login) -> None:
    feed = hub.feeds.get(str(login.user))
    if feed is not None:
        feed.sign_out(lambda other: other == login)
