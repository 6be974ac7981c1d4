"""The pages: the list, and the link that opens a notification."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import ObjectDoesNotExist
from django.db import OperationalError, transaction
from django.db.models import Q
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.translation import gettext as _
from django.views import View
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from themis import mailbox
from themis.content import is_safe_url
from themis.locking import is_contention
from themis.models import UserNotification, is_listed, is_open
from themis.queries import database, on_wire, plain

PAGE = 25

# What a BigIntegerField holds, whatever the digits are.
_NUMBER = re.compile(r"[0-9]{1,18}")


@method_decorator(
    [transaction.non_atomic_requests, never_cache, login_required], name="dispatch"
)
class NotificationListView(View):
    """All notifications of the person, the newest first; works without JavaScript."""

    def get(self, request: HttpRequest) -> HttpResponse:
        """Show one page; `?filter=unread` narrows, `?before=` goes on."""
        chosen = request.GET.get("filter", "all")
        if chosen not in {"all", "unread"}:
            raise Http404
        box = mailbox.look(request.user.pk)
        before = _parse_cursor(request.GET.get("before"))
        now = timezone.now()
        shown = Q(user=request.user.pk) & (
            is_open(now) if chosen == "unread" else is_listed(now)
        )
        stamped = on_wire(database()).filter(shown)
        unread = plain(database()).filter(is_open(now), user=request.user.pk)
        # What is committed but not stamped yet comes first: the newest there is.
        items = [] if before else list(_unstamped(shown))
        if before:
            revision, pk = before
            stamped = stamped.filter(
                Q(created_revision__lt=revision)
                | Q(created_revision=revision, pk__lt=pk)
            )
        found = list(stamped.order_by("-created_revision", "-pk")[: PAGE + 1])
        items += found[:PAGE]
        next_url = ""
        if len(found) > PAGE:
            last = found[PAGE - 1]
            cursor = f"{last.created_revision}-{last.pk}"
            next_url = "?" + urlencode({"filter": chosen, "before": cursor})
        context = {
            "page": {"items": items, "next_url": next_url},
            "filter": chosen,
            "filters": [
                (value, label, f"?filter={value}", value == chosen)
                for value, label in (("all", _("All")), ("unread", _("Unread")))
            ],
            "unread": unread.count(),
            "up_to": box.revision,
            "epoch": box.epoch,
            "read_form_url": reverse("themis:list"),
        }
        return render(request, "themis/list.html", context)

    def post(self, request: HttpRequest) -> HttpResponse:
        """Mark one as read, or all that the page showed; then show the list again."""
        which: dict[str, Any] = {}
        one, up_to = request.POST.get("ids", ""), request.POST.get("up_to", "")
        if _NUMBER.fullmatch(one):
            which["ids"] = [int(one)]
        elif _NUMBER.fullmatch(up_to):
            which["up_to"] = int(up_to)
            which["epoch"] = request.POST.get("epoch") or None
        else:
            return HttpResponse(
                _("Nothing was chosen."), status=HTTPStatus.BAD_REQUEST.value
            )
        try:
            mailbox.change(request.user.pk, "read", **which)
        except ObjectDoesNotExist:
            _say_it_is_gone(request)
        except mailbox.EpochChangedError:
            changed = _("The list had changed; this is how it is now.")
            messages.warning(request, changed, fail_silently=True)
        except OperationalError as error:
            if not is_contention(error):
                raise
            problem = _("That didn't work just now; try again.")
            messages.warning(request, problem, fail_silently=True)
        return HttpResponseRedirect(request.get_full_path())


def _unstamped(shown: Q) -> Any:
    waiting = plain(database()).filter(shown, pending=True, created_revision=None)
    return waiting.order_by("-pk")[:PAGE]


def _parse_cursor(text: str | None) -> tuple[int, int] | None:
    if not text:
        return None
    revision, _dash, pk = text.partition("-")
    if not (_NUMBER.fullmatch(revision) and _NUMBER.fullmatch(pk)):
        raise Http404
    return int(revision), int(pk)


def _say_it_is_gone(request: HttpRequest) -> None:
    gone = _("This notification is no longer there.")
    # A host may do without the messages framework.
    messages.info(request, gone, fail_silently=True)


@require_safe
@transaction.non_atomic_requests
@never_cache
@login_required
def open_notification(request: HttpRequest, pk: int) -> HttpResponse:
    """
    Mark a notification as read and go where it leads.

    One link for clicks, middle clicks, desktop notifications and pages without
    JavaScript. A HEAD or a prefetch goes there too, but marks nothing.
    """
    mine = UserNotification.objects.using(database()).filter(user=request.user.pk)
    row = mine.filter(pk=pk).first()
    if row is None:
        _say_it_is_gone(request)
        return HttpResponseRedirect(reverse("themis:list"))
    if request.method == "GET" and not _is_prefetch(request):
        _mark_read(row)
    if row.url and is_safe_url(row.url):
        return HttpResponseRedirect(row.url)
    return HttpResponseRedirect(f"{reverse('themis:list')}#n-{row.pk}")


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
