"""The notification."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any, ClassVar

from django.conf import settings as django_settings
from django.db import models, router, transaction
from django.db.models import Q
from django.db.models.fields.related_descriptors import ReverseManyToOneDescriptor
from django.utils import timezone
from django.utils.functional import cached_property
from django.utils.translation import gettext_lazy as _

from themis import content
from themis.models.conditions import Level
from themis.models.mailbox import bury
from themis.models.queryset import UserNotificationQuerySet
from themis.ringing import followed


class _NotificationsDescriptor(ReverseManyToOneDescriptor):  # type: ignore[type-arg] # can't be subscripted when it runs
    """``user.themis_notifications``, whose `add` and `set` open bells follow."""

    @cached_property
    def related_manager_cls(self) -> type[Any]:
        parent: Any = super().related_manager_cls

        class NotificationsManager(parent):  # type: ignore[misc] # made by Django
            def add(self, *rows: Any, bulk: bool = True) -> None:
                using = router.db_for_write(self.model, instance=self.instance)
                with transaction.atomic(using=using):
                    # Django's own statement goes past our querysets.
                    moved = self.model.objects.using(using)
                    moved = moved.filter(pk__in=[row.pk for row in rows])
                    moved.exclude(user=self.instance).update(user=self.instance)
                    super().add(*rows, bulk=bulk)

            add.alters_data = True  # type: ignore[attr-defined] # Django's template guard

        return NotificationsManager


class _NotificationUserField(models.ForeignKey[Any, Any]):
    """The user of a notification."""

    related_accessor_class = _NotificationsDescriptor

    def deconstruct(self) -> Any:
        name, _path, args, kwargs = super().deconstruct()
        return name, "django.db.models.ForeignKey", args, kwargs


class UserNotification(models.Model):
    """
    One notification of one user.

    Made by `themis.notifications.notify_user`. Host code may filter, update, save and
    delete; open bells follow after the commit.
    """

    id = models.BigAutoField(primary_key=True)
    user = _NotificationUserField(
        django_settings.AUTH_USER_MODEL,
        on_delete=models.CASCADE,
        related_name="themis_notifications",
        db_index=False,  # every index below but the one by source begins with it
        verbose_name=_("user"),
    )
    title = models.CharField(_("title"), max_length=content.TITLE_LENGTH)
    message = models.TextField(
        _("message"), blank=True, max_length=content.MESSAGE_LENGTH
    )
    level = models.CharField(
        _("level"), max_length=10, choices=Level, default=Level.INFO
    )
    url = models.CharField(_("URL"), max_length=content.URL_LENGTH, blank=True)
    source_app = models.CharField(_("source app"), max_length=100, blank=True)
    source_model = models.CharField(_("source model"), max_length=100, blank=True)
    source_id = models.CharField(_("source id"), max_length=200, blank=True)
    created_at = models.DateTimeField(_("created"), default=timezone.now)
    read_at = models.DateTimeField(_("read"), null=True, blank=True)
    dismissed_at = models.DateTimeField(_("dismissed"), null=True, blank=True)
    expires_at = models.DateTimeField(_("expires"), null=True, blank=True)

    # The mailbox's revision at the first and at the last stamp; None = never stamped.
    created_revision = models.BigIntegerField(null=True, editable=False)
    revision = models.BigIntegerField(null=True, editable=False)
    # Written since the last stamp.
    pending = models.BooleanField(default=True, editable=False)
    # Open mailboxes have been told that it expired.
    expiry_stamped = models.BooleanField(default=False, editable=False)
    # Asked to be skipped if a duplicate is open; the key is its claim, if it has one.
    deduplicate = models.BooleanField(default=False, editable=False)
    dedup_key = models.CharField(max_length=64, null=True, editable=False)  # noqa: DJ001 -- NULL is "no claim": a unique index ignores it

    # Stamping alone writes these, so that saving a stale instance can't undo it.
    STAMPED: ClassVar = frozenset(
        {"created_revision", "revision", "expiry_stamped", "deduplicate", "dedup_key"}
    )

    objects: ClassVar = UserNotificationQuerySet.as_manager()

    class Meta:
        verbose_name = _("notification")
        verbose_name_plural = _("notifications")
        indexes: ClassVar = [
            # Lists, pages and the newest items.
            models.Index(
                fields=["user", "created_revision", "id"],
                condition=Q(dismissed_at=None),
                name="themis_listed",
            ),
            # The unread list, and the count from the index alone.
            models.Index(
                fields=["user", "created_revision", "id", "expires_at"],
                condition=Q(read_at=None, dismissed_at=None),
                name="themis_unread",
            ),
            # Changes since a revision; also what a deleted user owns.
            models.Index(fields=["user", "revision"], name="themis_changed"),
            # Normally empty: what waits to be stamped.
            models.Index(
                fields=["user", "id"],
                condition=Q(pending=True),
                name="themis_pending",
            ),
            # What falls due.
            models.Index(
                fields=["user", "expires_at"],
                condition=Q(expires_at__isnull=False, expiry_stamped=False),
                name="themis_expiring",
            ),
            # What has been put away.
            models.Index(
                fields=["user", "created_revision", "id"],
                condition=Q(dismissed_at__isnull=False),
                name="themis_dismissed",
            ),
            # Duplicates without a source.
            models.Index(
                fields=["user", "title"],
                condition=Q(
                    source_app="",
                    source_model="",
                    source_id="",
                    read_at=None,
                    dismissed_at=None,
                ),
                name="themis_unsourced",
            ),
            # Duplicates, mark_read, withdraw and hosts' own clean-up.
            models.Index(
                fields=["source_app", "source_model", "source_id", "user"],
                name="themis_source",
            ),
        ]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["user", "dedup_key"],
                condition=Q(dedup_key__isnull=False, read_at=None, dismissed_at=None),
                name="themis_open_dedup_key",
            ),
        ]

    def __str__(self) -> str:
        return self.title

    def save(
        self,
        *,
        force_insert: bool | tuple[models.base.ModelBase, ...] = False,
        force_update: bool = False,
        using: str | None = None,
        update_fields: Iterable[str] | None = None,
    ) -> None:
        """
        Save like Django, and let open bells follow after the commit.

        What stamping has written stays as it is in the database.

        Raises:
            django.db.DatabaseError: the row has been deleted; the caller's transaction
                stays usable.
        """
        using = using or router.db_for_write(type(self), instance=self)
        self.pending = True
        if self._state.adding or force_insert:
            self.begin()
        if self.is_read or self.is_dismissed:
            self.dedup_key = None
        stored = UserNotification.objects.using(using).filter(pk=self.pk)
        with followed(using) as users:
            users.add(self.user_id)
            if not self._state.adding and not force_insert:
                update_fields = self._saved_fields(update_fields)
                if not {"user", "user_id"}.isdisjoint(update_fields):
                    stored.exclude(user=self.user_id).update(user=self.user_id)
                else:
                    # It stays where it is, which may not be where it was loaded.
                    users.update(stored.values_list("user_id", flat=True))
            super().save(
                force_insert=force_insert,
                force_update=force_update,
                using=using,
                update_fields=update_fields,
            )

    def delete(
        self, using: str | None = None, keep_parents: bool = False
    ) -> tuple[int, dict[str, int]]:
        """Delete like Django, and let open bells follow after the commit."""
        using = using or router.db_for_write(type(self), instance=self)
        with followed(using) as users:
            # Where it is, which may not be where it was when it was loaded.
            stored = type(self)._base_manager.filter(pk=self.pk)
            users.update(bury(stored, using))
            return super().delete(using=using, keep_parents=keep_parents)

    def begin(self) -> None:
        """Forget what stamping wrote: a copy that is inserted is a new one."""
        self.pending = True
        for field in self._meta.concrete_fields:
            if field.name in self.STAMPED:
                setattr(self, field.name, field.get_default())

    @property
    def is_read(self) -> bool:
        """Whether the person has read it."""
        return self.read_at is not None

    @property
    def is_dismissed(self) -> bool:
        """Whether the person has put it away."""
        return self.dismissed_at is not None

    def is_expired_at(self, now: datetime) -> bool:
        """Tell whether its time is over."""
        return self.expires_at is not None and self.expires_at <= now

    def is_listed_at(self, now: datetime) -> bool:
        """Decide for one row what `is_listed` decides in SQL."""
        return self.dismissed_at is None and not self.is_expired_at(now)

    def _saved_fields(self, wanted: Iterable[str] | None) -> set[str]:
        """Return the fields a save writes: all but what stamping owns."""
        loaded = {
            field.name
            for field in self._meta.concrete_fields
            if field.attname not in self.get_deferred_fields() and not field.primary_key
        }
        fields = (loaded if wanted is None else set(wanted)) - self.STAMPED
        fields.add("pending")
        if self.is_read or self.is_dismissed:
            fields.add("dedup_key")
        return fields
