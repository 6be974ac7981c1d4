"""What a Celery worker does for the demo; the task of a report is a trigger."""

from __future__ import annotations

from celery import shared_task
from django.contrib.auth.models import User

from demo.announcements import announce_to_everybody, announce_to_team
from demo.models import Announcement, Report
from themis.notifications import notify_user


@shared_task
def make_report(report_id: int) -> None:
    """Put a report together, then have its owner told."""
    report = Report.objects.get(pk=report_id)
    report.make()
    notify_report_ready.delay(report.owner_id, report.pk)


@shared_task
def notify_report_ready(user_id: int, report_id: int) -> None:
    """Tell who asked for a report that it is there."""
    user = User.objects.get(pk=user_id)
    report = Report.objects.get(pk=report_id)
    notify_user(
        user=user,
        title="Report ready",
        message=f"Your {report.report_type} report is ready to download.",
        level="success",
        url=report.get_absolute_url(),
        source_app="reports",
        source_model="Report",
        source_id=str(report.pk),
    )


@shared_task
def announce(announcement_id: int) -> None:
    """Tell a team, or everybody: many notifications, so not in a view."""
    announcements = Announcement.objects.select_related("team")
    announcement = announcements.filter(pk=announcement_id).first()
    if announcement is None:
        return  # taken back before a worker came to it
    if announcement.team is None:
        announce_to_everybody(announcement)
    else:
        announce_to_team(announcement, announcement.team)
