"""What a person may write into a notification."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django import forms
from django.contrib.admin import widgets
from django.core.exceptions import ValidationError
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from themis import content
from themis.models import UserNotification


class _TextField(forms.CharField):
    """A text that is mended as `notify_user` does; browsers end lines with CRLF."""

    def to_python(self, value: Any) -> Any:
        """Return the text as it is stored, so that its length is right."""
        text = super().to_python(value) or ""
        return content.clean_text(text, name="text", length=len(text))


class ContentForm(forms.ModelForm):  # type: ignore[type-arg] # can't be subscripted when it runs
    """The fields of a notification that people write, by the rules of `notify_user`."""

    class Meta:
        model = UserNotification
        fields = (
            *("title", "message", "level", "url"),
            *("source_app", "source_model", "source_id", "expires_at"),
        )
        field_classes = {
            "title": _TextField,
            "message": _TextField,
            "source_app": _TextField,
            "source_model": _TextField,
            "source_id": _TextField,
            "expires_at": forms.SplitDateTimeField,
        }
        widgets = {
            "title": widgets.AdminTextInputWidget,
            "message": widgets.AdminTextareaWidget,
            "url": widgets.AdminTextInputWidget,
            "source_app": widgets.AdminTextInputWidget,
            "source_model": widgets.AdminTextInputWidget,
            "source_id": widgets.AdminTextInputWidget,
            "expires_at": widgets.AdminSplitDateTime,
        }
        help_texts = {
            "url": _("Where a click leads: a path such as /tasks/42/, or an address."),
            "expires_at": _("Then it vanishes by itself."),
        }

    def clean_url(self) -> str:
        """Refuse what can't be linked to safely."""
        url: str = self.cleaned_data["url"]
        if url and not content.is_safe_url(url):
            raise ValidationError(
                _(
                    "Enter a path such as /tasks/42/, or an http or https address "
                    "without a password."
                )
            )
        return url


class SendForm(ContentForm):
    """A notification that is about to be sent."""

    deduplicate = forms.BooleanField(
        label=_("Skip duplicates"),
        help_text=_("Leave out users who have the same unread already."),
        required=False,
        initial=True,
    )

    def clean_expires_at(self) -> datetime | None:
        """Refuse a time that is over: nobody would see the notification."""
        moment: datetime | None = self.cleaned_data["expires_at"]
        if moment is not None and moment <= timezone.now():
            raise ValidationError(_("This time is over."))
        return moment

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments of `notify_users`."""
        names = (*ContentForm.Meta.fields, "deduplicate")
        return {name: self.cleaned_data[name] for name in names}
