"""
What `python -m server`, and so `make run`, does.

Bring the database up to date, create the demo users (only with DEBUG), then serve
`asgi:application` with daphne on BIND (127.0.0.1) and PORT (8000). With `--prepared` it
only serves: where several start at once, something else prepares for all of them.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from importlib import import_module

import django
from daphne.endpoints import build_endpoint_description_strings
from daphne.server import Server  # before anything else imports Twisted's reactor
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.management import CommandError, call_command
from django.db import (
    DEFAULT_DB_ALIAS,
    DatabaseError,
    OperationalError,
    connections,
)

from server import environment

# A ping that comes before the previous one timed out makes daphne close live
# connections: the timeout must not be longer than the interval.
PING_SECONDS = 20
# How long a page has to say goodbye; up to a second less, see _be_ready.
CLOSING_SECONDS = 5
# Larger than any frame of a page, so that Themis can refuse with its own code; and than
# any of Themis' own: the limit holds for what is sent, too.
MAX_MESSAGE_BYTES = 1024 * 1024
HIGHEST_PORT = 65535
# In one line: a second one would be copied with its indentation.
_RING = (
    "from themis.notifications import notify_user; "
    'notify_user(User.objects.get(username="{}"), "Hello from the shell")'
)


def address() -> tuple[str, int]:
    """Return where to listen."""
    port = environment.number("PORT", 8000)
    if not 1 <= port <= HIGHEST_PORT:
        raise ImproperlyConfigured(
            f"PORT is {port}: set it to a number from 1 to {HIGHEST_PORT}."
        )
    return environment.text("BIND", "127.0.0.1"), port


def prepare() -> None:
    """Make the database ready to serve, and the static files without DEBUG."""
    call_command("migrate", verbosity=0, interactive=False)
    if settings.DEBUG:
        call_command("demo_users", verbosity=0)
    else:
        call_command("collectstatic", verbosity=0, interactive=False)
    connections.close_all()


def welcome(url: str) -> str:
    """Tell a person where to look, who to be and what to try."""
    text = f"Themis is at {url}  (Ctrl-C stops it)"
    if settings.DEBUG:
        from demo.accounts import PASSWORD, USERNAMES  # noqa: PLC0415 - needs the apps

        first, second = USERNAMES
        text += f"""

  Sign in as {first} here and as {second} in a private window; the password of both
  is {PASSWORD}. Assign a task to the other one, or approve their request: that bell
  rings. Or ring it from another terminal, with the same environment:

  {sys.executable} manage.py shell -c '{_RING.format(first)}'
"""
    return text


def serve(host: str, port: int) -> int:
    """Serve until told to stop; return the exit code."""
    application = import_module("asgi").application
    shown = "127.0.0.1" if host == "0.0.0.0" else host  # noqa: S104 - only compared
    url = f"http://[{shown}]:{port}/" if ":" in shown else f"http://{shown}:{port}/"
    server: Server = Server(
        application=application,
        endpoints=build_endpoint_description_strings(host=host, port=port),
        ping_interval=PING_SECONDS,
        ping_timeout=PING_SECONDS,
        websocket_max_message_size=MAX_MESSAGE_BYTES,
        websocket_max_frame_size=MAX_MESSAGE_BYTES,
        ready_callable=lambda: _be_ready(server, url),
    )
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        # Only where it finds this one does Twisted put its own, and stop for Ctrl-C.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    server.run()
    if server.abort_start:
        print(
            f"Can't listen on {host}:{port}: another server may be running there. "
            f"Choose another port: PORT={port + 1} make run",
            file=sys.stderr,
        )
        return 1
    return 0


def _be_ready(server: Server, url: str) -> None:
    # Autobahn's timers end at a whole second that is not later (txaio), and its own of
    # one second at once: the connection is cut before the code of its end has left.
    server.ws_factory.closeHandshakeTimeout = CLOSING_SECONDS
    # A machine that reads JSON needs no welcome.
    if environment.text("LOG_FORMAT") != "json":
        print(welcome(url), flush=True)


def main(arguments: list[str]) -> int:
    """Prepare and serve; what a person can mend is said in one line."""
    parser = argparse.ArgumentParser(prog="python -m server")
    parser.add_argument(
        "--prepared",
        action="store_true",
        help="the database is migrated and the static files are collected",
    )
    prepared = parser.parse_args(arguments).prepared
    if not prepared:
        environment.assume_development()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "server.settings")
    try:
        host, port = address()
        django.setup()
        if not prepared:
            prepare()
        return serve(host, port)
    except (ImproperlyConfigured, CommandError, DatabaseError) as error:
        print(f"{type(error).__name__}: {_reason(error)}", file=sys.stderr)
        return 1


def _reason(error: Exception) -> str:
    """Tell what a person can mend: a pool says only how long it has waited."""
    if isinstance(error, OperationalError):
        connection = connections[DEFAULT_DB_ALIAS]
        # Nobody misses the pool any more: the process is about to end.
        if connection.settings_dict["OPTIONS"].pop("pool", None):
            try:
                connection.ensure_connection()
            except OperationalError as plain:
                # Its second line asks whether the server is running.
                return str(plain).splitlines()[0]
    return str(error)
