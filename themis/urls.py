"""Where Themis' pages and API are, below the host's include."""

from django.urls import path

from themis import api, views

app_name = "themis"

urlpatterns = [
    path("", views.NotificationListView.as_view(), name="list"),
    path("<int:pk>/open/", views.open_notification, name="open"),
    path("api/state", api.state, name="state"),
    *(
        path(f"api/notifications/{verb}", api.change, {"verb": verb}, name=verb)
        for verb in ("read", "unread", "dismiss", "restore")
    ),
]
