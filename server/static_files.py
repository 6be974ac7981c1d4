"""Static files, served by the same process as the pages."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from whitenoise.middleware import WhiteNoiseMiddleware
from whitenoise.storage import CompressedManifestStaticFilesStorage


class StaticFilesMiddleware(WhiteNoiseMiddleware):
    """
    WhiteNoise with whole responses.

    WhiteNoise streams from a synchronous iterator. Under ASGI, Django warns of that
    and reads the iterator to its end first, so nothing is lost by reading here.
    """

    @staticmethod
    def serve(static_file: Any, request: HttpRequest) -> HttpResponse:
        """Answer with the file, a part of it, or "not modified"."""
        found = static_file.get_response(request.method, request.META)
        content = b""
        if found.file is not None:
            with found.file as file:
                content = file.read()
        response = HttpResponse(content, status=int(found.status))
        del response["Content-Type"]
        for name, value in found.headers:
            response[name] = value
        return response


class HashedStaticFilesStorage(CompressedManifestStaticFilesStorage):
    """Files named by their content, for ever cacheable, imports of modules included."""

    support_js_module_import_aggregation = True
