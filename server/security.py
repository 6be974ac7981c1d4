"""
The Content Security Policy of the running server.

It is strict on purpose: the bell has to work under it, on every page, and the
browser tests run here.
"""

from __future__ import annotations

from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponse

# 'self' in connect-src covers the WebSocket of the same origin.
BASE = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'; "
)
PAGES = (
    BASE + "img-src 'self'; require-trusted-types-for 'script'; trusted-types themis"
)
# Django's admin writes HTML strings with jQuery, and draws with data: images.
ADMIN = BASE + "img-src 'self' data:"

# Django's own error pages, which have inline style and script.
TECHNICAL_ERRORS = frozenset({404, 500})


def content_security_policy(
    get_response: Callable[[HttpRequest], HttpResponse],
) -> Callable[[HttpRequest], HttpResponse]:
    """Send the policy with every response but Django's technical error pages."""

    def middleware(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        if not (settings.DEBUG and response.status_code in TECHNICAL_ERRORS):
            admin = request.path_info.startswith("/admin/")
            response.headers.setdefault(
                "Content-Security-Policy", ADMIN if admin else PAGES
            )
        return response

    return middleware
