"""In how many threads, one after the other, a request is served."""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

GetResponse = Callable[[HttpRequest], HttpResponse]


def stay_in_thread(get_response: GetResponse) -> GetResponse:
    """
    Do nothing, as the last middleware and in a thread.

    Under ASGI, Django goes to a thread and back twice for each middleware that could do
    without one, which Django's own say they could. Where the last can't, those before
    it are called in that thread. An async view keeps the thread waiting meanwhile.
    """
    return get_response
