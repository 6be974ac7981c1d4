"""What bodies look like, as JSON Schema (draft 2020-12), for the OpenAPI document."""

from __future__ import annotations

from typing import Any

from themis.api.parsing import MAX_IDS
from themis.content import MAX_INTEGER, SOURCE_LENGTHS, TITLE_LENGTH
from themis.events import VERSION
from themis.models import Level
from themis.models.profile import MAX_RETENTION_DAYS, MIN_RETENTION_DAYS
from themis.profiles import FIELDS
from themis.revisions import COUNT_LIMIT

Schema = dict[str, Any]


def ref(name: str) -> Schema:
    """Return a reference to the schema of that name in `SCHEMAS`."""
    return {"$ref": f"#/components/schemas/{name}"}


def record(properties: Schema, **more: Any) -> Schema:
    """Return an object that always has all of *properties*."""
    required = sorted(properties)
    return {
        "type": "object",
        "properties": properties,
        "required": required,
    } | more


def one_of(*names: str) -> Schema:
    """Return what is one of the schemas of these names."""
    return {"oneOf": [ref(name) for name in names]}


def string(**more: Any) -> Schema:
    """Return a string."""
    return {"type": "string"} | more


def integer(least: int, most: int, **more: Any) -> Schema:
    """Return a whole number within bounds."""
    return {"type": "integer", "minimum": least, "maximum": most} | more


def array(items: Schema, **more: Any) -> Schema:
    """Return a list."""
    return {"type": "array", "items": items} | more


def nullable(schema: Schema) -> Schema:
    """Return *schema* or null."""
    return schema | {"type": [schema["type"], "null"]}


LEVEL = string(enum=Level.values)
REVISION = integer(0, MAX_INTEGER, examples=[1])
EPOCH = string(
    pattern="^[ -~]{1,64}$",
    description="Revisions are comparable within an epoch only.",
    examples=["8Jq0c1Xw2a7L"],
)
SOURCE_APP = string(maxLength=SOURCE_LENGTHS["source_app"])
CURSOR = string(description="Opaque: what an earlier answer gave as `next`.")
_ID = string(pattern="^[0-9]{1,19}$")
_TIME = string(
    format="date-time",
    description="ISO 8601, in UTC.",
    examples=["2026-11-22T09:59:30Z"],
)
_IDS = array(_ID, minItems=1, maxItems=MAX_IDS, examples=[["41", "42"]])
_SWITCH: Schema = {"type": "boolean"}

_ITEM = record(
    {
        "id": _ID,
        "title": string(maxLength=TITLE_LENGTH),
        "message": string(),
        "level": LEVEL,
        "url": string(description="Empty where it is not safe to link to."),
        "open_url": string(
            description="Marks as read and leads on; relative to the server's URL."
        ),
        "source": record({"app": string(), "model": string(), "id": string()}),
        "created_at": _TIME,
        "read_at": nullable(_TIME),
        "expires_at": nullable(_TIME),
        "created_revision": integer(1, MAX_INTEGER),
        "revision": integer(1, MAX_INTEGER),
    }
)


def _frame(kind: str, **more: Schema) -> Schema:
    return record(
        {
            "type": {"const": kind},
            "v": {"const": VERSION},
            "epoch": EPOCH,
            "revision": REVISION,
            "unread": integer(
                0, COUNT_LIMIT, description=f"{COUNT_LIMIT} = that or more."
            ),
            "items": array(ref("Item"), description="The newest first."),
            "now": _TIME,
            "poll_interval": integer(
                0, MAX_INTEGER, description="Seconds between polls; 0 = do not poll."
            ),
            "desktop": _SWITCH,
        }
        | more
    )


_CHANGES: Schema = {
    "since": REVISION,
    "removed": array(_ID, description="Deleted, dismissed or expired."),
}
_AT: Schema = {
    "at": nullable(
        _TIME
        | {"description": "What was written: the handle of the undo; null = nothing."}
    )
}
_PREFERENCES: Schema = {
    "notifications_enabled": _SWITCH,
    "notification_min_level": LEVEL,
    "browser_notifications_enabled": _SWITCH,
    "notification_retention_days": nullable(
        integer(
            MIN_RETENTION_DAYS,
            MAX_RETENTION_DAYS,
            description="Null = as long as the site keeps what is read.",
        )
    ),
}
_CLOSED: Schema = {"additionalProperties": False}

SCHEMAS: dict[str, Schema] = {
    "Item": _ITEM,
    "Snapshot": _frame("snapshot"),
    "Changes": _frame("changes", **_CHANGES),
    "SnapshotAfterWrite": _frame("snapshot", **_AT),
    "ChangesAfterWrite": _frame("changes", **_CHANGES, **_AT),
    "Page": record({"items": array(ref("Item")), "next": nullable(CURSOR)}),
    "Preferences": record({name: _PREFERENCES[name] for name in FIELDS}),
    "PreferencesChange": {
        "type": "object",
        "properties": {name: _PREFERENCES[name] for name in FIELDS},
        "minProperties": 1,
        **_CLOSED,
    },
    "ByIds": record({"ids": _IDS}, **_CLOSED),
    "UpTo": record({"up_to": REVISION}, **_CLOSED)
    | {
        "properties": {
            "up_to": REVISION
            | {"description": "The highest `created_revision` that was shown."},
            "epoch": EPOCH,
            "level": LEVEL,
            "source_app": SOURCE_APP,
        }
    },
    "ByTime": record(
        {"at": _TIME | {"description": "The `at` of the operation to undo."}}, **_CLOSED
    ),
    # RFC 9457.
    "Problem": record(
        {
            "type": string(),
            "title": string(),
            "status": integer(400, 599),
            "detail": string(),
        }
    ),
}
SCHEMAS["Problem"]["properties"]["errors"] = {
    "type": "object",
    "description": "What is wrong with each field that is.",
    "additionalProperties": string(),
}
