# fmt: off
"""The block "View"."""

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.shortcuts import get_object_or_404, redirect
from tests.pattern.models import Request
from themis.notifications import notify_user


@login_required
def approve_request(request, pk):
    req = get_object_or_404(Request, pk=pk)
    req.status = "approved"
    req.save()
    notify_user(
        user=req.requester, title="Request approved",
        message=f"Your request '{req.title}' has been approved.",
        level="success", url=req.get_absolute_url(),
        source_app="requests", source_model="Request", source_id=str(req.pk),
    )
    messages.success(request, "Request approved.")
    return redirect("request-list")
