"""What the views of signed-in people share."""

from __future__ import annotations

from typing import TypeVar

from django.contrib import messages
from django.contrib.auth.models import User
from django.core.paginator import Page, Paginator
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext as _

from themis.notifications import mark_read

T = TypeVar("T", bound=Model)

PAGE_SIZE = 20


class SignedInRequest(HttpRequest):
    """What a view behind `login_required` gets."""

    user: User


def page_of(request: HttpRequest, rows: QuerySet[T]) -> Page[T]:
    """Return the page of a list that the address asks for, or the nearest."""
    return Paginator(rows, PAGE_SIZE).get_page(request.GET.get("page"))


def clear_bell(request: SignedInRequest, app: str, model: str, pk: int) -> None:
    """
    Mark read what the person's notifications say of a thing they now look at.

    Whoever only fetches ahead, or asks for the headers, looks at nothing.
    """
    purpose = request.headers.get("Sec-Purpose", "") + request.headers.get("X-Moz", "")
    if request.method == "GET" and "prefetch" not in purpose:
        mark_read(request.user, source_app=app, source_model=model, source_id=str(pk))


def say_nobody_works(request: HttpRequest) -> None:
    """Tell that the broker takes no tasks now."""
    messages.error(
        request, _("No worker can be reached now. Nothing was sent; try again.")
    )
