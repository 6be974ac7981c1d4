"""`python -m benchmarks.host.fill 1000 3`: users with sessions and rows."""

from __future__ import annotations

import sys
from datetime import timedelta

import django

django.setup()

from django.contrib.auth import (  # noqa: E402
    BACKEND_SESSION_KEY,
    HASH_SESSION_KEY,
    SESSION_KEY,
    get_user_model,
)
from django.contrib.sessions.backends.db import SessionStore  # noqa: E402
from django.contrib.sessions.models import Session  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.db import connection  # noqa: E402
from django.utils import timezone  # noqa: E402

from benchmarks.load.crowd import session_key  # noqa: E402
from benchmarks.senders.rows import insert_all  # noqa: E402
from benchmarks.senders.texts import FIELDS  # noqa: E402
from themis.models import UserProfile  # noqa: E402
from themis.notifications import notify_users  # noqa: E402

BACKEND = "django.contrib.auth.backends.ModelBackend"
BATCH = 1_000


def fill(count: int, held: int) -> None:
    """
    Make *count* users, whose primary keys begin at 1, each with a session.

    In Themis' table and in the peers', each has *held* unread notifications.
    """
    accounts = get_user_model()
    people = [accounts(username=f"user{n}") for n in range(count)]
    for person in people:
        person.set_unusable_password()
    accounts.objects.bulk_create(people, BATCH)
    UserProfile.objects.bulk_create((UserProfile(user=p) for p in people), BATCH)
    sessions = SessionStore()
    expires = timezone.now() + timedelta(days=14)
    Session.objects.bulk_create(
        (
            Session(
                session_key=session_key(person.pk),
                session_data=sessions.encode(
                    {
                        SESSION_KEY: str(person.pk),
                        BACKEND_SESSION_KEY: BACKEND,
                        HASH_SESSION_KEY: person.get_session_auth_hash(),
                    }
                ),
                expire_date=expires,
            )
            for person in people
        ),
        BATCH,
    )
    for number in range(held):
        title = f"Held since before, {number}"
        notify_users(accounts.objects.all(), title, **FIELDS)
        for _chunk in insert_all(range(1, 1 + count), title):
            pass
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")


if __name__ == "__main__":
    call_command("migrate", verbosity=0)
    # Tables without migrations come first, but the peers' refers to the users.
    call_command("migrate", run_syncdb=True, verbosity=0)
    fill(int(sys.argv[1]), int(sys.argv[2]))
