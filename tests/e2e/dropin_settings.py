"""A host that makes it as hard as hosts do: below a prefix, with hashed static files,
and with a CSRF cookie that scripts can't read.
"""

import os
from pathlib import Path

from server.settings import *  # noqa: F403

FORCE_SCRIPT_NAME = "/shop"
STATIC_URL = "/shop/static/"
STATIC_ROOT = Path(os.environ["STATIC_ROOT"])
LOGIN_URL = "/shop/accounts/login/"
CSRF_COOKIE_HTTPONLY = True
# What stands before the server gives it sockets without the prefix.
THEMIS_REALTIME_URL = "/ws/notifications/"
