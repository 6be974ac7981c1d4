"""`manage.py check_overdue`: the trigger for cron, say daily at 08:00."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand
from django.utils import timezone

from demo.models import Task
from themis.notifications import notify_user


class Command(BaseCommand):
    """Tell the assignees of tasks that are past their due date."""

    help = "Send notifications for overdue tasks"

    def handle(self, *args: Any, **options: Any) -> None:
        """Notify of each task, but not again while the last one is unread."""
        overdue = Task.objects.filter(
            due_date__lt=timezone.now().date(), status__in=["open", "in_progress"]
        )
        count = 0
        for task in overdue:
            result = notify_user(
                user=task.assignee,
                title=f"Overdue: {task.title}",
                message=f"Task was due {task.due_date}",
                level="danger",
                url=task.get_absolute_url(),
                source_app="tasks",
                source_model="Task",
                source_id=str(task.pk),
                deduplicate=True,
            )
            if result:
                count += 1
        self.stdout.write(f"Sent {count} overdue notification(s)")
