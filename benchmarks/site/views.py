"""What pages poll where there is no Themis."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, JsonResponse
from django.views.decorators.cache import never_cache

from benchmarks.site.models import Notification


@never_cache
def unread_count(request: HttpRequest) -> JsonResponse:
    """Count what is unread, as `live_unread_notification_count` of django-notifications
    does: the session, the user, a COUNT.
    """
    if not request.user.is_authenticated:
        return JsonResponse({"unread_count": 0})
    mine = Notification.objects.filter(user=request.user, read_at=None)
    return JsonResponse({"unread_count": mine.count()})


@never_cache
def who(request: HttpRequest) -> JsonResponse:
    """Read the session and the user, and nothing else: the least that a poll costs."""
    answer: dict[str, Any] = {"signed_in": request.user.is_authenticated}
    return JsonResponse(answer)
