"""The settings of the project, with the channel layer that is not the recommended one.

Its hosts are configured as for the other. `socket_timeout` is then less than what it
waits for a message, so that each idle second ends with an error; redis-py 8 has such a
time-out by itself.
"""

from server.settings import *  # noqa: F403 -- all of them
from server.settings import CHANNEL_LAYERS

CHANNEL_LAYERS["default"]["BACKEND"] = "channels_redis.core.RedisChannelLayer"
