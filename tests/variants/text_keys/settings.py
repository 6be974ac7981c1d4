"""Text as keys of accounts, such as puts URLs, JSON, SQL and sorting to the test."""

from tests.variants.settings import *  # noqa: F403
from tests.variants.settings import DATABASES as _DATABASES
from tests.variants.settings import INSTALLED_APPS as _APPS

INSTALLED_APPS = [*_APPS, "tests.variants.text_keys"]
AUTH_USER_MODEL = "text_keys.Member"
# PostgreSQL sorts by this collation as a dictionary does, Python by code points.
_ON_POSTGRES = _DATABASES["default"]["ENGINE"] == "django.db.backends.postgresql"
KEY_COLLATION = "und-x-icu" if _ON_POSTGRES else None
KEY_PREFIX = "M:"
ACCOUNT_KEYS = [
    *["Ada", "ada", "Z", "a", "ä", "_", "a b", " a", "a ", "a/b?c=d#e", "../x"],
    *["50%(user0)s", "100%", ":user", "q\"uo'te", "<b>&amp;", "a\nb", "日本", "😀"],
    *["-1", "0", "01", "1", "None", "\u202eada", "x" * 150],
]
ACCOUNT_KEYS = [KEY_PREFIX + key for key in ACCOUNT_KEYS]
