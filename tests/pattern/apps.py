"""The host application."""

from django.apps import AppConfig


class PatternConfig(AppConfig):
    name = "tests.pattern"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from tests.pattern import signals  # noqa: F401 -- registers on import
