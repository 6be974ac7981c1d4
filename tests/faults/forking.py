"""What a Celery worker imports in a test: its parent notifies before it forks."""

from celery.signals import worker_before_create_process
from django.contrib.auth.models import User
from django.db import connections

from realtime.publishing import get_publisher
from themis.notifications import notify_user


@worker_before_create_process.connect  # type: ignore[untyped-decorator]
def notify_before_the_fork(**_: object) -> None:
    """Leave a publisher behind, with its thread, that no child can use."""
    notify_user(User.objects.get(username="ada"), "Before the fork")
    assert get_publisher().flush()
    connections.close_all()
