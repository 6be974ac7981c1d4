"""A person's notifications: pages of them, and the writes."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from django.core.exceptions import ObjectDoesNotExist
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _

from themis import mailbox
from themis.api.endpoints import answer, endpoint
from themis.api.parsing import (
    Parser,
    given,
    parse_body,
    parse_choice,
    parse_epoch,
    parse_fields,
    parse_ids,
    parse_level,
    parse_moment,
    parse_revision,
    parse_source_app,
    refuse_others,
)
from themis.api.problems import ProblemError, bad_request
from themis.content import to_number
from themis.events import to_item, wire_time
from themis.listing import STATES, Cursor, Filters, read_page
from themis.queries import WINDOW

MAX_LIMIT = 100
DEFAULT_LIMIT = WINDOW


@endpoint("GET")
def list_notifications(request: HttpRequest) -> HttpResponse:
    """
    Answer with one page, the newest first: ``{"items", "next"}``.

    Unlike elsewhere an unknown parameter is refused: a filter that were ignored would
    show what nobody asked for.
    """
    query = given(request)
    refuse_others(query, set(PARSERS))
    wanted = parse_fields(query, PARSERS)
    before = wanted.pop("before", None)
    limit = wanted.pop("limit", DEFAULT_LIMIT)
    # Pages show what has a revision: whatever waits gets one now.
    mailbox.look(request.user.pk)
    page = read_page(request.user.pk, Filters(**wanted), before=before, limit=limit)
    following = None if page.next is None else str(page.next)
    return answer({"items": [to_item(row) for row in page.items], "next": following})


def _parse_state(value: str) -> str:
    return parse_choice(value, [*STATES])


def _parse_cursor(value: str) -> Cursor:
    try:
        return Cursor.parse(value)
    except ValueError as error:
        raise ValueError(_("This is no cursor that an answer gave.")) from error


def _parse_limit(value: str) -> int:
    limit = to_number(value)
    if limit is None or not 1 <= limit <= MAX_LIMIT:
        raise ValueError(_("This must be 1 to {most}.").format(most=MAX_LIMIT))
    return limit


PARSERS: dict[str, Parser] = {
    "state": _parse_state,
    "level": parse_level,
    "source_app": parse_source_app,
    "before": _parse_cursor,
    "limit": _parse_limit,
}


@endpoint("POST")
def change(request: HttpRequest, verb: mailbox.Verb) -> HttpResponse:
    """Read, unread, dismiss or restore; the answer is what changed, and when."""
    which = parse_selection(parse_body(request), verb)
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
    return answer(frame.to_wire() | {"at": wire_time(at)})


def parse_selection(body: dict[str, Any], verb: mailbox.Verb) -> dict[str, Any]:
    """Return the arguments of `mailbox.change` that *body* spells."""
    doing = verb in {"read", "dismiss"}
    ways = ["ids", "up_to"] if doing else ["ids", "at"]
    narrowing = {"epoch", "level", "source_app"} if "up_to" in body else set()
    refuse_others(body, {*ways, *narrowing})
    if len(set(body) & set(ways)) != 1:
        choice = " / ".join(ways)
        wrong = _("Give exactly one of {choice}.").format(choice=choice)
        raise bad_request(dict.fromkeys(ways, wrong))
    return parse_fields(body, _SELECTION)


_SELECTION: dict[str, Parser] = {
    "ids": parse_ids,
    "up_to": parse_revision,
    "epoch": parse_epoch,
    "level": parse_level,
    "source_app": parse_source_app,
    "at": parse_moment,
}
