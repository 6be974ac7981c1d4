"""Purchase requests: the view trigger."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import (
    require_http_methods,
    require_POST,
    require_safe,
)

from demo.forms import RequestForm
from demo.models import Request
from demo.views.visits import SignedInRequest, clear_bell, page_of
from themis.notifications import notify_user


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def requests(request: SignedInRequest) -> HttpResponse:
    """List the purchase requests, newest first, and create one."""
    form = RequestForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        form.instance.requester = request.user
        form.save()
        messages.success(request, _("Request sent. A colleague can approve it."))
        return redirect("request-list")
    page = page_of(request, Request.objects.select_related("requester"))
    return render(request, "demo/requests.html", {"form": form, "page": page})


@login_required
@require_safe
def request_detail(request: SignedInRequest, pk: int) -> HttpResponse:
    """Show one purchase request."""
    found = get_object_or_404(Request.objects.select_related("requester"), pk=pk)
    clear_bell(request, "requests", "Request", pk)
    return render(request, "demo/request.html", {"req": found})


@require_POST
@login_required
def approve_request(request: SignedInRequest, pk: int) -> HttpResponse:
    """Approve a colleague's request and tell them: the view trigger."""
    req = get_object_or_404(Request, pk=pk)
    if not req.may_be_approved_by(request.user):
        raise PermissionDenied
    if req.status == Request.Status.APPROVED:
        messages.info(request, _("Somebody approved it before you."))
        return redirect("request-list")
    req.status = "approved"
    req.save()
    notify_user(
        user=req.requester,
        title="Request approved",
        message=f"Your request '{req.title}' has been approved.",
        level="success",
        url=req.get_absolute_url(),
        source_app="requests",
        source_model="Request",
        source_id=str(req.pk),
    )
    messages.success(request, _("Request approved."))
    return redirect("request-list")
