"""What the demo is about, and who may do what with it."""

from __future__ import annotations

from datetime import timedelta
from typing import Self

from django.conf import settings
from django.contrib.auth.models import User
from django.db import models
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from demo.tracking import TrackedModel


class Task(TrackedModel):
    """Something to be done, by somebody or by nobody yet."""

    class Status(models.TextChoices):
        OPEN = "open", _("open")
        IN_PROGRESS = "in_progress", _("in progress")
        DONE = "done", _("done")

    title = models.CharField(_("title"), max_length=200)
    assignee = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        verbose_name=_("assignee"),
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="assigned_tasks",
    )
    due_date = models.DateField(_("due date"), null=True, blank=True)
    status = models.CharField(
        _("status"), max_length=20, choices=Status, default=Status.OPEN
    )
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        verbose_name=_("created by"),
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="created_tasks",
    )
    created_at = models.DateTimeField(_("created at"), auto_now_add=True)

    class Meta:
        verbose_name = _("task")
        verbose_name_plural = _("tasks")
        ordering = ("-id",)

    def __str__(self) -> str:
        return self.title

    def get_absolute_url(self) -> str:
        return reverse("task-detail", args=[self.pk])

    @property
    def is_overdue(self) -> bool:
        """Tell whether it should have been done by now."""
        return (
            self.due_date is not None
            and self.status != self.Status.DONE
            and self.due_date < timezone.localdate()
        )

    def may_be_changed_by(self, user: User) -> bool:
        """
        Who created a task or has it now may hand it on or delete it; an orphan,
        anybody may.
        """
        owners = {self.created_by_id, self.assignee_id} - {None}
        return not owners or user.pk in owners


class Request(models.Model):
    """A wish to buy something, which a colleague approves."""

    class Status(models.TextChoices):
        PENDING = "pending", _("pending")
        APPROVED = "approved", _("approved")

    title = models.CharField(_("title"), max_length=200)
    requester = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        verbose_name=_("requester"),
        on_delete=models.CASCADE,
        related_name="requests",
    )
    status = models.CharField(
        _("status"), max_length=20, choices=Status, default=Status.PENDING
    )
    created_at = models.DateTimeField(_("created at"), auto_now_add=True)

    class Meta:
        verbose_name = _("purchase request")
        verbose_name_plural = _("purchase requests")
        ordering = ("-id",)

    def __str__(self) -> str:
        return self.title

    def get_absolute_url(self) -> str:
        return reverse("request-detail", args=[self.pk])

    def may_be_approved_by(self, user: User) -> bool:
        """Nobody approves a request of their own."""
        return self.requester_id != user.pk


class Report(models.Model):
    """Numbers of the last days, which a worker puts together for who asked."""

    class Type(models.TextChoices):
        WEEKLY = "weekly", _("weekly")
        MONTHLY = "monthly", _("monthly")

    report_type = models.CharField(
        _("type"), max_length=20, choices=Type, default=Type.WEEKLY
    )
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        verbose_name=_("owner"),
        on_delete=models.CASCADE,
        related_name="reports",
    )
    content = models.TextField(_("content"), blank=True)
    created_at = models.DateTimeField(_("created at"), auto_now_add=True)
    made_at = models.DateTimeField(_("made at"), null=True, blank=True)

    class Meta:
        verbose_name = _("report")
        verbose_name_plural = _("reports")
        ordering = ("-id",)

    def __str__(self) -> str:
        return _("%(type)s report, %(day)s") % {
            "type": self.get_report_type_display(),
            "day": f"{self.created_at:%Y-%m-%d}",
        }

    def get_absolute_url(self) -> str:
        return reverse("report-detail", args=[self.pk])

    def make(self) -> None:
        """Count what happened, and save it as the content."""
        now = timezone.now()
        days = 7 if self.report_type == self.Type.WEEKLY else 30
        since = now - timedelta(days=days)
        tasks = Task.objects.filter(created_at__gte=since)
        wishes = Request.objects.filter(created_at__gte=since)
        counts = {
            "tasks created": tasks.count(),
            "of these nobody's": tasks.filter(assignee=None).count(),
            "requests made": wishes.count(),
            "of these approved": wishes.filter(status=Request.Status.APPROVED).count(),
        }
        lines = [f"{since:%Y-%m-%d} to {now:%Y-%m-%d}"]
        lines += [f"{name}: {count}" for name, count in counts.items()]
        self.content = "\n".join(lines) + "\n"
        self.made_at = now
        self.save(update_fields=["content", "made_at"])


class Event(models.Model):
    """Something that people come to; a reminder of it makes sense until it starts."""

    title = models.CharField(_("title"), max_length=200)
    start_time = models.DateTimeField(_("start"))
    organizer = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        verbose_name=_("organizer"),
        on_delete=models.CASCADE,
        related_name="organized_events",
    )
    attendees = models.ManyToManyField(
        settings.AUTH_USER_MODEL,
        verbose_name=_("attendees"),
        blank=True,
        related_name="events",
    )
    cancelled_at = models.DateTimeField(_("cancelled at"), null=True, blank=True)

    class Meta:
        verbose_name = _("event")
        verbose_name_plural = _("events")
        ordering = ("-start_time", "-id")

    def __str__(self) -> str:
        return self.title

    def get_absolute_url(self) -> str:
        return reverse("event-detail", args=[self.pk])

    @property
    def is_ahead(self) -> bool:
        """Tell whether it is still going to happen."""
        return self.cancelled_at is None and self.start_time > timezone.now()


class Team(models.Model):
    """People who hear what is announced to their team."""

    name = models.CharField(_("name"), max_length=100, unique=True)
    members = models.ManyToManyField(
        settings.AUTH_USER_MODEL,
        verbose_name=_("members"),
        blank=True,
        related_name="teams",
    )

    class Meta:
        verbose_name = _("team")
        verbose_name_plural = _("teams")
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name

    def get_absolute_url(self) -> str:
        return reverse("team-detail", args=[self.pk])


class AnnouncementQuerySet(models.QuerySet["Announcement"]):
    def readable_by(self, user: User) -> Self:
        """Return those to everybody, to the user's teams, and of the user."""
        mine = Team.objects.filter(members=user)
        return self.filter(
            models.Q(team=None) | models.Q(team__in=mine) | models.Q(author=user)
        )


class Announcement(models.Model):
    """What somebody says to a team, or to everybody."""

    title = models.CharField(_("title"), max_length=200)
    message = models.TextField(_("message"), max_length=4000, blank=True)
    author = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        verbose_name=_("author"),
        on_delete=models.CASCADE,
        related_name="announcements",
    )
    team = models.ForeignKey(
        Team,
        verbose_name=_("team"),
        null=True,
        blank=True,
        on_delete=models.CASCADE,
        related_name="announcements",
        help_text=_("None is everybody."),
    )
    created_at = models.DateTimeField(_("created at"), auto_now_add=True)

    objects = AnnouncementQuerySet.as_manager()

    class Meta:
        verbose_name = _("announcement")
        verbose_name_plural = _("announcements")
        ordering = ("-id",)
        permissions = [("announce_to_everybody", "Can announce to everybody")]

    def __str__(self) -> str:
        return self.title

    def get_absolute_url(self) -> str:
        return reverse("announcement-detail", args=[self.pk])
