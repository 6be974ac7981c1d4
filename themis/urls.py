"""Where Themis' pages and API are, below the host's include."""

from django.urls import path

from themis import views
from themis.api.notifications import change, list_notifications
from themis.api.openapi import openapi
from themis.api.preferences import preferences
from themis.api.state import show_state

app_name = "themis"

urlpatterns = [
    path("", views.NotificationListView.as_view(), name="list"),
    path("preferences/", views.PreferencesView.as_view(), name="preferences"),
    path("<int:pk>/open/", views.open_notification, name="open"),
    path("api/state", show_state, name="state"),
    path("api/notifications", list_notifications, name="notifications"),
    *(
        path(f"api/notifications/{verb}", change, {"verb": verb}, name=verb)
        for verb in ("read", "unread", "dismiss", "restore")
    ),
    path("api/preferences", preferences, name="api-preferences"),
    path("api/openapi.json", openapi, name="openapi"),
]
