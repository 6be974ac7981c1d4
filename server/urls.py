"""Where everything is: the demo at the root, the mailbox under /notifications/."""

from __future__ import annotations

from django.conf import settings
from django.contrib import admin
from django.contrib.auth.views import LoginView, LogoutView
from django.urls import include, path

from demo.accounts import USERNAMES

urlpatterns = [
    path("admin/", admin.site.urls),
    path(
        "accounts/login/",
        LoginView.as_view(
            redirect_authenticated_user=True,
            extra_context={"usernames": USERNAMES if settings.DEBUG else ()},
        ),
        name="login",
    ),
    path("accounts/logout/", LogoutView.as_view(), name="logout"),
    path("notifications/", include("themis.urls")),
    path("", include("demo.urls")),
]
