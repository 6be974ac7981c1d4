"""What users want to be told."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from themis.admin.accounts import find_searchable_admin, search_path
from themis.models import UserProfile
from themis.queries import database

_FIELDS: Any = (
    "user",
    "notifications_enabled",
    "notification_min_level",
    "browser_notifications_enabled",
    "notification_retention_days",
)


@admin.register(UserProfile)
class UserProfileAdmin(admin.ModelAdmin):  # type: ignore[type-arg] # can't be subscripted when it runs
    """Profiles: a change reaches the open tabs of its user."""

    fields = _FIELDS
    raw_id_fields = ["user"]

    list_display = _FIELDS
    list_filter = [
        "notifications_enabled",
        "notification_min_level",
        "browser_notifications_enabled",
    ]
    ordering = ["-pk"]
    sortable_by = ()
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Read where the rows are written: replicas may be late."""
        rows = super().get_queryset(request).using(database())
        return rows.select_related("user")

    def get_search_fields(self, request: HttpRequest) -> Any:
        """Search by the name of the user, whatever the host calls it."""
        return search_path()

    def get_autocomplete_fields(self, request: HttpRequest) -> Any:
        """Let the person search for a user where the site can."""
        return ["user"] if find_searchable_admin(self.admin_site, request) else []

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Keep a profile with its user."""
        return [] if obj is None else ["user"]

    def save_model(
        self, request: HttpRequest, obj: Any, form: Any, change: Any
    ) -> None:
        """Save what was changed; what the user does meanwhile stays."""
        if not change:
            obj.save()
        elif form.changed_data:
            obj.save(update_fields=form.changed_data)
