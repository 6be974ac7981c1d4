"""What breaks inside a server or a writer, in tests only.

The process reads `THEMIS_TEST_FAILPOINTS`, JSON of what `arrange` takes, at its start;
`arrange` can be called again at any time. Nothing of this is in the packages.
"""

import asyncio
import json
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tests.faults.mutations import mutate

VARIABLE = "THEMIS_TEST_FAILPOINTS"

# point -> at which time the process dies there.
_deaths: dict[str, int] = {}
# point -> how long everything waits there (seconds).
_pauses: dict[str, float] = {}
# What becomes of messages to groups: shares from 0 to 1.
_layer: dict[str, float] = {}
# How often each point was reached, since the last arrangement and ever.
_reached: Counter[str] = Counter()
_passed: Counter[str] = Counter()
_chance = random.Random()  # noqa: S311 -- seeded by `arrange`
# Constants that the process began with: they hold whatever is arranged.
_constants: dict[str, Any] = {}
_late: set[asyncio.Task[None]] = set()


def arrange(
    *,
    die: dict[str, int] | None = None,
    pause: dict[str, float] | None = None,
    layer: dict[str, float] | None = None,
    settings: dict[str, Any] | None = None,
    constants: dict[str, Any] | None = None,
    mutations: Sequence[str] = (),
    seed: int = 0,
) -> None:
    """
    Say what breaks from now on; what isn't named is whole again, but for settings.

    Args:
        die: "stamp" (committed, not stamped) or "publish" (stamped, not published), and
            at which time the process kills itself there, from 1.
        pause: "stamp", "publish", "join" (before a group is joined), "joined" (between
            that and the read) or "read" (read, and not sent yet), and how long.
        layer: What share of the messages to groups is: drop, duplicate, delay (and so
            reordered), unknown (preceded by one of a version that is not known).
        settings: Django settings to change.
        constants: Constants of modules to change: "realtime.hub.LINGER_SECONDS".
        mutations: Of `mutations.MUTATIONS`.
        seed: Of the choice which.
    """
    from django.conf import settings as django_settings  # noqa: PLC0415 -- if set up

    from realtime.hub import running_hubs  # noqa: PLC0415 -- needs the apps

    mutate(mutations, {**_constants, **(constants or {})})
    for name, value in (settings or {}).items():
        setattr(django_settings, name, value)
        for hub in running_hubs():
            # It sleeps by the settings as they were.
            hub.loop.call_soon_threadsafe(hub.suspicion.set)
    for known in (_deaths, _pauses, _layer, _reached):
        known.clear()
    _deaths.update(die or {})
    _pauses.update(pause or {})
    _layer.update(layer or {})
    _chance.seed(seed)


def to_environment(given: Mapping[str, Any]) -> dict[str, str]:
    """
    What a process must find in its environment to break in this way.

    Args:
        given: What `arrange` takes.
    """
    return {VARIABLE: json.dumps(dict(given))}


def count(point: str) -> int:
    """How often the process has been at a point."""
    return _passed[point]


def install() -> None:
    """Make the points, in a process whose apps are ready."""
    given: dict[str, Any] = json.loads(os.environ.get(VARIABLE, "{}"))
    _constants.update(given.pop("constants", {}))
    _install_points()
    arrange(**given)


def _reach(point: str) -> None:
    """Be at *point*, in a thread that may wait or die there."""
    _reached[point] += 1
    _passed[point] += 1
    if _deaths.get(point) == _reached[point]:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(_pauses.get(point, 0))


def _before(point: str, function: Callable[..., Any]) -> Callable[..., Any]:
    def reaching(*args: Any, **options: Any) -> Any:
        _reach(point)
        return function(*args, **options)

    return reaching


def _after(point: str, function: Callable[..., Any]) -> Callable[..., Any]:
    def reaching(*args: Any, **options: Any) -> Any:
        answer = function(*args, **options)
        _reach(point)
        return answer

    return reaching


def _install_points() -> None:
    from channels_redis.pubsub import RedisPubSubLoopLayer  # noqa: PLC0415

    from realtime.broadcasting import ChannelsBroadcaster  # noqa: PLC0415
    from realtime.broker import Broker  # noqa: PLC0415
    from themis import mailbox, ringing  # noqa: PLC0415 -- needs the apps

    # mypy: what stands in for a method is none.
    ringing._stampers[:] = [_before("stamp", stamp) for stamp in ringing._stampers]
    broadcaster: Any = ChannelsBroadcaster
    broadcaster.broadcast = _before("publish", broadcaster.broadcast)
    reading: Any = mailbox
    reading.read_state = _after("read", reading.read_state)
    broker: Any = Broker
    broker.join = _pausing_join(broker.join)
    layer: Any = RedisPubSubLoopLayer
    layer.group_send = _unreliable(layer.group_send)


def _pausing_join(join: Callable[..., Any]) -> Callable[..., Any]:
    async def pausing_join(broker: Any, feed: Any) -> None:
        await asyncio.sleep(_pauses.get("join", 0))
        await join(broker, feed)
        await asyncio.sleep(_pauses.get("joined", 0))

    return pausing_join


def _unreliable(send: Callable[..., Any]) -> Callable[..., Any]:
    async def group_send(layer: Any, group: str, message: dict[str, Any]) -> None:
        if _happens("drop"):
            return
        if _happens("unknown"):
            await send(layer, group, {**message, "v": 99, "revision": "?"})
            await send(layer, group, {"type": "themis.not.yet", "v": 1})
        if _happens("delay"):
            late = asyncio.create_task(_send_late(send, layer, group, message))
            _late.add(late)
            late.add_done_callback(_late.discard)
            return
        await send(layer, group, message)
        if _happens("duplicate"):
            await send(layer, group, message)

    return group_send


async def _send_late(
    send: Callable[..., Any], layer: Any, group: str, message: dict[str, Any]
) -> None:
    await asyncio.sleep(_chance.uniform(0.01, 0.5))
    await send(layer, group, message)


def _happens(what: str) -> bool:
    return _chance.random() < _layer.get(what, 0)
