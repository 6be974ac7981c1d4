"""
Read typed values from the environment.

Every error names the variable and says what it should hold.
"""

from __future__ import annotations

import os

from django.core.exceptions import ImproperlyConfigured

TRUE = frozenset({"1", "true", "yes", "on"})
FALSE = frozenset({"", "0", "false", "no", "off"})


def text(name: str, default: str = "") -> str:
    """Return a variable without surrounding blanks; an empty one counts as unset."""
    return os.environ.get(name, "").strip() or default


def flag(name: str, *, default: bool = False) -> bool:
    """Return a variable that is on or off."""
    if name not in os.environ:
        return default
    value = os.environ[name].strip().lower()
    if value in TRUE:
        return True
    if value in FALSE:
        return False
    raise ImproperlyConfigured(f"{name} is {value!r}: set it to 1 (on) or 0 (off).")


def number(name: str, default: int) -> int:
    """Return a variable that is a whole number, zero or more."""
    value = text(name)
    if not value:
        return default
    if not (value.isascii() and value.isdigit()):
        raise ImproperlyConfigured(
            f"{name} is {value!r}: set it to a whole number, zero or more."
        )
    return int(value)


def names(name: str) -> list[str]:
    """Return a variable that is a list separated by commas."""
    return [part.strip() for part in text(name).split(",") if part.strip()]


def assume_development() -> None:
    """
    Switch DEBUG on where nobody has configured this server.

    Only for the commands a person types (`make run`, `manage.py`). Whoever sets a
    secret key or says anything about DEBUG is taken at their word, and
    `asgi:application` on its own never assumes anything.
    """
    if not text("DJANGO_SECRET_KEY"):
        os.environ.setdefault("DJANGO_DEBUG", "1")
