"""
Settings of the runnable project, all taken from the environment.

Without any: SQLite, the in-process channel layer, and no start unless DEBUG is on. What
would be insecure is refused, too: see server.refusals.

DJANGO_SECRET_KEY            required without DEBUG, and then 50 characters or more
DJANGO_DEBUG                 1 or 0, default 0
DJANGO_ALLOWED_HOSTS         host names separated by commas, required without DEBUG
DJANGO_CSRF_TRUSTED_ORIGINS  origins (https://example.com) separated by commas
DJANGO_HTTPS                 1 behind a proxy that ends TLS and sets X-Forwarded-Proto
DJANGO_STATIC_ROOT           where static files are collected, default staticfiles
DATABASE_URL                 default: SQLite in db.sqlite3
DATABASE_POOL_SIZE           connections to PostgreSQL that requests share, default 8;
                             0: each request makes its own
REDIS_URL                    default: none; the channel layer stays in the process, and
                             Celery's tasks run where they are called
LOG_FORMAT                   line or json, default line
THEMIS_…                     the settings of Themis that hold a number or a URL
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import dj_database_url
from django.core.exceptions import ImproperlyConfigured

from server import environment, refusals

BASE_DIR = Path(__file__).resolve().parent.parent

# Core

DEBUG = environment.flag("DJANGO_DEBUG")

SECRET_KEY = environment.text("DJANGO_SECRET_KEY")
if not SECRET_KEY:
    if not DEBUG:
        raise ImproperlyConfigured(
            "DJANGO_SECRET_KEY is not set: give it a long random text, or set "
            "DJANGO_DEBUG=1 to develop with a key that is not secret."
        )
    SECRET_KEY = "django-insecure-only-for-development"  # noqa: S105 - not secret
elif not DEBUG:
    refusals.refuse_weak_key(SECRET_KEY)

# Empty under DEBUG means localhost, 127.0.0.1 and [::1]: Django's own rule.
ALLOWED_HOSTS = environment.names("DJANGO_ALLOWED_HOSTS")
if not ALLOWED_HOSTS and not DEBUG:
    raise ImproperlyConfigured(
        "DJANGO_ALLOWED_HOSTS is not set: list the host names this server answers "
        "to, separated by commas, or set DJANGO_DEBUG=1 to develop on localhost."
    )
if not DEBUG:
    refusals.refuse_unclear_hosts(ALLOWED_HOSTS)

INSTALLED_APPS = [
    # Loads the Celery app before the demo's tasks ask for one.
    "server",
    # Before Themis, so that its template takes the place of themis/base.html.
    "demo",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "themis",
    "realtime",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "server.security.content_security_policy",
    "server.static_files.StaticFilesMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

ROOT_URLCONF = "server.urls"
ASGI_APPLICATION = "asgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.debug",
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

# Data

DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"


DATABASE_POOL_SIZE = environment.number("DATABASE_POOL_SIZE", 8)


def database() -> dict[str, Any]:
    """Return the default database: DATABASE_URL, or SQLite beside the code."""
    url = environment.text("DATABASE_URL", f"sqlite:///{BASE_DIR / 'db.sqlite3'}")
    try:
        parsed = dj_database_url.parse(url, conn_health_checks=True)
    except ValueError as error:
        raise ImproperlyConfigured(
            "DATABASE_URL is not a database's address: set it to "
            "postgres://user:password@host:5432/name or sqlite:////path/to/file."
        ) from error
    config: dict[str, Any] = {**parsed}
    if config["ENGINE"] == "django.db.backends.sqlite3":
        # WAL lets readers go on while one writes. IMMEDIATE takes the write lock
        # where a transaction begins, where waiting for it works; a lock taken later
        # fails at once when another writer came first. SQLite's default of
        # synchronous=FULL stays: with NORMAL a power cut may undo commits, and a
        # mailbox would give the same revision out twice.
        config["OPTIONS"] = {
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,
            "init_command": "PRAGMA journal_mode=WAL",
            **config.get("OPTIONS", {}),
        }
    if config["ENGINE"] == "django.db.backends.postgresql":
        # A connection keeps the plans of what it asks again and again: to plan Themis'
        # statements takes longer than to run them. A pooler in transaction mode must
        # know of prepared statements; if it doesn't, ?server_side_binding=false.
        config["OPTIONS"] = {
            "server_side_binding": True,
            "prepare_threshold": 5,
            **config.get("OPTIONS", {}),
        }
        if DATABASE_POOL_SIZE:
            # To make a connection takes longer than to answer a poll. Who finds none
            # free waits for so many seconds, and so does everybody while PostgreSQL is
            # away: with the pool's own 30 requests would pile up, and with its 300
            # they could fail for minutes after PostgreSQL has come back.
            config["OPTIONS"]["pool"] = {
                "min_size": 0,
                "max_size": DATABASE_POOL_SIZE,
                "max_waiting": 100,
                "timeout": 3,
                "reconnect_timeout": 3,
            }
    return config


DATABASES = {"default": database()}

# Real time


def channel_layers(redis_url: str) -> dict[str, dict[str, Any]]:
    """Return the channel layer: in this process, or Redis pub/sub for several."""
    if not redis_url:
        return {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
    if not redis_url.startswith(("redis://", "rediss://", "unix://")):
        raise ImproperlyConfigured(
            "REDIS_URL is not the address of a Redis: set it to redis://host:6379/0."
        )
    host = {
        "address": redis_url,
        # A Redis that hangs holds up a publisher for no longer than this.
        "socket_timeout": 1,
        "socket_connect_timeout": 1,
    }
    return {
        "default": {
            "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
            "CONFIG": {"hosts": [host]},
        }
    }


CHANNEL_LAYERS = channel_layers(environment.text("REDIS_URL"))

# Tasks


def celery_broker(redis_url: str) -> str:
    """Return the broker's address as Celery writes it."""
    if redis_url.startswith("unix://"):
        return "redis+socket://" + redis_url.removeprefix("unix://")
    return redis_url


