"""The HTTP API: state, and the writes that change it; JSON in, frames out."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import datetime
from functools import wraps
from http import HTTPStatus
from typing import Any

from django.core.exceptions import ObjectDoesNotExist, RequestDataTooBig
from django.db import OperationalError, transaction
from django.http import HttpRequest, HttpResponse, RawPostDataException
from django.middleware.csrf import CsrfViewMiddleware
from django.utils.cache import add_never_cache_headers
from django.utils.http import parse_etags, quote_etag
from django.utils.translation import gettext as _
from django.views.decorators.csrf import csrf_exempt

from themis import mailbox
from themis.conf import settings
from themis.content import clean_source
from themis.events import VERSION, encode, parse_time, wire_time
from themis.locking import is_contention
from themis.models import Level

View = Callable[..., HttpResponse]

MAX_IDS = 1_000
# What a BigIntegerField holds; anything above is nobody's.
MAX_INTEGER = 2**63 - 1
MAX_DIGITS = len(str(MAX_INTEGER))

_EPOCH = re.compile(r"[ -~]{1,64}")


class ProblemError(Exception):
    """An error that is answered as ``application/problem+json`` (RFC 9457)."""

    def __init__(
        self, status: HTTPStatus, detail: str, errors: dict[str, str] | None = None
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.errors = errors or {}

    def to_response(self) -> HttpResponse:
        """Return the answer; `errors` names the fields that are wrong."""
        problem: dict[str, Any] = {
            "type": "about:blank",
            "title": self.status.phrase,
            "status": self.status.value,
            "detail": self.detail,
        }
        if self.errors:
            problem["errors"] = self.errors
        return HttpResponse(
            # In ASCII: an unknown field may be named by what UTF-8 can't encode.
            json.dumps(problem),
            status=self.status.value,
            content_type="application/problem+json",
        )


def bad_request(errors: dict[str, str]) -> ProblemError:
    """Return the refusal of a request whose named fields are wrong."""
    return ProblemError(HTTPStatus.BAD_REQUEST, _("The request is not valid."), errors)


def endpoint(method: str) -> Callable[[View], View]:
    """
    Make a view of the API: one method, a signed-in user, problems for errors.

    It stamps in a transaction of its own, so ``ATOMIC_REQUESTS`` does not apply.
    """

    def decorate(view: View) -> View:
        @wraps(view)
        def guarded(request: HttpRequest, **kwargs: Any) -> HttpResponse:
            try:
                response = _admit(request, method) or view(request, **kwargs)
            except ProblemError as problem:
                response = problem.to_response()
            except OperationalError as error:
                if not is_contention(error):
                    raise
                response = _busy().to_response()
                response["Retry-After"] = "1"
            add_never_cache_headers(response)
            return response

        # Not without the check: `_admit` makes it, so that its refusal is a problem.
        return csrf_exempt(transaction.non_atomic_requests(guarded))

    return decorate


def _admit(request: HttpRequest, method: str) -> HttpResponse | None:
    """Return the refusal of a request that no view should see."""
    allowed = {"GET", "HEAD"} if method == "GET" else {method}
    if request.method not in allowed:
        detail = _("Use {method}.").format(method=method)
        refusal = ProblemError(HTTPStatus.METHOD_NOT_ALLOWED, detail).to_response()
        refusal["Allow"] = ", ".join(sorted(allowed))
        return refusal
    if not request.user.is_authenticated:
        raise ProblemError(HTTPStatus.UNAUTHORIZED, _("Sign in first."))
    reason = _CSRF_CHECK.process_view(request, None, (), {})
    if reason is not None:
        raise ProblemError(HTTPStatus.FORBIDDEN, str(reason))
    return None


class _CsrfCheck(CsrfViewMiddleware):
    """Django's own check, whose refusal is the reason instead of a page."""

    def _reject(self, request: HttpRequest, reason: str) -> str:  # noqa: ARG002 -- Django's
        return reason


_CSRF_CHECK: Any = _CsrfCheck(lambda _request: HttpResponse())


def _busy() -> ProblemError:
    return ProblemError(
        HTTPStatus.SERVICE_UNAVAILABLE,
        _("Somebody else is writing these notifications; try again."),
    )


@endpoint("GET")
def state(request: HttpRequest) -> HttpResponse:
    """
    Answer with what a page needs that stands at ``?since=&epoch=``.

    The weak ETag covers all that the answer depends on; a 304 costs one statement
    besides the session and the user.
    """
    since, epoch = _read_position(request)
    box = mailbox.look(request.user.pk)
    # Any other epoch is answered like none, and what a client sends is kept out of
    # the header.
    known = since if epoch == box.epoch else None
    place = f"{VERSION}-{box.epoch}-{box.revision}-{settings.poll_interval}-{known}"
    etag = "W/" + quote_etag(place)
    if etag in parse_etags(request.headers.get("If-None-Match", "")):
        response = HttpResponse(status=HTTPStatus.NOT_MODIFIED.value)
    else:
        frame = mailbox.read_state(request.user.pk, since=since, epoch=epoch, box=box)
        response = _json(frame.to_wire())
    response["ETag"] = etag
    return response


