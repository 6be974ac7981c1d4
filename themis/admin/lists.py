"""Lists in the admin that no edited address or form can break."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.admin import helpers
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import BadRequest
from django.db import DataError
from django.http import HttpRequest, HttpResponse

from themis.content import to_number


class _ChangeList(ChangeList):
    """A list that is shown whole where its filter is none."""

    def get_results(self, request: HttpRequest) -> None:
        """Refuse also what only the database finds wrong, such as NUL on PostgreSQL."""
        try:
            super().get_results(request)
        except (DataError, ValueError) as error:
            raise IncorrectLookupParameters(error) from error


class ListAdmin(admin.ModelAdmin):  # type: ignore[type-arg] # can't be subscripted when it runs
    """The admin of a model whose keys are numbers."""

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> Any:
        """Return the list that survives its filters."""
        return _ChangeList

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show the list, or do what was chosen; what no form sends is 400."""
        for key in request.POST.getlist(helpers.ACTION_CHECKBOX_NAME):
            if to_number(key) is None:
                msg = "What was selected is no key."
                raise BadRequest(msg)
        return super().changelist_view(request, extra_context)
