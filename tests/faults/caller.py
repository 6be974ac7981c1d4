"""A process of a host that claims: it notifies with `deduplicate=True`, in and out of
transactions that stay open until it is told to end them.
"""

import faulthandler
import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from tests.faults.puppets import Puppet, obey

SOURCE_APP, SOURCE_MODEL = "tests", "Thing"


@dataclass(frozen=True)
class Call:
    """What came of a call: how long it took, and the row, if it made one."""

    took: float
    pk: int | None
    # Why it was stored without a claim on its dedup key; empty where it has one.
    unclaimed: str


class Caller(Puppet):
    """The process, from outside. `*_soon` begins and returns how to get the outcome."""

    module = "tests.faults.caller"

    def begin(self, isolation: str = "") -> None:
        """Open a transaction; `isolation` is that of the whole connection."""
        self.ask("begin", isolation=isolation)

    def commit(self) -> None:
        self.ask("commit")

    def roll_back(self) -> None:
        self.ask("roll_back")

    def notify(self, user: str, source: str, **options: Any) -> Call:
        return self.notify_soon(user, source, **options)()

    def notify_soon(self, user: str, source: str, **options: Any) -> Callable[[], Call]:
        answer = self.start("notify", user=user, source=source, **options)
        return lambda: Call(*answer())

    def notify_all(self, users: list[str], source: str) -> tuple[float, int]:
        """With one call of notify_users; the seconds it took, how many were told."""
        took, told = self.ask("notify_all", users=users, source=source)
        return took, told

    def change(self, verb: str, user: str, **which: Any) -> str | None:
        """Read, unread, dismiss or restore, as the API does; the handle to undo it."""
        at: str | None = self.ask("change", verb=verb, user=user, **which)
        return at

    def lock(self, task: int) -> None:
        self.ask("lock", task=task)

    def lock_soon(self, task: int) -> Callable[[], Any]:
        return self.start("lock", task=task)

    def is_usable(self) -> bool:
        """Whether its transaction, or its connection, still writes."""
        return bool(self.ask("is_usable"))

    def waits(self) -> bool:
        """Whether anybody waits for a lock."""
        return bool(self.ask("waits"))

    def shown(self, user: str, source: str) -> list[int]:
        """What is unread of the source on a page that asks now, newest first."""
        keys: list[int] = self.ask("shown", user=user, source=source)
        return keys

    def stored(self, user: str, source: str) -> list[int]:
        """What is unread of the source in the table."""
        keys: list[int] = self.ask("stored", user=user, source=source)
        return keys


