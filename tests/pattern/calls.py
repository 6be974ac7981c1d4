# fmt: off
"""The blocks "The one interface", "Expiry" and "Many users"."""

from themis.notifications import notify_user


def tell(user):
    """The block imports by itself, inside."""
    from themis.notifications import notify_user

    notify_user(
        user=user,                # Django User instance
        title="Task overdue",     # short headline (max 200 chars)
        message="Task 'Deploy v2' was due yesterday.",   # optional body
        level="warning",          # info | success | warning | danger
        url="/tasks/42/",         # optional: where to navigate on click
        source_app="tasks",       # app label (for tracking / clean-up)
        source_model="Task",      # model that triggered this
        source_id="42",           # PK of the source object (as string)
        deduplicate=True,         # skip if an unread duplicate exists
        expires_at=None,          # optional: auto-expire datetime
    )


def remind(attendee, event):
    notify_user(
        user=attendee,
        title=f"Starting soon: {event.title}",
        level="info",
        url=event.get_absolute_url(),
        expires_at=event.start_time,
        source_app="events", source_model="Event", source_id=str(event.pk),
        deduplicate=True,
    )


def notify_team(team, title, message, **kwargs):
    for member in team.members.all():
        notify_user(user=member, title=title, message=message, **kwargs)
