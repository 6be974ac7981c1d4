"""Reports: a worker makes them, and its Celery task is the trigger."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db import transaction
from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_safe
from kombu.exceptions import OperationalError

from demo.forms import ReportForm
from demo.models import Report
from demo.tasks import make_report
from demo.views.visits import SignedInRequest, clear_bell, page_of, say_nobody_works


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def reports(request: SignedInRequest) -> HttpResponse:
    """List the person's reports, newest first, and order one."""
    form = ReportForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        form.instance.owner = request.user
        try:
            with transaction.atomic():
                form.save()
                # A worker that is quicker than the commit would find no row.
                make_report.delay_on_commit(form.instance.pk)
        except OperationalError:
            form.instance.delete()
            say_nobody_works(request)
        else:
            messages.success(
                request, _("Report ordered. The bell tells when it is ready.")
            )
        return redirect("report-list")
    page = page_of(request, Report.objects.filter(owner=request.user))
    return render(request, "demo/reports.html", {"form": form, "page": page})


@login_required
@require_safe
def report(request: SignedInRequest, pk: int) -> HttpResponse:
    """Show one report to its owner."""
    found = get_object_or_404(Report, pk=pk, owner=request.user)
    clear_bell(request, "reports", "Report", pk)
    return render(request, "demo/report.html", {"report": found})


@login_required
@require_safe
def download_report(request: SignedInRequest, pk: int) -> HttpResponse:
    """Send one report to its owner, as a file."""
    found = get_object_or_404(Report, pk=pk, owner=request.user)
    if found.made_at is None:
        raise Http404
    name = f"{found.report_type}-{found.made_at:%Y-%m-%d}.txt"
    return HttpResponse(
        found.content,
        content_type="text/plain; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )
