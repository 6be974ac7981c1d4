"""Private server processes for tests: they start on a free port of their own, and can
be stopped, killed, paused and started again at any moment.
"""

import atexit
import contextlib
import os
import secrets
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Self

import psycopg
import redis
from psycopg import sql

from tests import prefork, programs
from tests.waiting import wait_until

ROOT = Path(__file__).resolve().parent.parent

# Signs in a log that a process met something that nobody handled.
_UNHANDLED = ("Traceback (most recent call last)", "was never awaited", "Unhandled")


def free_port() -> int:
    """A port that nothing listens on and that the system doesn't give to outgoing
    connections either, so that it is still free when a stopped server comes back.
    """
    while True:
        port = 20_000 + secrets.randbelow(12_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


class PrivateProcess:
    """A server on 127.0.0.1 with a folder and a fixed port of its own.

    Whatever happens to the test run, the process ends with it.
    """

    name = "process"
    start_timeout = 30.0
    stop_signal = signal.SIGTERM

    def __init__(self, *, port: int | None = None) -> None:
        self.port = port or free_port()
        self.directory = Path(tempfile.mkdtemp(prefix=f"themis-{self.name}-"))
        self.log_path = self.directory / "log"
        self._process: subprocess.Popen[bytes] | prefork.Forked | None = None
        atexit.register(self.close)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *args: object) -> None:
        self.close()

    # What each kind of process says about itself.

    def command(self) -> list[str]:
        raise NotImplementedError

    def environment(self) -> dict[str, str]:
        return dict(os.environ)

    def owner(self) -> str | None:
        """The user to run as, if it is not the present one."""
        return None

    def working_directory(self) -> Path:
        return self.directory if self.owner() else ROOT

    def is_ready(self) -> bool:
        raise NotImplementedError

    # Control.

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        if self._process is None:
            raise RuntimeError(f"{self.name} was never started.")
        return self._process.pid

    @property
    def log(self) -> str:
        if not self.log_path.exists():
            return ""
        return self.log_path.read_text(errors="replace")

    def start(self) -> Self:
        """Start, and return when it answers."""
        if self.running:
            return self
        owner = self.owner()
        with self.log_path.open("ab") as log:
            self._process = prefork.start(
                self.command(),
                env=self.environment(),
                log=log,
                cwd=self.working_directory(),
                user=owner,
                group=_group_of(owner),
            )
        wait_until(self._is_ready_or_gone, within=self.start_timeout)
        if self._process.poll() is not None:
            raise RuntimeError(f"{self.name} did not start:\n{self.log[-4000:]}")
        return self

    def stop(self, *, within: float = 15.0) -> int:
        """Ask it to end; its exit status. TimeoutError if it doesn't end in time."""
        self.resume()
        self.send_signal(self.stop_signal)
        return self.wait(within=within)

    def kill(self) -> None:
        """SIGKILL: nothing is flushed, closed or said."""
        for pid in self._family():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if self._process is not None:
            self._process.wait()

    def pause(self) -> None:
        """SIGSTOP: connections stay open, and nothing answers."""
        for pid in self._family():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)

    def resume(self) -> None:
        for pid in self._family():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def restart(self) -> Self:
        """Stop and start again on the same port, with what is on disk."""
        self.stop()
        return self.start()

    def send_signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)

    def wait(self, *, within: float = 15.0) -> int:
        """Wait for the end; the exit status."""
        if self._process is None:
            return 0
        try:
            return self._process.wait(within)
        except subprocess.TimeoutExpired:
            raise TimeoutError(f"{self.name} still runs after {within} s.") from None

    def close(self) -> None:
        """End it whatever its state, and remove its folder. May be called twice."""
        atexit.unregister(self.close)
        self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)

    def _is_ready_or_gone(self) -> bool:
        return not self.running or self.is_ready()

    def _family(self) -> list[int]:
        return [self.pid] if self.running else []


class RedisServer(PrivateProcess):
    """A redis-server that keeps nothing on disk: a restart is also a wipe."""

    name = "redis-server"

    def __init__(self, *, port: int | None = None, options: Iterable[str] = ()) -> None:
        self._program = programs.require("redis-server")
        self._options = list(options)
        super().__init__(port=port)

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def client(self) -> redis.Redis:
        """A client that gives up after a second. Close it, or use it in `with`."""
        return redis.Redis.from_url(self.url, socket_timeout=1, retry=None)

    def wipe(self) -> None:
        with self.client() as client:
            client.flushall()

    def command(self) -> list[str]:
        return [
            *[str(self._program), "--port", str(self.port), "--bind", "127.0.0.1"],
            *["--save", "", "--appendonly", "no", "--dir", str(self.directory)],
            *self._options,
        ]

    def is_ready(self) -> bool:
        with self.client() as client, contextlib.suppress(redis.RedisError):
            return bool(client.ping())
        return False


