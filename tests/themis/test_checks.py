"""System checks: each finds its fault, and a right project hears nothing."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.contrib.auth.middleware import AuthenticationMiddleware
from django.core.checks import CheckMessage, run_checks
from django.db import connections
from django.http import HttpRequest
from pytest_django import Settings

from tests.processes import ROOT
from themis import checks
from themis.broadcasters import BaseBroadcaster
from themis.models import UserNotification


def found(*, deploy: bool = False) -> list[CheckMessage]:
    messages: list[CheckMessage] = run_checks(
        tags=[checks.TAG], include_deployment_checks=deploy
    )
    return messages


def ids(*, deploy: bool = False) -> list[str | None]:
    return [message.id for message in found(deploy=deploy)]


def test_a_right_project_hears_nothing() -> None:
    assert ids() == []


def test_all_numbers_are_in_the_reference() -> None:
    used = re.findall(r"themis\.[EW]\d{3}", Path(checks.__file__).read_text())
    reference = (ROOT / "docs/reference/checks.md").read_text()
    told = re.findall(r"^\| `(themis\.[EW]\d{3})`", reference, re.MULTILINE)
    assert sorted(used) == sorted(set(used)), "a number twice"
    assert sorted(told) == sorted(used)


# Settings

WHOLE = [-1, 1.5, "60", None, True]


@pytest.mark.parametrize(
    ("name", "value", "number"),
    [
        *(("THEMIS_NOTIFICATION_POLL_INTERVAL", wrong, "E003") for wrong in WHOLE),
        *(("THEMIS_NOTIFICATION_MAX_AGE_DAYS", wrong, "E004") for wrong in [*WHOLE, 0]),
        *(
            ("THEMIS_REALTIME_CHECK_INTERVAL", wrong, "E005")
            for wrong in (0, -2, "15", float("nan"), float("inf"), True)
        ),
        *(
            ("THEMIS_REALTIME_MAX_CONNECTIONS_PER_USER", wrong, "E006")
            for wrong in [*WHOLE, 0]
        ),
        *(
            ("THEMIS_REALTIME_SESSION_CHECK_INTERVAL", wrong, "E007")
            for wrong in (0, -2, "60", None)
        ),
        *(
            ("THEMIS_REALTIME_URL", wrong, "E008")
            for wrong in (
                *("", "ws/notifications/", "//example.com/ws/", "https://example.com/"),
                *("wss://", "wss://[", "/ws /", "/ws\n/", 5),
            )
        ),
        *(
            ("THEMIS_PROFILE_RELATED_NAME", wrong, "E009")
            for wrong in ("", "my profile", "9lives", "class", "a__b", "a_", "+", None)
        ),
    ],
)
def test_a_wrong_setting_is_told(
    settings: Settings, name: str, value: object, number: str
) -> None:
    setattr(settings, name, value)
    (message,) = found()
    assert message.id == f"themis.{number}"
    assert name in message.msg
    assert repr(value) in message.msg
    assert message.is_serious()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("THEMIS_NOTIFICATION_POLL_INTERVAL", 0),
        ("THEMIS_NOTIFICATION_MAX_AGE_DAYS", 10**9),
        ("THEMIS_REALTIME_CHECK_INTERVAL", None),
        ("THEMIS_REALTIME_CHECK_INTERVAL", 0.5),
        ("THEMIS_REALTIME_MAX_CONNECTIONS_PER_USER", 1),
        ("THEMIS_REALTIME_SESSION_CHECK_INTERVAL", 30),
        ("THEMIS_REALTIME_URL", None),
        ("THEMIS_REALTIME_URL", "/ws/notifications/"),
        ("THEMIS_REALTIME_URL", "wss://push.example.com:8443/ws/"),
        ("THEMIS_REALTIME_URL", "ws://[::1]/"),
        ("THEMIS_BROADCASTER", None),
        ("THEMIS_BROADCASTER", "themis.broadcasters.DummyBroadcaster"),
    ],
)
def test_a_right_setting_passes(settings: Settings, name: str, value: object) -> None:
    setattr(settings, name, value)
    assert ids() == []


class Choosy(BaseBroadcaster):
    def __init__(self, wants: str) -> None:
        self.wants = wants


class Unconfigured(BaseBroadcaster):
    def __init__(self) -> None:
        raise KeyError("no address")


@pytest.mark.parametrize(
    "path",
    [
        "no.such.Broadcaster",
        "realtime.broadcasting.Missing",
        "nodots",
        "themis.models.UserNotification",
        "themis.broadcasters.get_broadcaster",
        f"{__name__}.Choosy",
        f"{__name__}.Unconfigured",
        5,
    ],
)
def test_a_broadcaster_that_is_none_is_told(settings: Settings, path: object) -> None:
    settings.THEMIS_BROADCASTER = path
    (message,) = found()
    assert message.id == "themis.E010"
    assert message.hint
    assert "THEMIS_BROADCASTER" in message.hint


# Real time


@pytest.mark.parametrize(
    ("layers", "told"),
    [
        ({"BACKEND": "channels.layers.InMemoryChannelLayer"}, ["themis.W007"]),
        ({}, ["themis.W007"]),
        ({"BACKEND": "channels_redis.core.RedisChannelLayer"}, ["themis.W008"]),
        ({"BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer"}, []),
    ],
)
def test_a_layer_that_loses_pushes_is_told_before_a_deployment(
    settings: Settings, layers: dict[str, Any], told: list[str]
) -> None:
    settings.CHANNEL_LAYERS = {"default": layers} if layers else {}
    del settings.THEMIS_BROADCASTER
    assert ids() == []
    assert ids(deploy=True) == told
    settings.THEMIS_BROADCASTER = None
    assert ids(deploy=True) == []


# Databases


class UsersElsewhere:
    def db_for_write(self, model: type[Any], **hints: Any) -> str | None:
        del hints
        return None if model is UserNotification else "users"


def test_users_in_another_database_are_told(settings: Settings) -> None:
    settings.DATABASE_ROUTERS = [UsersElsewhere()]
    (message,) = found()
    assert message.id == "themis.W002"
    assert "'users'" in message.msg


def test_another_database_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections["default"], "vendor", "oracle")
    assert ids() == ["themis.W001"]


@pytest.mark.only("sqlite")
def test_an_old_sqlite_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    connection: Any = connections["default"]
    monkeypatch.setattr(connection.Database, "sqlite_version_info", (3, 34, 1))
    (message,) = found()
    assert (message.id, message.is_serious()) == ("themis.E011", True)
    assert "this is 3.34.1" in message.msg


# Pages


def test_missing_urls_are_told(settings: Settings) -> None:
    settings.ROOT_URLCONF = "django.contrib.auth.urls"
    assert ids() == ["themis.W003"]


def test_templates_that_are_not_found_are_told(settings: Settings) -> None:
    settings.TEMPLATES = [{**settings.TEMPLATES[0], "APP_DIRS": False}]
    assert ids() == ["themis.W005"]


def test_a_missing_request_is_told(settings: Settings) -> None:
    settings.TEMPLATES = [{**settings.TEMPLATES[0], "OPTIONS": {}}]
    assert ids() == ["themis.W004"]


@pytest.mark.parametrize("name", ["messages", "sessions", "staticfiles"])
def test_a_missing_app_is_told(settings: Settings, name: str) -> None:
    missing = f"django.contrib.{name}"
    settings.INSTALLED_APPS = [a for a in settings.INSTALLED_APPS if a != missing]
    (message,) = found()
    assert message.id == "themis.W006"
    assert f"'{missing}' in INSTALLED_APPS" in message.msg


@pytest.mark.parametrize("name", checks.NEEDED_MIDDLEWARE)
def test_a_missing_middleware_is_told(settings: Settings, name: str) -> None:
    settings.MIDDLEWARE = [m for m in settings.MIDDLEWARE if m != name]
    (message,) = found()
    assert message.id == "themis.W006"
    assert f"'{name}' in MIDDLEWARE" in message.msg


def _quiet_middleware(get_response: Any) -> Any:
    def respond(request: HttpRequest) -> Any:
        return get_response(request)

    return respond


def test_a_middleware_that_extends_the_usual_one_will_do(settings: Settings) -> None:
    usual = "django.contrib.auth.middleware.AuthenticationMiddleware"
    settings.MIDDLEWARE = [
        f"{__name__}._quiet_middleware",
        "no.such.Middleware",
        *(middleware for middleware in settings.MIDDLEWARE if middleware != usual),
    ]
    (message,) = found()
    assert usual in message.msg
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, f"{__name__}.Extended"]
    assert ids() == []


class Extended(AuthenticationMiddleware):
    pass


# Whole projects


_URLS = """
from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("admin/", admin.site.urls),
    path("notifications/", include("themis.urls")),
]
"""


class Host:
    """A small project in a folder, which finds Themis where it is developed."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.settings = {
            "SECRET_KEY": "not a secret",
            "INSTALLED_APPS": [
                app for app in django_settings.INSTALLED_APPS if app != "demo"
            ],
            "MIDDLEWARE": django_settings.MIDDLEWARE,
            "TEMPLATES": django_settings.TEMPLATES,
            "ROOT_URLCONF": "host_urls",
            "STATIC_URL": "/static/",
            "DEFAULT_AUTO_FIELD": "django.db.models.BigAutoField",
            "DATABASES": {
                "default": {
                    "ENGINE": "django.db.backends.sqlite3",
                    "NAME": str(directory / "db.sqlite3"),
                }
            },
        }

        self.write("host_urls.py", _URLS)

    def write(self, name: str, text: str) -> None:
        path = self.directory / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        lines = [f"{name} = {value!r}\n" for name, value in self.settings.items()]
        self.write("host_settings.py", "".join(lines))
        return subprocess.run(
            [sys.executable, "-m", "django", *arguments],
            cwd=self.directory,
            env={
                **os.environ,
                "DJANGO_SETTINGS_MODULE": "host_settings",
                # Its own modules first: that is how another `realtime` wins.
                "PYTHONPATH": f"{self.directory}{os.pathsep}{ROOT}",
            },
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


@pytest.mark.once
def test_a_small_project_is_right(host: Host) -> None:
    ran = host.run("check", "--fail-level", "WARNING")
    assert ran.returncode == 0, ran.stderr


@pytest.mark.once
@pytest.mark.parametrize("with_config", [False, True])
def test_another_package_called_realtime_is_told(host: Host, with_config: bool) -> None:
    """It is said once, and what follows from it is not."""
    host.write("realtime/__init__.py", "")
    if with_config:
        host.write(
            "realtime/apps.py",
            "from django.apps import AppConfig\n"
            "class Config(AppConfig):\n"
            "    name = 'realtime'\n"
            "    label = 'themis_realtime'\n",
        )
    ran = host.run("check")
    assert ran.returncode == 1
    assert "themis.E001" in ran.stderr
    assert str(host.directory / "realtime") in ran.stderr
    assert "1 issue" in ran.stderr


_USER = """
from django.contrib.auth.models import AbstractUser
from django.db import models

class User(AbstractUser):
    {member}
"""


@pytest.mark.once
@pytest.mark.parametrize(
    ("member", "rival"),
    [
        ("profile = models.TextField()", "the field people.User.profile"),
        ("profile = property(lambda self: 5)", "an attribute of the class people.User"),
    ],
)
def test_a_user_model_with_a_profile_is_told_the_way_out(
    host: Host, member: str, rival: str
) -> None:
    host.write("people/__init__.py", "")
    host.write("people/models.py", _USER.format(member=member))
    apps: Any = host.settings["INSTALLED_APPS"]
    host.settings["INSTALLED_APPS"] = [*apps, "people"]
    host.settings["AUTH_USER_MODEL"] = "people.User"
    ran = host.run("check")
    assert ran.returncode == 1
    assert "themis.E002" in ran.stderr
    assert rival in ran.stderr
    assert "THEMIS_PROFILE_RELATED_NAME" in ran.stderr
    host.settings["THEMIS_PROFILE_RELATED_NAME"] = "notification_profile"
    for command in (
        ["check", "--fail-level", "WARNING"],
        ["makemigrations", "people"],
        ["migrate"],
        ["makemigrations", "--check", "--dry-run"],
    ):
        ran = host.run(*command)
        assert ran.returncode == 0, ran.stderr
    code = (
        "u = User.objects.create(username='ada');"
        "print(u.notification_profile.notification_min_level, repr(u.profile))"
    )
    ran = host.run("shell", "-v0", "-c", f"from people.models import User\n{code}")
    assert ran.stdout.split() in (["info", "''"], ["info", "5"]), ran.stderr


@pytest.mark.once
def test_the_runnable_project_may_be_deployed() -> None:
    """With the environment that its documentation asks for, Themis is content."""
    ran = subprocess.run(
        [sys.executable, "manage.py", "check", "--deploy", "--fail-level", "WARNING"],
        cwd=ROOT,
        env={
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "server.settings",
            "DJANGO_SECRET_KEY": "a-long-secret-" * 5 + "0123456789!",
            "DJANGO_ALLOWED_HOSTS": "example.com",
            "DJANGO_HTTPS": "1",
            "REDIS_URL": "redis://127.0.0.1:6379/0",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert "System check identified" in ran.stdout + ran.stderr
    assert "themis." not in ran.stderr
