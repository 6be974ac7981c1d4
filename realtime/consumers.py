"""The socket's ASGI application: who may come in, and what pages ask."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs

from themis.owners import OWNER_PARAMETER, is_owner

from . import metrics, protocol, sessions
from .canary import watch_broker
from .conversation import Conversation, refuse
from .draining import drain, send_away
from .expiry import expire
from .hub import Hub, get_hub
from .inbox import GoneError, Inbox, Receive
from .origins import is_allowed
from .protocol import CloseCode, MalformedFrameError, Position
from .readers import DatabaseLostError
from .reconciler import reconcile
from .sessions import Login
from .sockets import Send, Socket
from .watch import watch


def own_hub() -> Hub:
    """Return the hub of the running loop, with all that keeps its pages up to date."""
    return get_hub(reconcile, expire, drain, watch, watch_broker)


async def notifications(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    """
    Serve one socket: state first, then pushes until either side goes.

    Whoever is refused is accepted first and then closed with a code: a browser sees
    nothing of a handshake that fails. Who it is, a middleware of the host may say by
    ``scope["user"]``; otherwise the session does that the cookie names.
    """
    await receive()  # websocket.connect
    await send({"type": "websocket.accept"})
    socket = Socket(send)
    inbox = Inbox(receive)
    try:
        await _serve(scope, inbox, socket)
    finally:
        inbox.close()
        # A server may drop what an application that has ended has not sent.
        await socket.flush()


async def _serve(scope: dict[str, Any], inbox: Inbox, socket: Socket) -> None:
    if not is_allowed(scope):
        metrics.HANDSHAKES.add("wrong_origin")
        socket.close(CloseCode.FORBIDDEN_ORIGIN)
        return
    hub = own_hub()
    begun = hub.loop.time()
    try:
        login = None if hub.draining else await inbox.unless_gone(_identify(scope, hub))
    except GoneError:
        metrics.HANDSHAKES.add("gone")
        return
    except DatabaseLostError:
        metrics.HANDSHAKES.add("unavailable")
        socket.close(CloseCode.UNAVAILABLE)
        return
    # Asked now, because it may have begun during the read.
    if hub.draining:
        metrics.HANDSHAKES.add("draining")
        send_away(hub, socket)
        return
    query = parse_qs(scope.get("query_string", b"").decode("latin1"))
    if login is None or hub.endings.has_ended(login) or not _is_for(query, login):
        metrics.HANDSHAKES.add("signed_out")
        socket.close(CloseCode.SIGNED_OUT)
        return
    socket.login = login
    try:
        position = _position_of(query)
    except MalformedFrameError as error:
        metrics.HANDSHAKES.add("malformed")
        refuse(socket, error)
        return
    metrics.HANDSHAKES.add("accepted")
    feed = hub.add(socket, login.user)
    # What was read may be older than what the hub has heard meanwhile.
    hub.endings.doubt_again(feed.key, since=begun)
    try:
        await Conversation(socket, feed, hub.broker.join).hold(inbox.receive, position)
    finally:
        hub.remove(socket, feed)


async def _identify(scope: dict[str, Any], hub: Hub) -> Login | None:
    """Return who opens the socket; None if that is nobody who is signed in."""
    if "user" not in scope:
        key = sessions.key_of(scope)
        return None if key is None else await hub.admit(sessions.authenticate, key)
    user = scope["user"]
    if user is None or not user.is_authenticated:
        return None
    if "session" not in scope:
        return sessions.recognize(user)
    return await hub.admit(sessions.recognize, user, scope["session"])


def _is_for(query: dict[str, list[str]], login: Login) -> bool:
    """Tell whether the page was made for this person, as far as it says."""
    owner = query.get(OWNER_PARAMETER, [""])[-1]
    return not owner or is_owner(owner, login.user)


def _position_of(query: dict[str, list[str]]) -> Position:
    since: Any = query.get("since", [None])[-1]
    # int() takes what is no plain number, and any length of it.
    if since is not None and since.isascii() and since.isdigit() and len(since) < 20:  # noqa: PLR2004 -- digits of a BigIntegerField
        since = int(since)
    return protocol.parse_position(since, query.get("epoch", [None])[-1])
