"""The notifications of all users."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.actions import delete_selected
from django.contrib.admin.utils import model_ngettext
from django.core.exceptions import BadRequest, PermissionDenied
from django.db import connections, transaction
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext, pgettext_lazy

from themis.admin.accounts import search_path
from themis.admin.content import ContentForm
from themis.admin.lists import ListAdmin
from themis.admin.selection import by_chunk, keep_selection
from themis.admin.sending import show_send_form
from themis.models import UserNotification, is_listed, is_open
from themis.queries import database

STATES = {
    "unread": pgettext_lazy("of one notification", "Unread"),
    "read": pgettext_lazy("of one notification", "Read"),
    "dismissed": pgettext_lazy("of one notification", "Dismissed"),
    "expired": pgettext_lazy("of one notification", "Expired"),
}

# How many of the objects the page before a deletion names, and apps a filter offers.
NAMED = 20
APPS = 100

# The values of an indexed column, each found by one step in the index. DISTINCT would
# read all rows.
_APPS = """
WITH RECURSIVE apps (name) AS (
    SELECT MIN(source_app) FROM {table}
    UNION ALL
    SELECT (SELECT MIN(source_app) FROM {table} WHERE source_app > apps.name)
    FROM apps WHERE apps.name IS NOT NULL
)
SELECT name FROM apps WHERE name IS NOT NULL LIMIT {limit}
"""


class StateFilter(admin.SimpleListFilter):
    """What has become of it."""

    title = gettext_lazy("state")
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Any:
        """Return the states."""
        return list(STATES.items())

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Select what `state_of` names so."""
        now = timezone.now()
        not_expired = Q(expires_at=None) | Q(expires_at__gt=now)
        chosen = {
            "unread": is_open(now),
            "read": is_listed(now) & Q(read_at__isnull=False),
            "dismissed": Q(dismissed_at__isnull=False) & not_expired,
            "expired": Q(expires_at__lte=now),
        }.get(self.value() or "")
        return queryset if chosen is None else queryset.filter(chosen)


