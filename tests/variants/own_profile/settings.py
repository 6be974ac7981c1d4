"""A host that has user.profile already, and gives Themis another name for its own."""

from tests.variants.settings import *  # noqa: F403
from tests.variants.settings import INSTALLED_APPS as _APPS

INSTALLED_APPS = [*_APPS, "tests.variants.own_profile"]
THEMIS_PROFILE_RELATED_NAME = "notification_profile"
