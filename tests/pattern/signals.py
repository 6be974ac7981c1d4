# fmt: off
"""The blocks "Signal" and "Source tracking"."""

from django.db.models.signals import post_delete, post_save
from django.dispatch import receiver
from tests.pattern.models import Task
from themis.models import UserNotification
from themis.notifications import notify_user


@receiver(post_save, sender=Task)
def notify_task_assigned(sender, instance, created, **kwargs):
    if not created and instance.assignee and instance.tracker.has_changed("assignee"):
        notify_user(
            user=instance.assignee,
            title=f"Task assigned: {instance.title}",
            message=f"You've been assigned to '{instance.title}'",
            level="info",
            url=instance.get_absolute_url(),
            source_app="tasks", source_model="Task", source_id=str(instance.pk),
            deduplicate=True,
        )


@receiver(post_delete, sender=Task)
def cleanup_task_notifications(sender, instance, **kwargs):
    UserNotification.objects.filter(
        source_app="tasks", source_model="Task", source_id=str(instance.pk)).delete()