def main() -> None:  # noqa: C901, PLR0915 -- one process, one function for each command
    import django  # noqa: PLC0415 -- only in the process that is the caller

    faulthandler.enable()
    django.setup()
    from django.contrib.auth.models import User  # noqa: PLC0415 -- needs the apps
    from django.db import connection, transaction  # noqa: PLC0415
    from django.utils import timezone  # noqa: PLC0415

    from demo.models import Task  # noqa: PLC0415
    from themis import mailbox, notifications  # noqa: PLC0415
    from themis.events import wire_time  # noqa: PLC0415
    from themis.models import UserNotification  # noqa: PLC0415
    from themis.notifications import notify_user  # noqa: PLC0415
    from themis.transactions import is_contention  # noqa: PLC0415

    blocks: list[Any] = []
    given_up: list[str] = []

    def note_why(record: logging.LogRecord) -> bool:
        given_up.append(getattr(record, "reason", ""))
        return record.levelno > logging.DEBUG

    themis = logging.getLogger("themis")
    themis.setLevel(logging.DEBUG)
    themis.addFilter(note_why)

    def account(name: str) -> Any:
        return User.objects.get(username=name)

    def begin(isolation: str) -> None:
        isolate(isolation)
        blocks.append(transaction.atomic())
        blocks[-1].__enter__()
        if isolation:
            # The snapshot of such a transaction is that of its first statement.
            User.objects.exists()

    def isolate(level: str) -> None:
        if connection.vendor != "postgresql":
            return
        from psycopg import IsolationLevel  # noqa: PLC0415

        options = connection.settings_dict["OPTIONS"]
        options.pop("isolation_level", None)
        if level:
            options["isolation_level"] = IsolationLevel[level]
        connection.close()

    def commit() -> None:
        blocks.pop().__exit__(None, None, None)

    def roll_back() -> None:
        if blocks:
            transaction.set_rollback(True)
            commit()

    def of_source(source: str, title: str = "") -> dict[str, Any]:
        return {
            "title": title or source,
            "source_app": SOURCE_APP,
            "source_model": SOURCE_MODEL,
            "source_id": source,
        }

    def notify(
        user: str,
        source: str,
        *,
        deduplicate: bool = True,
        expires_in: float | None = None,
    ) -> tuple[float, int | None, str]:
        expires_at = None
        if expires_in is not None:
            expires_at = timezone.now() + timedelta(seconds=expires_in)
        told = account(user)
        given_up.clear()
        begun = time.perf_counter()
        row = notify_user(
            told, **of_source(source), deduplicate=deduplicate, expires_at=expires_at
        )
        took = time.perf_counter() - begun
        return took, row.pk if row else None, "".join(given_up)

    def notify_all(users: list[str], source: str) -> tuple[float, int]:
        told = [account(user) for user in users]
        begun = time.perf_counter()
        count = notifications.notify_users(told, **of_source(source), deduplicate=True)
        return time.perf_counter() - begun, count

    def change(verb: Any, user: str, at: str | None = None, **which: Any) -> str | None:
        moment = datetime.fromisoformat(at) if at else None
        _state, done_at = mailbox.change(account(user).pk, verb, at=moment, **which)
        return wire_time(done_at)

    def lock(task: int) -> None:
        Task.objects.select_for_update().get(pk=task)

    def make_task() -> int:
        return Task.objects.create(title="Locked").pk

    def is_usable() -> bool:
        Task.objects.create(title="Still writes")
        return Task.objects.exists()

    def waits() -> bool:
        with connection.cursor() as cursor:
            cursor.execute("SELECT EXISTS (SELECT 1 FROM pg_locks WHERE NOT granted)")
            return bool(cursor.fetchone()[0])

    def shown(user: str, source: str) -> list[int]:
        state = mailbox.read_state(account(user).pk)
        return [
            row.pk for row in state.items if row.source_id == source and not row.is_read
        ]

    def stored(user: str, source: str) -> list[int]:
        rows = UserNotification.objects.unread().filter(user=account(user))
        return list(rows.filter(source_id=source).values_list("pk", flat=True))

    def expiring() -> int:
        return UserNotification.objects.unread().exclude(expires_at=None).count()

    def storm(
        seed: int, count: int, users: list[str], sources: list[str]
    ) -> list[float]:
        """Claim in every way, and now and then read or dismiss; how long calls took."""
        chance = random.Random(seed)  # noqa: S311 -- to be repeated
        took: list[float] = []

        def claim() -> None:
            soon = chance.choice([None, None, None, 0.02])
            user, source = chance.choice(users), chance.choice(sources)
            seconds, *_ = notify(user, source, expires_in=soon)
            took.append(seconds)

        def claim_in_transaction() -> None:
            with transaction.atomic():
                for _ in range(chance.randint(1, 3)):
                    with transaction.atomic():
                        claim()
                        transaction.set_rollback(chance.random() < 0.2)
                # How long it stays open is part of the storm.
                time.sleep(chance.random() / 50)
                transaction.set_rollback(chance.random() < 0.3)

        def claim_for_many() -> None:
            some = chance.sample(users, chance.randint(1, len(users)))
            seconds, _told = notify_all(some, chance.choice(sources))
            took.append(seconds)

        def put_away() -> None:
            user = chance.choice(users)
            verb = chance.choice(["read", "dismiss"])
            # Not the newest alone: all there is.
            up_to = mailbox.look(account(user).pk).revision
            try:
                change(verb, user, up_to=up_to)
            except Exception as error:
                # A person is asked to try again.
                if not is_contention(error):
                    raise

        ways = [claim, claim, claim_in_transaction, claim_in_transaction]
        ways += [claim_for_many, put_away]
        for _ in range(count):
            chance.choice(ways)()
        return took

    obey({name: one for name, one in locals().items() if callable(one)})


if __name__ == "__main__":
    main()
