"""`python -m server`, as `make run` starts it."""

import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.processes import ROOT, free_port
from tests.server.test_settings import PRODUCTION
from tests.waiting import wait_until

pytestmark = pytest.mark.once


# What is printed to be copied to a shell, up to the end of its line.
_COPIED = re.compile(r"^.* manage\.py shell -c .*$", re.MULTILINE)


class Run:
    """One start of the server by a person at a terminal."""

    def __init__(self, directory: Path, **env: str) -> None:
        self.port = int(env.setdefault("PORT", str(free_port())))
        self.url = f"http://127.0.0.1:{self.port}"
        self._log = directory / "server.log"
        self.database = directory / "db.sqlite3"
        self.environment = {
            "PATH": os.environ["PATH"],
            "DATABASE_URL": f"sqlite:///{self.database}",
            **env,
        }
        # Who runs in the background ignores Ctrl-C, and so would the server.
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "server"],
                cwd=ROOT,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        signal.signal(signal.SIGINT, before)

    @property
    def output(self) -> str:
        return self._log.read_text()

    def wait_until_ready(self) -> None:
        wait_until(lambda: self.url in self.output or self.process.poll(), within=20)
        assert self.process.poll() is None, self.output

    def get(self, path: str) -> str:
        with urllib.request.urlopen(f"{self.url}{path}", timeout=10) as response:
            body: bytes = response.read()
            return body.decode()

    def interrupt(self) -> int:
        """Press Ctrl-C; the exit status."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(10)


@pytest.fixture
def starts(tmp_path: Path) -> Iterator["Starts"]:
    starts = Starts(tmp_path)
    yield starts
    for run in starts.runs:
        run.process.kill()
        run.process.wait()


class Starts:
    """Every start of a test; they share one database file."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.runs: list[Run] = []

    def __call__(self, **env: str) -> Run:
        run = Run(self._directory, **env)
        self.runs.append(run)
        return run


def test_it_serves_says_where_and_stops_without_a_traceback(starts: Starts) -> None:
    run = starts()
    run.wait_until_ready()
    # What it printed is true at once: it listens, and the users are there.
    page = run.get("/")
    assert "Sign in as ada" in page
    assert "Sign in as grace" in page
    assert "themis-demo" in run.output
    assert ":root" in run.get("/static/demo/demo.css")

    assert run.interrupt() == 0
    assert "Traceback" not in run.output
    assert "Warning" not in run.output


def test_the_command_that_it_prints_rings(starts: Starts) -> None:
    """Copied as it stands there, spaces and all, by one more terminal."""
    run = starts()
    run.wait_until_ready()
    copied = _COPIED.search(run.output)
    assert copied is not None
    told = subprocess.run(
        ["/bin/sh", "-c", copied[0]],
        cwd=ROOT,
        env=run.environment,
        capture_output=True,
        check=False,
        text=True,
    )
    assert told.returncode == 0, told.stderr
    with sqlite3.connect(run.database) as connection:
        titles = connection.execute("SELECT title FROM themis_usernotification")
        assert titles.fetchall() == [("Hello from the shell",)]


def test_ctrl_c_during_the_start_is_no_error(starts: Starts) -> None:
    # A database that accepts the connection and never says a word.
    with socket.create_server(("127.0.0.1", 0)) as database:
        database.settimeout(20)
        port = database.getsockname()[1]
        run = starts(DATABASE_URL=f"postgres://themis@127.0.0.1:{port}/themis")
        connection, _ = database.accept()
        with connection:
            assert run.interrupt() == 130
    assert run.output == ""


def test_the_second_start_is_quick(starts: Starts) -> None:
    first = starts()
    first.wait_until_ready()
    first.interrupt()
    began = time.monotonic()
    second = starts()
    wait_until(lambda: second.url in second.output, within=5)
    assert time.monotonic() - began < 5


def test_a_port_in_use_is_said_in_one_line(starts: Starts) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        run = starts(PORT=str(port))
        assert run.process.wait(20) == 1
    assert f"Can't listen on 127.0.0.1:{port}" in run.output
    assert f"PORT={port + 1} make run" in run.output
    assert "Traceback" not in run.output


@pytest.mark.parametrize("port", ["0", "70000"])
def test_an_impossible_port_is_said_in_one_line(port: str, starts: Starts) -> None:
    run = starts(PORT=port)
    assert run.process.wait(20) == 1
    assert run.output.strip() == (
        f"ImproperlyConfigured: PORT is {port}: set it to a number from 1 to 65535."
    )


def test_without_debug_there_are_no_demo_users(starts: Starts) -> None:
    run = starts(**PRODUCTION | {"DJANGO_ALLOWED_HOSTS": "127.0.0.1"})
    run.wait_until_ready()
    page = run.get("/")
    assert "Sign in as ada" not in page
    assert "themis-demo" not in run.output
    # Names with a hash of the content, so that browsers keep them for ever.
    stylesheet = re.search(r"/static/demo/demo\.[0-9a-f]{12}\.css", page)
    assert stylesheet is not None
    assert ":root" in run.get(stylesheet[0])


def test_a_database_that_is_away_is_said_in_one_line(starts: Starts) -> None:
    run = starts(DATABASE_URL="postgres://themis@127.0.0.1:1/themis")
    assert run.process.wait(20) == 1
    assert "OperationalError" in run.output
    assert 'at "127.0.0.1", port 1 failed: Connection refused' in run.output
    assert "Traceback" not in run.output