def _read_position(request: HttpRequest) -> tuple[int | None, str | None]:
    since, epoch = request.GET.get("since"), request.GET.get("epoch")
    revision = _to_integer(since) if since else None
    if since and revision is None:
        raise bad_request({"since": _("This is no revision.")})
    try:
        return revision, _parse_epoch(epoch) if epoch else None
    except ValueError as error:
        raise bad_request({"epoch": str(error)}) from error


def _to_integer(text: str) -> int | None:
    """Return the number that *text* spells in digits, if a column can hold it."""
    digits = text.isascii() and text.isdigit() and len(text) <= MAX_DIGITS
    return int(text) if digits and int(text) <= MAX_INTEGER else None


@endpoint("POST")
def change(request: HttpRequest, verb: mailbox.Verb) -> HttpResponse:
    """Read, unread, dismiss or restore; the answer is what changed, and when."""
    which = _parse_selection(_parse_body(request), verb)
    try:
        frame, at = mailbox.change(request.user.pk, verb, **which)
    except ObjectDoesNotExist as error:
        raise ProblemError(
            HTTPStatus.NOT_FOUND, _("You have no such notification.")
        ) from error
    except mailbox.EpochChangedError as error:
        raise ProblemError(
            HTTPStatus.CONFLICT, _("The mailbox has changed; load its state again.")
        ) from error
    return _json(frame.to_wire() | {"at": wire_time(at)})


def _json(frame: dict[str, Any]) -> HttpResponse:
    return HttpResponse(encode(frame), content_type="application/json")


def _parse_body(request: HttpRequest) -> dict[str, Any]:
    try:
        body = json.loads(request.body)
    except RequestDataTooBig as error:
        raise ProblemError(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE, _("The body is too large.")
        ) from error
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


def _parse_selection(body: dict[str, Any], verb: mailbox.Verb) -> dict[str, Any]:
    """Return the arguments of `mailbox.change` that *body* spells."""
    doing = verb in {"read", "dismiss"}
    ways = ["ids", "up_to"] if doing else ["ids", "at"]
    narrowing = {"epoch", "level", "source_app"} if "up_to" in body else set()
    unknown = sorted(set(body) - set(ways) - narrowing)
    if unknown:
        raise bad_request(dict.fromkeys(unknown, _("This is not expected here.")))
    if len(set(body) & set(ways)) != 1:
        choice = " / ".join(ways)
        wrong = _("Give exactly one of {choice}.").format(choice=choice)
        raise bad_request(dict.fromkeys(ways, wrong))
    parsed: dict[str, Any] = {}
    for name, value in body.items():
        try:
            parsed[name] = _PARSERS[name](value)
        except ValueError as error:
            raise bad_request({name: str(error)}) from error
    return parsed


def _parse_ids(value: object) -> list[int]:
    if not isinstance(value, list) or not 1 <= len(value) <= MAX_IDS:
        msg = _("This must be a list of 1 to {most} ids.").format(most=MAX_IDS)
        raise ValueError(msg)
    return [_parse_id(item) for item in value]


def _parse_id(value: object) -> int:
    wanted = isinstance(value, str | int) and not isinstance(value, bool)
    pk = _to_integer(str(value)) if wanted else None
    if pk is None:
        raise ValueError(_("An id is a string of digits."))
    return pk


def _parse_revision(value: object) -> int:
    whole = isinstance(value, int) and not isinstance(value, bool)
    if not whole or not 0 <= value <= MAX_INTEGER:  # type: ignore[operator] # whole
        raise ValueError(_("This is no revision."))
    return value  # type: ignore[return-value] # whole


def _parse_level(value: object) -> str:
    if value not in Level.values:
        allowed = ", ".join(Level.values)
        raise ValueError(_("This must be one of {allowed}.").format(allowed=allowed))
    return str(value)


def _parse_epoch(value: object) -> str:
    if not isinstance(value, str) or not _EPOCH.fullmatch(value):
        raise ValueError(_("This is no epoch."))
    return value


def _parse_source_app(value: object) -> str:
    # What a field can't store can't be asked for either: NUL, a lone surrogate.
    if not isinstance(value, str) or clean_source(value, name="source_app") != value:
        raise ValueError(_("This is no source."))
    return value


def _parse_time(value: object) -> datetime:
    try:
        return parse_time(value if isinstance(value, str) else "")
    except ValueError as error:
        msg = _("This must be a time as an earlier answer gave it, with its zone.")
        raise ValueError(msg) from error


_PARSERS: dict[str, Callable[[object], Any]] = {
    "ids": _parse_ids,
    "up_to": _parse_revision,
    "epoch": _parse_epoch,
    "level": _parse_level,
    "source_app": _parse_source_app,
    "at": _parse_time,
}
