"""In how many threads, one after the other, a request is served."""

from __future__ import annotations

from typing import Any

from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIHandler


class InThreadHandler(ASGIHandler):
    """
    Serves a request, middleware and view, in one trip to a thread.

    Under ASGI, Django goes to a thread and back twice for each middleware that could do
    without one, which Django's own say they could, and from there to the loop and back
    for the view. Here they are called as under WSGI. An async view keeps the thread
    waiting meanwhile.
    """

    _middleware_chain: Any

    def load_middleware(self, is_async: bool = False) -> None:  # noqa: ARG002 -- Django's
        """Load them as under WSGI, and go to a thread for all of them."""
        super().load_middleware(is_async=False)
        self._middleware_chain = sync_to_async(self._middleware_chain)
