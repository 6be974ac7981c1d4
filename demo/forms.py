"""The forms of the demo."""

from __future__ import annotations

from django import forms
from django.contrib.auth.models import User
from django.utils.translation import gettext_lazy as _

from demo.models import Request, Task


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


class RequestForm(forms.ModelForm):  # type: ignore[type-arg]
    """A new purchase request."""

    class Meta:
        model = Request
        fields = ("title",)
