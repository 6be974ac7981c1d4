"""Asking the HTTP API, and what its answers look like."""

import json
import re
from pathlib import Path
from typing import Any

from django.contrib.auth.models import User
from django.test import Client

from themis import mailbox
from themis.models import Mailbox, UserNotification, UserProfile
from themis.notifications import notify_user

STATE = "/notifications/api/state"
LIST = "/notifications/api/notifications"
PREFERENCES = "/notifications/api/preferences"
VERBS = ("read", "unread", "dismiss", "restore")
WIRE = Path(__file__).parents[1] / "wire"


def signed_in(user: User, *, enforce_csrf_checks: bool = False) -> Client:
    client = Client(enforce_csrf_checks=enforce_csrf_checks)
    client.force_login(user)
    return client


def ask(client: Client, etag: str | None = None, **query: Any) -> Any:
    headers = {} if etag is None else {"If-None-Match": etag}
    return client.get(STATE, query, headers=headers)


def url_of(verb: str) -> str:
    return f"/notifications/api/notifications/{verb}"


def post(client: Client, verb: str, body: object, **options: Any) -> Any:
    """Post `body`: as it is if it is bytes, else as JSON."""
    content = body if isinstance(body, bytes) else json.dumps(body)
    options.setdefault("content_type", "application/json")
    return client.post(url_of(verb), content, **options)


def notified(user: User, title: str = "Deploy v2", **fields: Any) -> UserNotification:
    row = notify_user(user, title, **fields)
    assert row is not None
    return row


def stamped(user: User, count: int) -> list[UserNotification]:
    """Notifications in the order of their creation, each with a revision of its own."""
    rows = []
    for number in range(count):
        rows.append(notified(user, f"Number {number}"))
        mailbox.look(user.pk)
    for row in rows:
        row.refresh_from_db()
    return rows


def box_of(user: User) -> Mailbox:
    return Mailbox.objects.get(pk=user.pk)


def titles(frame: dict[str, Any]) -> list[str]:
    return [item["title"] for item in frame["items"]]


def ids(frame: dict[str, Any]) -> list[str]:
    return [item["id"] for item in frame["items"]]


def everything() -> list[Any]:
    """All that a write could have changed."""
    return [
        *UserNotification.objects.order_by("pk").values(),
        *Mailbox.objects.order_by("pk").values(),
        *UserProfile.objects.order_by("pk").values(),
    ]


def assert_frame(response: Any, kind: str) -> dict[str, Any]:
    """The frame, which has the keys of the wire format and no others."""
    assert response.status_code == 200
    assert response["Content-Type"] == "application/json"
    assert "no-store" in response["Cache-Control"]
    frame: dict[str, Any] = response.json()
    example = json.loads((WIRE / f"{kind}.json").read_text())
    assert frame["type"] == kind
    assert set(frame) - {"at"} == set(example)
    for item in frame["items"]:
        assert set(item) == set(example["items"][0])
        assert set(item["source"]) == set(example["items"][0]["source"])
    return frame


def assert_problem(response: Any, status: int, *fields: str) -> dict[str, Any]:
    """The problem, which blames just these fields, in a sentence each."""
    assert response.status_code == status
    assert response["Content-Type"] == "application/problem+json"
    assert "no-store" in response["Cache-Control"]
    problem: dict[str, Any] = response.json()
    assert problem["status"] == status
    assert problem["title"]
    assert problem["type"] == "about:blank"
    assert problem["detail"].endswith(".")
    assert set(problem.get("errors", {})) == set(fields)
    assert all(text.endswith(".") for text in problem.get("errors", {}).values())
    return problem


def token_of(client: Client) -> dict[str, str]:
    """The header with the token that a form of the list page carries."""
    page = client.get("/notifications/").content.decode()
    match = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page)
    assert match is not None
    return {"X-CSRFToken": match[1]}
