"""
What `python -m server.scheduler` does: run `cleanup_notifications` now, and then again
each CLEANUP_INTERVAL seconds, a day by default.

One is enough for all servers, and two do no harm. Where something else keeps time, such
as cron or a CronJob, that runs `manage.py cleanup_notifications` itself.
"""

from __future__ import annotations

import logging
import os
import sys
import time

import django
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.db import DatabaseError, InterfaceError, connections

from server import environment

DAY_SECONDS = 24 * 60 * 60
# How soon it tries again when the database was away.
RETRY_SECONDS = 60

logger = logging.getLogger("server")


def clean_up() -> bool:
    """Run the command; whether it came to its end."""
    try:
        call_command("cleanup_notifications")
    except (DatabaseError, InterfaceError):
        logger.exception("The clean-up failed; it is tried again.")
        return False
    finally:
        # None is kept open for a day.
        connections.close_all()
    return True


def interval() -> int:
    """Return how many seconds lie between two runs."""
    seconds = environment.number("CLEANUP_INTERVAL", DAY_SECONDS)
    if not seconds:
        raise ImproperlyConfigured("CLEANUP_INTERVAL is 0: set it to a second or more.")
    return seconds


def main() -> int:
    """Clean up for ever; what a person can mend is said in one line."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "server.settings")
    try:
        seconds = interval()
        django.setup()
    except ImproperlyConfigured as error:
        print(f"ImproperlyConfigured: {error}", file=sys.stderr)
        return 1
    while True:
        done = clean_up()
        time.sleep(seconds if done else min(seconds, RETRY_SECONDS))


if __name__ == "__main__":
    sys.exit(main())
