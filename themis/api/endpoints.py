"""What every endpoint is: its methods, a signed-in user, problems for errors."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import wraps
from http import HTTPStatus
from typing import Any

from django.core.exceptions import (
    BadRequest,
    RequestDataTooBig,
    SuspiciousOperation,
)
from django.http import HttpRequest, HttpResponse
from django.http.multipartparser import MultiPartParserError
from django.middleware.csrf import CsrfViewMiddleware
from django.utils.cache import add_never_cache_headers
from django.views.decorators.csrf import csrf_exempt

from themis.api.problems import (
    ProblemError,
    bad_request,
    busy,
    not_signed_in,
    too_large,
    unavailable,
    wrong_method,
)
from themis.events import encode
from themis.models import Mailbox
from themis.owners import OWNER_HEADER, is_owner
from themis.transactions import is_contention, is_outage, outside_transactions

logger = logging.getLogger("themis")

View = Callable[..., HttpResponse]


def endpoint(*methods: str, public: bool = False) -> Callable[[View], View]:
    """
    Make a view of the API that takes *methods*; HEAD comes with GET.

    It stamps in a transaction of its own, so ``ATOMIC_REQUESTS`` does not apply. What
    is *public* needs nobody to be signed in.
    """
    allowed = ", ".join(sorted({*methods, *({"HEAD"} if "GET" in methods else ())}))

    def decorate(view: View) -> View:
        @wraps(view)
        def guarded(request: HttpRequest, **kwargs: Any) -> HttpResponse:
            try:
                _admit(request, allowed, public=public)
                response = view(request, **kwargs)
            except Exception as error:
                problem = _to_problem(error)
                if problem is None:
                    raise
                response = problem.to_response()
            if "Cache-Control" not in response:
                add_never_cache_headers(response)
            return response

        # Not without the check: `_admit` makes it, so that its refusal is a problem.
        return csrf_exempt(outside_transactions(guarded))

    return decorate


def answer(body: dict[str, Any]) -> HttpResponse:
    """Return *body* as JSON."""
    return HttpResponse(encode(body), content_type="application/json")


def _to_problem(error: Exception) -> ProblemError | None:
    """Return the answer to an error that is the request's, or nobody's, fault."""
    if isinstance(error, ProblemError):
        return error
    if isinstance(error, RequestDataTooBig):
        return too_large()
    if isinstance(error, SuspiciousOperation | BadRequest | MultiPartParserError):
        # What Django would answer with a page: a thousand parameters, a broken form.
        return bad_request()
    if isinstance(error, Mailbox.DoesNotExist):
        # The account has been deleted since the session was looked up.
        return not_signed_in()
    return _of_the_database(error)


def _of_the_database(error: Exception) -> ProblemError | None:
    if is_contention(error):
        return busy()
    if is_outage(error):
        # In a line: all pages that poll come here while it lasts.
        logger.error("The database does not answer a request: %r", error)
        return unavailable()
    return None


def _admit(request: HttpRequest, allowed: str, *, public: bool) -> None:
    """Refuse a request that no view should see."""
    if request.method not in allowed.split(", "):
        raise wrong_method(allowed)
    if public:
        return
    if not request.user.is_authenticated:
        raise not_signed_in()
    owner = request.headers.get(OWNER_HEADER)
    if owner and not is_owner(owner, request.user.pk):
        # The page was made for somebody whose session this browser has no more.
        raise not_signed_in()
    reason = _CSRF_CHECK.process_view(request, None, (), {})
    if reason is not None:
        raise ProblemError(HTTPStatus.FORBIDDEN, str(reason))


class _CsrfCheck(CsrfViewMiddleware):
    """Django's own check, whose refusal is the reason instead of a page."""

    def _reject(self, request: HttpRequest, reason: str) -> str:  # noqa: ARG002 -- Django's
        return reason


_CSRF_CHECK: Any = _CsrfCheck(lambda _request: HttpResponse())
