"""Events: a reminder that expires, and the withdrawal of one that is wrong now."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import (
    require_http_methods,
    require_POST,
    require_safe,
)

from demo.forms import EventForm
from demo.models import Event
from demo.reminders import remind
from demo.views.visits import SignedInRequest, clear_bell, page_of
from themis.notifications import withdraw


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def events(request: SignedInRequest) -> HttpResponse:
    """List the events, the latest first, and plan one."""
    form = EventForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        form.instance.organizer = request.user
        event = form.save()
        event.attendees.add(request.user)
        messages.success(request, _("Event planned. Others can take part now."))
        return redirect(event)
    page = page_of(request, Event.objects.select_related("organizer"))
    return render(request, "demo/events.html", {"form": form, "page": page})


@login_required
@require_safe
def event(request: SignedInRequest, pk: int) -> HttpResponse:
    """Show one event and who comes."""
    found = get_object_or_404(Event.objects.select_related("organizer"), pk=pk)
    clear_bell(request, "events", "Event", pk)
    attendees = found.attendees.order_by("username")
    return render(
        request,
        "demo/event.html",
        {
            "event": found,
            "attendees": attendees,
            "takes_part": request.user in attendees,
        },
    )


@login_required
@require_POST
def attend(request: SignedInRequest, pk: int) -> HttpResponse:
    """Take part, or no longer."""
    found = get_object_or_404(Event, pk=pk)
    if not found.is_ahead:
        _say_too_late(request)
    elif "leave" in request.POST:
        found.attendees.remove(request.user)
    else:
        found.attendees.add(request.user)
    return redirect(found)


@login_required
@require_POST
def remind_of_event(request: SignedInRequest, pk: int) -> HttpResponse:
    """Remind the attendees: the organizer's to do, and of no use after the start."""
    found = _organized(request, pk)
    if not found.is_ahead:
        _say_too_late(request)
        return redirect(found)
    count = remind(found)
    messages.success(
        request,
        ngettext(
            "%(count)d person reminded. At the start the reminder vanishes.",
            "%(count)d people reminded. At the start the reminder vanishes.",
            count,
        )
        % {"count": count},
    )
    return redirect(found)


@login_required
@require_POST
def cancel_event(request: SignedInRequest, pk: int) -> HttpResponse:
    """Cancel an event, and take its reminders back."""
    found = _organized(request, pk)
    if not found.is_ahead:
        _say_too_late(request)
        return redirect(found)
    with transaction.atomic():
        found.cancelled_at = timezone.now()
        found.save(update_fields=["cancelled_at"])
        withdraw(source_app="events", source_model="Event", source_id=str(pk))
    messages.success(request, _("Event cancelled, its reminders withdrawn."))
    return redirect(found)


def _organized(request: SignedInRequest, pk: int) -> Event:
    found = get_object_or_404(Event, pk=pk)
    if found.organizer_id != request.user.pk:
        raise PermissionDenied
    return found


def _say_too_late(request: SignedInRequest) -> None:
    messages.info(request, _("Too late: it has started or was cancelled."))
