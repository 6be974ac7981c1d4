"""The link that opens a notification."""

from __future__ import annotations

from dataclasses import replace

from django.contrib.auth.decorators import login_required
from django.core.exceptions import ObjectDoesNotExist
from django.db import OperationalError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from themis import mailbox
from themis.content import is_safe_url
from themis.listing import Cursor, Filters, read_page
from themis.models import UserNotification
from themis.queries import database, plain
from themis.transactions import is_contention, outside_transactions
from themis.views.places import PAGE, Place
from themis.views.telling import tell_gone


@require_safe
@outside_transactions
@never_cache
@login_required
def open_notification(request: HttpRequest, pk: int) -> HttpResponse:
    """
    Mark a notification as read and go where it leads.

    One link for clicks, middle clicks, desktop notifications and pages without
    JavaScript. A HEAD or a prefetch goes there too, but marks nothing. A notification
    that leads nowhere is shown on the list, on the page that has it.
    """
    mine = plain(database()).filter(user=request.user.pk, pk=pk)
    row = mine.first()
    if row is None:
        tell_gone(request)
        return HttpResponseRedirect(reverse("themis:list"))
    if request.method == "GET" and not _is_prefetch(request):
        _mark_read(row)
    if row.url and is_safe_url(row.url):
        return HttpResponseRedirect(row.url)
    if row.is_expired_at(timezone.now()):
        # No list shows it any more.
        tell_gone(request)
        return HttpResponseRedirect(reverse("themis:list"))
    # With the revision that reading may have given it.
    place = _find_place(mine.first() or row)
    return HttpResponseRedirect(f"{place.url()}#n-{row.pk}")


def _is_prefetch(request: HttpRequest) -> bool:
    headers = ("Sec-Purpose", "Purpose", "X-Purpose", "X-Moz")
    return any(
        name in request.headers.get(header, "").lower()
        for header in headers
        for name in ("prefetch", "prerender", "preview")
    )


def _mark_read(row: UserNotification) -> None:
    """Mark as read, but never keep the person from getting where they want to go."""
    try:
        mailbox.change(row.user_id, "read", ids=[row.pk])
    except ObjectDoesNotExist:
        pass
    except OperationalError as error:
        if not is_contention(error):
            raise


def _find_place(row: UserNotification) -> Place:
    """Return the newest page if it has *row*, else the one that begins with it."""
    filters = Filters("dismissed" if row.is_dismissed else "all")
    newest = read_page(row.user_id, filters, limit=PAGE, unstamped=True)
    if any(item.pk == row.pk for item in newest.items):
        return Place(filters)
    return replace(Place(filters), before=Cursor(row.created_revision, row.pk + 1))
