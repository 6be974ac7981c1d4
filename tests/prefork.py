"""Start Python programs without their second of imports: a process that has loaded the
libraries becomes them, by a fork.

What starts so is a process like any other, with an environment, a session and an exit
status of its own. None of our code and no setting is loaded before the fork, nor what
looks at the environment or opens something when it is imported.
"""

import atexit
import contextlib
import functools
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Self

_ROOT = Path(__file__).resolve().parent.parent

# Most of the time of a start. daphne.server isn't here: it installs a reactor.
_LIBRARIES = (
    "autobahn.twisted.websocket",
    "celery.app.builtins",
    "celery.app.task",
    "celery.fixups.django",
    "celery.worker.worker",
    "channels.generic.websocket",
    "channels.routing",
    "channels_redis.pubsub",
    "daphne.endpoints",
    "daphne.http_protocol",
    "daphne.ws_protocol",
    "dj_database_url",
    "django.contrib.auth.hashers",
    "django.core.asgi",
    "django.core.management.commands.migrate",
    "django.db.backends.postgresql.base",
    "django.db.backends.sqlite3.base",
    "django.forms",
    "django.template.backends.django",
    "django.template.defaulttags",
    "django.template.loader_tags",
    "django.views.static",
    "kombu.transport.redis",
    "prometheus_client.core",
    "redis.asyncio",
    "service_identity",
    "twisted.web.http",
    "uvicorn.main",
    "whitenoise.storage",
)
_STANDARD_STREAMS = 3
_FORKS = sys.platform == "linux"


