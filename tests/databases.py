"""A pytest plugin: `--database` says which database the tests run on.

It starts before Django reads its settings, and gives each run a database of its own:
a file for SQLite (threads share it), a private server for PostgreSQL.
"""

import os
import signal
import tempfile
from collections.abc import Generator
from pathlib import Path

import pytest

from tests import programs
from tests.processes import PostgresServer

server_key = pytest.StashKey[PostgresServer]()

# Folders whose tests start whole servers and choose the database for each.
_ONCE = ("tests/e2e/", "tests/faults/")

_OF_A_SERVER = {"BIND", "PORT", "REDIS_URL"}
_OF_A_TEST = {"THEMIS_FAULTS", "THEMIS_SEED", "THEMIS_SOAK_MINUTES"}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--database",
        choices=["sqlite", "postgres"],
        default="sqlite",
        help="the database to run on; postgres starts a private server",
    )


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_load_initial_conftests(
    early_config: pytest.Config,
) -> Generator[None, object, object]:
    # A wrapper, because pytest-django imports the settings in the same hook.
    signal.signal(signal.SIGTERM, _end)
    if early_config.known_args_namespace.database == "postgres":
        _start_postgres(early_config)
    else:
        directory = tempfile.TemporaryDirectory(prefix="themis-sqlite-")
        early_config.add_cleanup(directory.cleanup)
        path = Path(directory.name, "db.sqlite3")
        os.environ["DATABASE_URL"] = f"sqlite:///{path}"
    _forget_settings_of_a_server()
    return (yield)


def pytest_report_header(config: pytest.Config) -> str:
    return f"database: {config.option.database}"


def pytest_collection_modifyitems(
    config: pytest.Config, items: list[pytest.Item]
) -> None:
    for item in items:
        if item.nodeid.startswith(_ONCE):
            item.add_marker(pytest.mark.once)
    database: str = config.option.database
    thorough = os.environ.get("THEMIS_FAULTS") == "all"
    left_out = [
        item
        for item in items
        if _is_for_another(database, item)
        or (not thorough and item.get_closest_marker("thorough"))
    ]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


def _is_for_another(database: str, item: pytest.Item) -> bool:
    only = item.get_closest_marker("only")
    if only is not None:
        return bool(only.args[0] != database)
    return database == "postgres" and not _asks_for_database(item)


def _asks_for_database(item: pytest.Item) -> bool:
    if item.get_closest_marker("once") or item.get_closest_marker("anywhere"):
        return False
    if item.get_closest_marker("django_db") is not None:
        return True
    return not {"db", "transactional_db"}.isdisjoint(getattr(item, "fixturenames", ()))


def _start_postgres(config: pytest.Config) -> None:
    if programs.find("postgres") is None:
        message = "PostgreSQL is not installed; `make test` installs it where it may."
        pytest.exit(message, returncode=1 if os.environ.get("CI") else 0)
    server = PostgresServer()
    config.add_cleanup(server.close)
    server.start()
    config.stash[server_key] = server
    os.environ["DATABASE_URL"] = server.url("themis")


def _forget_settings_of_a_server() -> None:
    # What a developer has set for a server of their own is not for the tests' servers.
    for name in os.environ.keys() - _OF_A_TEST:
        if name.startswith(("DJANGO_", "THEMIS_")) or name in _OF_A_SERVER:
            del os.environ[name]


def _end(number: int, frame: object) -> None:
    # So that private processes end when the run is told to.
    del frame
    pytest.exit(signal.strsignal(number) or "", returncode=128 + number)