# Without a broker there is no worker either: a task runs at once, in its caller.
CELERY_BROKER_URL = (
    celery_broker(environment.text("REDIS_URL")) or "memory://localhost/"
)
CELERY_TASK_ALWAYS_EAGER = CELERY_BROKER_URL.startswith("memory:")
# Nobody asks what a task has returned.
CELERY_TASK_IGNORE_RESULT = True
# A Redis that hangs holds up a view for no longer than this. The worker itself waits
# in turns of a second.
CELERY_BROKER_TRANSPORT_OPTIONS = {"socket_timeout": 5, "socket_connect_timeout": 1}
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_TIMEZONE = "UTC"

# Themis

# Set only where the environment has them, so that the defaults have one home.
for _name in (
    "THEMIS_NOTIFICATION_POLL_INTERVAL",
    "THEMIS_NOTIFICATION_MAX_AGE_DAYS",
    "THEMIS_REALTIME_CHECK_INTERVAL",
    "THEMIS_REALTIME_MAX_CONNECTIONS_PER_USER",
    "THEMIS_REALTIME_SESSION_CHECK_INTERVAL",
):
    if environment.text(_name):
        globals()[_name] = environment.number(_name, 0)
if environment.text("THEMIS_REALTIME_URL"):
    THEMIS_REALTIME_URL = environment.text("THEMIS_REALTIME_URL")

# Signing in

LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "home"
LOGOUT_REDIRECT_URL = "home"

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]

# Security

HTTPS = environment.flag("DJANGO_HTTPS")
CSRF_TRUSTED_ORIGINS = environment.names("DJANGO_CSRF_TRUSTED_ORIGINS")
refusals.refuse_unsafe_origins(CSRF_TRUSTED_ORIGINS, https=HTTPS)
SECURE_REFERRER_POLICY = "same-origin"

if HTTPS:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    SECURE_SSL_REDIRECT = True
    SECURE_HSTS_SECONDS = 30 * 24 * 60 * 60
    SESSION_COOKIE_SECURE = True
    CSRF_COOKIE_SECURE = True
    # These ask for a promise on behalf of all subdomains, which browsers keep for
    # weeks. Only who has the domain can give it, in the proxy.
    SILENCED_SYSTEM_CHECKS = ["security.W005", "security.W021"]

# Language and time

USE_I18N = True
USE_TZ = True
LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"

# Static files

STATIC_URL = "static/"
STATIC_ROOT = Path(
    environment.text("DJANGO_STATIC_ROOT", str(BASE_DIR / "staticfiles"))
)
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": (
            "django.contrib.staticfiles.storage.StaticFilesStorage"
            if DEBUG
            else "server.static_files.HashedStaticFilesStorage"
        )
    },
}

# Logging

LOG_FORMATS: dict[str, dict[str, Any]] = {
    "line": {"format": "{asctime} {levelname} {name}: {message}", "style": "{"},
    "json": {"()": "server.logs.JsonLines"},
}
LOG_FORMAT = environment.text("LOG_FORMAT", "line")
if LOG_FORMAT not in LOG_FORMATS:
    raise ImproperlyConfigured(
        f"LOG_FORMAT is {LOG_FORMAT!r}: set it to line, for people, or json."
    )
# Python's warnings would be no JSON.
logging.captureWarnings(LOG_FORMAT == "json")
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"chosen": LOG_FORMATS[LOG_FORMAT]},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "chosen"}},
    "root": {"handlers": ["console"], "level": "WARNING"},
    # Django mails errors to nobody here: show them where the rest is shown.
    "loggers": {
        "django": {"handlers": [], "level": "WARNING"},
        # A traceback a second while Redis is away. Themis says once that it is.
        "channels_redis": {"level": "CRITICAL"},
        # Each attempt while PostgreSQL is away. Themis says that once, too.
        "psycopg.pool": {"level": "ERROR"},
    },
}
