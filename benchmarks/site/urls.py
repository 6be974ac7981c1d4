"""The pages of the peers' project."""

from __future__ import annotations

from django.apps import apps
from django.urls import URLPattern, URLResolver, include, path

from benchmarks.site import views

urlpatterns: list[URLPattern | URLResolver] = [
    path("unread-count/", views.unread_count),
    path("who/", views.who),
]

if apps.is_installed("django_eventstream"):
    urlpatterns.append(path("events/", include("django_eventstream.urls")))
