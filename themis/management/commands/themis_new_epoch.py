"""The command that an operator runs after restoring a backup."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import OperationalError

from themis.queries import database
from themis.revisions import renew_all_epochs
from themis.transactions import is_contention


class Command(BaseCommand):
    """See `themis.revisions.renew_all_epochs`."""

    help = (
        "Gives all mailboxes a new epoch. Run it when an older database has been "
        "restored: every open page then loads its state anew."
    )

    def handle(self, **options: Any) -> str:
        """Renew them, and say how many."""
        try:
            number = renew_all_epochs(database())
        except OperationalError as error:
            if not is_contention(error):
                raise
            msg = "Another transaction holds a mailbox; run this again when it is over."
            raise CommandError(msg) from error
        return f"{number} mailboxes have a new epoch."
