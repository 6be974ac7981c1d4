"""Whom a page was made for, in a name that tells nobody who that is.

Tabs know each other by it, and requests of a page name it: a browser sends whatever
cookie it has by then, and must not show one person's page what another's mailbox holds.
"""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.utils.crypto import constant_time_compare, salted_hmac

# How a request says whom it is for; a handshake, which takes no header from a script,
# by a parameter of its address.
OWNER_HEADER = "Themis-For"
OWNER_PARAMETER = "for"

_LENGTH = 32


def owner_of(user_pk: Any) -> str:
    """Return the name of the user with this primary key, the same for all sessions."""
    return _sign("themis.owners.user", str(user_pk))


def session_of(key: str | None) -> str:
    """Return the name of the session with this key; empty where there is none."""
    return _sign("themis.owners.session", key) if key else ""


def is_owner(named: str, user_pk: Any) -> bool:
    """Tell whether *named* is this user: by an old ``SECRET_KEY``, too."""
    keys = [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]
    names = [_sign("themis.owners.user", str(user_pk), secret=key) for key in keys]
    return any(constant_time_compare(named, name) for name in names)


def _sign(salt: str, value: str, *, secret: str | bytes | None = None) -> str:
    return salted_hmac(salt, value, secret, algorithm="sha256").hexdigest()[:_LENGTH]
