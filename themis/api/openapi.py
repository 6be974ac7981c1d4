"""The OpenAPI 3.1 document of the API: what it takes, and all that it answers."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from django.conf import settings as django_settings
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.cache import patch_cache_control

from themis.api import problems
from themis.api.endpoints import answer, endpoint
from themis.api.notifications import DEFAULT_LIMIT, MAX_LIMIT
from themis.api.schemas import (
    CURSOR,
    EPOCH,
    LEVEL,
    REVISION,
    SCHEMAS,
    SOURCE_APP,
    Schema,
    integer,
    one_of,
    ref,
    string,
)
from themis.events import VERSION
from themis.listing import STATES

# How long anybody may keep the document, in seconds: a new release may change it.
MAX_AGE = 300


@endpoint("GET", public=True)
def openapi(request: HttpRequest) -> HttpResponse:  # noqa: ARG001 -- a view's
    """Answer with the document. It holds nothing personal, so anybody may read it."""
    mount = reverse("themis:list").rstrip("/") or "/"
    response = answer(describe(mount))
    patch_cache_control(response, public=True, max_age=MAX_AGE)
    return response


def describe(mount: str) -> Schema:
    """Return the document of an API whose ``api/`` is below *mount*."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Themis",
            "version": str(VERSION),
            "description": (
                "A person's notifications. Any method that an address does not have is "
                "answered with 405 and `Allow`. Clients ignore fields that they do not "
                "know."
            ),
        },
        "servers": [{"url": mount}],
        "security": [{"session": []}],
        "paths": _paths(),
        "components": {
            "schemas": SCHEMAS,
            "responses": _refusals(),
            "securitySchemes": {
                "session": {
                    "type": "apiKey",
                    "in": "cookie",
                    "name": django_settings.SESSION_COOKIE_NAME,
                },
                "csrf": {
                    "type": "apiKey",
                    "in": "header",
                    "name": _header_of_the_token(),
                },
            },
        },
    }


def _header_of_the_token() -> str:
    words = django_settings.CSRF_HEADER_NAME.removeprefix("HTTP_").split("_")
    return "-".join(word if word == "X" else word.capitalize() for word in words)


def _paths() -> Schema:
    return {
        "/api/state": {"get": _STATE},
        "/api/notifications": {"get": _LIST},
        "/api/preferences": {"get": _READ_PREFERENCES, "patch": _CHANGE_PREFERENCES},
        **{
            f"/api/notifications/{verb}": {"post": _write(verb, text, *ways)}
            for verb, text, ways in (
                ("read", "Mark as read.", ("ByIds", "UpTo")),
                ("unread", "Mark as unread.", ("ByIds", "ByTime")),
                ("dismiss", "Put away.", ("ByIds", "UpTo")),
                ("restore", "Bring back.", ("ByIds", "ByTime")),
            )
        },
        "/api/openapi.json": {"get": _DOCUMENT},
    }


def _json(schema: Schema) -> Schema:
    return {"application/json": {"schema": schema}}


def _body(schema: Schema) -> Schema:
    return {"required": True, "content": _json(schema)}


def _ok(schema: Schema, description: str, **more: Any) -> Schema:
    return {"description": description, "content": _json(schema)} | more


def _query(name: str, schema: Schema, description: str) -> Schema:
    return {
        "name": name,
        "in": "query",
        "schema": schema,
        "description": description,
        # As if it were not given.
        "allowEmptyValue": True,
    }


_REFUSALS = {
    HTTPStatus.BAD_REQUEST: "The body or a parameter is not what it must be.",
    HTTPStatus.UNAUTHORIZED: "Nobody is signed in, or another than `Themis-For` names.",
    HTTPStatus.FORBIDDEN: "The CSRF token is missing or wrong, or the origin is.",
    HTTPStatus.NOT_FOUND: "None of the ids is a notification of the person.",
    HTTPStatus.CONFLICT: "The epoch is not the mailbox's: load the state again.",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "The body is too large.",
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: "The body was sent as multipart/form-data.",
    HTTPStatus.SERVICE_UNAVAILABLE: (
        "Somebody else holds the rows for longer than a second."
    ),
}
_ALWAYS = (HTTPStatus.UNAUTHORIZED, HTTPStatus.SERVICE_UNAVAILABLE)
_TO_BODIES = (
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.FORBIDDEN,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
)


