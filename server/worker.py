"""
What `python -m server.worker`, and so `make worker`, does: run a Celery worker.

It takes the options of `celery worker`. The same worker by Celery's own command:
`celery --app server worker`.
"""

from __future__ import annotations

import os
import sys

from server import environment


def main(arguments: list[str]) -> int:
    """Work until told to stop; return the exit code."""
    environment.assume_development()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "server.settings")
    if not environment.text("REDIS_URL"):
        print(
            "REDIS_URL is not set: without a broker there is nothing to wait for, and "
            "tasks run in the server. Set it for the server and for the worker.",
            file=sys.stderr,
        )
        return 1
    from server.celery import app  # noqa: PLC0415 - reads the environment

    app.worker_main(["worker", "--loglevel=INFO", *arguments])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
