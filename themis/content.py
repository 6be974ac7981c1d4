"""What a notification may say: clean text, safe links, bounded sources.

What a programmer gets wrong raises `ValueError` naming the argument; what users' data
gets wrong is mended.
"""

from __future__ import annotations

import re
from functools import lru_cache
from urllib.parse import urlsplit

from django.utils.functional import Promise

TITLE_LENGTH = 200
MESSAGE_LENGTH = 4_000
URL_LENGTH = 2_000
# What a BigIntegerField holds; a revision or id above it is nobody's.
MAX_INTEGER = 2**63 - 1
SOURCE_LENGTHS = {"source_app": 100, "source_model": 100, "source_id": 200}

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
# Control characters but the newline, and lone surrogates, which no database stores.
_UNPRINTABLE = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


def clean_text(value: object, *, name: str, length: int) -> str:
    r"""
    Return *value* as a plain `str` of at most *length* characters.

    Lazy strings are evaluated and `SafeString` loses its mark. ``\\r\\n`` becomes
    ``\\n``; other control characters and lone surrogates become U+FFFD; longer text is
    cut and ends with ``…``.

    Raises:
        ValueError: *value* is not a string.
    """
    if not isinstance(value, str | Promise):
        msg = f"{name} must be a string, not {type(value).__name__}."
        raise ValueError(msg)  # noqa: TRY004 -- one error type for every bad argument
    text = str.__str__(str(value)).replace("\r\n", "\n")
    text = _UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", text)
    return text if len(text) <= length else f"{text[: length - 1]}…"


def clean_title(value: object) -> str:
    """Return *value* as a title; an empty or blank one raises `ValueError`."""
    title = clean_text(value, name="title", length=TITLE_LENGTH)
    if not title.strip():
        msg = "title must not be empty."
        raise ValueError(msg)
    return title


def clean_source(value: object, *, name: str) -> str:
    """
    Return one source field as stored; numbers, UUIDs and the like go through `str()`.

    Raises:
        ValueError: *value* is None, or longer than the field holds.
    """
    length = SOURCE_LENGTHS[name]
    if value is None:
        msg = f"{name} must not be None; leave it out if there is no source."
        raise ValueError(msg)
    text = str(value)
    if len(text) > length:
        msg = f"{name} must have at most {length} characters, not {len(text)}."
        raise ValueError(msg)
    return clean_text(text, name=name, length=length)


# One text goes to many users, and each of their frames looks at its link.
@lru_cache(maxsize=256)
def is_safe_url(url: str) -> bool:
    r"""
    Tell whether *url* is a path on this site or a plain http(s) address.

    Refused are other schemes, ``//host`` and ``/\\host`` (browsers read both as another
    host; WHATWG URL Standard, "special authority slashes"), credentials, control
    characters (browsers drop them, so ``java\\nscript:`` would come alive) and lone
    surrogates.
    """
    if len(url) > URL_LENGTH or _UNPRINTABLE.search(url) or _CONTROL.search(url):
        return False
    if url.startswith("/"):
        return url[1:2] not in {"/", "\\"}
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 -- raises ValueError for a port that is no number
    except ValueError:
        return False
    return (
        url.lower().startswith(("http://", "https://"))
        and bool(parts.hostname)
        and "@" not in parts.netloc
        and "\\" not in parts.netloc
    )


def clean_url(value: object) -> str:
    """Return *value* if it is empty or safe to link to, else raise `ValueError`."""
    if not isinstance(value, str | Promise):
        msg = f"url must be a string, not {type(value).__name__}."
        raise ValueError(msg)  # noqa: TRY004 -- one error type for every bad argument
    url = str.__str__(str(value))
    if url and not is_safe_url(url):
        msg = (
            "url must be a path such as '/tasks/42/' or an http(s) address without "
            f"credentials or control characters, at most {URL_LENGTH} characters."
        )
        raise ValueError(msg)
    return url


def foreign_host(url: str, own: str) -> str:
    """Return the host that *url* leads away to from *own*; empty if it stays here."""
    if not url or not is_safe_url(url):
        return ""
    host = urlsplit(url).netloc.lower()
    return "" if host == own else host


def to_number(text: str) -> int | None:
    """Return the number that *text* spells in digits, if a column can hold it."""
    digits = text.isascii() and text.isdigit() and len(text) <= len(str(MAX_INTEGER))
    return int(text) if digits and int(text) <= MAX_INTEGER else None