def _refusals() -> Schema:
    found: Schema = {
        str(status.value): {
            "description": description,
            "content": {problems.CONTENT_TYPE: {"schema": ref("Problem")}},
        }
        for status, description in _REFUSALS.items()
    }
    retry = {"Retry-After": {"schema": integer(1, 60), "required": True}}
    found["503"]["headers"] = retry
    return found


def _refused(*statuses: HTTPStatus) -> Schema:
    return {
        str(status.value): {"$ref": f"#/components/responses/{status.value}"}
        for status in (*statuses, *_ALWAYS)
    }


_ETAG: Schema = {"ETag": {"schema": string(), "required": True}}
_STATE: Schema = {
    "operationId": "readState",
    "summary": "What a client needs that holds a revision, or nothing yet.",
    "parameters": [
        _query("since", REVISION, "The revision that the client holds."),
        _query("epoch", EPOCH, "The epoch that it counts in; without it, a snapshot."),
        {
            "name": "If-None-Match",
            "in": "header",
            "schema": string(),
            "description": "The `ETag` of an earlier answer.",
        },
    ],
    "responses": {
        "200": _ok(
            one_of("Snapshot", "Changes"),
            "All from the beginning, or what has changed.",
            headers=_ETAG,
        ),
        "304": {"description": "As `If-None-Match` has it.", "headers": _ETAG},
        **_refused(HTTPStatus.BAD_REQUEST),
    },
}

_LIST: Schema = {
    "operationId": "listNotifications",
    "summary": "A page of notifications, the newest first; none that has expired.",
    "parameters": [
        _query(
            "state",
            string(enum=[*STATES], default="all"),
            "`all` = not dismissed; `read` = read and not dismissed.",
        ),
        _query("level", LEVEL, "One level."),
        _query("source_app", SOURCE_APP, "One source."),
        _query("before", CURSOR, "`next` of the page before."),
        _query("limit", integer(1, MAX_LIMIT, default=DEFAULT_LIMIT), "How many."),
    ],
    "responses": {
        "200": _ok(ref("Page"), "The page; `next` is null on the last."),
        **_refused(HTTPStatus.BAD_REQUEST),
    },
}

_READ_PREFERENCES: Schema = {
    "operationId": "readPreferences",
    "summary": "What the person wants to be told, and how.",
    "responses": {"200": _ok(ref("Preferences"), "All of them."), **_refused()},
}

_CHANGE_PREFERENCES: Schema = {
    "operationId": "changePreferences",
    "summary": "Change some of them, all or nothing.",
    "security": [{"session": [], "csrf": []}],
    "requestBody": _body(ref("PreferencesChange")),
    "responses": {
        "200": _ok(ref("Preferences"), "All of them, as they are now."),
        **_refused(*_TO_BODIES),
    },
}

_DOCUMENT: Schema = {
    "operationId": "readDocument",
    "summary": "This document.",
    "security": [],
    "responses": {"200": _ok({"type": "object"}, "This document.")},
}


def _write(verb: str, summary: str, *ways: str) -> Schema:
    return {
        "operationId": f"{verb}Notifications",
        "summary": summary,
        "security": [{"session": [], "csrf": []}],
        "requestBody": _body(one_of(*ways)),
        "responses": {
            "200": _ok(
                one_of("SnapshotAfterWrite", "ChangesAfterWrite"),
                "What has changed.",
            ),
            **_refused(
                *_TO_BODIES,
                HTTPStatus.NOT_FOUND,
                HTTPStatus.CONFLICT,
                HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            ),
        },
    }
