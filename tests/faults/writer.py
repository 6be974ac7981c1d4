"""A process that writes in all ways there are, a seeded stream of them, and keeps a
journal of what it did.
"""

import faulthandler
import os
import random
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.faults.history import Journal
from tests.faults.puppets import Puppet, obey
from tests.waiting import wait_until

JOURNAL = "THEMIS_TEST_JOURNAL"
SOURCE: Any = {"source_app": "faults", "source_model": "Thing"}

# How often each happens in a stream.
MIX = {
    "plain": 6,
    "atomic": 6,
    "users": 2,
    "savepoint": 1,
    "rollback": 1,
    "savepoint rollback": 1,
    "deduplicate": 2,
    "mark_read": 2,
    "withdraw": 1,
    "update": 1,
    "delete": 1,
}


class Writer(Puppet):
    """The process, from outside."""

    module = "tests.faults.writer"

    def __init__(self, environment: Mapping[str, str], journal: Path) -> None:
        self.journal = journal
        super().__init__({**environment, JOURNAL: str(journal)})

    def people(self, names: Sequence[str]) -> dict[str, str]:
        """Make users of these names; their session keys."""
        sessions: dict[str, str] = self.ask("people", names=list(names))
        return sessions

    def stream(
        self,
        seed: int,
        users: Sequence[str],
        *,
        seconds: float,
        pause: float = 0.02,
        mix: Mapping[str, int] | None = None,
    ) -> Callable[[], Any]:
        """Begin to write; call what is returned to wait for the end."""
        return self.start(
            "stream",
            seed=seed,
            users=list(users),
            seconds=seconds,
            pause=pause,
            mix=dict(mix or MIX),
        )

    def write(self, verb: str, title: str, *users: str) -> None:
        """Write once; raises what the call raised."""
        self.ask("write", verb=verb, title=title, users=list(users))

    def cross(self, title: str, users: Sequence[str], seconds: float) -> None:
        """Notify the users in this order in one transaction that takes its time."""
        self.ask("cross", title=title, users=list(users), seconds=seconds)


