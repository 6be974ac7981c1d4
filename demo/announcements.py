"""The triggers for many: a loop over a team, and everybody in bulk."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import User

from demo.models import Announcement, Team
from themis.notifications import notify_user, notify_users


def notify_team(team: Team, title: str, message: str, **kwargs: Any) -> None:
    """Notify each member of a team."""
    for member in team.members.all():
        notify_user(user=member, title=title, message=message, **kwargs)


def announce_to_team(announcement: Announcement, team: Team) -> None:
    """Notify the team; a second run tells nobody twice."""
    notify_team(
        team,
        announcement.title,
        announcement.message,
        url=announcement.get_absolute_url(),
        source_app="teams",
        source_model="Announcement",
        source_id=str(announcement.pk),
        deduplicate=True,
    )


def announce_to_everybody(announcement: Announcement) -> int:
    """Notify all who can sign in, many at a time; return how many were."""
    return notify_users(
        User.objects.filter(is_active=True),
        announcement.title,
        announcement.message,
        url=announcement.get_absolute_url(),
        source_app="teams",
        source_model="Announcement",
        source_id=str(announcement.pk),
        deduplicate=True,
    )
