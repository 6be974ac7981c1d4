"""Many rows at once, written by the database itself."""

from collections.abc import Sequence
from typing import Any

from django.db import connection

from themis.models import Mailbox, UserNotification, make_epoch

_NOTIFICATIONS = """
INSERT INTO themis_usernotification (
    user_id, title, message, level, url, source_app, source_model, source_id,
    created_at, read_at, dismissed_at, expires_at,
    created_revision, revision, pending, expiry_stamped, deduplicate)
WITH RECURSIVE numbers(i) AS
    (SELECT 0 UNION ALL SELECT i + 1 FROM numbers WHERE i < %(rows)s - 1)
SELECT %(first)s + i %% %(users)s, 'Title', 'Message', 'info', '', 'tasks', 'Task',
    CAST(i AS text), %(created_at)s, %(read_at)s, NULL, NULL,
    1 + i / %(users)s, 1 + i / %(users)s, %(no)s, %(no)s, %(no)s
FROM numbers
"""


def fill(users: Sequence[Any], rows: int, **times: Any) -> None:
    """
    Give `users`, whose keys are consecutive, `rows` notifications in turn, all stamped.

    `times` are `created_at` and, if they are read, `read_at`.
    """
    keys = sorted(user.pk for user in users)
    assert keys == list(range(keys[0], keys[0] + len(keys)))
    parameters = {
        "first": keys[0],
        "users": len(keys),
        "rows": rows,
        "no": False,
        "created_at": _adapted("created_at", times["created_at"]),
        "read_at": _adapted("read_at", times.get("read_at")),
    }
    with connection.cursor() as cursor:
        cursor.execute(_NOTIFICATIONS, parameters)
    Mailbox.objects.bulk_create(
        (
            Mailbox(pk=key, epoch=make_epoch(), revision=rows // len(keys) + 1)
            for key in keys
        ),
        ignore_conflicts=True,
    )


def _adapted(name: str, value: Any) -> Any:
    field: Any = UserNotification._meta.get_field(name)
    adapted = field.get_db_prep_value(value, connection)
    return adapted if adapted is None else str(adapted)
