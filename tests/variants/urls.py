"""A host that mounts Themis elsewhere, notifies from a view, and has an admin."""

from typing import Any

from django.contrib import admin
from django.contrib.auth import get_user_model
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.template import engines
from django.urls import include, path

from themis.notifications import notify_user
from themis.queries import database


def page(request: HttpRequest) -> HttpResponse:
    template = engines["django"].from_string("{% load themis %}{% themis_bell %}")
    return HttpResponse(template.render({}, request))


def notify(request: HttpRequest) -> HttpResponse:
    """Notify of `title`; fail afterwards if it is told to. Say whether it is atomic."""
    account: Any = get_user_model()._default_manager.get(pk=request.POST["user"])
    notify_user(account, request.POST["title"])
    if "fail" in request.POST:
        raise RuntimeError(request.POST["fail"])
    return HttpResponse(str(transaction.get_connection(database()).in_atomic_block))


class AccountAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    search_fields = (get_user_model().USERNAME_FIELD,)


if not admin.site.is_registered(get_user_model()):
    admin.site.register(get_user_model(), AccountAdmin)

urlpatterns = [
    path("", page),
    path("notify/", notify),
    path("admin/", admin.site.urls),
    path("deep/down/", include("themis.urls")),
]
