"""What all peers share: a broker, and a database with users in it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import count
from typing import Self

from benchmarks.sizes import Size
from tests.processes import PostgresServer, RedisServer

_TEMPLATE = "template_benchmark"
# As a PostgreSQL has it that nobody has configured: what is committed is on the disk.
_SAFE = {"fsync": "on", "full_page_writes": "on"}


class Rig:
    """
    Private servers, which end with the block.

    Args:
        size: How many users there are, and how many notifications each of them has.
    """

    def __init__(self, size: Size) -> None:
        self._size = size
        self.redis = RedisServer()
        self.postgres = PostgresServer(settings=_SAFE)
        self._runs = count(1)
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(self.redis)
            stack.enter_context(self.postgres)
            self._fill()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    @contextmanager
    def fresh(self) -> Iterator[dict[str, str]]:
        """
        Give the environment of a server with everything as it was in the beginning.

        A database of its own, copied from the one that was filled, and an empty broker.
        """
        name = f"run_{next(self._runs)}"
        url = self.postgres.create_database(name, template=_TEMPLATE)
        self.redis.wipe()
        try:
            yield self._environment(url)
        finally:
            self.postgres.drop_database(name)

    def _fill(self) -> None:
        url = self.postgres.create_database(_TEMPLATE)
        numbers = map(str, (self._size.users, self._size.held))
        subprocess.run(
            [sys.executable, "-m", "benchmarks.host.fill", *numbers],
            env=self._environment(url)
            | {"DJANGO_SETTINGS_MODULE": "benchmarks.host.settings"},
            check=True,
        )

    def _environment(self, url: str) -> dict[str, str]:
        return os.environ | {
            "DATABASE_URL": url,
            "REDIS_URL": self.redis.url,
            "DJANGO_SECRET_KEY": "a secret of fifty characters, as Django wants one.",
            "DJANGO_ALLOWED_HOSTS": "127.0.0.1,localhost",
        }
