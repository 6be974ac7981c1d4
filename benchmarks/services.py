"""The databases and brokers that a benchmark runs on."""

from __future__ import annotations

import os
import subprocess
import sys

from tests.processes import PostgresServer, RedisServer

# Set in the process that measures.
MEASURING = "THEMIS_BENCHMARK"


def run_again(module: str) -> None:
    """
    Run *module* again, with the arguments of this process, in one that measures.

    DATABASE_URL is taken from the environment; without it a private PostgreSQL with
    fsync on is started. Redis is always a private one.
    """
    postgres, redis = PostgresServer(settings={"fsync": "on"}), RedisServer()
    redis.start()
    url = os.environ.get("DATABASE_URL")
    try:
        if url is None:
            postgres.start()
            url = postgres.create_database("benchmark")
        environment = os.environ | {
            "DJANGO_SETTINGS_MODULE": "server.settings",
            "DJANGO_SECRET_KEY": "a secret of fifty characters, as Django wants one.",
            "DJANGO_ALLOWED_HOSTS": "127.0.0.1,localhost",
            "DATABASE_URL": url,
            "REDIS_URL": redis.url,
            MEASURING: "1",
        }
        migrate = [sys.executable, "manage.py", "migrate", "-v0"]
        subprocess.run(migrate, env=environment, check=True)
        again = [sys.executable, "-m", module, *sys.argv[1:]]
        subprocess.run(again, env=environment, check=True)
    finally:
        postgres.stop()
        redis.stop()
