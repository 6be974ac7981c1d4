"""Browsers with a session, and the tabs that they open."""

from typing import Any

from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.test import Client
from pytest_django import Settings

from realtime.hub import Hub, running_hubs
from tests.realtime.harness import Connection

ENGINES = ["db", "cached_db", "cache", "file", "signed_cookies"]


def use_engine(settings: Settings, engine: str) -> None:
    settings.SESSION_ENGINE = f"django.contrib.sessions.backends.{engine}"


class Browser(Client):
    """Django's client, signed in; its tabs hold sockets."""

    def __init__(self, user: User) -> None:
        super().__init__()
        self.force_login(user)

    @property
    def key(self) -> str:
        return str(self.cookies["sessionid"].value)

    def tab(self, **options: Any) -> Connection:
        return Connection(cookie=self.cookie, **options)

    @property
    def cookie(self) -> str:
        return f"sessionid={self.key}"


async def browse(user: User) -> Browser:
    return await sync_to_async(Browser)(user)


async def refused(page: Connection) -> bool:
    """Whether the page is told that nobody is signed in, and nothing else."""
    page.start()
    return await page.close_code() == 4401 and page.wire.texts == []


def the_hub() -> Hub:
    (hub,) = running_hubs()
    return hub
