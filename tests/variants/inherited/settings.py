"""Multi-table inheritance; every request is a transaction; far west of Greenwich."""

from tests.variants.settings import *  # noqa: F403
from tests.variants.settings import DATABASES as _DATABASES
from tests.variants.settings import INSTALLED_APPS as _APPS

INSTALLED_APPS = [*_APPS, "tests.variants.inherited"]
AUTH_USER_MODEL = "inherited.Member"
DATABASES = {"default": {**_DATABASES["default"], "ATOMIC_REQUESTS": True}}
TIME_ZONE = "Pacific/Marquesas"  # UTC-09:30
