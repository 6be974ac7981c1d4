"""What the person wants to be told, and how."""

from __future__ import annotations

from dataclasses import asdict

from django.http import HttpRequest, HttpResponse

from themis import profiles
from themis.api.endpoints import answer, endpoint
from themis.api.parsing import parse_body
from themis.api.problems import bad_request


@endpoint("GET", "PATCH")
def preferences(request: HttpRequest) -> HttpResponse:
    """Answer with the four fields of the profile; PATCH changes those it names."""
    if request.method == "PATCH":
        try:
            wishes = profiles.change_preferences(request.user.pk, **parse_body(request))
        except profiles.InvalidPreferencesError as error:
            raise bad_request(error.errors) from error
    else:
        wishes = profiles.read_preferences(request.user.pk)
    return answer(asdict(wishes))
