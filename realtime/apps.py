"""The wiring of the app."""

from __future__ import annotations

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class RealtimeConfig(AppConfig):
    """Themis' push over WebSockets."""

    name = "realtime"
    # Another package on PyPI is called realtime, so the label says whose this is.
    label = "themis_realtime"
    verbose_name = _("Themis real time")
