"""What pages say at the next occasion; a host may do without messages."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpRequest
from django.utils.translation import gettext as _


def tell(request: HttpRequest, text: str) -> None:
    """Say that something has been done."""
    messages.success(request, text, fail_silently=True)


def tell_gone(request: HttpRequest) -> None:
    """Say that a notification is no longer there."""
    gone = _("This notification is no longer there.")
    messages.info(request, gone, fail_silently=True)


def tell_problem(request: HttpRequest, text: str) -> None:
    """Say why something was not done."""
    messages.warning(request, text, fail_silently=True)


def tell_busy(request: HttpRequest) -> None:
    """Say that another transaction was in the way."""
    tell_problem(request, _("That didn't work just now; try again."))
