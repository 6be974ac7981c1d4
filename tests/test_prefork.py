"""What is forked from a process with the libraries is a process like any other."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests import prefork
from tests.processes import children_of

_TELL = """
import atexit, json, os, signal, sys
if __name__ == "__main__":
    atexit.register(print, "the end")
    print(json.dumps({
        "argv": sys.argv,
        "name": os.environ["NAME"],
        "names": len(os.environ),
        "directory": os.getcwd(),
        "path": sys.path[0],
        "session": os.getsid(0) == os.getpid(),
        "files": sorted(map(int, os.listdir("/proc/self/fd")))[:4],
        "interrupt": signal.getsignal(signal.SIGINT) is signal.default_int_handler,
        "ours": sorted({"server", "themis", "realtime", "demo"} & sys.modules.keys()),
    }))
    sys.stdout.flush()
    print("an error", file=sys.stderr)
    if sys.argv[1:] == ["wait"]:
        signal.pause()
    sys.exit(7)
"""

pytestmark = [
    pytest.mark.once,
    pytest.mark.skipif(sys.platform != "linux", reason="nothing is forked there"),
]


@pytest.fixture
def environment() -> dict[str, str]:
    kept = ("PYTHON", "LC_", "LANG")
    found = {name: os.environ[name] for name in os.environ if name.startswith(kept)}
    return {**found, "NAME": "its own"}


def test_it_is_what_the_interpreter_would_be(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    (tmp_path / "tell.py").write_text(_TELL)

    def run(*command: str, fork: bool) -> tuple[int, list[Any]]:
        with (tmp_path / "log").open("w+b") as log:
            start = prefork.start if fork else _start_plainly
            process = start(command, env=environment, log=log, cwd=tmp_path)
            assert isinstance(process, prefork.Forked) is fork
            status = process.wait(20)
            log.seek(0)
            told, *rest = log.read().decode().splitlines()
        return status, [json.loads(told), *rest]

    module = [sys.executable, "-m", "tell", "a", "b"]
    script = [sys.executable, "tell.py", "a"]
    status, (told, *rest) = run(*module, fork=True)
    assert status == 7
    assert told.pop("files") == [0, 1, 2, 3]  # the last is the folder that it reads
    assert told["ours"] == []
    assert rest == ["an error", "the end"]
    for command in (module, script):
        forked, plain = run(*command, fork=True), run(*command, fork=False)
        for _, (told, *_) in (forked, plain):
            del told["files"]
        # A script's folder is absolute either way; only `-m` names it as it was.
        assert forked == plain


def _start_plainly(
    command: Any, *, env: dict[str, str], log: Any, cwd: Path
) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        command, env=env, stdout=log, stderr=log, cwd=cwd, start_new_session=True
    )


def test_its_death_is_told_at_once(tmp_path: Path, environment: dict[str, str]) -> None:
    (tmp_path / "tell.py").write_text(_TELL)
    with (tmp_path / "log").open("wb") as log:
        process = prefork.start(
            [sys.executable, "-m", "tell", "wait"],
            env=environment,
            log=log,
            cwd=tmp_path,
        )
        assert process.poll() is None
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.01)
        process.send_signal(signal.SIGKILL)
        assert process.wait(10) == -signal.SIGKILL
        assert process.poll() == -signal.SIGKILL
        # Nobody's business any more.
        process.send_signal(signal.SIGKILL)


def test_other_variables_of_the_interpreter_need_another(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    with (tmp_path / "log").open("wb") as log:
        process = prefork.start(
            [sys.executable, "-m", "this"],
            env=environment | {"PYTHONWARNINGS": "error"},
            log=log,
        )
        assert isinstance(process, subprocess.Popen)
        assert process.wait(20) == 0


def test_it_talks(environment: dict[str, str]) -> None:
    command = [sys.executable, "-m", "json.tool", "--compact"]
    with prefork.start_talking(command, env=environment) as process:
        assert process.stdin
        assert process.stdout
        process.stdin.write('{"a": 1}')
        process.stdin.close()
        assert process.stdout.read() == '{"a":1}\n'
    assert process.returncode == 0
    assert process.pid not in children_of(os.getpid())
