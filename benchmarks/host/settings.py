"""The runnable project as it is, and the app of the peers."""

from __future__ import annotations

from server.settings import *  # noqa: F403
from server.settings import INSTALLED_APPS

INSTALLED_APPS = [*INSTALLED_APPS, "benchmarks.site"]
ROOT_URLCONF = "benchmarks.host.urls"
# One user has hundreds of sockets in one of the works.
THEMIS_REALTIME_MAX_CONNECTIONS_PER_USER = 10_000
