"""Settings that a page shows work."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from channels.layers import get_channel_layer
from django.db.utils import ConnectionHandler
from pytest_django import Settings

from tests.docs.blocks import Block, claim, each
from tests.docs.contexts import run
from tests.processes import PostgresServer, RedisServer


@each(claim("run", **{"in": "sqlite"}))
@pytest.mark.django_db
def test_the_sqlite_settings_work(block: Block, tmp_path: Path) -> None:
    names = run(block, {"BASE_DIR": tmp_path})
    database = ConnectionHandler(names["DATABASES"])["default"]
    with database.cursor() as cursor:
        cursor.execute("PRAGMA journal_mode")
        assert cursor.fetchone() == ("wal",)
    database.close()


@each(claim("run", **{"in": "redis"}))
@pytest.mark.once
@pytest.mark.django_db
def test_the_postgres_and_redis_settings_work(
    block: Block,
    redis_server: RedisServer,
    postgres_server: PostgresServer,
    settings: Settings,
) -> None:
    names = run(block, {})
    postgres_server.create_database("docs_settings")
    database = names["DATABASES"]["default"] | {
        "NAME": "docs_settings",
        "USER": postgres_server.user,
        "PORT": postgres_server.port,
    }
    wrapper = ConnectionHandler({"default": database})["default"]
    with wrapper.cursor() as cursor:
        cursor.execute("SELECT 1")
    wrapper.close()

    (host,) = names["CHANNEL_LAYERS"]["default"]["CONFIG"]["hosts"]
    assert {"socket_timeout": 1, "socket_connect_timeout": 1}.items() <= host.items()
    host["address"] = redis_server.url
    settings.CHANNEL_LAYERS = names["CHANNEL_LAYERS"]

    async def to_itself() -> dict[str, Any]:
        layer: Any = get_channel_layer()
        channel = await layer.new_channel()
        await layer.group_add("group", channel)
        await layer.group_send("group", {"type": "hello"})
        message: dict[str, Any] = await layer.receive(channel)
        await layer.flush()
        return message

    assert asyncio.run(to_itself()) == {"type": "hello"}


@each(claim("run", **{"in": "threads"}))
def test_the_last_middleware_is_only_synchronous(block: Block) -> None:
    middleware = run(block, {})["stay_in_thread"]
    view = object()
    assert middleware(view) is view
    # As Django asks it.
    assert not getattr(middleware, "async_capable", False)
