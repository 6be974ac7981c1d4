"""Who opened a socket, by which session, and whether that goes on: always read anew.

`django.contrib.auth.get_user` tells the same of a request, but it writes: it gives a
session that an old ``SECRET_KEY`` has signed another key, and flushes one whose
password has changed. A handshake can't bring the browser the cookie that this takes.

What reads here is for the hub's reader threads. Rows are read where they are written:
a replica may not know yet of a login, or of its end.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from importlib import import_module
from typing import Any, TypeVar

from django.conf import settings
from django.contrib.auth import (
    BACKEND_SESSION_KEY,
    HASH_SESSION_KEY,
    SESSION_KEY,
    get_user_model,
    load_backend,
)
from django.contrib.sessions.backends import cache, cached_db, db
from django.contrib.sessions.backends.base import SessionBase
from django.core.cache import caches
from django.core.exceptions import ValidationError
from django.db import InterfaceError, OperationalError, router
from django.db.models import Model
from django.http import parse_cookie
from django.utils import timezone
from django.utils.crypto import constant_time_compare

logger = logging.getLogger("realtime")

T = TypeVar("T")

# What memcached takes; other caches warn of longer ones.
LONGEST_CACHE_KEY = 250


class UnreadableError(Exception):
    """Whether somebody is signed in could not be read; the log says why."""


def digest_of(key: str) -> str:
    """Return what a session is called in messages, which must not hold its key."""
    return blake2b(key.encode(errors="surrogatepass"), digest_size=16).hexdigest()


@dataclass(frozen=True, slots=True)
class Login:
    """
    Who opened a socket, and by what.

    Args:
        user: The primary key.
        key: Of the session; None where the host has told the user by other means.
        was_active: Without a session: whether the account was active then.
    """

    user: Any
    key: str | None = field(default=None, repr=False)
    was_active: bool = True
    # Of the key; kept because every logout is compared with it.
    digest: str = field(init=False, compare=False)

    def __post_init__(self) -> None:
        digest = "" if self.key is None else digest_of(self.key)
        object.__setattr__(self, "digest", digest)


# The handshake


def key_of(scope: Mapping[str, Any]) -> str | None:
    """Return the session key that the handshake's cookies hold; None if there is none.

    ``Cookie`` may come in several headers (RFC 9113, 8.2.3).
    """
    cookies = b"; ".join(
        value for name, value in scope.get("headers", ()) if name == b"cookie"
    )
    key = parse_cookie(cookies.decode("latin1")).get(settings.SESSION_COOKIE_NAME)
    # Databases refuse a NUL with an error.
    return key if key and "\0" not in key else None


def authenticate(key: str) -> Login | None:
    """
    Return who is signed in by the session *key*; None if nobody is.

    Raises:
        UnreadableError: neither could be read.
    """
    sessions = _read_sessions([key])
    if key not in sessions:
        raise UnreadableError
    claim = _claim_of(sessions[key])
    if claim is None:
        return None
    users = _read_users([claim])
    if claim.account not in users:
        raise UnreadableError
    return Login(claim.user, key) if claim.holds(users[claim.account]) else None


def recognize(user: Any, session: object = None) -> Login:
    """
    Return the login of a *user* whom the host's middleware has authenticated.

    It is the session's, if that is of the site's engine and says the same user.
    """
    # Made from a token, say, an account may hold the text of its key.
    key = get_user_model()._meta.pk.to_python(user.pk)
    store = _store() if session is not None else None
    if store is not None and isinstance(session, store) and session.session_key:
        claim = _claim_of(session)
        if claim is not None and claim.user == key:
            return Login(key, session.session_key)
    return Login(key, was_active=bool(getattr(user, "is_active", True)))


# The check


def find_ended(logins: Collection[Login]) -> set[Login]:
    """
    Return those of *logins* that have ended.

    A session has if it is gone, expired, somebody else's, or signed for another
    password; an account if its backend no longer gives it (deleted, deactivated). What
    can't be read has not. At most one statement for the sessions and one for the users
    of each backend, where engine and backend are Django's.
    """
    sessions = _read_sessions({login.key for login in logins if login.key is not None})
    claims = {key: _claim_of(data) for key, data in sessions.items()}
    users = _read_users(claim for claim in claims.values() if claim is not None)
    ended = {login for login in logins if _has_ended(login, claims, users)}
    return ended | _find_gone([login for login in logins if login.key is None])


def _has_ended(
    login: Login,
    claims: Mapping[str, _Claim | None],
    users: Mapping[tuple[str, Any], Any],
) -> bool:
    if login.key is None or login.key not in claims:
        return False
    claim = claims[login.key]
    if claim is None or claim.user != login.user:
        return True
    return claim.account in users and not claim.holds(users[claim.account])


def _find_gone(logins: Collection[Login]) -> set[Login]:
    """Return the logins without a session whose account is gone or deactivated."""
    if not logins:
        return set()
    model = get_user_model()
    manager = model._base_manager.using(router.db_for_write(model))
    users = manager.in_bulk([login.user for login in logins])
    gone = set()
    for login in logins:
        user = users.get(model._meta.pk.to_python(login.user))
        if user is None or (login.was_active and not getattr(user, "is_active", True)):
            gone.add(login)
    return gone


# What a session says


@dataclass(frozen=True, slots=True)
class _Claim:
    """Whom a session signs in, as long as the account agrees."""

    user: Any
    backend: str
    auth_hash: str

    @property
    def account(self) -> tuple[str, Any]:
        return self.backend, self.user

    def holds(self, user: Any) -> bool:
        """Tell whether *user*, as the backend gives it, is signed in by this."""
        if user is None or not user.is_authenticated:
            return False
        if not hasattr(user, "get_session_auth_hash"):
            return True
        return bool(self.auth_hash) and any(
            constant_time_compare(self.auth_hash, right) for right in _auth_hashes(user)
        )


def _auth_hashes(user: Any) -> Iterator[str]:
    """Give what a session of *user* may be signed with: first by the present key."""
    yield user.get_session_auth_hash()
    yield from user.get_session_auth_fallback_hash()


def _claim_of(data: Any) -> _Claim | None:
    if data is None:
        return None
    try:
        user = get_user_model()._meta.pk.to_python(data[SESSION_KEY])
        backend = data[BACKEND_SESSION_KEY]
    except (KeyError, ValidationError):
        return None
    if backend not in settings.AUTHENTICATION_BACKENDS:
        return None
    return _Claim(user, backend, data.get(HASH_SESSION_KEY) or "")


# Sessions


def _store() -> type[SessionBase] | None:
    """Return the class of the site's sessions; None if their table isn't installed."""
    store: type[SessionBase] = import_module(settings.SESSION_ENGINE).SessionStore
    if issubclass(store, db.SessionStore):
        try:
            store.get_model_class()
        except RuntimeError:
            return None
    return store


def model_of() -> type[Model] | None:
    """Return the model of the site's sessions, if they are rows."""
    store: Any = _store()
    return store.get_model_class() if hasattr(store, "get_model_class") else None


