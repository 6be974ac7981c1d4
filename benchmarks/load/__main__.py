"""`python -m benchmarks.load`: asked by `benchmarks.processes.Helper`."""

from __future__ import annotations

import gc
import json
import sys
from collections.abc import Iterator
from itertools import repeat
from typing import Any

from benchmarks.cores import allow_many_files
from benchmarks.load.crowd import IN, Crowd, Door
from benchmarks.load.polling import Polling

IDLE_SECONDS = 60


def answer(crowd: Crowd, verb: str, details: dict[str, Any]) -> dict[str, Any]:
    """Do what is asked."""
    match verb:
        case "open":
            return open_lines(crowd, **details)
        case "expect":
            return crowd.expect(**details)
        case "collect":
            return crowd.collect(**details)
        case "poll":
            return poll(**details)
        case "close":
            return crowd.close()
    raise ValueError(verb)


def open_lines(
    crowd: Crowd, door: dict[str, Any], first: int, count: int, *, one_user: bool
) -> dict[str, Any]:
    """Open *count* connections, of as many users or all of the first."""
    users: Iterator[int] = iter(range(first, first + count))
    if one_user:
        users = repeat(first, count)
    return crowd.open(Door(**door), users)


def poll(
    port: int, path: str, users: int, count: int, status: int, *, is_state: bool
) -> dict[str, Any]:
    """Poll *count* times, as the pages of the first *users* users; first warm up."""
    polling = Polling(port, path, range(1, 1 + users), is_state=is_state)
    polling.run(users, status)
    return polling.run(count, status)


def main() -> None:
    """Answer until nobody can ask any more; meanwhile take what comes."""
    allow_many_files()
    # Nothing here is a cycle, and a pause would be taken for the server's.
    gc.disable()
    crowd = Crowd()
    crowd.poll.register(sys.stdin.fileno(), IN)
    questions: list[bytes] = []

    def read() -> None:
        questions.append(sys.stdin.buffer.readline())

    while True:
        crowd.listen(IDLE_SECONDS, {sys.stdin.fileno(): read})
        for line in questions:
            if not line:
                return
            question = json.loads(line)
            print(json.dumps(answer(crowd, question.pop("verb"), question)), flush=True)
        questions.clear()


if __name__ == "__main__":
    main()
