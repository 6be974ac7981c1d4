"""Levels, and what counts and lists select."""

from __future__ import annotations

from datetime import datetime

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _


class Level(models.TextChoices):
    """How much a notification matters."""

    INFO = "info", _("Info")
    SUCCESS = "success", _("Success")
    WARNING = "warning", _("Warning")
    DANGER = "danger", _("Danger")

    @property
    def weight(self) -> int:
        """What a user's minimum level is compared with."""
        return {"warning": 1, "danger": 2}.get(self.value, 0)


def is_open(now: datetime) -> Q:
    """Select what counts as unread at *now*: not read, dismissed or expired."""
    return Q(read_at=None) & is_listed(now)


def is_listed(now: datetime) -> Q:
    """Select what lists show at *now*: neither dismissed nor expired."""
    return Q(dismissed_at=None) & is_unexpired(now)


def is_unexpired(now: datetime) -> Q:
    """Select what its time is not over for at *now*, put away or not."""
    return Q(expires_at=None) | Q(expires_at__gt=now)
