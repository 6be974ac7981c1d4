"""Fixtures for tests in which something real breaks."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from tests.conftest import MakeDatabase, Serve
from tests.faults.sender import Sender
from tests.processes import DaphneServer, RedisServer

StartSender = Callable[[DaphneServer], Sender]
ServeTwo = Callable[..., tuple[DaphneServer, DaphneServer]]


@pytest.fixture
def start_sender(serve: Serve) -> Iterator[StartSender]:
    """Start a process that notifies, on the same settings as a server."""
    del serve  # asked for so that senders end before the servers do
    with ExitStack() as senders:
        yield lambda server: senders.enter_context(Sender(server))


@pytest.fixture
def serve_two(
    make_database: MakeDatabase, redis_server: RedisServer, serve: Serve
) -> ServeTwo:
    """Start two servers on one PostgreSQL database and the test's Redis."""

    def start(
        *, redis_url: str = redis_server.url, **env: str
    ) -> tuple[DaphneServer, DaphneServer]:
        url = make_database("postgres")
        with ThreadPoolExecutor(2) as pool:
            first, second = (
                pool.submit(serve, url, redis_url=redis_url, env=env) for _ in range(2)
            )
            return first.result(), second.result()

    return start
