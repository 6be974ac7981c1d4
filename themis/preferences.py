"""The rules: who is told what."""

from __future__ import annotations

from typing import Any

from themis.models import Level, UserProfile


def wants(user: Any, level: str, using: str) -> bool:
    """
    Tell whether the user with primary key *user* wants notifications of *level*.

    Reads the row, never a cached `user.profile`; without a row the defaults hold.
    """
    profile = (
        UserProfile.objects.using(using)
        .filter(user=user)
        .values_list("notifications_enabled", "notification_min_level")[:1]
    )
    for enabled, minimum in profile:
        return enabled and Level(level).weight >= Level(minimum).weight
    return True
