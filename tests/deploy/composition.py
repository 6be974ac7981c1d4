"""
docker-compose.yml without Docker: its services as processes of this machine.

Commands, environments, health checks and the order of the start are those of the file,
and the code is what .dockerignore lets into the image. Only what a container has to
itself is translated: names and ports to free ports of 127.0.0.1, paths to a folder.
"""

from __future__ import annotations

import functools
import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import yaml

from tests import programs
from tests.processes import (
    ROOT,
    PrivateProcess,
    children_of,
    free_port,
    make_certificate,
)

Table = dict[str, Any]

COMPOSE = ROOT / "docker-compose.yml"

# Where the containers listen.
PORTS = {"postgres": 5432, "redis": 6379, "web-1": 8000, "web-2": 8000, "nginx": 8443}
PLAIN_PORT = 8080
NGINX_CONF = "/etc/nginx/nginx.conf"
TLS_DIRECTORY = "/etc/nginx/tls"

_VARIABLE = re.compile(r"\$\{(\w+)(?::([-?])([^}]*))?\}")
_NUMBERS = "|".join(map(str, {*PORTS.values(), PLAIN_PORT}))
_ADDRESS = re.compile(rf"(?:\b({'|'.join(PORTS)}):)?\b({_NUMBERS})\b")
_PATH = re.compile(rf"(?<![\w.])(?:{NGINX_CONF}|{TLS_DIRECTORY}|/srv|/tmp)\b")


def read(variables: Mapping[str, str]) -> Table:
    """The services of docker-compose.yml, with these variables filled in."""

    def value(match: re.Match[str]) -> str:
        name, kind, rest = match.groups()
        if variables.get(name):
            return variables[name]
        if kind != "-":
            raise KeyError(f"{name}: {rest}")
        return str(rest)

    def filled(part: Any) -> Any:
        match part:
            case dict():
                return {name: filled(one) for name, one in part.items()}
            case list():
                return [filled(one) for one in part]
            case str():
                return _VARIABLE.sub(value, part).replace("$$", "$")
        return part

    services: Table = filled(yaml.safe_load(COMPOSE.read_text())["services"])
    return services


def image() -> tuple[list[str], dict[str, str]]:
    """The command and the environment that the Dockerfile's last stage leaves."""
    last = (ROOT / "Dockerfile").read_text().rpartition("\nFROM ")[2]
    (command,) = re.findall(r"^CMD (\[.*\])$", last, re.MULTILINE)
    lines = "\n".join(re.findall(r"^ENV .*$", last, re.MULTILINE))
    return yaml.safe_load(command), dict(re.findall(r"(\w+)=(\S+)", lines))


def copy_context(to: Path) -> None:
    """Copy what .dockerignore lets into the image."""
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        if not line.startswith("!"):
            continue
        source = ROOT / line[1:]
        if source.is_dir():
            unwanted = shutil.ignore_patterns("__pycache__")
            shutil.copytree(source, to / source.name, symlinks=True, ignore=unwanted)
        else:
            shutil.copy(source, to)


