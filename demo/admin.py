"""The demo's models in the admin."""

from __future__ import annotations

from django.contrib import admin
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.models import User

from demo.models import Announcement, Event, Report, Request, Task, Team
from themis.admin import send_notification

# Users, with the action that sends them a notification.
admin.site.unregister(User)


@admin.register(User)
class NotifiableUserAdmin(UserAdmin):  # type: ignore[type-arg]
    actions = (send_notification,)


@admin.register(Task)
class TaskAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """Tasks: saving one with another assignee fires the signal trigger, too."""

    list_display = ("title", "assignee", "status", "due_date", "created_by")
    list_filter = ("status",)
    list_select_related = ("assignee", "created_by")
    search_fields = ("title",)


@admin.register(Request)
class RequestAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    list_display = ("title", "requester", "status", "created_at")
    list_filter = ("status",)
    list_select_related = ("requester",)
    search_fields = ("title",)


@admin.register(Report)
class ReportAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    list_display = ("report_type", "owner", "created_at", "made_at")
    list_filter = ("report_type",)
    list_select_related = ("owner",)


@admin.register(Event)
class EventAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    list_display = ("title", "start_time", "organizer", "cancelled_at")
    list_select_related = ("organizer",)
    search_fields = ("title",)
    filter_horizontal = ("attendees",)


@admin.register(Team)
class TeamAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    search_fields = ("name",)
    filter_horizontal = ("members",)


@admin.register(Announcement)
class AnnouncementAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    list_display = ("title", "team", "author", "created_at")
    list_select_related = ("team", "author")
    search_fields = ("title",)
