"""Somebody else's process: it has the project's settings and does what a test says.

What it notifies reaches a page only through the database and the broker, as from a
`manage.py shell`, a cron job or a worker. Parent and child speak lines of JSON.
"""

import atexit
import json
import os
import sys
import traceback
from collections.abc import Mapping
from typing import Any, Self

from tests import prefork


class Shell:
    """A child process that runs the Python it is given, one piece after the other."""

    def __init__(self, env: Mapping[str, str]) -> None:
        command = [sys.executable, "-m", "tests.e2e.shell"]
        self._process = prefork.start_talking(command, env={**os.environ, **env})
        atexit.register(self.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *args: object) -> None:
        self.close()

    def run(self, code: str, **values: object) -> Any:
        """Run *code* with *values* as variables; what it put into `result`.

        The variables `User`, `UserNotification`, `notify_user`, `transaction`,
        `timezone` and `timedelta` are there. RuntimeError if the code raises.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"code": code, "values": values}) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError("The other process has ended.")
        said = json.loads(answer)
        if "error" in said:
            raise RuntimeError(said["error"])
        return said["result"]

    def close(self) -> None:
        """End it. May be called twice."""
        atexit.unregister(self.close)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.kill()
        self._process.wait()
        self._process.stdin.close()
        self._process.stdout.close()


def _serve() -> None:
    import django  # noqa: PLC0415 - only the child needs it set up

    django.setup()
    from datetime import timedelta  # noqa: PLC0415

    from django.contrib.auth import get_user_model  # noqa: PLC0415
    from django.db import transaction  # noqa: PLC0415
    from django.utils import timezone  # noqa: PLC0415

    from themis.models import UserNotification  # noqa: PLC0415
    from themis.notifications import notify_user  # noqa: PLC0415

    known = {
        "User": get_user_model(),
        "UserNotification": UserNotification,
        "notify_user": notify_user,
        "transaction": transaction,
        "timezone": timezone,
        "timedelta": timedelta,
    }
    for line in sys.stdin:
        asked = json.loads(line)
        names = {**known, **asked["values"], "result": None}
        try:
            exec(asked["code"], names)  # noqa: S102 - what this process is for
            answer = json.dumps({"result": names["result"]})
        except Exception:  # noqa: BLE001 - the test is told
            answer = json.dumps({"error": traceback.format_exc()})
        sys.stdout.write(answer + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    _serve()
