"""Fixtures for tests of the mailbox: accounts, and what leaves for open pages."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from django.contrib.auth.models import User
from django.utils import timezone
from pytest_django import Settings

from tests.themis import broadcasting
from tests.themis.colleague import Colleague
from themis.events import Changes


@pytest.fixture(autouse=True)
def sent(settings: Settings) -> Iterator[list[Changes]]:
    """What was broadcast, in order."""
    settings.THEMIS_BROADCASTER = broadcasting.PATH
    broadcaster = broadcasting.CollectingBroadcaster
    broadcaster.sent.clear()
    yield broadcaster.sent
    broadcaster.sent.clear()
    broadcaster.listeners.clear()


@pytest.fixture
def disconnected() -> Iterator[list[str]]:
    """Whose sockets were closed, in order."""
    keys = broadcasting.CollectingBroadcaster.disconnected
    keys.clear()
    yield keys
    keys.clear()


class Clock:
    """The time, which passes only when a test says so (and a microsecond a look)."""

    def __init__(self) -> None:
        self.time = datetime(2030, 1, 1, tzinfo=UTC)

    def now(self) -> datetime:
        self.time += timedelta(microseconds=1)
        return self.time

    def advance(self, **by: float) -> None:
        self.time += timedelta(**by)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock that Themis reads while the test runs."""
    clock = Clock()
    monkeypatch.setattr(timezone, "now", clock.now)
    return clock


def make_user(username: str) -> User:
    """An account as sign-up makes it."""
    return User.objects.create_user(username)


@pytest.fixture
def ada() -> User:
    return make_user("ada")


@pytest.fixture
def grace() -> User:
    return make_user("grace")


@pytest.fixture
def colleague(transactional_db: None) -> Iterator[Colleague]:
    """Somebody else at work, on a connection of their own."""
    with Colleague() as colleague:
        yield colleague
