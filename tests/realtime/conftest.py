"""Fixtures for tests of the push side."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from pytest_django import Settings

from realtime import hub as hub_module
from realtime.hub import Hub, running_hubs
from tests.realtime.harness import Box, FakeLayer
from themis import mailbox


@pytest.fixture
def box(monkeypatch: pytest.MonkeyPatch) -> Box:
    """What the hub reads instead of a database."""
    box = Box()
    monkeypatch.setattr(mailbox, "read_state", box.read_state)
    return box


@pytest.fixture
async def layer() -> FakeLayer:
    return FakeLayer()


@pytest.fixture
async def idle_hub(layer: FakeLayer) -> AsyncIterator[Hub]:
    """The hub of the test's loop, on the fake layer; the test may start it."""
    hub = Hub()
    hub.broker.layer = layer
    yield hub
    await hub.stop()


@pytest.fixture
async def hub(idle_hub: Hub) -> Hub:
    """A hub that listens to the fake layer; without a reconciler."""
    idle_hub.start()
    return idle_hub


@pytest.fixture
async def hubs() -> AsyncIterator[None]:
    """Let the application make its own hub, the only one; end that with the test."""
    loop = asyncio.get_running_loop()
    for hub in running_hubs():
        # Of an earlier test, whose loop has ended: it may not have been collected yet.
        if hub.loop is not loop:
            hub_module._HUBS.discard(hub)
    yield
    for hub in running_hubs():
        if hub.loop is loop:
            await hub.stop()


@pytest.fixture
def unchecked(settings: Settings, tmp_path: Path) -> None:
    """No check comes that the test has not asked for; sessions wherever it wants."""
    settings.THEMIS_REALTIME_CHECK_INTERVAL = 3600
    settings.THEMIS_REALTIME_SESSION_CHECK_INTERVAL = 3600
    settings.SESSION_FILE_PATH = str(tmp_path)
    settings.CACHES = {
        "default": {
            "BACKEND": "django.core.cache.backends.locmem.LocMemCache",
            "LOCATION": str(tmp_path),
        }
    }
