# fmt: off
"""The block "Celery task"."""

from celery import shared_task
from django.contrib.auth.models import User
from tests.pattern.models import Report
from themis.notifications import notify_user


@shared_task
def notify_report_ready(user_id, report_id):
    user = User.objects.get(pk=user_id)
    report = Report.objects.get(pk=report_id)
    notify_user(
        user=user, title="Report ready",
        message=f"Your {report.report_type} report is ready to download.",
        level="success", url=report.get_absolute_url(),
        source_app="reports", source_model="Report", source_id=str(report.pk),
    )
