"""`python -m server.scheduler`: it cleans up at once, and then again and again."""

import shutil
import sys
from pathlib import Path

import pytest

from server import scheduler
from tests.conftest import MakeDatabase
from tests.processes import PrivateProcess
from tests.server.test_settings import DEVELOPMENT, python
from tests.waiting import wait_until

pytestmark = pytest.mark.once


class Scheduler(PrivateProcess):
    name = "scheduler"

    def __init__(self, database: Path) -> None:
        super().__init__()
        self._database = database

    def command(self) -> list[str]:
        return [sys.executable, "-m", "server.scheduler"]

    def environment(self) -> dict[str, str]:
        url = f"sqlite:///{self._database}"
        mine = {"DATABASE_URL": url, "CLEANUP_INTERVAL": "1", "PYTHONUNBUFFERED": "1"}
        return super().environment() | DEVELOPMENT | mine

    def is_ready(self) -> bool:
        return bool(self.log)


def test_it_goes_on_when_the_database_is_back(
    make_database: MakeDatabase, tmp_path: Path, processes: list[PrivateProcess]
) -> None:
    made = Path(make_database().removeprefix("sqlite:///"))
    empty = tmp_path / "empty.sqlite3"
    with Scheduler(empty) as running:
        processes.append(running)
        failed = "The clean-up failed; it is tried again"
        wait_until(lambda: failed in running.log, within=30)
        assert "Deleted" not in running.log
        shutil.copy(made, empty)
        wait_until(lambda: running.log.count("Deleted 0 read") >= 2, within=30)


@pytest.mark.parametrize("value", ["0", "1h"])
def test_an_impossible_interval_is_said_in_one_line(value: str) -> None:
    environment = DEVELOPMENT | {"CLEANUP_INTERVAL": value}
    run = python("from server import scheduler; exit(scheduler.main())", environment)
    assert run.returncode == 1
    assert run.stderr.startswith("ImproperlyConfigured: CLEANUP_INTERVAL is ")
    assert run.stderr.count("\n") == 1


def test_a_day_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CLEANUP_INTERVAL", raising=False)
    assert scheduler.interval() == 24 * 60 * 60
