"""Which pages may open a socket: Django's own rule for the origin of a write."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.middleware.csrf import CsrfViewMiddleware


class _HandshakeRequest(HttpRequest):
    """The handshake of a socket as a request: headers and scheme, nothing else."""

    def __init__(self, scope: dict[str, Any]) -> None:
        super().__init__()
        self._scheme = "https" if scope.get("scheme") in {"wss", "https"} else "http"
        host, port = scope.get("server") or ("unknown", 0)
        self.META["SERVER_NAME"] = host
        self.META["SERVER_PORT"] = str(port)
        for name, value in scope.get("headers", ()):
            if b"_" in name:
                # Django's handlers don't read it either: it would pass for the
                # header with a hyphen that only the proxy may set.
                continue
            key = f"HTTP_{name.decode('latin1').upper().replace('-', '_')}"
            # A second header of a name is somebody's attempt to be read differently.
            text = value.decode("latin1")
            self.META[key] = f"{self.META[key]},{text}" if key in self.META else text

    def _get_scheme(self) -> str:
        # daphne names none; then SECURE_PROXY_SSL_HEADER is what tells (is_secure).
        return self._scheme


def is_allowed(scope: dict[str, Any]) -> bool:
    """
    Tell whether the page that opens a socket belongs to this site.

    It does if its Origin is the request's own, or is listed in
    ``CSRF_TRUSTED_ORIGINS``. No Origin at all is refused: every browser sends one.
    """
    request = _HandshakeRequest(scope)
    if "HTTP_ORIGIN" not in request.META:
        return False
    # A new one each time: it keeps the trusted origins that it has read once.
    rule: Any = CsrfViewMiddleware(lambda _request: HttpResponse())
    return bool(rule._origin_verified(request))  # noqa: SLF001 -- Django's rule itself
