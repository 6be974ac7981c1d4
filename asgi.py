"""The ASGI application: pages over HTTP, the bell's push over WebSocket."""

import os

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "server.settings")

# Before the imports below, which need the apps to be ready. The prefix is a request's.
django.setup(set_prefix=False)

from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402

from realtime.operations import Operations  # noqa: E402
from realtime.routing import websocket_urlpatterns  # noqa: E402
from server.garbage import collect_rarely  # noqa: E402
from server.threads import InThreadHandler  # noqa: E402

application = ProtocolTypeRouter(
    {
        "http": Operations(InThreadHandler()),
        "websocket": URLRouter(websocket_urlpatterns),
    }
)

# Now that everything is loaded.
collect_rarely()
