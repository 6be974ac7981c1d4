"""The first page, and the ways into the demo."""

from __future__ import annotations

from django.conf import settings
from django.contrib.auth import login
from django.contrib.auth.models import User
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_GET, require_POST

from demo.accounts import USERNAMES, create_users


@require_GET
def home(request: HttpRequest) -> HttpResponse:
    """Say what there is to try; with DEBUG, sign in with one click."""
    others = [name for name in USERNAMES if name != request.user.get_username()]
    return render(
        request,
        "demo/home.html",
        {"usernames": USERNAMES if settings.DEBUG else (), "other": others[0]},
    )


@require_POST
def sign_in_as(request: HttpRequest, username: str) -> HttpResponse:
    """Sign in as a demo user without asking for the password, only with DEBUG."""
    if not settings.DEBUG or username not in USERNAMES:
        raise Http404
    create_users()
    login(
        request,
        User.objects.get(username=username),
        backend="django.contrib.auth.backends.ModelBackend",
    )
    target = request.POST.get("next", "")
    if url_has_allowed_host_and_scheme(
        target, allowed_hosts={request.get_host()}, require_https=request.is_secure()
    ):
        return redirect(target)
    return redirect("home")
