"""What clients send, as typed values; a `ValueError` says what is wrong with it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from http import HTTPStatus
from typing import Any

from django.core.exceptions import RequestDataTooBig
from django.http import HttpRequest, RawPostDataException
from django.utils.translation import gettext as _

from themis.api.problems import ProblemError, bad_request, too_large
from themis.content import MAX_INTEGER, clean_source, to_number
from themis.events import parse_time
from themis.models import Level

MAX_IDS = 1_000

_EPOCH = re.compile(r"[ -~]{1,64}")

Parser = Callable[[Any], Any]


def parse_body(request: HttpRequest) -> dict[str, Any]:
    """Return the JSON object in the body; anything else raises `ProblemError`."""
    try:
        body = json.loads(request.body)
    except RequestDataTooBig as error:
        raise too_large() from error
    except RawPostDataException as error:
        # The CSRF check has read it as the form that its Content-Type says it is.
        raise ProblemError(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE, _("The body must be JSON, not a form.")
        ) from error
    except (ValueError, RecursionError) as error:
        raise ProblemError(
            HTTPStatus.BAD_REQUEST, _("The body must be JSON.")
        ) from error
    if not isinstance(body, dict):
        raise ProblemError(HTTPStatus.BAD_REQUEST, _("The body must be a JSON object."))
    return body


def parse_fields(
    fields: Mapping[str, Any], parsers: Mapping[str, Parser]
) -> dict[str, Any]:
    """
    Return *fields* as their *parsers* read them; those that have none are left out.

    Raises:
        ProblemError: naming every field that is wrong.
    """
    parsed: dict[str, Any] = {}
    errors: dict[str, str] = {}
    for name in fields:
        if name not in parsers:
            continue
        try:
            parsed[name] = parsers[name](fields[name])
        except ValueError as error:
            errors[name] = str(error)
    if errors:
        raise bad_request(errors)
    return parsed


def refuse_others(fields: Mapping[str, Any], known: set[str]) -> None:
    """Raise `ProblemError` naming the *fields* that are not *known*."""
    unknown = sorted(set(fields) - known)
    if unknown:
        raise bad_request(dict.fromkeys(unknown, _("This is not expected here.")))


def given(request: HttpRequest) -> dict[str, str]:
    """Return the query parameters that say something; of repeated ones the last."""
    return {name: str(value) for name, value in request.GET.items() if value}


def parse_position(value: str) -> int:
    """Return the revision that *value* spells in digits."""
    revision = to_number(value)
    if revision is None:
        raise ValueError(_("This is no revision."))
    return revision


def parse_ids(value: object) -> list[int]:
    """Return a list of 1 to `MAX_IDS` primary keys."""
    if not isinstance(value, list) or not 1 <= len(value) <= MAX_IDS:
        msg = _("This must be a list of 1 to {most} ids.").format(most=MAX_IDS)
        raise ValueError(msg)
    return [_parse_id(item) for item in value]


def _parse_id(value: object) -> int:
    wanted = isinstance(value, str | int) and not isinstance(value, bool)
    pk = to_number(str(value)) if wanted else None
    if pk is None:
        raise ValueError(_("An id is a string of digits."))
    return pk


def parse_revision(value: object) -> int:
    """Return a revision, given as a number."""
    whole = isinstance(value, int) and not isinstance(value, bool)
    if not whole or not 0 <= value <= MAX_INTEGER:  # type: ignore[operator] # whole
        raise ValueError(_("This is no revision."))
    return value  # type: ignore[return-value] # whole


def parse_level(value: object) -> str:
    """Return the name of a level."""
    return parse_choice(value, Level.values)


def parse_choice(value: object, allowed: list[str]) -> str:
    """Return *value* if it is one of *allowed*."""
    if value not in allowed:
        choice = ", ".join(allowed)
        raise ValueError(_("This must be one of {allowed}.").format(allowed=choice))
    return str(value)


def parse_epoch(value: object) -> str:
    """Return the name of an epoch: printable ASCII, so that a header can hold it."""
    if not isinstance(value, str) or not _EPOCH.fullmatch(value):
        raise ValueError(_("This is no epoch."))
    return value


def parse_source_app(value: object) -> str:
    """Return a source; what its field can't store can't be asked for either."""
    # NUL, a lone surrogate.
    if not isinstance(value, str) or clean_source(value, name="source_app") != value:
        raise ValueError(_("This is no source."))
    return value


def parse_moment(value: object) -> datetime:
    """Return a time as answers spell it."""
    try:
        return parse_time(value if isinstance(value, str) else "")
    except ValueError as error:
        msg = _("This must be a time as an earlier answer gave it, with its zone.")
        raise ValueError(msg) from error
