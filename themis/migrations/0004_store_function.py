"""PostgreSQL's function that stores, stamps and counts one notification.

Its name ends in a number: another function gets another one, so that the servers of two
releases can run side by side. Where it is missing, statements do the same.
"""

from typing import Any

from django.db import migrations

# Each statement in it sees what was committed before it began, the lock's wait included
# (READ COMMITTED): what is counted belongs to the revision. One statement for all of it
# would count what it saw before it had the lock.
CREATE = """
CREATE OR REPLACE FUNCTION themis_store_1(
    recipient themis_mailbox.user_id%TYPE,
    title text, message text, level text, url text,
    source_app text, source_model text, source_id text,
    created_at timestamptz, expires_at timestamptz, now timestamptz,
    higher_minimums text[], count_limit integer, wait_ms integer
) RETURNS TABLE (
    id bigint, epoch text, revision bigint,
    unread integer, desktop boolean, next_expiry_at timestamptz
) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    held record;
    wishes record;
    stored bigint;
BEGIN
    PERFORM set_config('lock_timeout', wait_ms::text, true);
    SELECT box.epoch, box.revision + 1 AS revision INTO held
    FROM themis_mailbox AS box WHERE box.user_id = recipient FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    SELECT profile.notifications_enabled AS enabled,
        profile.notification_min_level AS minimum,
        profile.browser_notifications_enabled AS desktop INTO wishes
    FROM themis_userprofile AS profile WHERE profile.user_id = recipient;
    IF NOT wishes.enabled OR wishes.minimum = ANY (higher_minimums) THEN
        RETURN QUERY SELECT NULL::bigint, held.epoch::text, held.revision - 1,
            NULL::integer, NULL::boolean, NULL::timestamptz;
        RETURN;
    END IF;
    INSERT INTO themis_usernotification AS noted (
        user_id, title, message, level, url, source_app, source_model, source_id,
        created_at, expires_at, created_revision, revision,
        pending, expiry_stamped, deduplicate
    ) VALUES (
        recipient, themis_store_1.title, themis_store_1.message, themis_store_1.level,
        themis_store_1.url, themis_store_1.source_app, themis_store_1.source_model,
        themis_store_1.source_id, themis_store_1.created_at, themis_store_1.expires_at,
        held.revision, held.revision, false, false, false
    ) RETURNING noted.id INTO stored;
    RETURN QUERY UPDATE themis_mailbox AS box SET
        revision = held.revision,
        unread = (SELECT COUNT(*) FROM (
            SELECT 1 FROM themis_usernotification AS owned
            WHERE owned.user_id = recipient
            AND owned.created_revision IS NOT NULL
            AND owned.dismissed_at IS NULL AND owned.read_at IS NULL
            AND (owned.expires_at IS NULL OR owned.expires_at > themis_store_1.now)
            LIMIT count_limit) AS counted),
        next_expiry_at = (SELECT MIN(owned.expires_at)
            FROM themis_usernotification AS owned
            WHERE owned.user_id = recipient
            AND owned.created_revision IS NOT NULL AND owned.dismissed_at IS NULL
            AND owned.expires_at IS NOT NULL AND NOT owned.expiry_stamped)
    WHERE box.user_id = recipient
    RETURNING stored, box.epoch::text, box.revision, box.unread,
        COALESCE(wishes.desktop, false), box.next_expiry_at;
END
$$
"""
DROP = "DROP FUNCTION IF EXISTS themis_store_1"


def create(apps: Any, schema_editor: Any) -> None:  # noqa: ARG001 -- Django's order
    """Make the function; SQLite has none."""
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute(CREATE, params=None)


def drop(apps: Any, schema_editor: Any) -> None:  # noqa: ARG001 -- Django's order
    """Take the function back."""
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute(DROP, params=None)


class Migration(migrations.Migration):
    """Only code: no table changes."""

    dependencies = [("themis", "0003_dismissed_and_unsourced")]

    operations = [
        migrations.RunPython(create, drop, hints={"model_name": "usernotification"})
    ]
