"""Whether middleware and view are called in a thread, all together, or on their own."""

import sys
import threading
from types import FrameType
from typing import Any

import pytest
from asgiref.testing import ApplicationCommunicator
from django.core.handlers.asgi import ASGIHandler
from django.http import HttpRequest, HttpResponse
from django.urls import path
from django.utils.deprecation import MiddlewareMixin
from pytest_django import Settings

from server.threads import InThreadHandler

pytestmark = pytest.mark.once

# In which thread each step ran, and on which trip of asgiref's to a thread.
STEPS: list[tuple[int, FrameType]] = []


def note_the_step() -> None:
    frame: FrameType | None = sys._getframe()
    while frame and frame.f_code.co_name != "thread_handler":
        frame = frame.f_back
    assert frame, "not in a thread"
    # Kept, so that no other frame is taken for it.
    STEPS.append((threading.get_ident(), frame))


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


@pytest.mark.parametrize(("handler", "trips"), [(ASGIHandler, 5), (InThreadHandler, 1)])
async def test_a_request_is_served_by_one_trip_to_one_thread(
    handler: type[ASGIHandler], trips: int, settings: Settings
) -> None:
    """Two middleware, the view, and the two again."""
    settings.ROOT_URLCONF = __name__
    settings.MIDDLEWARE = [f"{__name__}.NoteTheStep"] * 2
    scope = {
        "type": "http",
        "method": "GET",
        "path": "/",
        "query_string": b"",
        "headers": [(b"host", b"testserver")],
    }
    STEPS.clear()
    communicator: Any = ApplicationCommunicator  # which has no types
    client = communicator(handler(), scope)
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
