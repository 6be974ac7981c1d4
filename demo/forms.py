"""The forms of the demo."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any, cast

from django import forms
from django.contrib.auth.models import User
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from demo.models import Announcement, Event, Report, Request, Task, Team

People = list[tuple[Any, Any]]


class TaskForm(forms.ModelForm):  # type: ignore[type-arg]
    """A new task. It is assigned afterwards: that is the trigger."""

    class Meta:
        model = Task
        fields = ("title", "due_date")
        widgets = {"due_date": forms.DateInput({"type": "date"}, format="%Y-%m-%d")}


class AssignForm(forms.ModelForm):  # type: ignore[type-arg]
    """Who does the task from now on."""

    class Meta:
        model = Task
        fields = ("assignee",)

    assignee = forms.ModelChoiceField(
        User.objects.filter(is_active=True).order_by("username"),
        required=False,
        empty_label=_("nobody"),
    )

    @property
    def people(self) -> People:
        """Whom to choose from; read from the database unless another form has."""
        return list(cast("Iterable[tuple[Any, Any]]", self._assignee.choices))

    @people.setter
    def people(self, people: People) -> None:
        self._assignee.choices = people

    @property
    def _assignee(self) -> forms.ModelChoiceField[User]:
        return cast("forms.ModelChoiceField[User]", self.fields["assignee"])


class RequestForm(forms.ModelForm):  # type: ignore[type-arg]
    """A new purchase request."""

    class Meta:
        model = Request
        fields = ("title",)


class ReportForm(forms.ModelForm):  # type: ignore[type-arg]
    """Which report to make."""

    class Meta:
        model = Report
        fields = ("report_type",)


class EventForm(forms.ModelForm):  # type: ignore[type-arg]
    """A new event. Its start is near, so that one can watch a reminder vanish."""

    class Meta:
        model = Event
        fields = ("title",)

    minutes = forms.IntegerField(
        label=_("Starts in minutes"), min_value=1, max_value=7 * 24 * 60, initial=2
    )

    def save(self, commit: bool = True) -> Event:
        """Count the minutes from now."""
        minutes = timedelta(minutes=self.cleaned_data["minutes"])
        self.instance.start_time = timezone.now() + minutes
        event: Event = super().save(commit)
        return event


class TeamForm(forms.ModelForm):  # type: ignore[type-arg]
    """A new team."""

    class Meta:
        model = Team
        fields = ("name",)


class AnnouncementForm(forms.ModelForm):  # type: ignore[type-arg]
    """What to tell a team, or everybody."""

    class Meta:
        model = Announcement
        fields = ("title", "message")
        widgets = {"message": forms.Textarea({"rows": 3})}
