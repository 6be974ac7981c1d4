"""The project as it runs for real: its servers, and another process that notifies."""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from tests.e2e.shell import Shell
from tests.processes import DaphneServer


@dataclasses.dataclass(frozen=True)
class Person:
    """A user of a site, signed in by the cookie of `session`."""

    pk: int
    username: str
    session: str


class Site:
    """One or more server processes on one database, and a `shell` beside them.

    Tests share a site and have people of their own.
    """

    _numbers = itertools.count(1)

    def __init__(
        self,
        *,
        database_url: str,
        redis_url: str = "",
        servers: int = 1,
        env: Mapping[str, str] | None = None,
    ) -> None:
        variables = {"DJANGO_DEBUG": "1", **(env or {})}
        self.servers: Sequence[DaphneServer] = [
            DaphneServer(database_url=database_url, redis_url=redis_url, env=variables)
            for _ in range(servers)
        ]
        self.shell = Shell(
            {
                "DATABASE_URL": database_url,
                "REDIS_URL": redis_url,
                "DJANGO_SETTINGS_MODULE": "server.settings",
                **variables,
            }
        )

    def start(self) -> None:
        """Start the servers that are not running."""
        for server in self.servers:
            server.start()

    def close(self) -> None:
        for server in self.servers:
            server.close()
        self.shell.close()

    @property
    def url(self) -> str:
        return self.servers[0].url

    def person(self, name: str = "person") -> Person:
        """A new user, signed in."""
        username = f"{name}-{next(self._numbers)}"
        pk = self.shell.run(
            "result = User.objects.create_user(username).pk", username=username
        )
        return Person(pk, username, self.sign_in(pk))

    def sign_in(self, pk: int) -> str:
        """The key of a new session of a user."""
        return str(self.shell.run(_SIGN_IN, pk=pk))

    def notify(self, person: Person, *titles: str, **arguments: object) -> None:
        """Call notify_user() in the other process, once per title."""
        self.shell.run(_NOTIFY, pk=person.pk, titles=titles, arguments=arguments)

    def rows(self, person: Person) -> list[dict[str, Any]]:
        """The person's notifications as the table has them, the oldest first:
        id, title, is_read.
        """
        rows: list[dict[str, Any]] = self.shell.run(_ROWS, pk=person.pk)
        return rows

    def unread(self, person: Person) -> list[str]:
        """The titles of what is unread in the table, the oldest first."""
        return [row["title"] for row in self.rows(person) if not row["is_read"]]


_SIGN_IN = """
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.sessions.backends.db import SessionStore

user = User.objects.get(pk=pk)
session = SessionStore()
session[SESSION_KEY] = str(user.pk)
session[BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
session[HASH_SESSION_KEY] = user.get_session_auth_hash()
session.save()
result = session.session_key
"""
_NOTIFY = """
user = User.objects.get(pk=pk)
for title in titles:
    notify_user(user, title, **arguments)
"""
_ROWS = """
result = [
    {"id": row.pk, "title": row.title, "is_read": row.is_read}
    for row in UserNotification.objects.filter(user=pk).order_by("pk")
]
"""
