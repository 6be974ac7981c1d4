"""Accounts and notifications in another database than the default one.

Reads are sent to a replica that has no tables at all, so that a read of Themis that
isn't from where it writes fails.
"""

import os
from typing import Any

import dj_database_url

from tests.variants.settings import *  # noqa: F403
from tests.variants.settings import DATABASES as _DATABASES

DATABASES = {
    "default": {**_DATABASES["default"], "ATOMIC_REQUESTS": True},
    "people": {
        **_DATABASES["default"],
        **dj_database_url.parse(os.environ["SECOND_DATABASE_URL"]),
        "ATOMIC_REQUESTS": True,
    },
}
DATABASE_ROUTERS = ["tests.variants.two_databases.Router"]

_PEOPLE = {"admin", "auth", "contenttypes", "themis"}


class Router:
    def db_for_read(self, model: Any, **hints: Any) -> str:
        return self.db_for_write(model)

    def db_for_write(self, model: Any, **hints: Any) -> str:
        return "people" if model._meta.app_label in _PEOPLE else "default"

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool:
        return (db == "people") is (app_label in _PEOPLE)
