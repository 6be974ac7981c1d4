"""The wiring of the app."""

from __future__ import annotations

from django.apps import AppConfig, apps
from django.contrib.auth import get_user_model
from django.contrib.auth.signals import user_logged_in, user_logged_out
from django.db.models.signals import post_save
from django.utils.translation import gettext_lazy as _


class RealtimeConfig(AppConfig):
    """Themis' push over WebSockets."""

    name = "realtime"
    # Another package on PyPI is called realtime, so the label says whose this is.
    label = "themis_realtime"
    verbose_name = _("Themis real time")

    def ready(self) -> None:
        """Connect what tells of sessions that end."""
        from . import logouts

        user_logged_out.connect(logouts.announce_logout, dispatch_uid="themis.logout")
        user_logged_in.connect(logouts.announce_switch, dispatch_uid="themis.switch")
        # Of a user saved by a proxy, a parent or a child, only that model's signal is
        # sent. Without a sender, every save of the site would call.
        user = get_user_model()
        for model in apps.get_models():
            if issubclass(model, user) or issubclass(user, model):
                post_save.connect(
                    logouts.announce_save, sender=model, dispatch_uid="themis.save"
                )
