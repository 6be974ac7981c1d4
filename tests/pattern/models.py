"""What the pattern takes for granted: models of a host."""

from django.conf import settings
from django.db import models

from demo.tracking import TrackedModel


class Task(TrackedModel):
    title = models.CharField(max_length=200)
    assignee = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+"
    )
    due_date = models.DateField(null=True)
    status = models.CharField(max_length=20, default="open")

    def get_absolute_url(self) -> str:
        return f"/tasks/{self.pk}/"


class Request(models.Model):
    title = models.CharField(max_length=200)
    requester = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.CASCADE, related_name="+"
    )
    status = models.CharField(max_length=20, default="pending")

    def get_absolute_url(self) -> str:
        return f"/requests/{self.pk}/"


class Report(models.Model):
    report_type = models.CharField(max_length=20, default="weekly")

    def get_absolute_url(self) -> str:
        return f"/reports/{self.pk}/"


class Event(models.Model):
    title = models.CharField(max_length=200)
    start_time = models.DateTimeField()

    def get_absolute_url(self) -> str:
        return f"/events/{self.pk}/"


class Team(models.Model):
    members = models.ManyToManyField(settings.AUTH_USER_MODEL, related_name="+")
