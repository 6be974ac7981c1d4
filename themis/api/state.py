"""What a page needs to know, whether it begins or goes on."""

from __future__ import annotations

from http import HTTPStatus

from django.http import HttpRequest, HttpResponse
from django.utils.http import parse_etags, quote_etag

from themis import mailbox
from themis.api.endpoints import answer, endpoint
from themis.api.parsing import Parser, given, parse_epoch, parse_fields, parse_position
from themis.conf import settings
from themis.events import VERSION

_PARSERS: dict[str, Parser] = {"since": parse_position, "epoch": parse_epoch}


@endpoint("GET")
def show_state(request: HttpRequest) -> HttpResponse:
    """
    Answer with what a page needs that stands at ``?since=&epoch=``.

    The weak ETag covers all that the answer depends on; a 304 costs one statement
    besides the session and the user.
    """
    position = parse_fields(given(request), _PARSERS)
    since, epoch = position.get("since"), position.get("epoch")
    box = mailbox.look(request.user.pk)
    # Any other epoch is answered like none, and what a client sends is kept out of
    # the header.
    known = since if epoch == box.epoch else None
    place = f"{VERSION}-{box.epoch}-{box.revision}-{settings.poll_interval}-{known}"
    etag = "W/" + quote_etag(place)
    if _is_named(etag, request.headers.get("If-None-Match", "")):
        response = HttpResponse(status=HTTPStatus.NOT_MODIFIED.value)
    else:
        frame = mailbox.read_state(request.user.pk, since=since, epoch=epoch, box=box)
        response = answer(frame.to_wire())
    response["ETag"] = etag
    return response


def _is_named(etag: str, if_none_match: str) -> bool:
    """Tell whether a client has it: a weak comparison (RFC 9110, section 13.1.2)."""
    named = [tag.removeprefix("W/") for tag in parse_etags(if_none_match)]
    return etag.removeprefix("W/") in named
