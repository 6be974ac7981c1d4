"""The preferences page."""

from __future__ import annotations

from dataclasses import asdict

from django.contrib.auth.decorators import login_required
from django.db import OperationalError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.decorators import method_decorator
from django.utils.translation import gettext as _
from django.views import View
from django.views.decorators.cache import never_cache

from themis.forms import PreferencesForm
from themis.owners import owner_of
from themis.profiles import change_preferences, read_preferences
from themis.transactions import is_contention, outside_transactions
from themis.views.telling import tell, tell_busy


@method_decorator([outside_transactions, never_cache, login_required], name="dispatch")
class PreferencesView(View):
    """What the person wants to be told, and how; works without JavaScript."""

    def get(self, request: HttpRequest) -> HttpResponse:
        """Show the form; who has no profile sees the defaults, and still has none."""
        stored = asdict(read_preferences(request.user.pk))
        return _show(request, PreferencesForm(initial=stored))

    def post(self, request: HttpRequest) -> HttpResponse:
        """Save for the next `notify_user` and all open tabs, or show what is wrong."""
        form = PreferencesForm(request.POST)
        if not form.is_valid():
            return _show(request, form)
        try:
            change_preferences(request.user.pk, **form.cleaned_data)
        except OperationalError as error:
            if not is_contention(error):
                raise
            tell_busy(request)
            return _show(request, form)
        tell(request, _("Your preferences have been saved."))
        return HttpResponseRedirect(reverse("themis:preferences"))


def _show(request: HttpRequest, form: PreferencesForm) -> HttpResponse:
    context = {
        "form": form,
        "list_url": reverse("themis:list"),
        "desktop": {
            "user": owner_of(request.user.pk),
            "preferences_url": reverse("themis:api-preferences"),
        },
    }
    return render(request, "themis/preferences.html", context)
