"""The least that Themis and the demo need of a host, for tests and the type checker.

The plugin tests.databases sets DATABASE_URL.
"""

import os
import tempfile
from pathlib import Path
from typing import Any

import dj_database_url

SECRET_KEY = "not a secret"
ALLOWED_HOSTS = ["testserver", "127.0.0.1"]
USE_TZ = True

_database_url = os.environ.get(
    "DATABASE_URL", f"sqlite:///{Path(tempfile.gettempdir(), 'themis.sqlite3')}"
)
_database: dict[str, Any] = {**dj_database_url.parse(_database_url)}
if _database["ENGINE"] == "django.db.backends.sqlite3":
    # A file, not memory: the threads of a test see the same rows.
    _database["TEST"] = {"NAME": _database["NAME"] + ".test"}
    _database["OPTIONS"] = {"init_command": "PRAGMA synchronous = OFF"}
DATABASES = {"default": _database}

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "themis",
    "realtime",
    "server",
    "demo",
    "tests.pattern",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    }
]

ROOT_URLCONF = "tests.urls"
STATIC_URL = "/static/"
LOGIN_URL = "/accounts/login/"
LOGIN_REDIRECT_URL = "/"

CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}

CELERY_BROKER_URL = "memory://localhost/"
CELERY_TASK_ALWAYS_EAGER = True
CELERY_TASK_EAGER_PROPAGATES = True

# Hashing for strength takes most of the time of a test that makes users.
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
