"""python-socketio with Redis, and Django behind it; sessions are Django's."""

from __future__ import annotations

import os
from http.cookies import SimpleCookie
from importlib import import_module
from typing import Any

import socketio
from django.conf import settings
from django.core.asgi import get_asgi_application

django_application = get_asgi_application()

from django.contrib.auth import aget_user  # noqa: E402
from django.http import HttpRequest  # noqa: E402

server = socketio.AsyncServer(
    async_mode="asgi",
    client_manager=socketio.AsyncRedisManager(os.environ["REDIS_URL"]),
)


@server.event  # type: ignore[untyped-decorator] # it ships no types
async def connect(sid: str, environ: dict[str, Any]) -> None:
    """Let in who is signed in, and put them into their room."""
    cookies = SimpleCookie(environ.get("HTTP_COOKIE", ""))
    session = cookies.get(settings.SESSION_COOKIE_NAME)
    request = HttpRequest()
    store = import_module(settings.SESSION_ENGINE).SessionStore
    request.session = store(session.value if session else None)
    user: Any = await aget_user(request)
    if not user.is_authenticated:
        message = "signed out"
        raise ConnectionRefusedError(message)
    await server.enter_room(sid, f"user_{user.pk}")


application = socketio.ASGIApp(server, django_application)
