"""Times without a zone, in one far from UTC that has summer time."""

from tests.variants.settings import *  # noqa: F403

USE_TZ = False
TIME_ZONE = "Pacific/Auckland"  # UTC+12:00, +13:00 in summer
