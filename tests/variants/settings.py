"""What all these hosts have in common; each adds what makes it another one."""

from tests.settings import *  # noqa: F403
from tests.settings import INSTALLED_APPS as _APPS

# Without the apps that other tests bring.
_OURS = ("django.", "realtime", "themis")
INSTALLED_APPS = [app for app in _APPS if app.startswith(_OURS)]
ROOT_URLCONF = "tests.variants.urls"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# The journey makes the hosts' own migrations, in a folder outside the checkout.
MIGRATION_MODULES = {
    label: f"made.{label}"
    for label in ("inherited", "own_profile", "text_keys", "uuid_keys")
}

# The keys of the accounts that the journey makes; none = the database numbers them.
ACCOUNT_KEYS: list[str] = []
# What all of them begin with.
KEY_PREFIX = ""
