"""System checks: what is wrong with a project, said before a visitor finds out."""

from __future__ import annotations

import importlib.util
import keyword
import math
import urllib.parse
from collections.abc import Callable, Iterable
from typing import Any

from django.apps import AppConfig, apps
from django.conf import settings as django_settings
from django.contrib.auth import get_user_model
from django.core.checks import CheckMessage, Error, Warning, register  # noqa: A004 -- Django's name
from django.db import connections, router
from django.template import TemplateDoesNotExist, TemplateSyntaxError, engines
from django.template.loader import get_template
from django.urls import NoReverseMatch, reverse
from django.utils.module_loading import import_string

from themis.broadcasters import get_broadcaster
from themis.conf import CHANNELS_BROADCASTER, settings
from themis.models import UserNotification, UserProfile

TAG = "themis"

# INSERT ... RETURNING and UPDATE ... RETURNING.
OLDEST_SQLITE = (3, 35)

REQUEST_PROCESSOR = "django.template.context_processors.request"
NEEDED_APPS = (
    "django.contrib.auth",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
)
NEEDED_MIDDLEWARE = (
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
)


# Settings


def _is_whole(value: object, *, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _is_seconds(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return math.isfinite(value) and value > 0


def _is_socket_url(value: object) -> bool:
    if not isinstance(value, str) or not value.isprintable() or " " in value:
        return False
    if value.startswith("/"):
        return not value.startswith("//")
    try:
        parts = urllib.parse.urlsplit(value)
    except ValueError:
        return False
    return parts.scheme in {"ws", "wss"} and bool(parts.hostname)


def _is_accessor(value: object) -> bool:
    """Tell whether a relation can have this name, and lookups can use it."""
    if not isinstance(value, str) or not value.isidentifier():
        return False
    return not (keyword.iskeyword(value) or value.endswith("_") or "__" in value)


# Of each setting that only has to look right: the check, what it must be, its id.
SETTINGS: dict[str, tuple[Callable[[object], bool], str, str]] = {
    "THEMIS_NOTIFICATION_POLL_INTERVAL": (
        lambda value: _is_whole(value, least=0),
        "a whole number of seconds, or 0 to never poll",
        "themis.E003",
    ),
    "THEMIS_NOTIFICATION_MAX_AGE_DAYS": (
        lambda value: _is_whole(value, least=1),
        "a whole number of days, at least 1",
        "themis.E004",
    ),
    "THEMIS_REALTIME_CHECK_INTERVAL": (
        lambda value: value is None or _is_seconds(value),
        "a number of seconds above 0, or None",
        "themis.E005",
    ),
    "THEMIS_REALTIME_MAX_CONNECTIONS_PER_USER": (
        lambda value: _is_whole(value, least=1),
        "a whole number, at least 1",
        "themis.E006",
    ),
    "THEMIS_REALTIME_SESSION_CHECK_INTERVAL": (
        _is_seconds,
        "a number of seconds above 0",
        "themis.E007",
    ),
    "THEMIS_REALTIME_URL": (
        lambda value: value is None or _is_socket_url(value),
        "a path such as '/ws/notifications/', a ws:// or wss:// address, or None",
        "themis.E008",
    ),
    "THEMIS_PROFILE_RELATED_NAME": (
        _is_accessor,
        "a name that an attribute can have, without '__' and not ending with '_'",
        "themis.E009",
    ),
}


@register(TAG)
def check_settings(**_: Any) -> list[CheckMessage]:
    """E003 to E009: a setting of Themis has a value that can't be used."""
    return [
        Error(f"{name} must be {what}, not {value!r}.", id=number)
        for name, (is_right, what, number) in SETTINGS.items()
        if hasattr(django_settings, name)
        and not is_right(value := getattr(django_settings, name))
    ]


# Real time


def _realtime() -> AppConfig | None:
    """Return the installed app called `realtime`, whoever's it is."""
    configs = (config for config in apps.get_app_configs() if config.name == "realtime")
    return next(configs, None)


def _is_ours(config: AppConfig) -> bool:
    if config.label != "themis_realtime":
        return False
    return importlib.util.find_spec("realtime.broadcasting") is not None


@register(TAG)
def check_realtime(**_: Any) -> list[CheckMessage]:
    """E001: another package has the name of ours."""
    config = _realtime()
    if config is None or _is_ours(config):
        return []
    return [
        Error(
            f"The app 'realtime' is not Themis': it was imported from {config.path}.",
            hint="Another package on PyPI is called realtime. Uninstall that one, then "
            "install django-themis again.",
            id="themis.E001",
        )
    ]


@register(TAG)
def check_broadcaster(**_: Any) -> list[CheckMessage]:
    """E010: ``THEMIS_BROADCASTER`` names nothing that can be used."""
    config = _realtime()
    if config is not None and not _is_ours(config):
        return []  # E001 is the cause
    try:
        get_broadcaster()
    except Exception as error:  # noqa: BLE001 -- whatever a host's class raises
        return [
            Error(
                f"The broadcaster can't be used: {error}",
                hint="Set THEMIS_BROADCASTER to the dotted path of a "
                "themis.broadcasters.BaseBroadcaster, or to None to let pages poll.",
                id="themis.E010",
            )
        ]
    return []


@register(TAG, deploy=True)
def check_channel_layer(**_: Any) -> list[CheckMessage]:
    """W007, W008: pushes end at the process that sends them, or get lost in bursts."""
    if settings.broadcaster != CHANNELS_BROADCASTER:
        return []
    layers = getattr(django_settings, "CHANNEL_LAYERS", {})
    backend = layers.get("default", {}).get("BACKEND")
    if backend == "channels_redis.core.RedisChannelLayer":
        return [
            Warning(
                "RedisChannelLayer drops what comes in bursts, without an error: the "
                "pages of a process share room for 100 messages. Checks repair it, "
                "later.",
                hint="Set CHANNEL_LAYERS to "
                "channels_redis.pubsub.RedisPubSubChannelLayer.",
                id="themis.W008",
            )
        ]
    if backend not in {None, "channels.layers.InMemoryChannelLayer"}:
        return []
    return [
        Warning(
            "The channel layer ends at each process: what another process sends, a "
            "worker or a shell, reaches pages only at the next check.",
            hint="With more than one process, set CHANNEL_LAYERS to "
            "channels_redis.pubsub.RedisPubSubChannelLayer.",
            id="themis.W007",
        )
    ]


# Users and their profiles


@register(TAG)
def check_profile_name(**_: Any) -> list[CheckMessage]:
    """E002: the user model has something else under the name of the profile."""
    name = settings.profile_related_name
    if not _is_accessor(name):
        return []  # E009 is the cause
    rivals = _rivals(name)
    if not rivals:
        return []
    return [
        Error(
            f"'{name}' of the user model would be Themis' profile, but is "
            f"{' and '.join(rivals)}.",
            hint="Set THEMIS_PROFILE_RELATED_NAME to another name for Themis' profile, "
            "such as 'notification_profile', before the first migrate.",
            obj=UserProfile,
            id="themis.E002",
        )
    ]


def _rivals(name: str) -> list[str]:
    """Return what else the user model has under *name*."""
    user_model = get_user_model()
    meta = user_model._meta
    ours: Any = UserProfile._meta.get_field("user")
    fields = [*meta.fields, *meta.many_to_many, *meta.private_fields]
    rivals = [f"the field {field}" for field in fields if field.name == name]
    rivals += [
        f"the reverse of {relation.field}"
        for relation in meta.related_objects
        if relation.field is not ours
        and name in {relation.get_accessor_name(), relation.name}
    ]
    if not rivals and ours.rival is not None:
        rivals.append(f"an attribute of the class {meta.label}")
    return rivals


# Databases


@register(TAG)
def check_database(**_: Any) -> list[CheckMessage]:
    """E011, W001, W002: where the tables are."""
    using = router.db_for_write(UserNotification)
    connection: Any = connections[using]
    messages: list[CheckMessage] = []
    if connection.vendor == "sqlite":
        version = connection.Database.sqlite_version_info
        if version < OLDEST_SQLITE:
            found = ".".join(map(str, version))
            messages.append(
                Error(
                    f"Themis needs SQLite 3.35 or later; this is {found}.",
                    id="themis.E011",
                )
            )
    elif connection.vendor != "postgresql":
        messages.append(
            Warning(
                f"Themis has not been tested on {connection.display_name}.",
                hint="It is tested on SQLite and PostgreSQL.",
                id="themis.W001",
            )
        )
    users = router.db_for_write(get_user_model())
    if users != using:
        messages.append(
            Warning(
                f"Notifications are written to the database '{using}', users to "
                f"'{users}': a foreign key can't hold between the two.",
                hint="Let your router send the app 'themis' to where users are.",
                id="themis.W002",
            )
        )
    return messages


# Pages


@register(TAG)
def check_urls(**_: Any) -> list[CheckMessage]:
    """W003: Themis' pages and API are nowhere."""
    if not getattr(django_settings, "ROOT_URLCONF", None):
        return []
    try:
        reverse("themis:list")
    except NoReverseMatch:
        return [
            Warning(
                "Themis' pages and API are not in the URLconf: the bell can't be "
                "rendered.",
                hint="Add path('notifications/', include('themis.urls')).",
                id="themis.W003",
            )
        ]
    except Exception:  # noqa: BLE001 -- a broken URLconf has Django's own checks
        return []
    return []


@register(TAG)
def check_templates(**_: Any) -> list[CheckMessage]:
    """W004, W005: the bell can't be rendered."""
    try:
        get_template("themis/bell.html")
    except TemplateSyntaxError:
        return []  # whoever has overridden it will see
    except TemplateDoesNotExist:
        return [
            Warning(
                "Themis' templates are not found.",
                hint="Set APP_DIRS to True for DjangoTemplates in TEMPLATES.",
                id="themis.W005",
            )
        ]
    processors = {
        processor
        for engine in engines.all()
        for processor in getattr(
            getattr(engine, "engine", None), "context_processors", ()
        )
    }
    if REQUEST_PROCESSOR in processors:
        return []
    return [
        Warning(
            "{% themis_bell %} will not find the request.",
            hint=f"Add '{REQUEST_PROCESSOR}' to the context processors in TEMPLATES.",
            id="themis.W004",
        )
    ]


@register(TAG)
def check_companions(**_: Any) -> list[CheckMessage]:
    """W006: an app or middleware that Themis' pages use is missing."""
    missing = [
        f"'{name}' in INSTALLED_APPS"
        for name in NEEDED_APPS
        if not apps.is_installed(name)
    ]
    missing += [
        f"'{name}' in MIDDLEWARE"
        for name in NEEDED_MIDDLEWARE
        if not _contains_subclass(name, django_settings.MIDDLEWARE)
    ]
    if not missing:
        return []
    return [
        Warning(
            f"Themis' pages and bell need {', '.join(missing)}.",
            id="themis.W006",
        )
    ]


def _contains_subclass(wanted: str, candidates: Iterable[str]) -> bool:
    base = import_string(wanted)
    for path in candidates:
        if path == wanted:
            return True
        try:
            candidate = import_string(path)
        except ImportError:
            continue  # Django says so when it starts to serve
        if isinstance(candidate, type) and issubclass(candidate, base):
            return True
    return False
