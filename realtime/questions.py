"""What the pages of one user ask of the mailbox, read one after the other."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from themis import mailbox
from themis.events import Changes, Frame, encode

from .protocol import Position
from .sockets import size_of

# daphne sends no message of more than 1 MiB, and breaks the connection instead. 100
# changes can be twice as much; a snapshot is at most half of it.
LARGEST_BYTES = 768 * 1024


@dataclass(frozen=True, slots=True)
class Answer:
    """A state frame, and its text."""

    frame: Frame
    text: str


@dataclass(slots=True)
class _Question:
    answer: asyncio.Future[Answer]
    waiting: int = 0


class Questions:
    """
    Reads the state of one user's mailbox, one read at a time.

    So a mailbox that somebody holds occupies one reader, however many pages the user
    has, and everybody else's pages have the others.

    Args:
        user: The primary key of the user.
        read: Runs a function that uses the database, off the event loop.
    """

    __slots__ = ("_asked", "_read", "_reading", "_user")

    def __init__(self, user: Any, read: Callable[..., Awaitable[Any]]) -> None:
        self._user = user
        self._read = read
        # What no read has begun for yet: whoever asks the same shares the answer.
        self._asked: dict[Position, _Question] = {}
        self._reading: asyncio.Task[None] | None = None

    async def ask(self, position: Position) -> Answer:
        """
        Return what a page needs that stands at *position*, by a read that begins now.

        Changes of more than `LARGEST_BYTES` are left out for a snapshot.

        Raises:
            ObjectDoesNotExist: there is no such user any more.
        """
        question = self._asked.get(position)
        if question is None:
            answer = asyncio.get_running_loop().create_future()
            question = self._asked[position] = _Question(answer)
            if self._reading is None:
                self._reading = asyncio.create_task(self._read_all())
        question.waiting += 1
        try:
            return await asyncio.shield(question.answer)
        finally:
            question.waiting -= 1
            # Pages that have gone need no read. One that has begun is waited for by
            # the next, lest a page that comes and goes occupies every reader.
            if not question.waiting and self._asked.get(position) is question:
                del self._asked[position]

    async def _read_all(self) -> None:
        try:
            while self._asked:
                position = next(iter(self._asked))
                answer = self._asked.pop(position).answer
                try:
                    found = await self._find(position)
                    if (
                        isinstance(found.frame, Changes)
                        and size_of(found.text) > LARGEST_BYTES
                    ):
                        found = await self._find(Position())
                    answer.set_result(found)
                except Exception as error:  # noqa: BLE001 -- for those who asked
                    answer.set_exception(error)
                    # Seen, even where all of them have gone.
                    answer.exception()
        finally:
            self._reading = None

    async def _find(self, position: Position) -> Answer:
        frame = await self._read(
            mailbox.read_state,
            self._user,
            since=position.since,
            epoch=position.epoch,
        )
        return Answer(frame, encode(frame.to_wire()))
