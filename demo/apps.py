"""The demo app."""

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class DemoConfig(AppConfig):
    """Connect the signal trigger."""

    name = "demo"
    verbose_name = _("Demo")

    def ready(self) -> None:
        """Import the receivers."""
        from demo import signals  # noqa: F401 - registers on import
