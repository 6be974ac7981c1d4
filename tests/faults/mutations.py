"""Faults put into Themis on purpose: a suite that sees nothing of them is no proof."""

import asyncio
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def set_constants(constants: Mapping[str, Any]) -> None:
    """Set constants of modules, such as "realtime.hub.LINGER_SECONDS"."""
    for path, value in constants.items():
        module, _, name = path.rpartition(".")
        assert hasattr(import_module(module), name), path
        setattr(import_module(module), name, value)


def _without_reconciler() -> None:
    from realtime import reconciler  # noqa: PLC0415 -- needs the apps

    async def check(hub: Any) -> None:
        del hub

    reconciler.check = check


def _read_before_join() -> None:
    from realtime.hub import Hub  # noqa: PLC0415 -- needs the apps

    hub: Any = Hub
    join = hub.join_group
    joining = set()

    async def join_group(self: Any, feed: Any) -> None:
        async def late() -> None:
            # What a busy server may need between two awaits.
            await asyncio.sleep(0.3)
            await join(self, feed)

        task = asyncio.create_task(late())
        joining.add(task)
        task.add_done_callback(joining.discard)

    hub.join_group = join_group


def _bump_in_the_callers_transaction() -> None:
    from django.utils import timezone  # noqa: PLC0415 -- needs the apps

    from themis import notifications, revisions  # noqa: PLC0415

    notifying: Any = notifications
    store = notifying._store_pending

    def store_pending(draft: Any, users: list[Any], using: str) -> Any:
        revisions.bump(users, timezone.now(), using)
        return store(draft, users, using)

    notifying._store_pending = store_pending


def _without_refill() -> None:
    from themis import holding, mailbox  # noqa: PLC0415 -- needs the apps

    def refill(items: list[Any], *_: object) -> list[Any]:
        return items

    for module in (holding, mailbox):
        vars(module)["refill"] = refill


MUTATIONS: dict[str, Callable[[], None]] = {
    "without the reconciler": _without_reconciler,
    "read before join": _read_before_join,
    "bump in the caller's transaction": _bump_in_the_callers_transaction,
    "without the refill": _without_refill,
}
