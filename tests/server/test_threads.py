"""Whether middleware are called in a thread, all together, or each on its own."""

import sys
import threading
from asyncio import iscoroutinefunction
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest
from asgiref.testing import ApplicationCommunicator
from django.core.handlers.asgi import ASGIHandler
from django.http import HttpRequest, HttpResponse
from django.urls import path
from django.utils.decorators import sync_and_async_middleware
from django.utils.deprecation import MiddlewareMixin
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


# In which thread each step ran, and on which trip of asgiref's to a thread.
STEPS: list[tuple[int, FrameType]] = []


def note_the_step() -> None:
    frame: FrameType | None = sys._getframe()
    trip = None
    # The outermost: the view makes another one, within the thread that waits for it.
    while frame:
        if frame.f_code.co_name == "thread_handler":
            trip = frame
        frame = frame.f_back
    assert trip, "not in a thread"
    # Kept, so that no other frame is taken for it.
    STEPS.append((threading.get_ident(), trip))


class NoteTheStep(MiddlewareMixin):
    """A middleware as Django's own are."""

    def process_request(self, request: HttpRequest) -> None:
        del request
        note_the_step()

    def process_response(
        self, request: HttpRequest, response: HttpResponse
    ) -> HttpResponse:
        del request
        note_the_step()
        return response


def view(request: HttpRequest) -> HttpResponse:
    del request
    note_the_step()
    return HttpResponse()


urlpatterns = [path("", view)]


@pytest.mark.parametrize(
    ("last", "trips"), [([], 5), (["server.threads.stay_in_thread"], 1)]
)
async def test_a_request_is_served_by_one_trip_to_one_thread(
    last: list[str], trips: int, settings: Settings
) -> None:
    """Two middleware, the view, and the two again."""
    settings.ROOT_URLCONF = __name__
    settings.MIDDLEWARE = [f"{__name__}.NoteTheStep"] * 2 + last
    scope = {
        "type": "http",
        "method": "GET",
        "path": "/",
        "query_string": b"",
        "headers": [(b"host", b"testserver")],
    }
    STEPS.clear()
    communicator: Any = ApplicationCommunicator  # which has no types
    client = communicator(ASGIHandler(), scope)
    await client.send_input({"type": "http.request", "body": b""})
    answer = await client.receive_output(timeout=20)
    assert answer["status"] == 200
    await client.receive_output(timeout=20)
    await client.wait(timeout=20)
    assert len(STEPS) == 5
    threads = {thread for thread, _ in STEPS}
    assert len(threads) == 1
    assert threading.get_ident() not in threads
    assert len({id(trip) for _, trip in STEPS}) == trips
    STEPS.clear()
