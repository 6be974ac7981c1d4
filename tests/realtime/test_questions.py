"""One user's reads: one at a time, and shared by those who ask the same."""

import asyncio
import json
import threading
from typing import Any

import pytest

from realtime.protocol import Position
from realtime.questions import Answer, Questions
from realtime.readers import Readers
from tests.realtime.harness import EPOCH, Box
from tests.waiting import await_until


class CountingReaders:
    """Real threads; how many are at work at once, and at most were."""

    def __init__(self) -> None:
        self._readers = Readers()
        self._lock = threading.Lock()
        self.busy = self.busiest = 0

    async def read(self, function: Any, *args: Any, **kwargs: Any) -> Any:
        def counted() -> Any:
            with self._lock:
                self.busy += 1
                self.busiest = max(self.busiest, self.busy)
            try:
                return function(*args, **kwargs)
            finally:
                with self._lock:
                    self.busy -= 1

        return await self._readers.read(counted)

    async def close(self) -> None:
        await self._readers.close()


@pytest.fixture
async def readers() -> Any:
    readers = CountingReaders()
    yield readers
    await readers.close()


@pytest.fixture
def questions(readers: CountingReaders) -> Questions:
    return Questions(1, readers.read)


def ask(questions: Questions, *positions: Position) -> list[asyncio.Task[Answer]]:
    return [asyncio.create_task(questions.ask(position)) for position in positions]


async def test_a_read_has_begun_after_it_was_asked_for(
    questions: Questions, box: Box
) -> None:
    """Else it may be older than what the page that asks has joined."""
    box.may_return.clear()
    (early,) = ask(questions, Position())
    await await_until(lambda: box.reads)
    box.revision = 1
    late = ask(questions, *[Position()] * 20)
    await asyncio.sleep(0.01)
    box.may_return.set()
    assert (await early).frame.revision == 0
    answers = await asyncio.gather(*late)
    assert {answer.frame.revision for answer in answers} == {1}
    # One for all of them, and one text.
    assert len({id(answer.text) for answer in answers}) == 1
    assert box.reads == [(1, None, None)] * 2


async def test_what_is_asked_from_elsewhere_is_read_for_itself_and_in_turn(
    questions: Questions, box: Box, readers: CountingReaders
) -> None:
    box.revision = 9
    tasks = ask(questions, *[Position(since, EPOCH) for since in range(8)])
    answers = await asyncio.gather(*tasks)
    assert [answer.frame.to_wire()["since"] for answer in answers] == list(range(8))
    assert len(box.reads) == 8
    assert readers.busiest == 1


async def test_pages_that_come_and_go_occupy_one_reader(
    questions: Questions, box: Box, readers: CountingReaders
) -> None:
    box.may_return.clear()
    for since in range(10):
        (task,) = ask(questions, Position(since, EPOCH))
        await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.wait([task])
    (last,) = ask(questions, Position(10, EPOCH))
    await asyncio.sleep(0.01)
    assert len(box.reads) == 1
    box.may_return.set()
    await last
    assert readers.busiest == 1
    # Nobody has waited for the others any more.
    assert box.reads == [(1, 0, EPOCH), (1, 10, EPOCH)]


async def test_one_page_that_goes_takes_nothing_from_those_that_ask_the_same(
    questions: Questions, box: Box
) -> None:
    box.may_return.clear()
    tasks = ask(questions, Position(), Position(1, EPOCH), Position(1, EPOCH))
    await await_until(lambda: box.reads)
    for task in tasks[:2]:
        task.cancel()
    await asyncio.wait(tasks[:2])
    box.may_return.set()
    assert (await tasks[2]).frame.epoch == EPOCH


async def test_a_read_that_fails_fails_for_those_who_asked_and_for_nobody_else(
    questions: Questions, box: Box
) -> None:
    box.error = ValueError("the database is ill")
    first = await asyncio.gather(
        *ask(questions, Position(), Position()), return_exceptions=True
    )
    assert [type(error) for error in first] == [ValueError] * 2
    box.error = None
    assert (await questions.ask(Position())).frame.epoch == EPOCH


async def test_nothing_is_kept_of_what_was_answered(
    questions: Questions, box: Box
) -> None:
    """A state may be a megabyte, and users are many."""
    await asyncio.gather(*ask(questions, Position(), Position(0, EPOCH)))
    await await_until(lambda: questions._reading is None)
    assert questions._asked == {}


async def test_changes_too_large_for_a_message_become_a_snapshot(
    questions: Questions, box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    box.revision = 5
    (asked,) = ask(questions, Position(3, EPOCH))
    size = len((await asked).text)
    kinds = []
    for largest in (size, size - 1):
        monkeypatch.setattr("realtime.questions.LARGEST_BYTES", largest)
        (asked,) = ask(questions, Position(3, EPOCH))
        kinds.append(json.loads((await asked).text)["type"])
    assert kinds == ["changes", "snapshot"]
