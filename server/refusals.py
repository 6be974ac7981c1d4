"""
What would be insecure is refused before anything is served.

`manage.py check --deploy` says as much, to those who run it.
"""

from __future__ import annotations

import re

from django.core.exceptions import ImproperlyConfigured

# Django's own measure, in security.W009.
SHORTEST_KEY = 50
FEWEST_CHARACTERS = 5
INSECURE_PREFIX = "django-insecure-"

NEW_KEY = "python -c 'import secrets; print(secrets.token_urlsafe(64))'"


def refuse_weak_key(key: str) -> None:
    """Refuse a key that can be guessed: whoever has it signs in as anybody."""
    if (
        len(key) < SHORTEST_KEY
        or len(set(key)) < FEWEST_CHARACTERS
        or key.startswith(INSECURE_PREFIX)
    ):
        raise ImproperlyConfigured(
            f"DJANGO_SECRET_KEY can be guessed: it has less than {SHORTEST_KEY} "
            f"characters, or less than {FEWEST_CHARACTERS} different ones, or begins "
            f"with {INSECURE_PREFIX!r}. Make one: {NEW_KEY}"
        )


def refuse_unclear_hosts(hosts: list[str]) -> None:
    """Refuse what lets everybody name the host, and what is no name of a host."""
    for host in hosts:
        if "*" in host:
            raise ImproperlyConfigured(
                f"DJANGO_ALLOWED_HOSTS has {host!r}: links would lead to whatever host "
                "a request names. List the names, or .example.com for a domain and all "
                "below it."
            )
        if re.search(r"/|:\d+$", host):
            raise ImproperlyConfigured(
                f"DJANGO_ALLOWED_HOSTS has {host!r}: a name stands there without a "
                "scheme, a port or a path."
            )


def refuse_unsafe_origins(origins: list[str], *, https: bool) -> None:
    """Refuse pages of everybody, and, behind TLS, those that came without it."""
    for origin in origins:
        scheme, separator, host = origin.partition("://")
        if not separator or "/" in host or host.partition(":")[0] in {"", "*"}:
            raise ImproperlyConfigured(
                f"DJANGO_CSRF_TRUSTED_ORIGINS has {origin!r}: write origins as "
                "https://example.com, or https://*.example.com for all below it."
            )
        if https and scheme != "https":
            raise ImproperlyConfigured(
                f"DJANGO_CSRF_TRUSTED_ORIGINS has {origin!r}: with DJANGO_HTTPS=1 each "
                "begins with https://, because anybody on the line can make a page of "
                "another."
            )
