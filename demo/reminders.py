"""The expiring trigger: a reminder is worth nothing once the event has started."""

from __future__ import annotations

from demo.models import Event
from themis.notifications import notify_user


def remind(event: Event) -> int:
    """Remind the attendees of an event until it starts; return how many were."""
    count = 0
    for attendee in event.attendees.all():
        result = notify_user(
            user=attendee,
            title=f"Starting soon: {event.title}",
            level="info",
            url=event.get_absolute_url(),
            expires_at=event.start_time,
            source_app="events",
            source_model="Event",
            source_id=str(event.pk),
            deduplicate=True,
        )
        if result:
            count += 1
    return count
