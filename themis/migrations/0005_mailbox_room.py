"""Room on the pages of PostgreSQL for the next state of each mailbox.

Every notification writes its mailbox. Where the new row finds room on the page of the
old one, no index is written, and no vacuum is waited for (PostgreSQL, "Heap-Only
Tuples"). Pages that exist get their room as their rows leave for others.
"""

from typing import Any

from django.db import migrations

GIVE = "ALTER TABLE themis_mailbox SET (fillfactor = 50)"
TAKE = "ALTER TABLE themis_mailbox RESET (fillfactor)"


def give(apps: Any, schema_editor: Any) -> None:  # noqa: ARG001 -- Django's order
    """Fill pages by half from now on; SQLite has no such thing."""
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute(GIVE, params=None)


def take(apps: Any, schema_editor: Any) -> None:  # noqa: ARG001 -- Django's order
    """Fill pages to the brim again."""
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute(TAKE, params=None)


class Migration(migrations.Migration):
    """Only how a table is stored: no row is written."""

    dependencies = [("themis", "0004_store_function")]

    operations = [
        migrations.RunPython(give, take, hints={"model_name": "mailbox"}),
    ]
