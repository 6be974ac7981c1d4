"""The pages of the demo, with the view trigger among them."""

from __future__ import annotations

from django.conf import settings
from django.contrib import messages
from django.contrib.auth import login
from django.contrib.auth.decorators import login_required
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from demo.accounts import USERNAMES, create_users
from demo.forms import AssignForm, RequestForm, TaskForm
from demo.models import Request, Task
from themis.notifications import notify_user

PAGE_SIZE = 20


class SignedInRequest(HttpRequest):
    """What a view behind `login_required` gets."""

    user: User


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


@login_required
@require_http_methods(["GET", "POST"])
def tasks(request: SignedInRequest) -> HttpResponse:
    """List the tasks, newest first, and create one."""
    form = TaskForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        form.instance.created_by = request.user
        form.save()
        messages.success(request, _("Task created. Now assign it to somebody."))
        return redirect("task-list")
    page = Paginator(
        Task.objects.select_related("assignee", "created_by"), PAGE_SIZE
    ).get_page(request.GET.get("page"))
    rows = [(task, _assign_form(request, task)) for task in page]
    return render(
        request, "demo/tasks.html", {"form": form, "page": page, "rows": rows}
    )


@login_required
@require_GET
def task(request: SignedInRequest, pk: int) -> HttpResponse:
    """Show one task."""
    found = get_object_or_404(
        Task.objects.select_related("assignee", "created_by"), pk=pk
    )
    return render(
        request,
        "demo/task.html",
        {"task": found, "assign": _assign_form(request, found)},
    )


@login_required
@require_POST
def assign_task(request: SignedInRequest, pk: int) -> HttpResponse:
    """Give a task to somebody. Saving it fires the signal trigger."""
    found = get_object_or_404(Task, pk=pk)
    if not found.may_be_assigned_by(request.user):
        raise PermissionDenied
    form = AssignForm(request.POST, instance=found)
    if not form.is_valid():
        messages.error(request, _("Nobody of that name can take the task."))
    elif not form.has_changed():
        messages.info(request, _("Nothing changed."))
    else:
        form.save()
        if found.assignee is None:
            messages.success(request, _("The task is nobody's now."))
        else:
            messages.success(
                request, _("Task assigned to %(name)s.") % {"name": found.assignee}
            )
    return redirect("task-list")


def _assign_form(request: SignedInRequest, task: Task) -> AssignForm | None:
    if not task.may_be_assigned_by(request.user):
        return None
    return AssignForm(instance=task, auto_id=f"task-{task.pk}-%s")


@login_required
@require_http_methods(["GET", "POST"])
def requests(request: SignedInRequest) -> HttpResponse:
    """List the purchase requests, newest first, and create one."""
    form = RequestForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        form.instance.requester = request.user
        form.save()
        messages.success(request, _("Request sent. A colleague can approve it."))
        return redirect("request-list")
    page = Paginator(Request.objects.select_related("requester"), PAGE_SIZE).get_page(
        request.GET.get("page")
    )
    return render(request, "demo/requests.html", {"form": form, "page": page})


@login_required
@require_GET
def request_detail(request: SignedInRequest, pk: int) -> HttpResponse:
    """Show one purchase request."""
    found = get_object_or_404(Request.objects.select_related("requester"), pk=pk)
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
