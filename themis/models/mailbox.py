"""The mailbox: its revisions, and what has left it."""

from __future__ import annotations

import secrets
from typing import Any, ClassVar

from django.conf import settings as django_settings
from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _


def make_epoch() -> str:
    """Return a name for a mailbox's count of revisions that was never used before."""
    return secrets.token_urlsafe(9)


class Mailbox(models.Model):
    """
    One user's mailbox: the count of its changes, in the order of their commits.

    The row is also the lock: whoever stamps begins by updating it.
    """

    user = models.OneToOneField(
        django_settings.AUTH_USER_MODEL,
        on_delete=models.CASCADE,
        primary_key=True,
        related_name="+",
    )
    epoch = models.CharField(max_length=22, default=make_epoch)
    revision = models.BigIntegerField(default=0)
    # Deletions up to here have been forgotten: older clients reload.
    floor_revision = models.BigIntegerField(default=0)
    next_expiry_at = models.DateTimeField(null=True, db_index=True)
    # The unread count at `revision`, exact to 9,999; 10,000 = more.
    unread = models.PositiveIntegerField(default=0)

    class Meta:
        verbose_name = _("mailbox")
        verbose_name_plural = _("mailboxes")

    def __str__(self) -> str:
        return f"{self.user_id} at {self.epoch}:{self.revision}"


class Tombstone(models.Model):
    """A deleted notification, until all open pages have heard of it."""

    notification_id = models.BigIntegerField()
    # Without a constraint, so that a user can be deleted without waiting for these.
    user = models.ForeignKey(
        django_settings.AUTH_USER_MODEL,
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        db_index=False,
        related_name="+",
    )
    # None = not stamped yet.
    revision = models.BigIntegerField(null=True)
    created_at = models.DateTimeField(default=timezone.now, db_index=True)

    class Meta:
        verbose_name = _("deleted notification")
        verbose_name_plural = _("deleted notifications")
        indexes: ClassVar = [
            models.Index(fields=["user", "revision"], name="themis_deleted"),
            models.Index(
                fields=["user"],
                condition=Q(revision=None),
                name="themis_deleted_pending",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.notification_id} of {self.user_id}"


def bury(leaving: models.QuerySet[Any], using: str) -> set[Any]:
    """
    Lock the notifications that are about to leave their mailboxes; leave tombstones.

    Returns the users whose mailboxes they are.
    """
    locked = leaving.using(using).order_by("pk").select_for_update()
    rows = list(locked.values_list("pk", "user_id", "created_revision"))
    Tombstone.objects.using(using).bulk_create(
        Tombstone(notification_id=pk, user_id=user)
        for pk, user, created in rows
        if created is not None
    )
    return {user for _pk, user, _created in rows}
