"""What a user wants to be told, and how."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import Any, ClassVar

from django.conf import settings as django_settings
from django.db import models, router
from django.db.models import Q
from django.db.models.fields.related_descriptors import ReverseOneToOneDescriptor
from django.utils.translation import gettext_lazy as _

from themis.conf import settings
from themis.models.conditions import Level
from themis.ringing import followed

# What a person may ask for; a PositiveIntegerField holds no more on PostgreSQL.
MIN_RETENTION_DAYS = 1
MAX_RETENTION_DAYS = 2**31 - 1


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
    # What the user model has under the profile's name and keeps; a check tells of it.
    rival: Any = None

    def contribute_to_related_class(self, cls: type[Any], related: Any) -> None:
        name = related.get_accessor_name() or ""
        model = cls._meta.concrete_model
        self.rival = inspect.getattr_static(model, name, None)
        is_own = name in vars(model)
        super().contribute_to_related_class(cls, related)
        if is_own:
            # Without it the project could not even start, to be told what is wrong.
            setattr(model, name, self.rival)
        elif self.rival is not None:
            delattr(model, name)

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
