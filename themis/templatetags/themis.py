"""The bell, for any template."""

from __future__ import annotations

from typing import Any

from django import template
from django.conf import settings as site
from django.core.exceptions import ImproperlyConfigured
from django.middleware.csrf import get_token
from django.template.loader import render_to_string
from django.urls import reverse

from themis.broadcasters import get_broadcaster
from themis.conf import settings
from themis.mailbox import count_unread
from themis.owners import owner_of, session_of

register = template.Library()

BADGE_LIMIT = 99

# One number of each plural category that languages know (CLDR, cardinals): the script
# finds the text for a count by the category, as `Intl.PluralRules` tells it.
PLURAL_SAMPLES = (0, 1, 2, 3, 6, 11, 100)


@register.simple_tag(takes_context=True)
def themis_bell(context: template.Context) -> str:
    """
    Put the bell of the signed-in person here; nothing for anybody else.

    Without JavaScript it is a link with the right count; the script makes it the bell.

    Raises:
        ImproperlyConfigured: the template is rendered without a request.
    """
    request: Any = context.get("request")
    if request is None:
        msg = (
            "{% themis_bell %} needs the request: add "
            "'django.template.context_processors.request' to the context processors "
            "and render the template with a request."
        )
        raise ImproperlyConfigured(msg)
    user = getattr(request, "user", None)
    if user is None or not user.is_authenticated:
        return ""
    unread = count_unread(user.pk)
    list_url = reverse("themis:list")
    label = str(unread) if unread <= BADGE_LIMIT else f"{BADGE_LIMIT}+"
    config = {
        "list_url": list_url,
        "mount_url": list_url,
        "preferences_url": reverse("themis:preferences"),
        "state_url": reverse("themis:state"),
        "notifications_url": reverse("themis:notifications"),
        "socket_url": get_broadcaster().socket_url(request) or "",
        "poll_interval": settings.poll_interval,
        "user": owner_of(user.pk),
        "session": session_of(_session_key(request)),
        "csrf_token": get_token(request),
        "csrf_cookie": _csrf_cookie(),
        "unread": unread,
        "unread_label": label if unread else "",
        "plural_samples": PLURAL_SAMPLES,
    }
    return render_to_string("themis/bell.html", {"themis": config})


def _session_key(request: Any) -> str | None:
    session = getattr(request, "session", None)
    return None if session is None else session.session_key


def _csrf_cookie() -> str:
    """Return the name of the cookie with the token; empty if scripts can't read it."""
    hidden = site.CSRF_USE_SESSIONS or site.CSRF_COOKIE_HTTPONLY
    return "" if hidden else site.CSRF_COOKIE_NAME
