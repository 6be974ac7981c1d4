"""Whether middleware are called in a thread, all together, or each on its own."""

from asyncio import iscoroutinefunction
from collections.abc import Callable
from typing import Any

import pytest
from django.core.handlers.asgi import ASGIHandler
from django.utils.decorators import sync_and_async_middleware
from pytest_django import Settings

pytestmark = pytest.mark.once

CALLS: list[bool] = []


@pytest.fixture(autouse=True)
def _no_calls() -> None:
    CALLS.clear()


@sync_and_async_middleware
def note_the_way(get_response: Callable[..., Any]) -> Callable[..., Any]:
    """Stand where Django's middleware stand, and note whether these leave the loop."""
    CALLS.append(iscoroutinefunction(get_response))
    return get_response


def test_what_stands_before_it_leaves_the_loop_only_once(settings: Settings) -> None:
    first = f"{__name__}.note_the_way"
    django = "django.contrib.sessions.middleware.SessionMiddleware"
    for rest in ([django], [django, "server.threads.stay_in_thread"]):
        settings.MIDDLEWARE = [first, *rest]
        ASGIHandler()
    assert CALLS == [True, False]
