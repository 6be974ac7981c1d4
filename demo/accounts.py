"""The two people of the demo. Their password is public: they exist only with DEBUG."""

from __future__ import annotations

from django.contrib.auth.models import Permission, User

USERNAMES = ("ada", "grace")
PASSWORD = "themis-demo"  # noqa: S105 - public on purpose


def create_users() -> list[str]:
    """
    Create who is missing and return their names.

    Both may announce something to everybody, which takes a permission.
    """
    present = set(
        User.objects.filter(username__in=USERNAMES).values_list("username", flat=True)
    )
    missing = [name for name in USERNAMES if name not in present]
    for name in missing:
        User.objects.create_user(name, password=PASSWORD, first_name=name.title())
    permission = Permission.objects.get(
        content_type__app_label="demo", codename="announce_to_everybody"
    )
    permission.user_set.add(*User.objects.filter(username__in=USERNAMES))
    return missing