class SourceAppFilter(admin.SimpleListFilter):
    """Which app it is about."""

    title = gettext_lazy("source app")
    parameter_name = "source_app"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Any:
        """Return the apps that there are."""
        connection = connections[database()]
        table = connection.ops.quote_name(UserNotification._meta.db_table)
        with connection.cursor() as cursor:
            cursor.execute(_APPS.format(table=table, limit=APPS))
            names = [name for (name,) in cursor.fetchall()]
        return [(name, name or _("No source")) for name in names]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Select what comes from that app."""
        name = self.value()
        return queryset if name is None else queryset.filter(source_app=name)


@admin.register(UserNotification)
class UserNotificationAdmin(ListAdmin):
    """
    Notifications: search, change, mark as read, delete; open bells follow.

    "Add" sends to users whom the person names, by `notify_users` and so by its rules.
    """

    form = ContentForm
    fieldsets = [
        (None, {"fields": ("user", "title", "message", "level", "url")}),
        (
            gettext_lazy("Source"),
            {"fields": ("source_app", "source_model", "source_id")},
        ),
        (
            gettext_lazy("State"),
            {"fields": ("state", "created_at", "read_at", "dismissed_at")},
        ),
        (gettext_lazy("Expiry"), {"fields": ("expires_at",)}),
    ]
    # The times of what people did are the handles of its undo.
    readonly_fields = ["user", "state", "created_at", "read_at", "dismissed_at"]

    list_display = ["title", "user", "level", "state", "source", "created"]
    list_per_page = 50
    list_filter = [
        StateFilter,
        "level",
        SourceAppFilter,
        ("created_at", admin.DateFieldListFilter),
    ]
    search_help_text = gettext_lazy("Title, message, source id or user")
    ordering = ["-pk"]
    # By the primary key, which an index gives in order however many rows there are.
    sortable_by = ["created"]
    # One count a page, exact, because "select all" means so many; none for each filter.
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    actions = ["mark_as_read", "delete_selected"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Read where the rows are written: replicas may be late."""
        rows = super().get_queryset(request).using(database())
        return rows.select_related("user")

    def get_search_fields(self, request: HttpRequest) -> Any:
        """Search by the name of the user too, whatever the host calls it."""
        return ["title", "message", "source_id", *search_path()]

    @admin.display(description=gettext_lazy("source"))
    def source(self, row: UserNotification) -> str:
        """What it is about, in one word."""
        where = ".".join(filter(None, (row.source_app, row.source_model)))
        return f"{where} {row.source_id}".strip()

    @admin.display(description=gettext_lazy("created"), ordering="pk")
    def created(self, row: UserNotification) -> Any:
        """When it was made."""
        return row.created_at

    @admin.display(description=gettext_lazy("state"))
    def state(self, row: UserNotification) -> Any:
        """What has become of it."""
        if row.is_expired_at(timezone.now()):
            return STATES["expired"]
        if row.is_dismissed:
            return STATES["dismissed"]
        return STATES["read" if row.is_read else "unread"]

    def add_view(
        self,
        request: HttpRequest,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Send: nobody makes a notification but `notify_users`."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        return show_send_form(self, request, extra_context)

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Change one; Django would save it as a new one, which adding is not."""
        if "_saveasnew" in request.POST:
            msg = "No form of the admin sends this."
            raise BadRequest(msg)
        return super().change_view(request, object_id, form_url, extra_context)

    def render_change_form(
        self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any
    ) -> HttpResponse:
        """Leave out "Save and add another", as adding is sending."""
        context["show_save_and_add_another"] = False
        return super().render_change_form(request, context, *args, **kwargs)

    def save_model(
        self, request: HttpRequest, obj: Any, form: Any, change: Any
    ) -> None:
        """Save what was changed; what the user does meanwhile stays."""
        if form.changed_data:
            obj.save(update_fields=form.changed_data)

    @admin.action(
        permissions=["change"],
        description=gettext_lazy("Mark selected %(verbose_name_plural)s as read"),
    )
    def mark_as_read(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        """Mark as read what isn't, all with one time."""
        now = timezone.now()
        unread = Q(read_at=None)
        marked = sum(
            chunk.filter(unread).update(read_at=now)
            for chunk in by_chunk(queryset.filter(unread))
        )
        report = ngettext(
            "%(count)d notification was marked as read.",
            "%(count)d notifications were marked as read.",
            marked,
        )
        level = messages.SUCCESS if marked else messages.INFO
        self.message_user(request, report % {"count": marked}, level)

    def takes_others_along(self) -> bool:
        """Tell whether models of the host point here; Django's page shows what goes."""
        return bool(self.model._meta.related_objects)

    @admin.action(
        permissions=["delete"],
        description=gettext_lazy("Delete selected %(verbose_name_plural)s"),
    )
    def delete_selected(
        self, request: HttpRequest, queryset: QuerySet[Any]
    ) -> HttpResponse | None:
        """Delete after a page that asks, like Django's, but however many they are."""
        if self.takes_others_along():
            return delete_selected(self, request, queryset)
        if request.POST.get("post"):
            deleted = 0
            for chunk in by_chunk(queryset):
                with transaction.atomic(using=chunk.db):
                    self.log_deletions(request, chunk)
                    _total, by_model = chunk.delete()
                deleted += by_model.get(self.model._meta.label, 0)
            report = ngettext(
                "%(count)d notification was deleted.",
                "%(count)d notifications were deleted.",
                deleted,
            )
            self.message_user(request, report % {"count": deleted}, messages.SUCCESS)
            return None
        count = queryset.count()
        request.current_app = self.admin_site.name
        return TemplateResponse(
            request,
            "themis/admin/delete_selected.html",
            {
                **self.admin_site.each_context(request),
                "title": _("Delete notifications"),
                "subtitle": None,
                "opts": self.opts,
                "media": self.media,
                "has_view_permission": True,
                "count": count,
                "objects_name": model_ngettext(self.opts, count),
                "named": queryset[:NAMED],
                "others": max(0, count - NAMED),
                "selection": keep_selection(request, "delete_selected"),
            },
        )