class Composition:
    """All services but PostgreSQL, which is there already, on `postgres_port`."""

    def __init__(self, variables: Mapping[str, str], *, postgres_port: int) -> None:
        self.services = read(variables)
        # Not below the folder of the test run, which other users may not enter.
        self.root = Path(tempfile.mkdtemp(prefix="themis-compose-"))
        self.root.chmod(0o755)
        for folder in ("code", "srv/static", "tmp", TLS_DIRECTORY[1:]):
            (self.root / folder).mkdir(parents=True)
        copy_context(self.root / "code")
        # What its clients trust.
        self.tls: ssl.SSLContext = make_certificate(self.root / TLS_DIRECTORY[1:])
        self._ports = {("postgres", PORTS["postgres"]): postgres_port}
        self._ports |= {
            (name, port): free_port()
            for name, port in [*PORTS.items(), ("nginx", PLAIN_PORT)]
            if name != "postgres"
        }
        self.processes = {
            name: Service(self, name) for name in self.services if name != "postgres"
        }
        conf = (ROOT / "deploy/nginx/nginx.conf").read_text()
        conf = self.translate("nginx", conf).replace("listen ", "listen 127.0.0.1:")
        (self.root / NGINX_CONF[1:]).write_text(conf)
        if owner := self.processes["nginx"].owner():
            shutil.chown(self.root / "tmp", owner)
            for path in (self.root / TLS_DIRECTORY[1:]).iterdir():
                shutil.chown(path, owner)

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port('nginx')}"

    @property
    def websocket_url(self) -> str:
        return f"wss://127.0.0.1:{self.port('nginx')}/ws/notifications/"

    def port(self, service: str, inner: int | None = None) -> int:
        """Where this machine finds a port of a service."""
        return self._ports[service, inner or PORTS[service]]

    def translate(self, service: str, text: str) -> str:
        """What a service says, as it is on this machine."""

        def address(match: re.Match[str]) -> str:
            name, inner = match[1], int(match[2])
            if name:
                return f"127.0.0.1:{self.port(name, inner)}"
            return str(self._ports.get((service, inner), inner))

        text = _ADDRESS.sub(address, text)
        return _PATH.sub(lambda match: f"{self.root}{match[0]}", text)

    def up(self) -> None:
        """Start all, each when what it depends on is healthy or has done its work."""
        order = TopologicalSorter(
            {name: [*of.get("depends_on", ())] for name, of in self.services.items()}
        )
        order.prepare()
        with ThreadPoolExecutor() as pool:
            while order.is_active():
                names = order.get_ready()
                list(pool.map(self._bring_up, names))
                order.done(*names)

    def _bring_up(self, name: str) -> None:
        if name != "postgres":
            self.processes[name].up()

    def down(self) -> None:
        for process in reversed(self.processes.values()):
            process.close()
        shutil.rmtree(self.root)


class Service(PrivateProcess):
    """One service, as a process."""

    start_timeout = 120.0

    def __init__(self, composition: Composition, name: str) -> None:
        self.name = name
        super().__init__(port=composition._ports.get((name, PORTS.get(name, 0))))
        self._composition = composition
        self._of = composition.services[name]
        if owner := self.owner():
            shutil.chown(self.directory, owner)
            self.log_path.touch()
            shutil.chown(self.log_path, owner)

    def up(self) -> None:
        """Start; return when it is healthy, or, if it is to end, has ended well."""
        if self._of["restart"] != "no":
            self.start()
            return
        run = subprocess.run(
            self.command(),
            cwd=self.working_directory(),
            env=self.environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        self.log_path.write_text(run.stdout + run.stderr)
        if run.returncode:
            raise RuntimeError(f"{self.name} failed:\n{self.log[-4000:]}")

    def command(self) -> list[str]:
        command = self._translate(self._of.get("command") or image()[0])
        if self.name == "redis":
            here = ["--port", str(self.port), "--bind", "127.0.0.1"]
            command += [*here, "--dir", str(self.directory)]
        return command

    def environment(self) -> dict[str, str]:
        mine = self._of.get("environment", {})
        if self._of["image"] == "themis":
            mine = image()[1] | mine | {"BIND": "127.0.0.1"}
        translate = self._composition.translate
        values = {name: translate(self.name, str(of)) for name, of in mine.items()}
        return values | {"PATH": _path()}

    def owner(self) -> str | None:
        # As in its container, nginx doesn't run as root.
        return "nobody" if self.name == "nginx" and os.geteuid() == 0 else None

    def working_directory(self) -> Path:
        return self._composition.root / "code"

    def is_ready(self) -> bool:
        check = self._of.get("healthcheck")
        if check is None:
            return True
        if not self._has_begun():
            return False
        kind, *command = self._translate(check["test"])
        assert kind == "CMD"
        run = subprocess.run(
            command,
            cwd=self.working_directory(),
            env=self.environment(),
            capture_output=True,
            check=False,
        )
        return run.returncode == 0

    def _has_begun(self) -> bool:
        """Whether a check can succeed: most of them start Python, which takes time."""
        if self.name not in PORTS:
            return " ready." in self.log
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def _translate(self, words: list[str]) -> list[str]:
        return [self._composition.translate(self.name, word) for word in words]

    def _family(self) -> list[int]:
        return [self.pid, *children_of(self.pid)] if self.running else []


@functools.cache
def _path() -> str:
    """Where the programs are that the images have: the real ones of this machine."""
    wanted = ["redis-server", "nginx", "curl", "postgres"]
    places = [Path(sys.executable), *map(programs.require, wanted)]
    return os.pathsep.join(dict.fromkeys(str(place.parent) for place in places))
