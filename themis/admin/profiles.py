"""What users want to be told."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.admin.widgets import AutocompleteSelect
from django.db.models import QuerySet
from django.http import HttpRequest

from themis.admin.accounts import (
    SurvivingWidget,
    find_searchable_admin,
    search_path,
)
from themis.admin.lists import ListAdmin
from themis.models import UserProfile
from themis.models.profile import MAX_RETENTION_DAYS, MIN_RETENTION_DAYS
from themis.queries import database

_FIELDS: Any = (
    "user",
    "notifications_enabled",
    "notification_min_level",
    "browser_notifications_enabled",
    "notification_retention_days",
)


class _UserWidget(SurvivingWidget, AutocompleteSelect):
    """A search for one account."""


@admin.register(UserProfile)
class UserProfileAdmin(ListAdmin):
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

    def formfield_for_dbfield(
        self, db_field: Any, request: HttpRequest, **kwargs: Any
    ) -> Any:
        """Take what the preferences page takes."""
        if db_field.name == "notification_retention_days":
            kwargs |= {
                "min_value": MIN_RETENTION_DAYS,
                "max_value": MAX_RETENTION_DAYS,
            }
        if db_field.name in self.get_autocomplete_fields(request):
            kwargs["widget"] = _UserWidget(db_field, self.admin_site)
        return super().formfield_for_dbfield(db_field, request, **kwargs)

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
