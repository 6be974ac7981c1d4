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
from pathlib import Path
from typing import Any

import pytest
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
        return [sys.executable, manage, "runserver", "--noreload", address]

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
                # What it depends on is here already; nothing is downloaded.
                offline = ["--no-deps", "--no-index", "--no-build-isolation"]
                self.python("-m", "pip", "install", *offline, *self._to_site, str(ROOT))
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

    @property
    def _to_site(self) -> list[str]:
        return ["--target", str(self.site)]

    def python(self, *arguments: str, fails: bool = False) -> str:
        ran = subprocess.run(
            [sys.executable, *arguments],
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
