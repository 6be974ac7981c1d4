"""`manage.py demo_users`: create ada and grace."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from demo.accounts import PASSWORD, USERNAMES, create_users


class Command(BaseCommand):
    """Create the demo users, only with DEBUG: everybody knows their password."""

    help = "Create the demo users (only with DEBUG)"

    def handle(self, *args: Any, **options: Any) -> None:
        """Create who is missing."""
        if not settings.DEBUG:
            raise CommandError(
                "The password of the demo users is public, so they are created only "
                "with DEBUG. Set DJANGO_DEBUG=1, or use createsuperuser."
            )
        created = create_users()
        if options["verbosity"] > 0:
            self.stdout.write(
                f"Created {', '.join(created)} with password {PASSWORD}."
                if created
                else f"{' and '.join(USERNAMES)} are there already."
            )
