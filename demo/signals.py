"""The signal triggers: who is given a task hears of it; what is gone falls silent."""

from __future__ import annotations

from typing import Any

from django.db.models import Model
from django.db.models.signals import post_delete, post_save
from django.dispatch import receiver

from demo.models import Announcement, Event, Report, Request, Task
from themis.models import UserNotification
from themis.notifications import notify_user, withdraw


@receiver(post_save, sender=Task)
def notify_task_assigned(
    sender: type[Task],  # noqa: ARG001
    instance: Task,
    created: bool,
    **kwargs: Any,  # noqa: ARG001
) -> None:
    """Notify the new assignee of an existing task."""
    if not created and instance.assignee and instance.tracker.has_changed("assignee"):
        notify_user(
            user=instance.assignee,
            title=f"Task assigned: {instance.title}",
            message=f"You've been assigned to '{instance.title}'",
            level="info",
            url=instance.get_absolute_url(),
            source_app="tasks",
            source_model="Task",
            source_id=str(instance.pk),
            deduplicate=True,
        )


@receiver(post_delete, sender=Task)
def cleanup_task_notifications(
    sender: type[Task],  # noqa: ARG001
    instance: Task,
    **kwargs: Any,  # noqa: ARG001
) -> None:
    """Take back what a deleted task caused."""
    UserNotification.objects.filter(
        source_app="tasks", source_model="Task", source_id=str(instance.pk)
    ).delete()


# The app label under which each of the other triggers notifies.
SOURCE_APPS: dict[type[Model], str] = {
    Request: "requests",
    Report: "reports",
    Event: "events",
    Announcement: "teams",
}


@receiver(post_delete, sender=Request)
@receiver(post_delete, sender=Report)
@receiver(post_delete, sender=Event)
@receiver(post_delete, sender=Announcement)
def withdraw_notifications(
    sender: type[Model],
    instance: Model,
    **kwargs: Any,  # noqa: ARG001
) -> None:
    """Take back what any other deleted source caused: the same in one call."""
    withdraw(
        source_app=SOURCE_APPS[sender],
        source_model=sender.__name__,
        source_id=str(instance.pk),
    )
