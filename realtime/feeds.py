"""One user's sockets in this process: what they were told, and what they missed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

from django.core.exceptions import ObjectDoesNotExist

from themis.events import Changes

from . import metrics
from .protocol import CloseCode, Position
from .questions import Questions
from .readers import DatabaseLostError
from .sessions import Login
from .sockets import Push, Socket

logger = logging.getLogger("realtime")

# How long a push that is ahead waits for the one before it: senders overtake.
HOLD_SECONDS = 0.05


class Feed:
    """
    The sockets of one user, who all are told the same.

    Args:
        user: The primary key of the user.
        read: Runs a function that uses the database, off the event loop.
        on_due: Told whenever `due` has become a time, or an earlier one.
    """

    __slots__ = (
        "_ahead",
        "_on_due",
        "_questions",
        "_reading",
        "_reread",
        "_timer",
        "due",
        "kept",
        "key",
        "leaving",
        "lock",
        "member",
        "sockets",
        "user",
    )

    def __init__(
        self,
        user: Any,
        read: Callable[..., Awaitable[Any]],
        on_due: Callable[[float], object],
    ) -> None:
        self.user = user
        self.key = str(user)
        self.sockets: list[Socket] = []
        # When something in the mailbox expires, or before (in seconds, as
        # `timestamp()` counts them); None = not known of anything.
        self.due: float | None = None
        self._questions = Questions(user, read)
        self._on_due = on_due
        # Pushes that follow what no socket has been told yet.
        self._ahead: list[Push] = []
        self._timer: asyncio.TimerHandle | None = None
        self._reading: asyncio.Task[None] | None = None
        self._reread = False
        # The hub's: joins and leaves of the group, one after the other.
        self.lock = asyncio.Lock()
        self.member = False
        # The broker may have the group still: leaving it has failed.
        self.kept = False
        self.leaving: asyncio.TimerHandle | None = None

    def is_behind(self, epoch: str, revision: int) -> bool:
        """Tell whether a page of the user has not been told of *revision*."""
        return any(socket.is_behind(epoch, revision) for socket in self.sockets)

    def told(self) -> dict[str, int]:
        """Return the highest revision that a page of the user was told, by epoch."""
        highest: dict[str, int] = {}
        for socket in self.sockets:
            if socket.revision is not None:
                known = highest.get(socket.epoch, 0)
                highest[socket.epoch] = max(known, socket.revision)
        return highest

    def note_due(self, moment: datetime | float | None) -> None:
        """
        Hear when the first of what the mailbox holds expires.

        A later time than the known one changes nothing: this may be the older news.
        """
        if isinstance(moment, datetime):
            moment = moment.timestamp()
        if moment is not None and (self.due is None or moment < self.due):
            self.due = moment
            self._on_due(moment)

    def sign_out(self, has_ended: Callable[[Login], bool] | None = None) -> None:
        """Close the sockets whose login *has_ended*; or all: the user is no more."""
        for socket in self.sockets.copy():
            if has_ended is None or (socket.login and has_ended(socket.login)):
                # No longer its own, so that it is not asked for, nor counted as a page.
                self.sockets.remove(socket)
                socket.close(CloseCode.SIGNED_OUT)

    async def load(self, socket: Socket, position: Position) -> None:
        """
        Read and send what a page needs that stands at *position*.

        Raises:
            ObjectDoesNotExist: there is no such user any more.
        """
        socket.held = socket.held or []
        answer = await self._questions.ask(position)
        frame = answer.frame
        self.note_due(frame.next_expiry_at)
        socket.tell(frame.epoch, frame.revision, answer.text)
        metrics.FRAMES.add("state")
        held, socket.held = socket.held, None
        # Senders overtake each other.
        for push in sorted(held or (), key=lambda push: push.since):
            if not socket.offer(push):
                self._wait_for_gap(push)

    def push(self, push: Push) -> None:
        """Give *push* to the sockets that it follows; the others wait a bit."""
        if not self._offer(push):
            self._wait_for_gap(push)
        elif self._ahead:
            self._offer_ahead()

    def _wait_for_gap(self, push: Push) -> None:
        if push.text is None:
            self.catch_up()
            return
        self._ahead.append(push)
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(HOLD_SECONDS, self._close_gap)

    def _offer_ahead(self) -> None:
        """Offer what came too early again, the earliest first."""
        waiting = sorted(self._ahead, key=lambda push: push.since)
        self._ahead = [push for push in waiting if not self._offer(push)]

    def _close_gap(self) -> None:
        self._timer = None
        ahead, self._ahead = self._ahead, []
        if any(self.is_behind(push.epoch, push.revision) for push in ahead):
            self.catch_up()

    def catch_up(self) -> None:
        """Read what the sockets have missed, once for all of them."""
        if self._reading is not None:
            self._reread = True
            return
        self._reading = asyncio.create_task(self._catch_up())

    async def _catch_up(self) -> None:
        try:
            self._reread = True
            while self._reread:
                self._reread = False
                for epoch in {socket.epoch for socket in self._told()}:
                    await self._send_difference(epoch)
        except ObjectDoesNotExist:
            self.sign_out()
        except DatabaseLostError:
            logger.debug("The changes of a mailbox could not be read.")
        except Exception:
            # The reconciler sees that they are behind, and comes back to it.
            logger.exception(
                "The changes of a mailbox could not be read.",
                extra={"event": "read_failed"},
            )
        finally:
            self._reading = None

    async def _send_difference(self, epoch: str) -> None:
        told = [socket for socket in self._told() if socket.epoch == epoch]
        if not told:
            return
        lowest = min(socket.revision or 0 for socket in told)
        answer = await self._questions.ask(Position(lowest, epoch))
        frame = answer.frame
        self.note_due(frame.next_expiry_at)
        for socket in told:
            if not socket.is_behind(frame.epoch, frame.revision):
                continue
            # Those that a push has brought beyond `lowest` meanwhile can use it too.
            if not isinstance(frame, Changes) or frame.since <= (socket.revision or 0):
                socket.tell(frame.epoch, frame.revision, answer.text)
                metrics.FRAMES.add("state")
        # What was pushed during the read may follow it now: one lost push must not
        # cost another read for each that comes after it.
        self._offer_ahead()

    def _offer(self, push: Push) -> bool:
        """Offer *push* to all sockets; tell whether none missed one before it."""
        is_news = self.is_behind(push.epoch, push.revision)
        # A list, because all() would stop at the first that did.
        whole = all([socket.offer(push) for socket in self.sockets])  # noqa: C419
        if is_news and whole:
            # Those who read their state just now get it a bit later, or have it.
            metrics.FRAMES.add("push", len(self.sockets))
        return whole

    def _told(self) -> list[Socket]:
        return [socket for socket in self.sockets if socket.is_open]
