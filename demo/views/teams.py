"""Teams and announcements: notifications for many."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import Count
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import (
    require_http_methods,
    require_POST,
    require_safe,
)
from kombu.exceptions import OperationalError

from demo.forms import AnnouncementForm, TeamForm
from demo.models import Announcement, Team
from demo.tasks import announce
from demo.views.visits import SignedInRequest, clear_bell, page_of, say_nobody_works

TO_EVERYBODY = "demo.announce_to_everybody"


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def teams(request: SignedInRequest) -> HttpResponse:
    """List the teams, and found one."""
    form = TeamForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        found = form.save()
        found.members.add(request.user)
        messages.success(request, _("Team founded. Others can join it now."))
        return redirect(found)
    page = page_of(
        request, Team.objects.annotate(size=Count("members")).order_by("name")
    )
    return render(
        request,
        "demo/teams.html",
        {
            "form": form,
            "page": page,
            "announcement": AnnouncementForm(),
            "may_announce": request.user.has_perm(TO_EVERYBODY),
        },
    )


@login_required
@require_safe
def team(request: SignedInRequest, pk: int) -> HttpResponse:
    """Show one team; to its members also what was announced."""
    found = get_object_or_404(Team, pk=pk)
    return _team_page(request, found, AnnouncementForm())


@login_required
@require_POST
def join_team(request: SignedInRequest, pk: int) -> HttpResponse:
    """Join a team, or leave it."""
    found = get_object_or_404(Team, pk=pk)
    if "leave" in request.POST:
        found.members.remove(request.user)
    else:
        found.members.add(request.user)
    return redirect(found)


@login_required
@require_POST
def announce_to_team(request: SignedInRequest, pk: int) -> HttpResponse:
    """Tell a team something, as one of its members."""
    found = get_object_or_404(Team, pk=pk)
    if not found.members.contains(request.user):
        raise PermissionDenied
    form = AnnouncementForm(request.POST)
    if not form.is_valid():
        return _team_page(request, found, form)
    form.instance.team = found
    return _announce(request, form)


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def announce_to_everybody(request: SignedInRequest) -> HttpResponse:
    """Tell everybody something, which takes a permission."""
    if not request.user.has_perm(TO_EVERYBODY):
        raise PermissionDenied
    form = AnnouncementForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        return _announce(request, form)
    return render(request, "demo/everybody.html", {"form": form})


@login_required
@require_safe
def announcement(request: SignedInRequest, pk: int) -> HttpResponse:
    """Show one announcement to those it is for."""
    readable = Announcement.objects.readable_by(request.user)
    found = get_object_or_404(readable.select_related("author", "team"), pk=pk)
    clear_bell(request, "teams", "Announcement", pk)
    return render(request, "demo/announcement.html", {"announcement": found})


@login_required
@require_POST
def take_back(request: SignedInRequest, pk: int) -> HttpResponse:
    """Delete an announcement of one's own; a signal withdraws it from everybody."""
    found = get_object_or_404(Announcement, pk=pk)
    if found.author_id != request.user.pk:
        raise PermissionDenied
    found.delete()
    messages.success(request, _("Announcement taken back."))
    return redirect(found.team or "team-list")


def _announce(request: SignedInRequest, form: AnnouncementForm) -> HttpResponse:
    made = form.instance
    made.author = request.user
    try:
        with transaction.atomic():
            form.save()
            announce.delay_on_commit(made.pk)
    except OperationalError:
        made.delete()
        say_nobody_works(request)
    else:
        messages.success(request, _("Announced."))
    return redirect(made.team or "team-list")


def _team_page(
    request: SignedInRequest, team: Team, form: AnnouncementForm
) -> HttpResponse:
    members = team.members.order_by("username")
    is_member = request.user in members
    announcements = team.announcements.select_related("author")
    page = page_of(request, announcements if is_member else announcements.none())
    return render(
        request,
        "demo/team.html",
        {
            "team": team,
            "members": members,
            "is_member": is_member,
            "form": form,
            "page": page,
        },
    )
