"""The row that every peer inserts."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db import models
from django.utils import timezone


class Notification(models.Model):
    """What Themis stores for its users, less what it needs for its promises."""

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.CASCADE, related_name="notifications"
    )
    title = models.CharField(max_length=200)
    message = models.TextField(blank=True)
    level = models.CharField(max_length=16, default="info")
    url = models.CharField(max_length=2000, blank=True)
    source_app = models.CharField(max_length=100, blank=True)
    source_model = models.CharField(max_length=100, blank=True)
    source_id = models.CharField(max_length=200, blank=True)
    created_at = models.DateTimeField(default=timezone.now)
    read_at = models.DateTimeField(null=True, blank=True)
    dismissed_at = models.DateTimeField(null=True, blank=True)
    expires_at = models.DateTimeField(null=True, blank=True)

    objects: models.Manager[Notification] = models.Manager()

    def __str__(self) -> str:
        """Return the headline."""
        return self.title

    def to_page(self) -> dict[str, Any]:
        """Return what a page needs to show it."""
        return {
            "id": self.pk,
            "title": self.title,
            "message": self.message,
            "level": self.level,
            "url": self.url,
            "created_at": self.created_at.isoformat(),
        }
