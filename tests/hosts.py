"""A project outside the checkout that uses Themis, its server, and its visitors."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import urllib.parse
import urllib.request
from http.cookiejar import CookieJar
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Origin

from tests.processes import ROOT, PrivateProcess


class HostServer(PrivateProcess):
    """`manage.py runserver` of a project that is not ours."""

    name = "host"

    def __init__(self, project: Project) -> None:
        super().__init__()
        self._project = project

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def command(self) -> list[str]:
        address = f"127.0.0.1:{self.port}"
        manage = str(self._project.directory / "manage.py")
        python = self._project.interpreter
        return [python, manage, "runserver", "--noreload", address]

    def environment(self) -> dict[str, str]:
        return self._project.environment

    def is_ready(self) -> bool:
        try:
            urllib.request.urlopen(f"{self.url}/admin/login/", timeout=5).close()
        except OSError:
            return False
        return True


class Visitor:
    """A person with cookies."""

    password = "correct horse battery"

    def __init__(self, url: str) -> None:
        self.url = url
        self._jar = CookieJar()
        cookies = urllib.request.HTTPCookieProcessor(self._jar)
        self._opener = urllib.request.build_opener(cookies)

    def get(self, path: str) -> str:
        with self._opener.open(self.url + path, timeout=10) as response:
            return str(response.read(), "utf-8")

    def lands_at(self, path: str) -> str:
        """The path that a click on a link leads to."""
        with self._opener.open(self.url + path, timeout=10) as response:
            return urllib.parse.urlsplit(str(response.url)).path

    def sign_in(self, path: str, username: str, password: str = password) -> None:
        self.submit(path, username=username, password=password, next="/")
        assert any(cookie.name == "sessionid" for cookie in self._jar)

    def submit(self, path: str, **fields: str) -> str:
        """Fill in the form of a page; the page that it leads to."""
        token = re.search(r'csrfmiddlewaretoken" value="(\w+)"', self.get(path))
        assert token, path
        form = {"csrfmiddlewaretoken": token[1], **fields}
        data = urllib.parse.urlencode(form).encode()
        with self._opener.open(self.url + path, data, timeout=20) as response:
            return str(response.read(), "utf-8")

    def socket(self) -> ClientConnection:
        cookies = "; ".join(f"{cookie.name}={cookie.value}" for cookie in self._jar)
        return connect(
            f"{self.url.replace('http', 'ws')}/ws/notifications/",
            additional_headers={"Cookie": cookies},
            origin=Origin(self.url),
            proxy=None,
        )


def next_state(socket: ClientConnection) -> dict[str, Any]:
    """The next frame that is no ping."""
    while True:
        frame: dict[str, Any] = json.loads(socket.recv(timeout=20))
        if frame["type"] != "ping":
            return frame


_HOST_SETTINGS = """
TEMPLATES[0]["DIRS"] = [BASE_DIR / "templates"]
LOGIN_URL = "admin:login"
"""
_HOST_URLS = """
from django.views.generic import TemplateView
urlpatterns += [path("", TemplateView.as_view(template_name="page.html"))]
"""


class Project:
    """A project outside the checkout, which follows the steps of a page."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.directory.mkdir()
        self.site = directory.with_name("site")
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("DJANGO_", "DATABASE_", "REDIS_", "THEMIS_"))
        }
        password = {"DJANGO_SUPERUSER_PASSWORD": Visitor.password}
        self.environment = kept | {"PYTHONPATH": str(self.site)} | password
        self.done: list[str] = []
        self.interpreter = sys.executable

    def append(self, name: str, text: str) -> None:
        with (self.directory / name).open("a") as file:
            file.write(f"\n{text}")

    def write(self, name: str, text: str) -> None:
        path = self.directory / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)

    def shell(self, code: str) -> str:
        """Run code in the project's shell, a process of its own; what it printed."""
        return self.python("manage.py", "shell", "-v0", "-c", code)

    def command(self, line: str) -> None:
        match shlex.split(line):
            case ["python", "-m", "pip", "install", "/path/to/themis"]:
                self.install()
            case ["django-admin", *arguments]:
                self.python("-m", "django", *arguments)
            case ["python", "manage.py", "runserver"]:
                self.done.append("runserver")
            case ["python", "manage.py", "createsuperuser", *arguments]:
                self.python("manage.py", "createsuperuser", "--noinput", *arguments)
            case ["python", "manage.py", *arguments]:
                self.python("manage.py", *arguments)
            case _:
                pytest.fail(f"No way to follow: {line}")

    def install(self) -> None:
        # What it depends on is here already; nothing is downloaded.
        offline = ["--no-deps", "--no-index", "--no-build-isolation"]
        site = ["--target", str(self.site)]
        self.python("-m", "pip", "install", *offline, *site, str(ROOT))

    def python(self, *arguments: str, fails: bool = False) -> str:
        ran = subprocess.run(
            [self.interpreter, *arguments],
            cwd=self.directory,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert bool(ran.returncode) is fails, ran.stdout + ran.stderr
        self.done.append(" ".join(arguments[:2]))
        return ran.stdout + ran.stderr

    def start_as_host(self) -> None:
        """Do what a page takes for granted: there is a project, with a page."""
        self.command("django-admin startproject mysite .")
        self.append("mysite/settings.py", _HOST_SETTINGS)
        self.append("mysite/urls.py", _HOST_URLS)
        self.write("templates/page.html", "{% load themis %}{% themis_bell %}")

    def add_ada(self) -> None:
        self.command(
            "python manage.py createsuperuser --username ada --email ada@example.com"
        )


class ProjectWithWheel(Project):
    """One in a fresh environment, which has the wheel and only what that asks for."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        del self.environment["PYTHONPATH"]
        home = directory.with_name("venv")
        self._run("-m", "venv", "--without-pip", str(home))
        (self.site,) = home.glob("lib/python*/site-packages")
        self.interpreter = str(home / "bin" / "python")
        for requirement in _required("django-themis"):
            self._take_along(requirement)

    def install(self) -> None:
        built = self.directory.with_name("wheel")
        self._run("-m", "hatchling", "build", "-t", "wheel", "-d", str(built), cwd=ROOT)
        (wheel,) = built.glob("*.whl")
        # pip itself looks whether all is there that the wheel asks for.
        here = ["--python", self.interpreter]
        self._run("-m", "pip", *here, "install", "--no-index", str(wheel))

    def _take_along(self, name: str) -> None:
        """Link what an installed distribution consists of, instead of a download."""
        distribution = metadata.distribution(name)
        tops = {path.parts[0] for path in distribution.files or ()}
        for top in tops - {"..", "__pycache__"}:
            link = self.site / top
            if not link.exists():
                link.symlink_to(Path(str(distribution.locate_file(top))).resolve())

    def _run(self, *arguments: str, cwd: Path | None = None) -> None:
        ran = subprocess.run(
            [sys.executable, *arguments],
            cwd=cwd or self.directory,
            capture_output=True,
            text=True,
            check=False,
        )
        assert ran.returncode == 0, ran.stdout + ran.stderr


def _required(name: str, extra: str = "") -> set[str]:
    """The distributions that one needs, and those that they need."""
    found: set[str] = set()
    waiting = [(name, extra)]
    seen = set()
    while waiting:
        name, extra = wanted = waiting.pop()
        if wanted in seen:
            continue
        seen.add(wanted)
        for line in metadata.requires(name) or ():
            requirement = Requirement(line)
            if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
                continue
            found.add(requirement.name)
            extras = {"", *requirement.extras}
            waiting += [(requirement.name, each) for each in extras]
    return found
