"""The wiring of the app."""

from __future__ import annotations

from typing import Any

from django.apps import AppConfig, apps
from django.contrib.auth import get_user_model
from django.db import transaction
from django.db.models.signals import post_delete, post_save, pre_save
from django.utils.translation import gettext_lazy as _


class ThemisConfig(AppConfig):
    """Themis, the notification mailbox."""

    name = "themis"
    verbose_name = _("Notifications")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Connect what happens by itself: stamping after commits, profiles, checks."""
        from themis import checks, ringing, stamping  # noqa: F401 -- registers them
        from themis.models import Mailbox, UserNotification, UserProfile, fixtures

        ringing.answer_with(stamping.stamp)
        post_save.connect(
            _make_profile, sender=get_user_model(), dispatch_uid="themis.profile"
        )
        # Without a sender, no model of the site could be deleted in one statement; and
        # of a user deleted by a proxy, only the proxy's signal is sent.
        user = get_user_model()._meta.concrete_model
        for model in apps.get_models():
            if model._meta.concrete_model is user:
                post_delete.connect(
                    _disconnect, sender=model, dispatch_uid="themis.disconnect"
                )
        pre_save.connect(fixtures.renew, sender=Mailbox)
        for model in (UserNotification, UserProfile):
            pre_save.connect(fixtures.mark, sender=model)
            post_save.connect(fixtures.follow, sender=model)


def _make_profile(
    *, instance: Any, created: bool, raw: bool, using: str, **_: Any
) -> None:
    """Make the profile with the user; a fixture brings its own."""
    from themis.models import UserProfile

    if created and not raw:
        UserProfile.objects.using(using).get_or_create(user=instance)


def _disconnect(*, instance: Any, using: str, **_: Any) -> None:
    """Close the sockets of a deleted user, once that is committed."""
    from themis.broadcasters import get_broadcaster

    key = str(instance._meta.pk.to_python(instance.pk))

    def disconnect() -> None:
        get_broadcaster().disconnect([key])

    transaction.on_commit(disconnect, using=using, robust=True)
