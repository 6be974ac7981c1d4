"""The host's accounts, whichever model they are, as the admin pages reach them."""

from __future__ import annotations

from typing import Any

from django.contrib.admin import AdminSite
from django.contrib.admin.widgets import AutocompleteMixin
from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.http import HttpRequest


def search_path() -> tuple[str, ...]:
    """Return the lookup that finds rows by the name of their user, if it is a text."""
    model = get_user_model()
    name = model.USERNAME_FIELD
    return () if model._meta.get_field(name).is_relation else (f"user__{name}",)


def find_searchable_admin(site: AdminSite, request: HttpRequest) -> Any | None:
    """Return the admin of the accounts on *site*, if the person may search there."""
    model = get_user_model()
    if not site.is_registered(model):
        return None
    model_admin = site.get_model_admin(model)
    may_search = model_admin.get_search_fields(request) and (
        model_admin.has_view_permission(request)
    )
    return model_admin if may_search else None


def is_key(value: Any) -> bool:
    """Tell whether *value* can be the key of an account."""
    key = get_user_model()._meta.pk
    try:
        key.run_validators(key.to_python(value))
    except ValidationError:
        return False
    return True


class SurvivingWidget(AutocompleteMixin):
    """A search for accounts that, unlike Django's, survives what is no key."""

    def optgroups(self, name: str, value: Any, attr: Any = None) -> Any:
        """Show again what was chosen, if it can be anybody."""
        return super().optgroups(name, list(filter(is_key, value)), attr)
