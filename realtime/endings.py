"""What a hub has heard of sessions that end, before the database has the last word."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from .sessions import Login

# A logout is announced before Django deletes the session; until that has surely
# happened, the hub's memory stands for it.
REMEMBERED_SECONDS = 60


class Endings:
    """
    The sessions that have ended, and the users to look at again.

    Args:
        now: The clock of the hub's loop, in seconds.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        # By digest and by user: when they were heard of.
        self._ended: dict[str, float] = {}
        self._doubted: dict[str, float] = {}
        self._waiting: set[str] = set()
        # Set while somebody waits to be looked at.
        self.news = asyncio.Event()

    def end(self, digest: str) -> None:
        """Refuse the session called *digest* from now on."""
        self._ended[digest] = self._now()

    def has_ended(self, login: Login) -> bool:
        """Tell whether the session of *login* is known to have ended."""
        return login.digest in self._ended

    def doubt(self, user: str) -> None:
        """Have the sessions of *user*, by its key, looked at as soon as possible."""
        self._doubted[user] = self._now()
        self._waiting.add(user)
        self.news.set()

    def doubt_again(self, user: str, *, since: float) -> None:
        """Doubt *user* if that has been done after *since*, without this socket."""
        if self._doubted.get(user, float("-inf")) >= since:
            self.doubt(user)

    def take(self) -> set[str]:
        """Return the users to look at, who wait no longer."""
        self.news.clear()
        waiting, self._waiting = self._waiting, set()
        return waiting

    def forget(self) -> None:
        """Forget what is so old that a fresh read tells it."""
        oldest = self._now() - REMEMBERED_SECONDS
        for memory in (self._ended, self._doubted):
            for name in [name for name, at in memory.items() if at < oldest]:
                del memory[name]