class _Hand:
    """The inside: one way to write after the other."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._accounts: dict[str, Any] = {}

    def account(self, name: str) -> Any:
        from django.contrib.auth.models import User  # noqa: PLC0415 -- needs the apps

        if name not in self._accounts:
            self._accounts[name] = User.objects.get(username=name)
        return self._accounts[name]

    def write(self, verb: str, title: str, users: list[str]) -> None:
        number = self._journal.attempt(verb, title, users)
        try:
            self._do(verb, title, users, number)
        except Exception as error:
            self._journal.fail(number, error)
            raise
        self._journal.acknowledge(number)

    def _do(self, verb: str, title: str, users: list[str], number: int) -> None:
        from themis.notifications import notify_user  # noqa: PLC0415 -- needs the apps

        accounts = [self.account(name) for name in users]

        def notify(**options: Any) -> None:
            for account in accounts:
                notify_user(account, title, **SOURCE, source_id=title, **options)

        if verb == "plain":
            notify()
        elif verb == "deduplicate":
            notify(deduplicate=True)
            notify(deduplicate=True)
        elif verb in {"atomic", "rollback", "savepoint", "savepoint rollback"}:
            self._in_transaction(verb, notify, number)
        else:
            _change(verb, title, accounts)

    def _in_transaction(
        self, verb: str, notify: Callable[[], None], number: int
    ) -> None:
        from django.db import transaction  # noqa: PLC0415 -- needs the apps

        with transaction.atomic():
            # Registered first, so it runs before what Themis registers.
            transaction.on_commit(lambda: self._journal.commit(number))
            with transaction.atomic():
                notify()
                transaction.set_rollback(verb == "savepoint rollback")
            transaction.set_rollback(verb == "rollback")

    def cross(
        self, title: str, users: list[str], seconds: float = 0, meeting: str = ""
    ) -> None:
        """With a folder for a meeting, wait after the first user until another writer
        has got as far.
        """
        from django.db import transaction  # noqa: PLC0415 -- needs the apps

        from themis.notifications import notify_user  # noqa: PLC0415

        number = self._journal.attempt("atomic", title, users)
        try:
            with transaction.atomic():
                transaction.on_commit(lambda: self._journal.commit(number))
                for name in users:
                    account = self.account(name)
                    notify_user(account, title, **SOURCE, source_id=title)
                    time.sleep(seconds)
                    if meeting and name == users[0]:
                        _meet(Path(meeting), title)
        except Exception as error:
            self._journal.fail(number, error)
            raise
        self._journal.acknowledge(number)

    def everybody(self, title: str, users: list[str]) -> None:
        """Tell everybody there is; of them *users* have pages."""
        from django.contrib.auth.models import User  # noqa: PLC0415 -- needs the apps

        from themis.notifications import notify_users  # noqa: PLC0415

        number = self._journal.attempt("users", title, users)
        notify_users(User.objects.all(), title)
        self._journal.acknowledge(number)

    def stream(
        self,
        seed: int,
        users: list[str],
        seconds: float,
        pause: float,
        mix: dict[str, int],
    ) -> None:
        """Write until the time is over; what fails is in the journal."""
        chance = random.Random(seed)  # noqa: S311 -- to be repeated
        written: list[tuple[str, list[str]]] = []
        end = time.monotonic() + seconds
        number = 0
        while time.monotonic() < end:
            [verb] = chance.choices([*mix], [*mix.values()])
            if verb in {"mark_read", "withdraw", "update", "delete"}:
                if not written:
                    continue
                title, told = chance.choice(written[-50:])
                if verb in {"withdraw", "delete"}:
                    written.remove((title, told))
            else:
                number += 1
                count = len(users) if verb == "users" else 1
                told = sorted(chance.sample(users, count))
                title = f"{seed}-{number} {verb}"
                if "rollback" not in verb:
                    written.append((title, told))
            try:
                self.write(verb, title, told)
            except Exception as error:  # noqa: BLE001 -- for the checker to judge
                del error
            time.sleep(pause * 2 * chance.random())


def _change(verb: str, title: str, accounts: list[Any]) -> None:
    from themis import notifications  # noqa: PLC0415 -- needs the apps
    from themis.models import UserNotification  # noqa: PLC0415

    source = {**SOURCE, "source_id": title}
    rows = UserNotification.objects.filter(title=title)
    match verb:
        case "users":
            notifications.notify_users(accounts, title, **source)
        case "mark_read":
            for account in accounts:
                notifications.mark_read(account, **source)
        case "withdraw":
            notifications.withdraw(**source)
        case "update":
            rows.update(message="changed")
        case "delete":
            rows.delete()
        case _:
            raise ValueError(verb)


def people(names: list[str]) -> dict[str, str]:
    from django.contrib.auth import (  # noqa: PLC0415 -- needs the apps
        BACKEND_SESSION_KEY,
        HASH_SESSION_KEY,
        SESSION_KEY,
    )
    from django.contrib.auth.models import User  # noqa: PLC0415
    from django.contrib.sessions.backends.db import SessionStore  # noqa: PLC0415

    sessions = {}
    for name in names:
        user = User.objects.create_user(name)
        session = SessionStore()
        session[SESSION_KEY] = str(user.pk)
        session[BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
        session[HASH_SESSION_KEY] = user.get_session_auth_hash()
        session.save()
        sessions[name] = str(session.session_key)
    return sessions


def populate(count: int) -> None:
    """Make users whom nobody knows."""
    from django.contrib.auth.models import User  # noqa: PLC0415 -- needs the apps

    known = User.objects.count()
    User.objects.bulk_create(User(username=f"x{known + n}") for n in range(count))


def main() -> None:
    import django  # noqa: PLC0415 -- only in the process that writes

    from tests.faults import failpoints  # noqa: PLC0415

    faulthandler.enable()
    django.setup()
    failpoints.install()
    hand = _Hand(Journal(Path(os.environ[JOURNAL])))
    obey(
        {
            "people": people,
            "populate": populate,
            "everybody": hand.everybody,
            "write": hand.write,
            "cross": hand.cross,
            "stream": hand.stream,
            "arrange": failpoints.arrange,
        }
    )


def _meet(place: Path, title: str) -> None:
    (place / title).touch()
    wait_until(lambda: len([*place.iterdir()]) > 1, within=20)


if __name__ == "__main__":
    main()
