"""Errors as ``application/problem+json`` (RFC 9457)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from django.http import HttpResponse
from django.utils.translation import gettext as _

CONTENT_TYPE = "application/problem+json"


class ProblemError(Exception):
    """An error that is answered as a problem; `errors` says which fields are wrong."""

    def __init__(
        self,
        status: HTTPStatus,
        detail: str,
        errors: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.errors = errors or {}
        self.headers = headers or {}

    def to_response(self) -> HttpResponse:
        """Return the answer."""
        problem: dict[str, Any] = {
            "type": "about:blank",
            "title": self.status.phrase,
            "status": self.status.value,
            "detail": self.detail,
        }
        if self.errors:
            problem["errors"] = dict(self.errors)
        return HttpResponse(
            # In ASCII: an unknown field may be named by what UTF-8 can't encode.
            json.dumps(problem),
            status=self.status.value,
            content_type=CONTENT_TYPE,
            headers=dict(self.headers),
        )


def bad_request(errors: Mapping[str, str] | None = None) -> ProblemError:
    """Return the refusal of a request whose named fields are wrong."""
    return ProblemError(HTTPStatus.BAD_REQUEST, _("The request is not valid."), errors)


def too_large() -> ProblemError:
    """Return the refusal of a body above ``DATA_UPLOAD_MAX_MEMORY_SIZE``."""
    detail = _("The body is too large.")
    return ProblemError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, detail)


def not_signed_in() -> ProblemError:
    """Return the refusal of a request without a person."""
    return ProblemError(HTTPStatus.UNAUTHORIZED, _("Sign in first."))


def wrong_method(allowed: str) -> ProblemError:
    """Return the refusal of another method than *allowed*."""
    detail = _("Use {method}.").format(method=allowed)
    return ProblemError(
        HTTPStatus.METHOD_NOT_ALLOWED, detail, headers={"Allow": allowed}
    )


def unavailable() -> ProblemError:
    """Return the refusal of a request while the database does not answer."""
    return ProblemError(
        HTTPStatus.SERVICE_UNAVAILABLE,
        _("That didn't work just now; try again."),
        headers={"Retry-After": "1"},
    )


def busy() -> ProblemError:
    """Return the refusal of a request that would have waited too long for a lock."""
    return ProblemError(
        HTTPStatus.SERVICE_UNAVAILABLE,
        _("Somebody else is writing these notifications; try again."),
        headers={"Retry-After": "1"},
    )
