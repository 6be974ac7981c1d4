"""django-eventstream with Redis, as its README sets it up for several processes."""

from __future__ import annotations

from urllib.parse import urlsplit

from benchmarks.site.settings import *  # noqa: F403
from benchmarks.site.settings import INSTALLED_APPS, REDIS_URL

INSTALLED_APPS = ["daphne", *INSTALLED_APPS, "django_eventstream"]

_redis = urlsplit(REDIS_URL)
EVENTSTREAM_REDIS = {"host": _redis.hostname, "port": _redis.port, "db": 0}
EVENTSTREAM_CHANNELMANAGER_CLASS = "benchmarks.site.channel_managers.OwnChannelManager"