class PostgresServer(PrivateProcess):
    """A PostgreSQL of its own, without the care for the disk that costs time."""

    name = "postgres"
    stop_signal = signal.SIGINT  # its "fast" shutdown: doesn't wait for clients
    user = "themis"

    def __init__(
        self, *, port: int | None = None, settings: Mapping[str, str] | None = None
    ) -> None:
        self._program = programs.require("postgres")
        self._settings = {
            # What is committed survives SIGKILL, not a power cut.
            "fsync": "off",
            "full_page_writes": "off",
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "log_timezone": "UTC",
            "max_connections": "200",
            "timezone": "UTC",
            **(settings or {}),
        }
        super().__init__(port=port)
        self._data = self.directory / "data"
        self._make_cluster()

    def url(self, database: str = "postgres") -> str:
        return f"postgres://{self.user}@127.0.0.1:{self.port}/{database}"

    def create_database(self, name: str, *, template: str = "template1") -> str:
        """Make a database, as a copy of another if wished; its URL."""
        statement = sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(
            sql.Identifier(name), sql.Identifier(template)
        )
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(statement)
        return self.url(name)

    def drop_database(self, name: str) -> None:
        statement = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(
            sql.Identifier(name)
        )
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(statement)

    def command(self) -> list[str]:
        settings = [f"--{name}={value}" for name, value in self._settings.items()]
        return [
            *[str(self._program), "-D", str(self._data), "-p", str(self.port)],
            *settings,
        ]

    def owner(self) -> str | None:
        # PostgreSQL refuses to run as root.
        if os.geteuid() != 0:
            return None
        return "postgres" if _group_of("postgres") is not None else "nobody"

    def is_ready(self) -> bool:
        try:
            psycopg.connect(self.url(), connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def kill(self) -> None:
        super().kill()
        # A killed server leaves its lock file behind and would then look alive.
        (self._data / "postmaster.pid").unlink(missing_ok=True)

    def _make_cluster(self) -> None:
        owner = self.owner()
        if owner:
            shutil.chown(self.directory, owner)
        subprocess.run(
            [
                *[str(self._program.with_name("initdb")), "-D", str(self._data)],
                *["--no-sync", "--auth=trust", "--username", self.user],
                *["--encoding=UTF8", "--locale=C", "--no-instructions"],
            ],
            check=True,
            capture_output=True,
            cwd=self.directory,
            user=owner,
            group=_group_of(owner),
            extra_groups=None if owner is None else [],
        )

    def _family(self) -> list[int]:
        # Each connection has a process in a session of its own.
        if not self.running:
            return []
        return [self.pid, *children_of(self.pid)]


class DaphneServer(PrivateProcess):
    """The runnable project under daphne, configured by the environment."""

    name = "daphne"

    def __init__(
        self,
        *,
        database_url: str,
        redis_url: str = "",
        port: int | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(port=port)
        self._variables = {
            "DATABASE_URL": database_url,
            "REDIS_URL": redis_url,
            "DJANGO_SETTINGS_MODULE": "server.settings",
            "PORT": str(self.port),
            "PYTHONUNBUFFERED": "1",
            **(env or {}),
        }
        self._failures_expected = False

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def websocket_url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/ws/notifications/"

    def manage(self, *arguments: str) -> str:
        """
        Run a management command with the same settings, in a process of its own; what
        it printed. RuntimeError if it fails.
        """
        return manage(*arguments, env=self._variables)

    def expect_failures(self) -> None:
        """Tracebacks in the log are part of this test; else they fail it."""
        self._failures_expected = True

    def unhandled(self) -> list[str]:
        """Lines of the log that tell of something nobody handled."""
        if self._failures_expected:
            return []
        return [
            line
            for line in self.log.splitlines()
            if any(sign in line for sign in _UNHANDLED)
        ]

    def command(self) -> list[str]:
        return [sys.executable, "-m", "server"]

    def environment(self) -> dict[str, str]:
        """What a process needs to have the same settings."""
        return super().environment() | self._variables

    def is_ready(self) -> bool:
        # Any answer will do, but not a redirect to HTTPS, where nobody listens.
        request = urllib.request.Request(
            f"{self.url}/accounts/login/",
            headers={"X-Forwarded-Proto": "https"},
            method="HEAD",
        )
        try:
            urllib.request.urlopen(request, timeout=5).close()
        except urllib.error.HTTPError as error:
            error.close()
        except OSError:
            return False
        return True


class UvicornServer(DaphneServer):
    """The same project under uvicorn."""

    name = "uvicorn"

    def command(self) -> list[str]:
        return [
            *[sys.executable, "-m", "uvicorn", "asgi:application"],
            *["--host", "127.0.0.1", "--port", str(self.port)],
            *["--ws", "websockets", "--no-access-log"],
        ]


class NginxServer(PrivateProcess):
    """
    An nginx that ends TLS before a server, with a certificate of its own.

    `location` is what a page of the documentation says for a server on port 8000. The
    same is also served without TLS, on `plain_port`.
    """

    name = "nginx"

    def __init__(self, upstream: PrivateProcess, location: str) -> None:
        self._program = programs.require("nginx")
        super().__init__()
        self.plain_port = free_port()
        self._location = location.replace(":8000", f":{upstream.port}")
        # What its clients trust.
        self.tls = make_certificate(self.directory)

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    @property
    def websocket_url(self) -> str:
        return f"wss://127.0.0.1:{self.port}/ws/notifications/"

    def command(self) -> list[str]:
        temporary = "\n".join(
            f"{name}_temp_path {self.directory};"
            for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        config = self.directory / "nginx.conf"
        config.write_text(
            f"""
            daemon off;
            master_process off;
            pid {self.directory}/pid;
            error_log stderr;
            events {{}}
            http {{
                access_log off;
                {temporary}
                server {{
                    listen 127.0.0.1:{self.port} ssl;
                    listen 127.0.0.1:{self.plain_port};
                    ssl_certificate {self.directory}/certificate.pem;
                    ssl_certificate_key {self.directory}/key.pem;
                    {self._location}
                }}
            }}
            """
        )
        prefix = ["-p", str(self.directory), "-e", "stderr"]
        return [str(self._program), *prefix, "-c", str(config)]

    def is_ready(self) -> bool:
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", self.port), 2).close()
            return True
        return False


class CeleryWorker(PrivateProcess):
    """A Celery worker of the project, with a pool of processes, beside a server."""

    name = "celery"

    def __init__(
        self, server: DaphneServer, *, processes: int = 2, options: Iterable[str] = ()
    ) -> None:
        super().__init__()
        self._server = server
        self._arguments = [f"--concurrency={processes}", *options]

    def command(self) -> list[str]:
        # Nobody to gossip with: that makes its start and its end quick.
        quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat"]
        program = [sys.executable, "-m", "server.worker", "--pool=prefork"]
        return [*program, *quiet, *self._arguments]

    def environment(self) -> dict[str, str]:
        return self._server.environment()

    def is_ready(self) -> bool:
        return " ready." in self.log

    def kill(self) -> None:
        """Also the processes of the pool, which would live on for a while."""
        pool = children_of(self.pid) if self.running else []
        super().kill()
        for pid in pool:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def make_certificate(directory: Path) -> ssl.SSLContext:
    """Make certificate.pem and key.pem for 127.0.0.1; what trusts them."""
    certificate = directory / "certificate.pem"
    subprocess.run(
        [
            *[str(programs.require("openssl")), "req", "-x509", "-nodes", "-days", "2"],
            *["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"],
            *["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"],
            *["-keyout", str(directory / "key.pem"), "-out", str(certificate)],
        ],
        check=True,
        capture_output=True,
    )
    return ssl.create_default_context(cafile=certificate)


def manage(*arguments: str, env: Mapping[str, str]) -> str:
    """Run manage.py of the project; what it printed. RuntimeError if it fails."""
    settings = {"DJANGO_SETTINGS_MODULE": "server.settings"}
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        process = prefork.start(
            [sys.executable, "manage.py", *arguments],
            env={**os.environ, **settings, **env},
            log=output,
            errors=errors,
        )
        status = process.wait()
        output.seek(0)
        errors.seek(0)
        if status:
            said = errors.read().decode()
            raise RuntimeError(f"manage.py {' '.join(arguments)} failed:\n{said}")
        return output.read().decode()


def children_of(parent: int) -> list[int]:
    if Path("/proc/self/stat").exists():
        lines = []
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                # "pid (name) state ppid ...", where the name may hold anything.
                pid, _, rest = stat.read_text().partition(" (")
                lines.append(f"{pid} {rest.rpartition(')')[2].split()[1]}")
    else:
        ps = ["/bin/ps", "-A", "-o", "pid=,ppid="]
        listed = subprocess.run(ps, capture_output=True, text=True, check=True)
        lines = listed.stdout.splitlines()
    pairs = [line.split() for line in lines]
    return [int(pid) for pid, of in pairs if int(of) == parent]


def _group_of(user: str | None) -> int | None:
    if user is None:
        return None
    import pwd  # noqa: PLC0415 - only where there are such users

    try:
        return pwd.getpwnam(user).pw_gid
    except KeyError:
        return None
