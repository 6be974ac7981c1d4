"""The wiring of the app."""

from __future__ import annotations

from typing import Any

from django.apps import AppConfig
from django.contrib.auth import get_user_model
from django.db.models.signals import post_save
from django.utils.translation import gettext_lazy as _


class ThemisConfig(AppConfig):
    """Themis, the notification mailbox."""

    name = "themis"
    verbose_name = _("Notifications")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Connect what happens by itself: stamping after commits, profiles, checks."""
        from themis import checks, ringing, stamping  # noqa: F401 -- registers them

        ringing.answer_with(stamping.stamp)
        post_save.connect(
            _make_profile, sender=get_user_model(), dispatch_uid="themis.profile"
        )


def _make_profile(
    *, instance: Any, created: bool, raw: bool, using: str, **_: Any
) -> None:
    """Make the profile with the user; a fixture brings its own."""
    from themis.models import UserProfile

    if created and not raw:
        UserProfile.objects.using(using).get_or_create(user=instance)
