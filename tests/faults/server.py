"""`python -m tests.faults.server`: the project's server, with points where it breaks.

It answers /test/probe with its numbers, arranges what is posted to /test/failpoints,
and /test/slow when a slow query has ended that a view might make.
"""

import asyncio
import json
import sys
import threading
from collections import Counter
from typing import Any

from asgiref.sync import sync_to_async
from django.db.backends.base.base import BaseDatabaseWrapper

from server import launch
from tests.faults import failpoints

# While a slow query is made.
_slow = threading.Event()


def numbers() -> dict[str, Any]:
    """What this process holds, as its event loop sees it."""
    from realtime.hub import running_hubs  # noqa: PLC0415 -- needs the apps
    from realtime.publishing import get_publisher  # noqa: PLC0415

    hubs = running_hubs()
    feeds = [feed for hub in hubs for feed in hub.feeds.values()]
    tasks = Counter(
        getattr(task.get_coro(), "__qualname__", "?") for task in asyncio.all_tasks()
    )
    return {
        "tasks": dict(tasks),
        "threads": Counter(
            thread.name.rstrip("0123456789_-") for thread in threading.enumerate()
        ),
        "feeds": len(feeds),
        "sockets": sum(len(feed.sockets) for feed in feeds),
        "groups": sum(feed.member for feed in feeds),
        "repairs": sum(hub.repairs for hub in hubs),
        "dropped": get_publisher().dropped,
        "slow": _slow.is_set(),
        "reads": failpoints.count("read"),
    }


def make_slow_query() -> None:
    """Keep the thread that all synchronous code of the process shares, for 2 s."""
    from django.db import connection  # noqa: PLC0415 -- needs the apps

    _slow.set()
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_sleep(2)")
    _slow.clear()


def wrap(application: Any) -> Any:
    """Answer for the tests; everything else is the application's."""

    async def wrapped(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http" or not scope["path"].startswith("/test/"):
            await application(scope, receive, send)
            return
        if scope["path"] == "/test/failpoints":
            failpoints.arrange(**json.loads((await receive())["body"]))
        if scope["path"] == "/test/slow":
            await sync_to_async(make_slow_query)()
        body = json.dumps(numbers()).encode()
        start = {"type": "http.response.start", "status": 200, "headers": []}
        await send(start)
        await send({"type": "http.response.body", "body": body})

    return wrapped


def main() -> int:
    prepare = launch.prepare

    def prepare_and_break() -> None:
        prepare()
        failpoints.install()
        import asgi  # noqa: PLC0415 -- needs the apps

        asgi.application = wrap(asgi.application)

    launch.prepare = prepare_and_break
    # With DEBUG each connection keeps its last 9,000 queries, which looks like a leak.
    BaseDatabaseWrapper.queries_limit = 0
    return launch.main([])


if __name__ == "__main__":
    sys.exit(main())
