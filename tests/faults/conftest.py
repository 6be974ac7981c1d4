"""Fixtures for tests in which something real breaks."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import MakeDatabase, Serve, fill
from tests.faults import figures
from tests.faults.cluster import SEED, SOON, THOROUGH, Cluster, StartCluster
from tests.faults.plant import Plant
from tests.faults.sender import Sender
from tests.processes import (
    DaphneServer,
    PostgresServer,
    PrivateProcess,
    RedisServer,
)

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


@pytest.fixture
def start_cluster(
    request: pytest.FixtureRequest,
    make_database: MakeDatabase,
    make_redis: Callable[..., RedisServer],
    processes: list[PrivateProcess],
    tmp_path: Path,
) -> Iterator[StartCluster]:
    """
    Start a cluster: PostgreSQL, Redis and two servers unless told otherwise.

    Options: servers=3, database="sqlite", redis=False or a RedisServer, failpoints={…}
    (tests.faults.failpoints), and settings such as THEMIS_REALTIME_CHECK_INTERVAL="1".
    A traceback in a server's log fails the test, unless it called expect_failures().
    """
    with ExitStack() as stack:

        def start(
            *,
            servers: int = 2,
            database: str = "postgres",
            redis: RedisServer | bool = True,
            failpoints: dict[str, Any] | None = None,
            **env: str,
        ) -> Cluster:
            plant = Plant(
                database_url=make_database(database),
                redis_server=make_redis() if redis is True else redis or None,
                servers=servers,
                failpoints=failpoints,
                env=env,
            )
            processes.extend(plant.servers)
            stack.enter_context(plant)
            cluster = Cluster(plant, request.node.nodeid, tmp_path)
            return stack.enter_context(cluster)

        yield start


@pytest.fixture(scope="session")
def _plant() -> Iterator[Plant]:
    with PostgresServer() as postgres, RedisServer() as redis:
        url = postgres.create_database("plant")
        # Two servers that start on an empty database would both begin to fill it.
        fill(url)
        # Who waits until nobody is left needn't wait for those of the scenario before.
        linger = {"constants": {"realtime.hub.LINGER_SECONDS": 1}}
        with Plant(database_url=url, redis_server=redis, failpoints=linger) as plant:
            yield plant


@pytest.fixture
def cluster(
    _plant: Plant,
    request: pytest.FixtureRequest,
    processes: list[PrivateProcess],
    tmp_path: Path,
) -> Iterator[Cluster]:
    """
    A cluster on servers that the scenarios share: it costs no start.

    Its reconcilers check each second, as a sick broker deserves, until check_every().
    """
    processes.extend(_plant.servers)
    with Cluster(_plant, request.node.nodeid, tmp_path) as cluster:
        cluster.check_every(SOON)
        yield cluster


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whole servers on a busy machine: this limit is for what hangs, too."""
    for item in items:
        names = getattr(item, "fixturenames", ())
        if not THOROUGH and {"cluster", "start_cluster"}.intersection(names):
            item.add_marker(pytest.mark.timeout(300))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show what the scenarios measured."""
    lines = list(figures.table())
    if lines and (THOROUGH or terminalreporter.verbosity > 0):
        terminalreporter.section(f"faults, THEMIS_SEED={SEED}")
        terminalreporter.write_line("\n".join(lines))
