"""Sending to many: the page behind "Add notification", and the action for users."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin import AdminSite, helpers
from django.contrib.admin.models import ADDITION, LogEntry
from django.contrib.admin.utils import model_ngettext
from django.contrib.admin.widgets import (
    AdminTextareaWidget,
    AutocompleteSelectMultiple,
)
from django.contrib.auth import get_user_model
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from themis.admin.accounts import SurvivingWidget, find_searchable_admin, is_key
from themis.admin.content import SendForm
from themis.admin.selection import keep_selection
from themis.models import UserNotification
from themis.notifications import notify_users

ADD_PERMISSION = "themis.add_usernotification"

_FIELDSETS: Any = [
    (None, {"fields": ("title", "message", "level", "url")}),
    (
        gettext_lazy("Source"),
        {"fields": ("source_app", "source_model", "source_id", "deduplicate")},
    ),
    (gettext_lazy("Expiry"), {"fields": ("expires_at",)}),
]


class _NamesField(forms.CharField):
    """Accounts by their names, one a line: for sites whose admin can't search them."""

    def __init__(self) -> None:
        super().__init__(
            label=gettext_lazy("Users"),
            widget=AdminTextareaWidget,
            help_text=gettext_lazy("One name a line."),
        )

    def to_python(self, value: Any) -> Any:
        """Return the accounts, and refuse names that nobody has."""
        lines = (super().to_python(value) or "").split("\n")
        names = list(filter(None, dict.fromkeys(map(str.strip, lines))))
        model = get_user_model()
        lookup = {f"{model.USERNAME_FIELD}__in": names}
        found = list(model._default_manager.filter(**lookup))
        known = {user.get_username() for user in found}
        unknown = [name for name in names if name not in known]
        if unknown:
            raise ValidationError(
                ngettext(
                    "There is no user with this name: %(names)s",
                    "There are no users with these names: %(names)s",
                    len(unknown),
                )
                % {"names": ", ".join(unknown[:20])}
            )
        return found


class _UsersWidget(SurvivingWidget, AutocompleteSelectMultiple):
    """A search for accounts."""


class _UsersField(forms.ModelMultipleChoiceField):  # type: ignore[type-arg]
    """Accounts that were found by a search."""

    def clean(self, value: Any) -> Any:
        """Refuse what is no key before the database does."""
        for key in value or ():
            if not is_key(key):
                message = self.error_messages["invalid_pk_value"]
                raise ValidationError(message, params={"pk": key})
        return super().clean(value)


class _SendToForm(SendForm):
    """A notification, and whom to send it to."""

    def __init__(self, *args: Any, site: AdminSite, request: HttpRequest) -> None:
        super().__init__(*args)
        self.fields["users"] = self._choice_of_users(site, request)

    def _choice_of_users(self, site: AdminSite, request: HttpRequest) -> forms.Field:
        accounts = find_searchable_admin(site, request)
        if accounts is None:
            return _NamesField()
        field: Any = UserNotification._meta.get_field("user")
        return _UsersField(
            label=gettext_lazy("Users"),
            queryset=accounts.get_queryset(request),
            widget=_UsersWidget(field, site),
        )


def show_send_form(
    model_admin: Any, request: HttpRequest, extra_context: dict[str, Any] | None
) -> HttpResponse:
    """Show the page behind "Add notification", or send what it was sent."""
    data = request.POST if request.method == "POST" else None
    form = _SendToForm(data, site=model_admin.admin_site, request=request)

    def send() -> bool:
        users = form.cleaned_data["users"]
        return _send(model_admin, request, form, users, lambda: len(users))

    if form.is_valid() and send():
        response: HttpResponse = model_admin.response_post_save_add(request, None)
        return response
    fieldsets = [(None, {"fields": ("users",)}), *_FIELDSETS]
    return _show(model_admin, request, form, fieldsets, **(extra_context or {}))


@admin.action(
    description=gettext_lazy("Send a notification to selected %(verbose_name_plural)s")
)
def send_notification(
    model_admin: Any, request: HttpRequest, queryset: QuerySet[Any]
) -> HttpResponse | None:
    """
    Ask for a notification, and send it to the selected users with `notify_users`.

    An action for the admin of the host's users: `actions = [send_notification]`. It
    needs the permission to add notifications. All users across the pages can be
    selected, however many they are.

    Raises:
        PermissionDenied: the person may not add notifications.
    """
    if not request.user.has_perm(ADD_PERMISSION):
        raise PermissionDenied
    form = SendForm(request.POST if "send" in request.POST else None)
    # A search may join, and so find a user more than once.
    count = queryset.order_by().values("pk").distinct().count()
    if form.is_valid() and _send(model_admin, request, form, queryset, lambda: count):
        return None
    return _show(
        model_admin,
        request,
        form,
        _FIELDSETS,
        count=count,
        objects_name=model_ngettext(model_admin.opts, count),
        selection=keep_selection(request, send_notification.__name__),
    )


def _send(
    model_admin: Any,
    request: HttpRequest,
    form: SendForm,
    users: QuerySet[Any] | Collection[Any],
    count: Callable[[], int],
) -> bool:
    """Send, and say to how many; False = the form now says what is wrong."""
    try:
        sent = notify_users(users, **form.arguments)
    except ValueError as error:
        # It begins with the name of the argument.
        name = str(error).partition(" ")[0]
        form.add_error(name if name in form.fields else None, str(error))
        return False
    report = _report(sent, count() - sent)
    person: Any = request.user
    LogEntry.objects.create(
        user=person,
        content_type=ContentType.objects.get_for_model(UserNotification),
        object_repr=form.arguments["title"],
        action_flag=ADDITION,
        change_message=report,
    )
    level = messages.SUCCESS if sent else messages.WARNING
    model_admin.message_user(request, report, level)
    return True


def _report(sent: int, skipped: int) -> str:
    told = ngettext("Sent to %(count)d user.", "Sent to %(count)d users.", sent)
    told %= {"count": sent}
    if skipped <= 0:
        return told
    left_out = ngettext(
        "%(count)d was skipped, because of preferences or an unread duplicate.",
        "%(count)d were skipped, because of preferences or unread duplicates.",
        skipped,
    )
    return f"{told} {left_out % {'count': skipped}}"


def _show(
    model_admin: Any,
    request: HttpRequest,
    form: SendForm,
    fieldsets: Any,
    **context: Any,
) -> HttpResponse:
    request.current_app = model_admin.admin_site.name
    adminform = helpers.AdminForm(form, fieldsets, {}, model_admin=model_admin)
    return TemplateResponse(
        request,
        "themis/admin/send.html",
        {
            **model_admin.admin_site.each_context(request),
            "title": _("Send a notification"),
            "subtitle": None,
            "opts": model_admin.opts,
            "adminform": adminform,
            "errors": form.errors,
            "media": model_admin.media + adminform.media,
            "has_view_permission": model_admin.has_view_permission(request),
            **context,
        },
    )
