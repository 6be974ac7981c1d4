"""The project's pages, and those of the peers."""

from __future__ import annotations

from django.urls import path

from benchmarks.site import views
from server.urls import urlpatterns as project

urlpatterns = [
    *project,
    path("unread-count/", views.unread_count),
    path("who/", views.who),
]
