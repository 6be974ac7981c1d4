"""The two people of the demo. Their password is public: they exist only with DEBUG."""

from __future__ import annotations

from django.contrib.auth.models import User

USERNAMES = ("ada", "grace")
PASSWORD = "themis-demo"  # noqa: S105 - public on purpose


def create_users() -> list[str]:
    """Create who is missing and return their names; leave who is there alone."""
    present = set(
        User.objects.filter(username__in=USERNAMES).values_list("username", flat=True)
    )
    missing = [name for name in USERNAMES if name not in present]
    for name in missing:
        User.objects.create_user(name, password=PASSWORD, first_name=name.title())
    return missing
