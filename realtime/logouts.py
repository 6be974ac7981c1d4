"""What Django's signals tell of sessions that end, passed on to the hubs.

A logout is a command: the signal comes before the session is deleted, so whoever looks
then would find it alive. The save of a user is a hint: only a look at the sessions
tells which of them it has ended, if any.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from django.conf import settings
from django.db import router, transaction

from themis.conf import settings as themis_settings

from . import sessions
from .broadcasting import tell_hubs, tell_user

# Written at each login, and read by nobody who authenticates.
IRRELEVANT_FIELDS = frozenset({"last_login"})


def announce_logout(*, request: Any, **_: Any) -> None:
    """Have the sockets of the request's session closed, once its end is committed."""
    # Channels' own logout has no request; the check finds it.
    key = getattr(getattr(request, "session", None), "session_key", None)
    if key:
        _announce(key)


def announce_switch(*, request: Any, **_: Any) -> None:
    """
    Have the sockets of the session closed that a login has taken the place of.

    Django flushes the session of whoever was signed in before; nothing else tells.
    """
    key = getattr(request, "COOKIES", {}).get(settings.SESSION_COOKIE_NAME)
    session = getattr(request, "session", None)
    if key and session is not None and key != session.session_key:
        _announce(key)


def announce_save(
    *, instance: Any, created: bool, using: str, update_fields: Any, **_: Any
) -> None:
    """Have the sessions of a saved user looked at, once that is committed."""
    if created or _is_off():
        return
    if update_fields is not None and IRRELEVANT_FIELDS.issuperset(update_fields):
        return
    key = str(instance._meta.pk.to_python(instance.pk))
    message = {"type": "themis.account", "v": 1, "user": key}
    transaction.on_commit(partial(tell_user, key, message), using=using, robust=True)


def _announce(key: str) -> None:
    if _is_off():
        return
    digest = sessions.digest_of(key)
    message = {"type": "themis.logout", "v": 1, "session": digest}
    tell = partial(tell_hubs, message)
    model = sessions.model_of()
    if model is None:
        tell()
    else:
        using = router.db_for_write(model)
        transaction.on_commit(tell, using=using, robust=True)


def _is_off() -> bool:
    return themis_settings.broadcaster is None
