"""A process that notifies, apart from any server: a worker, a shell, a cron job."""

import faulthandler
import random
import time
from datetime import timedelta
from typing import Any

from tests.faults.puppets import Puppet, obey
from tests.processes import DaphneServer


class Sender(Puppet):
    """The process, from outside: on the database and the broker of a server."""

    module = "tests.faults.sender"

    def __init__(self, server: DaphneServer) -> None:
        super().__init__(server.environment())

    def notify(self, user: str, *titles: str, how: str = "plain") -> list[float]:
        """Notify of each title ("long": and much text); the seconds of each call."""
        took: list[float] = self.ask("notify", user=user, titles=titles, how=how)
        return took

    def remind(self, *users: str, seconds: float) -> float:
        """Notify each of what expires then; when that is (seconds since 1970)."""
        expires_at: float = self.ask("remind", users=users, seconds=seconds)
        return expires_at

    def announce(self, title: str, among: int) -> int:
        """Notify everybody, who are at least so many; how many that were."""
        told: int = self.ask("announce", title=title, among=among)
        return told

    def withdraw(self, title: str) -> int:
        """Take the announcement back from everybody; how many there were."""
        gone: int = self.ask("withdraw", title=title)
        return gone

    def delete(self, user: str, how: str = "orm") -> None:
        """Delete the user, by the ORM or ("sql") past it."""
        self.ask("delete", user=user, how=how)

    def stream(self, seed: int, count: int, users: list[str]) -> dict[str, list[str]]:
        """Notify in one way or the other; the titles that each user must see."""
        seen: dict[str, list[str]] = self.ask(
            "stream", seed=seed, count=count, users=users
        )
        return seen

    def hold(self, user: str) -> None:
        """Leave a transaction open that has notified, and has the mailbox's lock."""
        self.ask("hold", user=user)

    def release(self) -> None:
        self.ask("release")


def main() -> None:
    import django  # noqa: PLC0415 -- only in the process that is the sender

    faulthandler.enable()
    django.setup()
    from django.contrib.auth.models import User  # noqa: PLC0415 -- needs the apps
    from django.db import transaction  # noqa: PLC0415

    from themis.models import Mailbox  # noqa: PLC0415
    from themis.notifications import notify_user  # noqa: PLC0415

    users = {user.username: user for user in User.objects.all()}
    held = transaction.atomic()

    def call(user: str, title: str, how: str) -> float:
        begun = time.perf_counter()
        if how == "plain":
            notify_user(users[user], title)
        elif how == "long":
            notify_user(users[user], title, "𝄞" * 4_000)
        else:
            with transaction.atomic():
                notify_user(users[user], title)
                transaction.set_rollback(how == "rollback")
        return time.perf_counter() - begun

    def notify(user: str, titles: list[str], how: str) -> list[float]:
        return [call(user, title, how) for title in titles]

    def stream(seed: int, count: int, users: list[str]) -> dict[str, list[str]]:
        chance = random.Random(seed)  # noqa: S311 -- to be repeated
        seen: dict[str, list[str]] = {user: [] for user in users}
        for number in range(count):
            user = chance.choice(users)
            how = chance.choice(["plain", "plain", "atomic", "atomic", "rollback"])
            call(user, f"{number} {how}", how)
            if how != "rollback":
                seen[user].append(f"{number} {how}")
        return seen

    def hold(user: str) -> None:
        held.__enter__()
        notify_user(users[user], "held back")
        list(Mailbox.objects.select_for_update().filter(user=users[user]))

    def release() -> None:
        held.__exit__(None, None, None)

    verbs: dict[str, Any] = {
        "notify": notify,
        "remind": remind,
        "announce": announce,
        "withdraw": withdraw,
        "delete": delete,
        "stream": stream,
        "hold": hold,
        "release": release,
    }
    obey(verbs)


def remind(users: list[str], seconds: float) -> float:
    from django.contrib.auth.models import User  # noqa: PLC0415 -- needs the apps
    from django.utils import timezone  # noqa: PLC0415

    from themis.notifications import notify_user  # noqa: PLC0415

    expires_at = timezone.now() + timedelta(seconds=seconds)
    for user in users:
        account = User.objects.get(username=user)
        notify_user(account, "a reminder", expires_at=expires_at)
    return expires_at.timestamp()


def announce(title: str, among: int) -> int:
    from django.contrib.auth.models import User  # noqa: PLC0415 -- needs the apps

    from themis.notifications import notify_users  # noqa: PLC0415

    missing = range(User.objects.count(), among)
    User.objects.bulk_create(User(username=f"reader {number}") for number in missing)
    return notify_users(User.objects.all(), title, **announcement(title))


def withdraw(title: str) -> int:
    from themis import notifications  # noqa: PLC0415 -- needs the apps

    return notifications.withdraw(**announcement(title))


def announcement(title: str) -> Any:
    return {"source_app": "news", "source_model": "Announcement", "source_id": title}


def delete(user: str, how: str) -> None:
    from django.contrib.auth.models import User  # noqa: PLC0415 -- needs the apps
    from django.db.models.signals import post_delete  # noqa: PLC0415

    account = User.objects.get(username=user)
    if how == "sql":
        # As SQL has it, nobody hears of it.
        post_delete.disconnect(sender=User, dispatch_uid="themis.disconnect")
    account.delete()


if __name__ == "__main__":
    main()
