"""Where the socket is, for the host's `URLRouter`."""

from __future__ import annotations

from typing import Any

from django.urls import path

from .consumers import notifications

# Any ASGI application may stand in Channels' routes; Django's types know only views.
_application: Any = notifications

websocket_urlpatterns = [path("ws/notifications/", _application)]
