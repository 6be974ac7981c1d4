"""`asgi.py` of the Channels documentation."""

from __future__ import annotations

from typing import Any

from django.core.asgi import get_asgi_application

django_application = get_asgi_application()

from channels.auth import AuthMiddlewareStack  # noqa: E402
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from channels.security.websocket import AllowedHostsOriginValidator  # noqa: E402
from django.urls import path  # noqa: E402

from benchmarks.site.consumers import NotificationConsumer  # noqa: E402

# Any ASGI application may stand in Channels' routes; Django's types know only views.
_consumer: Any = NotificationConsumer.as_asgi()

application = ProtocolTypeRouter(
    {
        "http": django_application,
        "websocket": AllowedHostsOriginValidator(
            AuthMiddlewareStack(URLRouter([path("ws/notifications/", _consumer)]))
        ),
    }
)
