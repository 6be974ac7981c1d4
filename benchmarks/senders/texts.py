"""What is told: the same by every sender."""

from __future__ import annotations

from typing import Any

from benchmarks.load.ledger import mark

MESSAGE = (
    "The task “Replace the fan in the server room” was due on Monday. "
    "Nobody has worked on it since the week before last."
)
# What the row holds beside its user, title and times.
FIELDS: dict[str, Any] = {
    "message": MESSAGE,
    "level": "warning",
    "url": "/tasks/42/",
    "source_app": "tracker",
    "source_model": "Task",
    "source_id": "42",
}


def title(number: int) -> str:
    """Return the title of the notification with this number."""
    return f"A task is overdue {mark(number)}"
