"""The list page, and the forms on it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

from django.contrib.auth.decorators import login_required
from django.core.exceptions import BadRequest, ObjectDoesNotExist
from django.db import OperationalError
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.translation import gettext as _
from django.views import View
from django.views.decorators.cache import never_cache

from themis import mailbox
from themis.content import foreign_host
from themis.events import Changes, Snapshot, parse_time, wire_time
from themis.forms import ActionForm
from themis.listing import Page, read_page
from themis.models import Level, is_open
from themis.queries import database, plain
from themis.revisions import COUNT_LIMIT, Box
from themis.transactions import is_contention, outside_transactions
from themis.views.places import PAGE, Place
from themis.views.telling import tell, tell_busy, tell_gone, tell_problem


@dataclass(frozen=True, slots=True)
class _Done:
    """What the person has done, and how to undo it."""

    text: str
    undo: mailbox.Verb
    at: str


@method_decorator([outside_transactions, never_cache, login_required], name="dispatch")
class NotificationListView(View):
    """The notifications of the person, the newest first; works without JavaScript."""

    def get(self, request: HttpRequest) -> HttpResponse:
        """Show the page that the address names; one that names none is 404."""
        place = _parse_place(request)
        box = mailbox.look(request.user.pk)
        # What is committed but not stamped yet comes first: the newest there is.
        page = read_page(
            box.user, place.filters, before=place.before, limit=PAGE, unstamped=True
        )
        unread = _count_unread(box)
        older = Place(place.filters, page.next) if page.next else None
        context = {
            "place": place,
            "title": _title(place),
            "page": {
                "rows": [
                    (item, foreign_host(item.url, request.get_host()))
                    for item in page.items
                ],
                "older_url": older.url() if older else "",
            },
            "newest_url": place.narrow().url() if place.before else "",
            "current_url": place.narrow().url(),
            "any_source_url": place.narrow(source_app=None).url(),
            "wide_url": place.narrow(level=None, source_app=None).url(),
            "form_url": place.url(),
            "states": _states(place),
            "levels": _levels(place),
            "unread": unread,
            "bulk": _bulk(place, page, unread),
            "done": _find_done(request),
            "revision": box.revision,
            "epoch": box.epoch,
            "preferences_url": reverse("themis:preferences"),
        }
        return render(request, "themis/list.html", context)

    def post(self, request: HttpRequest) -> HttpResponse:
        """Do what a form of the page asks for; then show the same page again."""
        place = _parse_place(request)
        form = ActionForm(request.POST)
        if not form.is_valid():
            msg = f"No form of the list page sends this: {form.errors.as_json()}"
            raise BadRequest(msg)
        which = form.which
        if "up_to" in which:
            which["level"] = place.filters.level
            which["source_app"] = place.filters.source_app
        try:
            frame, at = mailbox.change(request.user.pk, form.verb_chosen, **which)
        except ObjectDoesNotExist:
            tell_gone(request)
        except mailbox.EpochChangedError:
            tell_problem(request, _("The list had changed; this is how it is now."))
        except OperationalError as error:
            if not is_contention(error):
                raise
            tell_busy(request)
        else:
            return HttpResponseRedirect(_after(request, place, form, frame, at))
        return HttpResponseRedirect(place.url())


def _parse_place(request: HttpRequest) -> Place:
    try:
        return Place.parse(request.GET)
    except ValueError as error:
        raise Http404 from error


def _count_unread(box: Box) -> int:
    """Return the exact count: the stored one where that is exact and nothing waits."""
    if box.waits:
        return _count_rows(box.user)
    if box.unread < COUNT_LIMIT:
        return box.unread
    return _count_at(box.epoch, box.revision, box.user)


@lru_cache(maxsize=1_000)
def _count_at(_epoch: str, _revision: int, user: Any) -> int:
    """Count once per revision: whatever changes the count changes that too."""
    return _count_rows(user)


def _count_rows(user: Any) -> int:
    return plain(database()).filter(is_open(timezone.now()), user=user).count()


def _title(place: Place) -> str:
    titles = {
        "all": _("Notifications"),
        "unread": _("Unread notifications"),
        "read": _("Read notifications"),
        "dismissed": _("Dismissed notifications"),
    }
    return titles[place.filters.state]


def _states(place: Place) -> list[tuple[str, str, bool]]:
    """Return label and address of each state, and whether it is the current one."""
    labels = {
        "all": _("All"),
        "unread": _("Unread"),
        "read": _("Read"),
        "dismissed": _("Dismissed"),
    }
    return [
        (label, place.narrow(state=state).url(), state == place.filters.state)
        for state, label in labels.items()
    ]


def _levels(place: Place) -> list[tuple[str, str, str, bool]]:
    """Return value, label and address of each level, and whether it is the current."""
    return [
        (
            value or "",
            str(label),
            place.narrow(level=value).url(),
            value == place.filters.level,
        )
        for value, label in ((None, _("Any level")), *Level.choices)
    ]


def _bulk(place: Place, page: Page, unread: int) -> list[tuple[str, str, bool]]:
    """
    Return what can be done with all of the list: first read it, then dismiss it.

    Verb, label, and whether it is offered now; the page's script follows what changes.
    """
    if place.filters.state == "dismissed" or not (page.items or unread):
        return []
    narrowed = place.is_narrowed
    is_read = all(item.is_read for item in page.items)
    read = _("Mark these read") if narrowed else _("Mark all read")
    # `dismiss` knows no state, so it is offered only where nothing is unread.
    dismiss = _("Dismiss these") if narrowed else _("Dismiss all")
    return [
        ("read", read, not is_read or bool(unread and not narrowed)),
        ("dismiss", dismiss, bool(page.items) and not unread),
    ]


def _after(
    request: HttpRequest,
    place: Place,
    form: ActionForm,
    frame: Changes | Snapshot,
    at: datetime | None,
) -> str:
    """Return where to go after an action, which is told there."""
    more: dict[str, str] = {}
    if at is not None:
        # In the address, not in a message: so it needs no messages framework, is there
        # after a reload, and two tabs don't mix theirs up.
        more = {"done": form.verb_chosen, "at": wire_time(at) or ""}
    elif isinstance(frame, Changes) and frame.since == frame.revision:
        if form.is_undo:
            tell_problem(request, _("There was nothing left to undo."))
    elif form.is_undo:
        tell(request, _("Undone."))
    elif form.verb_chosen == "unread":
        tell(request, _("Marked as unread."))
    elif form.verb_chosen == "restore":
        tell(request, _("Restored."))
    # Back to the row, where the list still has it.
    stays = place.filters.state == "all" and form.verb_chosen in {"read", "unread"}
    rows = form.which.get("ids", []) if stays else []
    return place.url(**more) + "".join(f"#n-{pk}" for pk in rows)


def _find_done(request: HttpRequest) -> _Done | None:
    """Return what the address says was done; nothing if somebody edited it."""
    try:
        at = wire_time(parse_time(request.GET.get("at", ""))) or ""
    except ValueError:
        return None
    done = request.GET.get("done")
    if done == "read":
        return _Done(_("Marked as read."), "unread", at)
    if done == "dismiss":
        return _Done(_("Dismissed."), "restore", at)
    return None