def _read_sessions(keys: Collection[str]) -> dict[str, Any]:
    """Return what each session holds, None if it is no more; without the unreadable."""
    store: Any = _store()
    if not keys or store is None:
        return dict.fromkeys(keys)
    if getattr(store, "load", None) in {
        db.SessionStore.load,
        cached_db.SessionStore.load,
    }:
        return _read_rows(store, keys)
    if store.load is cache.SessionStore.load:
        return _read_cache(store, keys)
    return dict(_each(lambda key: _load(store, key), keys))


def _read_rows(store: Any, keys: Collection[str]) -> dict[str, Any]:
    model = store.get_model_class()
    rows = model.objects.using(router.db_for_write(model)).filter(
        session_key__in=keys, expire_date__gt=timezone.now()
    )
    decode = store().decode
    found = dict(rows.values_list("session_key", "session_data"))
    return {key: decode(found[key]) if key in found else None for key in keys}


def _read_cache(store: Any, keys: Collection[str]) -> dict[str, Any]:
    """Read what the engine reads, but let errors through: it takes them for logouts."""
    sessions = {key: store(key) for key in keys}
    names = {
        key: session.cache_key
        for key, session in sessions.items()
        if session.session_key and _is_cache_key(session.cache_key)
    }
    found = caches[settings.SESSION_CACHE_ALIAS].get_many(list(names.values()))
    return {key: found.get(names[key]) if key in names else None for key in keys}


def _is_cache_key(name: str) -> bool:
    return len(name) <= LONGEST_CACHE_KEY and all("!" <= char <= "~" for char in name)


def _load(store: Any, key: str) -> Any:
    session = store(key)
    return session.load() if session.session_key else None


# Users


def _read_users(claims: Iterable[_Claim]) -> dict[tuple[str, Any], Any]:
    """Return each account as its backend gives it; without the unreadable."""
    wanted: defaultdict[str, set[Any]] = defaultdict(set)
    for claim in claims:
        wanted[claim.backend].add(claim.user)
    users: dict[tuple[str, Any], Any] = {}
    for path, keys in wanted.items():
        backend = load_backend(path)
        found = (
            _read_accounts(backend, keys)
            if _reads_accounts(backend)
            else _each(backend.get_user, keys)
        )
        users.update(((path, key), user) for key, user in found)
    return users


def _reads_accounts(backend: Any) -> bool:
    """Tell whether *backend* finds its users as Django's own does."""
    from django.contrib.auth.backends import (  # noqa: PLC0415 -- needs the models
        ModelBackend,
    )

    return (
        isinstance(backend, ModelBackend)
        and type(backend).get_user is ModelBackend.get_user
    )


def _read_accounts(backend: Any, keys: Collection[Any]) -> Iterator[tuple[Any, Any]]:
    model = get_user_model()
    found = model._default_manager.using(router.db_for_write(model)).in_bulk(keys)
    for key in keys:
        user = found.get(key)
        if user is not None and not backend.user_can_authenticate(user):
            user = None
        yield key, user


def _each(function: Callable[[Any], T], keys: Iterable[Any]) -> Iterator[tuple[Any, T]]:
    """Give what *function* returns for each key; what it raises is only logged."""
    for key in keys:
        try:
            yield key, function(key)
        except (InterfaceError, OperationalError):
            # The reader opens its connections anew, and tries again.
            raise
        except Exception:
            logger.exception("A session could not be read.")
