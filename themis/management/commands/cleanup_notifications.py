"""The command that deletes what is done and old; for a nightly job."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from themis.cleaning import clean_up


class Command(BaseCommand):
    """See `themis.cleaning.clean_up`."""

    help = (
        "Deletes notifications that are read or dismissed and old, or have expired. "
        "Old is what was created longer ago than the user's own number of days, and "
        "at most --max-age-days. What is unread stays, unless it has expired."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the options."""
        parser.add_argument(
            "--max-age-days",
            type=int,
            metavar="N",
            help="at least 1; default: THEMIS_NOTIFICATION_MAX_AGE_DAYS",
        )
        parser.add_argument(
            "--dry-run",
            action="store_true",
            help="only say how many would be deleted",
        )

    def handle(self, *, max_age_days: int | None, dry_run: bool, **options: Any) -> str:
        """Clean up, and say how many of each kind are gone."""
        try:
            cleared = clean_up(max_age_days, dry_run=dry_run)
        except ValueError as error:
            raise CommandError(str(error)) from error
        verb = "Would delete" if dry_run else "Deleted"
        return (
            f"{verb} {cleared['read']} read, {cleared['dismissed']} dismissed and "
            f"{cleared['expired']} expired notifications, and "
            f"{cleared['tombstones']} tombstones."
        )
