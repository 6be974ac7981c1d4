"""What the forms of the pages send."""

from __future__ import annotations

from datetime import datetime
from typing import Any, cast, get_args

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from themis.conf import settings
from themis.content import to_number
from themis.events import parse_time
from themis.mailbox import Verb
from themis.models import Level
from themis.models.profile import MAX_RETENTION_DAYS, MIN_RETENTION_DAYS


class _NumberField(forms.CharField):
    """A number in digits that a column can hold."""

    def to_python(self, value: Any) -> Any:
        text = super().to_python(value)
        number = to_number(text) if text else None
        if text and number is None:
            raise ValidationError(_("This is no number."))
        return number


class _TimeField(forms.CharField):
    """A time as the wire has it."""

    def to_python(self, value: Any) -> Any:
        text = super().to_python(value)
        try:
            return parse_time(text) if text else None
        except ValueError as error:
            raise ValidationError(_("This is no time.")) from error


class ActionForm(forms.Form):
    """A button of the list page: the arguments of `themis.mailbox.change`."""

    verb = forms.ChoiceField(choices=[(verb, verb) for verb in get_args(Verb)])
    ids = _NumberField(required=False)
    up_to = _NumberField(required=False)
    epoch = forms.CharField(required=False)
    at = _TimeField(required=False)

    def clean(self) -> dict[str, Any]:
        """Demand one of the ways to say which, and one that the verb knows."""
        data = super().clean() or {}
        named = {name for name in ("ids", "up_to", "at") if data.get(name) is not None}
        allowed = {"ids", "up_to" if data.get("verb") in {"read", "dismiss"} else "at"}
        if len(named) != 1 or not named <= allowed:
            raise ValidationError(_("Nothing was chosen."))
        return data

    @property
    def verb_chosen(self) -> Verb:
        """What to do."""
        return cast("Verb", self.cleaned_data["verb"])

    @property
    def is_undo(self) -> bool:
        """Whether this takes an operation back."""
        return self.cleaned_data["at"] is not None

    @property
    def which(self) -> dict[str, Any]:
        """Which notifications."""
        data = self.cleaned_data
        if data["ids"] is not None:
            return {"ids": [data["ids"]]}
        if data["at"] is not None:
            return {"at": cast("datetime", data["at"])}
        return {"up_to": data["up_to"], "epoch": data["epoch"] or None}


class _LeastLevelField(forms.ChoiceField):
    """From which level on. `success` weighs what `info` does: one stands for both."""

    widget = forms.RadioSelect

    def prepare_value(self, value: Any) -> Any:
        return Level.INFO.value if value == Level.SUCCESS.value else value

    def valid_value(self, value: Any) -> bool:
        return value in Level.values


class PreferencesForm(forms.Form):
    """What a person wants to be told, and how: `themis.profiles.Preferences`."""

    notifications_enabled = forms.BooleanField(
        required=False,
        label=_("Notify me"),
        help_text=_("Without this you get no new notifications. Those you have stay."),
    )
    notification_min_level = _LeastLevelField(
        label=_("Which notifications"),
        choices=[
            (Level.INFO.value, _("All of them")),
            (Level.WARNING.value, _("Warnings and urgent ones")),
            (Level.DANGER.value, _("Only urgent ones")),
        ],
    )
    browser_notifications_enabled = forms.BooleanField(
        required=False,
        label=_("Desktop notifications"),
        help_text=_(
            "Show new notifications outside the browser window too, on each device "
            "where you turn them on."
        ),
    )
    notification_retention_days = forms.IntegerField(
        required=False,
        min_value=MIN_RETENTION_DAYS,
        max_value=MAX_RETENTION_DAYS,
        label=_("Days to keep what I have read"),
        error_messages={
            "invalid": _("Enter a whole number of days, or leave this empty."),
            "min_value": _("Enter at least one day, or leave this empty."),
            "max_value": _("Enter fewer days, or leave this empty."),
        },
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        days = settings.max_age_days
        self.fields["notification_retention_days"].help_text = ngettext(
            "Leave it empty to keep them as long as this site does: %(days)d day. "
            "Dismissed ones go at the same time; unread ones stay.",
            "Leave it empty to keep them as long as this site does: %(days)d days. "
            "Dismissed ones go at the same time; unread ones stay.",
            days,
        ) % {"days": days}
