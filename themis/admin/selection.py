"""What a person selected in a list, and work on all of it, however much it is."""

from __future__ import annotations

from collections.abc import Iterator

from django.contrib.admin import helpers
from django.db.models import QuerySet
from django.http import HttpRequest

from themis.models import UserNotification
from themis.models.queryset import CHUNK, in_key_order
from themis.queries import database


def keep_selection(request: HttpRequest, action: str) -> list[tuple[str, str]]:
    """
    Return the hidden fields of a page that comes before *action* is carried out.

    Django's own page has a field for each object, also where all are selected across
    the pages: from 1,000 objects on such a form is refused
    (`DATA_UPLOAD_MAX_NUMBER_FIELDS`). Here "all" stays "all".
    """
    chosen = request.POST.getlist(helpers.ACTION_CHECKBOX_NAME)
    across = request.POST.get("select_across", "0") not in {"", "0"}
    # One at least, or Django takes the form for one without a selection.
    kept = chosen[:1] or ["0"] if across else chosen
    return [
        ("action", action),
        ("select_across", "1" if across else "0"),
        *((helpers.ACTION_CHECKBOX_NAME, key) for key in kept),
    ]


def by_chunk(
    chosen: QuerySet[UserNotification],
) -> Iterator[QuerySet[UserNotification]]:
    """Yield what *chosen* selects in pieces, for a short transaction each."""
    using = database()
    keys = in_key_order(chosen.using(using)).values_list("pk", flat=True)
    chunk = list(keys[:CHUNK])
    while chunk:
        yield UserNotification.objects.using(using).filter(pk__in=chunk)
        chunk = list(keys.filter(pk__gt=chunk[-1])[:CHUNK])
