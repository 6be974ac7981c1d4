"""UUIDs as keys of accounts."""

import uuid

from tests.variants.settings import *  # noqa: F403
from tests.variants.settings import INSTALLED_APPS as _APPS

INSTALLED_APPS = [*_APPS, "tests.variants.uuid_keys"]
AUTH_USER_MODEL = "uuid_keys.Account"
# As text: an account that was made so has a key that is no UUID until it is loaded.
ACCOUNT_KEYS = [str(uuid.UUID(int=7**number)) for number in range(1, 20)]
