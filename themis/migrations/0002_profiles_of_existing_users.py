"""Profiles for the users who were there before Themis."""

from typing import Any

from django.conf import settings
from django.db import migrations

BATCH = 1_000


def make_profiles(apps: Any, schema_editor: Any) -> None:
    """Give each user without a profile one with the defaults, in batches."""
    using = schema_editor.connection.alias
    profiles = apps.get_model("themis", "UserProfile").objects.using(using)
    users = apps.get_model(settings.AUTH_USER_MODEL)._base_manager.using(using)
    missing = users.exclude(pk__in=profiles.values("user")).order_by("pk")
    keys = missing.values_list("pk", flat=True)
    batch = list(keys[:BATCH])
    while batch:
        profiles.bulk_create(
            (profiles.model(user_id=key) for key in batch), ignore_conflicts=True
        )
        batch = list(keys.filter(pk__gt=batch[-1])[:BATCH])


class Migration(migrations.Migration):
    """The data migration of UserProfile."""

    dependencies = [("themis", "0001_initial")]

    operations = [migrations.RunPython(make_profiles, migrations.RunPython.noop)]
