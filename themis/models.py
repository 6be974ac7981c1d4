"""The mailbox's tables, and the writes of host code that open bells follow."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Iterable, Iterator
from datetime import datetime
from typing import Any, ClassVar, Self

from django.conf import settings as django_settings
from django.db import models, router
from django.db.models import F, Q
from django.db.models.fields.related_descriptors import ReverseOneToOneDescriptor
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from themis import content
from themis.conf import settings
from themis.ringing import followed

# How many rows one statement of a followed write touches.
CHUNK = 1_000


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
    return Q(dismissed_at=None) & (Q(expires_at=None) | Q(expires_at__gt=now))


class UserNotificationQuerySet(models.QuerySet["UserNotification"]):
    """
    Notifications, with writes that open bells follow.

    `update`, `bulk_update`, `bulk_create` and `delete` only mark rows inside the
    caller's transaction; the mailboxes are stamped after it has committed.
    """

    # A change of these makes a row another holder of its dedup key, or none.
    KEYED: ClassVar = frozenset(
        {
            *("user", "user_id", "read_at", "dismissed_at"),
            *("source_app", "source_model", "source_id"),
            *("level", "title", "message", "url"),
        }
    )

    # In another mailbox a row is a new one, which nobody asked to drop.
    MOVED: ClassVar = {
        "created_revision": None,
        "revision": None,
        "deduplicate": False,
    }

    def listed(self) -> Self:
        """Return what lists show: neither dismissed nor expired."""
        return self.filter(is_listed(timezone.now()))

    def unread(self) -> Self:
        """Return what the bell counts: not read, dismissed or expired."""
        return self.filter(is_open(timezone.now()))

    def in_order(self) -> Self:
        """Return the newest first, in the one order of all lists."""
        return self.order_by(F("created_revision").desc(nulls_first=True), "-id")

    def update(self, **changes: Any) -> int:
        """Update like Django, and let open bells follow after the commit."""
        if self.query.is_sliced or not changes:
            return super().update(**changes)
        self._for_write = True
        changes["pending"] = True
        if not self.KEYED.isdisjoint(changes):
            changes["dedup_key"] = None
        updated = 0
        with followed(self.db) as users:
            for rows in self._keys_by_chunk():
                moving = self._moving(rows, changes)
                staying = {pk for pk, _user in rows}.difference(moving)
                if moving:
                    _bury(moving, self.db)
                    updated += self._write(moving, changes | self.MOVED)
                updated += self._write(staying, changes)
                users.update(user for _pk, user in rows)
                moved = _plain(self.db).filter(pk__in=moving)
                users.update(moved.values_list("user_id", flat=True))
        return updated

    update.alters_data = True  # type: ignore[attr-defined] # Django's template guard

    def delete(self) -> tuple[int, dict[str, int]]:
        """Delete like Django, and let open bells follow after the commit."""
        if self.query.is_sliced or self.query.distinct_fields:
            return super().delete()
        self._for_write = True
        total = 0
        by_model: dict[str, int] = {}
        with followed(self.db) as users:
            for rows in self._keys_by_chunk():
                keys = [pk for pk, _user in rows]
                users.update(_bury(keys, self.db))
                count, details = _plain(self.db).filter(pk__in=keys).delete()
                total += count
                for label, number in details.items():
                    by_model[label] = by_model.get(label, 0) + number
                users.update(user for _pk, user in rows)
        return total, by_model

    delete.alters_data = True  # type: ignore[attr-defined] # Django's template guard
    delete.queryset_only = True  # type: ignore[attr-defined] # no Manager.delete()

    def bulk_create(
        self, objs: Iterable[UserNotification], *args: Any, **kwargs: Any
    ) -> list[UserNotification]:
        """Create like Django, and let open bells follow after the commit."""
        self._for_write = True
        with followed(self.db) as users:
            created = super().bulk_create(objs, *args, **kwargs)
            users.update(row.user_id for row in created)
        return created

    def _moving(
        self, rows: Collection[tuple[int, Any]], changes: dict[str, Any]
    ) -> list[int]:
        """Return the keys of *rows* that an update takes to another mailbox."""
        target = changes.get("user", changes.get("user_id"))
        if target is None:
            return []
        if hasattr(target, "resolve_expression"):
            # As in bulk_update: each row has a user of its own, computed by SQL.
            keys = self.filter(pk__in=[pk for pk, _user in rows])
            leaving = keys.annotate(target_key=target).exclude(user_id=F("target_key"))
            return list(leaving.values_list("pk", flat=True))
        field = self.model._meta.get_field("user")
        target = field.to_python(getattr(target, "pk", target))
        return [pk for pk, user in rows if user != target]

    def _write(self, keys: Collection[int], changes: dict[str, Any]) -> int:
        if not keys:
            return 0
        return models.QuerySet.update(self.filter(pk__in=keys), **changes)

    def _keys_by_chunk(self) -> Iterator[list[tuple[int, Any]]]:
        """Yield (primary key, user key) of what the queryset selects, in chunks."""
        keys = self.using(self.db).order_by("pk").values_list("pk", "user_id")
        rows = list(keys[:CHUNK])
        while rows:
            yield rows
            rows = list(keys.filter(pk__gt=rows[-1][0])[:CHUNK])


def _plain(using: str) -> models.QuerySet[UserNotification]:
    """Return all notifications, with writes that nothing follows."""
    return models.QuerySet(UserNotification, using=using)


def _bury(keys: Collection[int], using: str) -> set[Any]:
    """
    Lock the rows that are about to leave their mailboxes, and leave tombstones.

    Returns the users whose mailboxes they are.
    """
    leaving = _plain(using).filter(pk__in=keys).order_by("pk").select_for_update()
    rows = list(leaving.values_list("pk", "user_id", "created_revision"))
    Tombstone.objects.using(using).bulk_create(
        Tombstone(notification_id=pk, user_id=user)
        for pk, user, created in rows
        if created is not None
    )
    return {user for _pk, user, _created in rows}


class UserNotification(models.Model):
    """
    One notification of one user.

    Made by `themis.notifications.notify_user`. Host code may filter, update, save and
    delete; open bells follow after the commit.
    """

    id = models.BigAutoField(primary_key=True)
    user = models.ForeignKey(
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
        if self.is_read or self.is_dismissed:
            self.dedup_key = None
        with followed(using) as users:
            if not self._state.adding and not force_insert:
                update_fields = self._saved_fields(update_fields)
                if not {"user", "user_id"}.isdisjoint(update_fields):
                    moved = UserNotification.objects.using(using).filter(pk=self.pk)
                    moved.exclude(user=self.user_id).update(user=self.user_id)
            super().save(
                force_insert=force_insert,
                force_update=force_update,
                using=using,
                update_fields=update_fields,
            )
            users.add(self.user_id)

    def delete(
        self, using: str | None = None, keep_parents: bool = False
    ) -> tuple[int, dict[str, int]]:
        """Delete like Django, and let open bells follow after the commit."""
        using = using or router.db_for_write(type(self), instance=self)
        with followed(using) as users:
            # Where it is, which may not be where it was when it was loaded.
            users.update(_bury([self.pk], using))
            return super().delete(using=using, keep_parents=keep_parents)

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


class _ProfileDescriptor(ReverseOneToOneDescriptor):  # type: ignore[type-arg] # can't be subscripted when it runs
    """``user.profile``, made with the defaults where the user has none yet."""

    def __get__(self, instance: Any, cls: Any = None) -> Any:
        try:
            return super().__get__(instance, cls)
        except UserProfile.DoesNotExist:
            if instance is None or instance.pk is None:
                raise
        using = router.db_for_write(UserProfile, instance=instance)
        profile, _made = UserProfile.objects.using(using).get_or_create(user=instance)
        return profile


class _ProfileUserField(models.OneToOneField[Any, Any]):
    """The user of a profile."""

    related_accessor_class = _ProfileDescriptor

    def deconstruct(self) -> Any:
        name, _path, args, kwargs = super().deconstruct()
        return name, "django.db.models.OneToOneField", args, kwargs


class UserProfileQuerySet(models.QuerySet["UserProfile"]):
    """Profiles, with updates that open bells follow."""

    def update(self, **changes: Any) -> int:
        """Update like Django, and let open bells follow after the commit."""
        if self.query.is_sliced or not changes:
            return super().update(**changes)
        self._for_write = True
        with followed(self.db) as users:
            users.update(self.using(self.db).values_list("user_id", flat=True))
            return super().update(**changes, pending=True)

    update.alters_data = True  # type: ignore[attr-defined] # Django's template guard


class UserProfile(models.Model):
    """What a user wants to be told, and how; no row means the defaults."""

    user = _ProfileUserField(
        django_settings.AUTH_USER_MODEL,
        on_delete=models.CASCADE,
        related_name=settings.profile_related_name,
        verbose_name=_("user"),
    )
    notifications_enabled = models.BooleanField(_("notifications"), default=True)
    notification_min_level = models.CharField(
        _("minimum level"), max_length=10, choices=Level, default=Level.INFO
    )
    browser_notifications_enabled = models.BooleanField(
        _("desktop notifications"), default=False
    )
    notification_retention_days = models.PositiveIntegerField(
        _("days to keep what is read"),
        null=True,
        blank=True,
        help_text=_("Empty: as long as the site keeps them."),
    )
    # Changed since the mailbox was last stamped.
    pending = models.BooleanField(default=False, editable=False)

    objects: ClassVar = UserProfileQuerySet.as_manager()

    class Meta:
        verbose_name = _("notification profile")
        verbose_name_plural = _("notification profiles")
        indexes: ClassVar = [
            models.Index(
                fields=["user"],
                condition=Q(pending=True),
                name="themis_profile_pending",
            ),
        ]

    def __str__(self) -> str:
        return str(self.user)

    def save(
        self,
        *,
        force_insert: bool | tuple[models.base.ModelBase, ...] = False,
        force_update: bool = False,
        using: str | None = None,
        update_fields: Iterable[str] | None = None,
    ) -> None:
        """Save like Django, and let open tabs follow a change after the commit."""
        using = using or router.db_for_write(type(self), instance=self)
        # A new row changes something where it doesn't say what no row says.
        changing = not self._state.adding or self.browser_notifications_enabled
        self.pending = changing
        if update_fields is not None:
            update_fields = {*update_fields, "pending"}
        with followed(using) as users:
            super().save(
                force_insert=force_insert,
                force_update=force_update,
                using=using,
                update_fields=update_fields,
            )
            if changing:
                users.add(self.user_id)


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
