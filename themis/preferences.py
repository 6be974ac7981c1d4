"""The rules: who is told what."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import get_user_model

from themis.models import Level, UserProfile


def wants(user: Any, level: str, using: str) -> bool:
    """
    Tell whether the user with primary key *user* wants notifications of *level*.

    Reads the row, never a cached `user.profile`; without a row the defaults hold.

    Raises:
        django.core.exceptions.ObjectDoesNotExist: there is no such user.
    """
    accounts = get_user_model()._base_manager.using(using).filter(pk=user)
    profile = UserProfile._meta.get_field("user").related_query_name()
    enabled, minimum = accounts.values_list(
        f"{profile}__notifications_enabled", f"{profile}__notification_min_level"
    ).get()
    if enabled is None:
        return True
    # What no form writes is no reason to fail the caller: it asks for everything.
    least = Level(minimum if minimum in Level.values else Level.INFO)
    return bool(enabled) and Level(level).weight >= least.weight
