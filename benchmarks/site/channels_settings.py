"""Channels with the layer that its tutorial configures."""

from __future__ import annotations

from benchmarks.site.settings import *  # noqa: F403
from benchmarks.site.settings import REDIS_URL

CHANNEL_LAYERS = {
    "default": {
        "BACKEND": "channels_redis.core.RedisChannelLayer",
        "CONFIG": {"hosts": [REDIS_URL]},
    },
}