class Forked:
    """The part of subprocess.Popen that tests use."""

    def __init__(
        self,
        pid: int,
        channel: socket.socket,
        stdin: IO[str] | None = None,
        stdout: IO[str] | None = None,
    ) -> None:
        self.pid = pid
        self.stdin = stdin
        self.stdout = stdout
        self.returncode: int | None = None
        self._channel = channel
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for stream in (self.stdout, self.stdin):
            if stream:
                stream.close()
        self.wait()

    def poll(self) -> int | None:
        """The exit status, or None while it runs."""
        return self._look(0)

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end; the exit status. TimeoutExpired if it is late."""
        status = self._look(timeout)
        if status is None:
            raise subprocess.TimeoutExpired(str(self.pid), timeout or 0)
        return status

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            # It may end in between.
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def _look(self, timeout: float | None) -> int | None:
        with self._lock:
            if self.returncode is None and _is_readable(self._channel, timeout):
                self.returncode = int(_read_line(self._channel))
                self._channel.close()
            return self.returncode


def start(
    command: Sequence[str],
    *,
    env: Mapping[str, str],
    log: IO[bytes],
    errors: IO[bytes] | None = None,
    cwd: Path = _ROOT,
    user: str | None = None,
    group: int | None = None,
) -> "subprocess.Popen[bytes] | Forked":
    """
    Start a program whose output goes into `log`, and its errors too, if not to
    `errors`. Ctrl-C at the test run is for the tests, which then stop it.
    """
    if user is None and _can_fork(command, env):
        with Path(os.devnull).open() as nothing:
            streams = [nothing.fileno(), log.fileno(), (errors or log).fileno()]
            return Forked(*_nursery().fork(command, streams, env, cwd))
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=errors or subprocess.STDOUT,
        cwd=cwd,
        env=env,
        start_new_session=True,
        user=user,
        group=group,
        extra_groups=None if user is None else [],
    )


def start_talking(
    command: Sequence[str], *, env: Mapping[str, str]
) -> "subprocess.Popen[str] | Forked":
    """Start a process that is talked to over its standard streams, in the checkout."""
    if not _can_fork(command, env):
        return subprocess.Popen(
            command,
            cwd=_ROOT,
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
    its_stdin, our_stdin = os.pipe()
    our_stdout, its_stdout = os.pipe()
    try:
        streams = [its_stdin, its_stdout, 2]
        pid, channel = _nursery().fork(command, streams, env, _ROOT)
    finally:
        os.close(its_stdin)
        os.close(its_stdout)
    return Forked(pid, channel, os.fdopen(our_stdin, "w"), os.fdopen(our_stdout))


def _can_fork(command: Sequence[str], env: Mapping[str, str]) -> bool:
    return (
        _FORKS
        and command[0] == sys.executable
        and (command[1] == "-m" or command[1].endswith(".py"))
        and _read_at_start(env) == _AT_START
    )


def _read_at_start(env: Mapping[str, str]) -> dict[str, str]:
    """The variables that an interpreter reads before any code runs."""
    return {
        name: value
        for name, value in env.items()
        if name.startswith(("PYTHON", "LC_", "LANG")) and name != "PYTHONUNBUFFERED"
    }


_AT_START = _read_at_start(os.environ)


class _Nursery:
    """The process that forks, from outside."""

    def __init__(self) -> None:
        self._control, its_end = socket.socketpair()
        with its_end:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.prefork", str(its_end.fileno())],
                cwd=_ROOT,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[its_end.fileno()],
                start_new_session=True,
            )
        atexit.register(self.close)

    def fork(
        self,
        command: Sequence[str],
        streams: Sequence[int],
        env: Mapping[str, str],
        cwd: Path,
    ) -> tuple[int, socket.socket]:
        """Have a process made: its number, and where its exit status will be said."""
        wanted = {
            "arguments": list(command[1:]),
            "environment": dict(env),
            "directory": str(cwd),
        }
        channel, its_end = socket.socketpair()
        with its_end:
            socket.send_fds(self._control, [b"f"], [its_end.fileno(), *streams])
        channel.sendall(json.dumps(wanted).encode() + b"\n")
        return int(_read_line(channel)), channel

    def close(self) -> None:
        self._control.close()
        self._process.wait()


_first = threading.Lock()


def _nursery() -> _Nursery:
    # Servers are started by several threads at once.
    with _first:
        return _make_nursery()


@functools.cache
def _make_nursery() -> _Nursery:
    return _Nursery()


# Inside the process that forks


class _Forker:
    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._ended, self._wake = socket.socketpair()
        self._ended.setblocking(False)
        self._wake.setblocking(False)
        self._channels: dict[int, socket.socket] = {}
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._wake.fileno())

    def serve(self) -> list[str] | None:
        """Fork whenever asked to. Returns in the child, with the arguments of the
        interpreter that it is to be; and None when nobody asks any more.
        """
        while True:
            ready, _, _ = select.select([self._control, self._ended], [], [])
            if self._ended in ready:
                self._ended.recv(4096)
                self._tell_statuses()
            if self._control in ready:
                asked, descriptors, _, _ = socket.recv_fds(
                    self._control, 1, 1 + _STANDARD_STREAMS
                )
                if not asked:
                    return None
                channel = socket.socket(fileno=descriptors[0])
                wanted = json.loads(_read_line(channel))
                if pid := os.fork():
                    self._channels[pid] = channel
                    channel.sendall(b"%d\n" % pid)
                    for descriptor in descriptors[1:]:
                        os.close(descriptor)
                else:
                    channel.close()
                    return self._become(descriptors[1:], **wanted)

    def _tell_statuses(self) -> None:
        for pid in list(self._channels):
            # Until it is said, the number is nobody else's.
            flags = os.WEXITED | os.WNOHANG | os.WNOWAIT
            ended = os.waitid(os.P_PID, pid, flags)
            if ended is None:
                continue
            by_itself = ended.si_code == os.CLD_EXITED
            status = ended.si_status if by_itself else -ended.si_status
            with self._channels.pop(pid) as channel, contextlib.suppress(OSError):
                channel.sendall(b"%d\n" % status)
            os.waitpid(pid, 0)

    def _become(
        self,
        streams: Sequence[int],
        arguments: list[str],
        environment: dict[str, str],
        directory: str,
    ) -> list[str]:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for own in (self._control, self._ended, self._wake, *self._channels.values()):
            own.close()
        os.setsid()
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
            os.close(stream)
        os.chdir(directory)
        os.environ.clear()
        os.environ.update(environment)
        time.tzset()
        if environment.get("PYTHONUNBUFFERED"):
            for output in (sys.stdout, sys.stderr):
                output.reconfigure(line_buffering=True)  # type: ignore[union-attr]
        sys.path[0] = directory
        return arguments


def _is_readable(channel: socket.socket, timeout: float | None) -> bool:
    poll = select.poll()
    poll.register(channel, select.POLLIN)
    return bool(poll.poll(None if timeout is None else timeout * 1000))


def _read_line(channel: socket.socket) -> bytes:
    line = bytearray()
    while not line.endswith(b"\n"):
        part = channel.recv(65536)
        if not part:
            raise RuntimeError("The process that forks has ended; see above.")
        line += part
    return bytes(line)


def _main() -> None:
    for library in _LIBRARIES:
        importlib.import_module(library)
    assert "twisted.internet.reactor" not in sys.modules
    gc.collect()
    gc.freeze()
    forker = _Forker(socket.socket(fileno=int(sys.argv[1])))
    arguments = forker.serve()
    if arguments is None:
        return
    if arguments[0] == "-m":
        sys.argv = arguments[1:]
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = arguments
        runpy.run_path(arguments[0], run_name="__main__")


if __name__ == "__main__":
    _main()
