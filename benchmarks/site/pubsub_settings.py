"""Channels with the other layer of channels_redis."""

from __future__ import annotations

from benchmarks.site.settings import *  # noqa: F403
from benchmarks.site.settings import REDIS_URL

CHANNEL_LAYERS = {
    "default": {
        "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
        "CONFIG": {"hosts": [REDIS_URL]},
    },
}
