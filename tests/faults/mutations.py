"""Faults put into Themis on purpose: a suite that sees nothing of them is no proof."""

import asyncio
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

_present = ExitStack()


def mutate(names: Collection[str], constants: Mapping[str, Any]) -> None:
    """Have these mutations and constants, and no others."""
    _present.close()
    for name in names:
        _present.enter_context(MUTATIONS[name]())
    for path, value in constants.items():
        _present.enter_context(patch(path, value))


@contextmanager
def _without_reconciler() -> Iterator[None]:
    async def check(hub: Any) -> None:
        del hub

    with patch("realtime.reconciler.check", check):
        yield


@contextmanager
def _read_before_join() -> Iterator[None]:
    from realtime.broker import Broker  # noqa: PLC0415 -- needs the apps

    join: Any = Broker.join
    joining = set()

    async def join_late(self: Any, feed: Any) -> None:
        async def late() -> None:
            # What a busy server may need between two awaits.
            await asyncio.sleep(0.3)
            await join(self, feed)

        task = asyncio.create_task(late())
        joining.add(task)
        task.add_done_callback(joining.discard)

    with patch.object(Broker, "join", join_late):
        yield


@contextmanager
def _bump_in_the_callers_transaction() -> Iterator[None]:
    from django.utils import timezone  # noqa: PLC0415 -- needs the apps

    from themis import notifications, revisions  # noqa: PLC0415

    store = notifications._store_pending

    def store_pending(draft: Any, users: list[Any], using: str) -> Any:
        revisions.bump(users, timezone.now(), using)
        return store(draft, users, using)

    with patch.object(notifications, "_store_pending", store_pending):
        yield


@contextmanager
def _without_refill() -> Iterator[None]:
    def refill(items: list[Any], *_: object) -> list[Any]:
        return items

    with patch("themis.holding.refill", refill), patch("themis.mailbox.refill", refill):
        yield


MUTATIONS: dict[str, Callable[[], AbstractContextManager[None]]] = {
    "without the reconciler": _without_reconciler,
    "read before join": _read_before_join,
    "bump in the caller's transaction": _bump_in_the_callers_transaction,
    "without the refill": _without_refill,
}
