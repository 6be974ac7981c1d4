"""The runnable project as a Django app, for the sake of Celery."""

from django.apps import AppConfig


class ServerConfig(AppConfig):
    """Load the Celery app whenever Django starts."""

    name = "server"

    def ready(self) -> None:
        """Make it the app that `shared_task` and `delay` mean."""
        from server import celery  # noqa: F401 - registers itself
