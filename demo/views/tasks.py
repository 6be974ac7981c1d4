"""Tasks: the signal triggers, and the one for cron at the push of a button."""

from __future__ import annotations

from io import StringIO

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.core.management import call_command
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import (
    require_http_methods,
    require_POST,
    require_safe,
)

from demo.forms import AssignForm, People, TaskForm
from demo.models import Task
from demo.views.visits import SignedInRequest, clear_bell, page_of


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def tasks(request: SignedInRequest) -> HttpResponse:
    """List the tasks, newest first, and create one."""
    form = TaskForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        form.instance.created_by = request.user
        form.save()
        messages.success(request, _("Task created. Now assign it to somebody."))
        return redirect("task-list")
    page = page_of(request, Task.objects.select_related("assignee", "created_by"))
    # Read once, not for each row.
    people = AssignForm().people
    rows = [(task, _assign_form(request, task, people)) for task in page]
    return render(
        request, "demo/tasks.html", {"form": form, "page": page, "rows": rows}
    )


@login_required
@require_safe
def task(request: SignedInRequest, pk: int) -> HttpResponse:
    """Show one task."""
    found = get_object_or_404(
        Task.objects.select_related("assignee", "created_by"), pk=pk
    )
    clear_bell(request, "tasks", "Task", pk)
    return render(
        request,
        "demo/task.html",
        {"task": found, "assign": _assign_form(request, found)},
    )


@login_required
@require_POST
def assign_task(request: SignedInRequest, pk: int) -> HttpResponse:
    """Give a task to somebody. Saving it fires the signal trigger."""
    found = _changeable(request, pk)
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


@login_required
@require_POST
def delete_task(request: SignedInRequest, pk: int) -> HttpResponse:
    """Delete a task. What it caused leaves the bells by the other signal trigger."""
    _changeable(request, pk).delete()
    messages.success(request, _("Task deleted, with its notifications."))
    return redirect("task-list")


@login_required
@require_POST
def check_overdue(request: SignedInRequest) -> HttpResponse:
    """Run the management command, which tells all who have an overdue task."""
    said = StringIO()
    call_command("check_overdue", stdout=said)
    messages.success(request, said.getvalue().strip())
    return redirect("task-list")


def _changeable(request: SignedInRequest, pk: int) -> Task:
    found = get_object_or_404(Task, pk=pk)
    if not found.may_be_changed_by(request.user):
        raise PermissionDenied
    return found


def _assign_form(
    request: SignedInRequest, task: Task, people: People | None = None
) -> AssignForm | None:
    if not task.may_be_changed_by(request.user):
        return None
    form = AssignForm(instance=task, auto_id=f"task-{task.pk}-%s")
    if people is not None:
        form.people = people
    return form
