"""What a host does with Themis, from its first migration on, and what must come of it.

`python -m tests.variants.journey` with the settings of a host: its output is the names
of what was checked, and the traceback of what failed.
"""

import asyncio
import importlib
import io
import json
import os
import random
import re
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import django
from django.apps import apps
from django.conf import settings
from django.contrib import admin
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.db import connections, transaction
from django.db.models.signals import post_save
from django.test import Client
from django.test.utils import override_settings
from django.utils import timezone

from tests.waiting import wait_until

django.setup()

from realtime.hub import running_hubs  # noqa: E402 -- need the apps
from tests.mirror import Mirror, over_the_wire  # noqa: E402
from tests.realtime.harness import Connection  # noqa: E402
from tests.themis import broadcasting  # noqa: E402
from tests.themis.colleague import dying_after_the_commit  # noqa: E402
from themis import holding, mailbox  # noqa: E402
from themis.conf import settings as themis_settings  # noqa: E402
from themis.models import (  # noqa: E402
    Mailbox,
    Tombstone,
    UserNotification,
    UserProfile,
)
from themis.notifications import (  # noqa: E402
    mark_read,
    notify_user,
    notify_users,
    withdraw,
)
from themis.queries import database  # noqa: E402
from themis.signals import notification_created  # noqa: E402

MOUNT = "/deep/down/"
SENT = broadcasting.CollectingBroadcaster.sent
User: Any = get_user_model()
USERS = User._base_manager
_names = (f"person-{number}@example.com" for number in range(10_000))
_host: Any = settings  # with what these hosts alone have
_keys = iter(_host.ACCOUNT_KEYS)
_ADMINS = ("usernotification", "userprofile")


def is_same(found: object, expected: object) -> None:
    """As `assert found == expected`, and says what was found."""
    assert found == expected, f"found {found!r}, not {expected!r}"


def new_account() -> Any:
    """An account, not saved."""
    account = User(**{User.USERNAME_FIELD: next(_names)})
    if _host.ACCOUNT_KEYS:
        # When there are no awkward ones left.
        another = f"{_host.KEY_PREFIX}{uuid.UUID(int=random.getrandbits(128))}"
        account.pk = next(_keys, another)
    return account


def create(accounts: list[Any]) -> list[Any]:
    """Without a signal, so that Themis hears nothing of it."""
    if not User._meta.parents:
        return list(USERS.bulk_create(accounts))
    for account in accounts:
        # Django has no bulk_create for multi-table inheritance.
        with unheard():
            account.save()
    return accounts


@contextmanager
def unheard() -> Iterator[None]:
    receivers, post_save.receivers = post_save.receivers, []
    post_save.sender_receivers_cache.clear()
    try:
        yield
    finally:
        post_save.receivers = receivers
        post_save.sender_receivers_cache.clear()


def sign_up() -> Any:
    account = new_account()
    account.save()
    return account


class Page:
    """A signed-in person's page, by the API."""

    def __init__(self, account: Any) -> None:
        self.client = Client(raise_request_exception=False)
        self.client.force_login(account)
        self._mirror = Mirror()
        self.look()

    def look(self) -> list[str]:
        """Ask what is new; the titles that the page shows then."""
        query = {k: v for k, v in self._mirror.position.items() if v is not None}
        answer = self.client.get(f"{MOUNT}api/state", query)
        is_same(answer.status_code, 200)
        self._mirror.apply(answer.json())
        return self.titles

    @property
    def items(self) -> list[dict[str, Any]]:
        return self._mirror.shown(datetime.now(UTC))

    @property
    def titles(self) -> list[str]:
        return [item["title"] for item in self.items]

    @property
    def unread(self) -> int:
        return self._mirror.unread

    def post(self, verb: str, **body: Any) -> Any:
        """Read, unread, dismiss or restore; the time that is the handle of its undo."""
        answer = self.client.post(
            f"{MOUNT}api/notifications/{verb}", body, content_type="application/json"
        )
        is_same((answer.status_code, verb), (200, verb))
        self._mirror.apply(answer.json())
        return answer.json()["at"]


@contextmanager
def in_transaction() -> Iterator[None]:
    with transaction.atomic(using=database()):
        yield


def tell(account: Any, title: str, **options: Any) -> UserNotification:
    row = notify_user(account, title, **options)
    assert row is not None, title
    return row


def profile_of(account: Any) -> Any:
    return getattr(account, themis_settings.profile_related_name)


def assert_nothing_waits() -> None:
    waiting = {
        "rows": UserNotification.objects.filter(pending=True).count(),
        "deletions": Tombstone.objects.filter(revision=None).count(),
        "profiles": UserProfile.objects.filter(pending=True).count(),
    }
    assert not any(waiting.values()), waiting


# The journey


def check_the_system_checks() -> None:
    call_command("check", fail_level="WARNING")


def check_the_migrations() -> None:
    """The host was there before Themis, and had people."""
    Path("made").mkdir()
    Path("made/__init__.py").touch()
    sys.path.insert(0, str(Path.cwd()))
    importlib.invalidate_caches()
    own = [label for label in settings.MIGRATION_MODULES if label in apps.app_configs]
    if own:
        call_command("makemigrations", *own, verbosity=0)
    for alias in settings.DATABASES:
        for label in ("contenttypes", "auth", *own):
            call_command("migrate", label, database=alias, verbosity=0)
    early = create([new_account() for _ in range(5)])
    for alias in settings.DATABASES:
        call_command("migrate", database=alias, verbosity=0)
    is_same(UserProfile.objects.count(), len(early))
    call_command("makemigrations", check=True, dry_run=True, verbosity=0)


def check_profiles() -> None:
    before = UserProfile.objects.count()
    account = sign_up()
    is_same(UserProfile.objects.count(), before + 1)
    account.save()
    assert profile_of(account).pk
    is_same(UserProfile.objects.count(), before + 1)
    (late,) = create([new_account()])
    late = USERS.get(pk=late.pk)
    is_same(UserProfile.objects.filter(user=late).count(), 0)
    assert notify_user(late, "Nobody has asked for it"), "no row means the defaults"
    profile_of(late).notification_min_level = "danger"
    profile_of(late).save()
    assert notify_user(late, "Not wanted", level="warning") is None
    assert notify_user(late, "Wanted", level="danger")
    is_same(Page(late).titles, ["Wanted", "Nobody has asked for it"])


def check_each_key() -> None:
    """Alone, and all in one transaction."""
    people = [sign_up() for _ in _host.ACCOUNT_KEYS or range(5)]
    SENT.clear()
    for account in people:
        row = notify_user(account, "Alone")
        assert row
        is_same(row.created_revision, 1)
    is_same([change.user_key for change in SENT], [str(one.pk) for one in people])
    SENT.clear()
    with in_transaction():
        for account in random.sample(people, len(people)):
            assert notify_user(account, "Together")
        assert not SENT
    is_same({c.user_key: c.revision for c in SENT}, {str(p.pk): 2 for p in people})
    for account in people:
        is_same(Page(account).titles, ["Together", "Alone"])
    with dying_after_the_commit(), in_transaction():
        for account in people:
            notify_user(account, "Left over")
    mailbox.stamp_waiting()
    assert_nothing_waits()
    for account in people:
        state = mailbox.read_state(account.pk)
        is_same(state.user_key, str(USERS.get(pk=account.pk).pk))
        is_same([row.title for row in state.items], ["Left over", "Together", "Alone"])


def check_keys_as_a_form_sends_them() -> None:
    """Django takes the text of a key for the key, and so do we."""
    one, other = sign_up(), sign_up()
    for account in (one, other):
        account.pk = str(account.pk)
    assert notify_user(one, "Outside")
    with in_transaction():
        assert notify_user(one, "Inside")
        assert notify_user(USERS.get(pk=one.pk), "By the real key")
        UserNotification.objects.create(user_id=str(other.pk), title="By hand")
        UserNotification.objects.create(user_id=USERS.get(pk=other.pk).pk, title="Too")
    assert_nothing_waits()
    is_same(Page(one).titles, ["By the real key", "Inside", "Outside"])
    is_same(Page(other).titles, ["Too", "By hand"])
    assert notify_users([one, USERS.get(pk=one.pk)], "Twice") == 2
    is_same(Page(one).titles[:2], ["Twice", "Twice"])
    UserNotification.objects.filter(title="Twice").delete()
    UserNotification.objects.filter(user_id=str(one.pk)).update(user_id=str(other.pk))
    assert_nothing_waits()
    is_same((len(Page(one).titles), len(Page(other).titles)), (0, 5))


def check_duplicates() -> None:
    account = sign_up()
    source: dict[str, Any] = {"source_app": "tasks", "source_id": 7}
    first = notify_user(account, "First", deduplicate=True, **source)
    assert first
    assert notify_user(account, "Second", deduplicate=True, **source) is None
    with in_transaction():
        assert notify_user(account, "Third", deduplicate=True, **source) is None
    Page(account).post("read", ids=[str(first.pk)])
    with in_transaction():
        assert notify_user(account, "Fourth", deduplicate=True, **source)
    soon = timezone.now() + timedelta(seconds=0.1)
    UserNotification.objects.filter(title="Fourth").update(expires_at=soon)
    wait_until(lambda: timezone.now() > soon)
    assert notify_user(account, "Fifth", deduplicate=True, **source)
    is_same(Page(account).titles, ["Fifth", "First"])


def check_reading_and_undo() -> None:
    account, stranger = sign_up(), sign_up()
    page = Page(account)
    for title in ("One", "Two", "Three"):
        notify_user(account, title)
    notify_user(stranger, "A stranger's")
    is_same((page.look(), page.unread), (["Three", "Two", "One"], 3))
    tag = page.client.get(f"{MOUNT}api/state")["ETag"]
    again = page.client.get(f"{MOUNT}api/state", headers={"If-None-Match": tag})
    is_same(again.status_code, 304)
    page.post("read", ids=[page.items[-1]["id"]])
    at = page.post("read", up_to=page.items[0]["created_revision"])
    is_same((page.unread, page.look()), (0, ["Three", "Two", "One"]))
    now = datetime.now(UTC)
    for item in page.items:
        for moment in (item["read_at"], item["created_at"]):
            assert (
                timedelta() <= now - datetime.fromisoformat(moment) < timedelta(0, 60)
            )
    page.post("unread", at=at)
    is_same((page.unread, page.items[-1]["read_at"] is None), (2, False))
    at = page.post("dismiss", ids=[item["id"] for item in page.items])
    is_same((page.unread, page.titles), (0, []))
    page.post("restore", at=at)
    is_same((page.unread, page.look()), (2, ["Three", "Two", "One"]))
    foreign = Page(stranger).items[0]["id"]
    answer = page.client.post(
        f"{MOUNT}api/notifications/read",
        {"ids": [foreign]},
        content_type="application/json",
    )
    is_same(answer.status_code, 404)


def check_a_restored_backup() -> None:
    account = sign_up()
    notify_user(account, "Kept")
    box = mailbox.look(account.pk)
    with _silenced():
        state = mailbox.read_state(account.pk, since=box.revision + 5, epoch=box.epoch)
    assert state.epoch != box.epoch
    is_same([row.title for row in state.items], ["Kept"])


def check_host_writes() -> None:
    one, other = sign_up(), sign_up()
    here, there = Page(one), Page(other)
    rows = [tell(one, title) for title in ("Edited", "Saved", "Gone", "Moved")]
    mine = UserNotification.objects.filter(user=one)
    mine.filter(title="Edited").update(message="By update()")
    mine.filter(title="Gone").delete()
    rows[1].message = "By save()"
    rows[1].save()
    mine.filter(title="Moved").update(user=other)
    assert_nothing_waits()
    is_same(here.look(), ["Saved", "Edited"])
    is_same([item["message"] for item in here.items], ["By save()", "By update()"])
    is_same((there.look(), there.unread), (["Moved"], 1))
    moved = UserNotification.objects.get(title="Moved")
    moved.user = one
    moved.save()
    is_same((there.look(), here.look()), ([], ["Moved", "Saved", "Edited"]))
    moved.delete()
    one.themis_notifications.all().delete()
    is_same((there.look(), here.look(), here.unread), ([], [], 0))


def check_a_source() -> None:
    """A team is told at once, one of them opens the thing, then it is withdrawn."""
    people = [sign_up() for _ in range(4)]
    team = USERS.filter(pk__in=[one.pk for one in people]).order_by("-pk")
    source: Any = {
        "source_app": "tasks",
        "source_model": "Task",
        "source_id": "team",
    }
    heard: list[Any] = []

    def listen(notification: Any, **_: Any) -> None:
        heard.append(notification.user)

    notification_created.connect(listen)
    is_same(notify_users(team, "To a queryset", **source), 4)
    is_same(notify_users(team, "Again", deduplicate=True, **source), 0)
    is_same(notify_users(iter(people), "Others", deduplicate=True), 4)
    with in_transaction():
        is_same(notify_users(reversed(people), "In a transaction", **source), 4)
    notification_created.disconnect(listen)
    is_same({*heard}, {*team})
    is_same(len(heard), 12)
    assert_nothing_waits()
    one, *others = [Page(account) for account in people]
    is_same(one.titles, ["In a transaction", "Others", "To a queryset"])
    is_same(mark_read(people[0], **source), 2)
    one.look()
    is_same(one.unread, 1)
    with in_transaction():
        is_same(mark_read(people[1], **source), 2)
    is_same(withdraw(**source), 8)
    for page in (one, *others):
        is_same((page.look(), page.unread), (["Others"], 1))


def check_preferences() -> None:
    account = sign_up()
    page = Page(account)
    url = f"{MOUNT}api/preferences"
    wishes = {"notification_min_level": "danger", "notification_retention_days": 7}
    answer = page.client.patch(url, wishes, content_type="application/json")
    is_same(answer.status_code, 200)
    assert notify_user(account, "Not wanted") is None
    is_same(page.client.get(url).json().items() >= wishes.items(), True)
    is_same(profile_of(USERS.get(pk=account.pk)).notification_retention_days, 7)


def check_lists() -> None:
    account = sign_up()
    for number in range(5):
        notify_user(account, f"{number}")
    client = Page(account).client
    titles: list[str] = []
    query: dict[str, Any] = {"limit": 2}
    while True:
        answer = client.get(f"{MOUNT}api/notifications", query)
        is_same(answer.status_code, 200)
        titles += [item["title"] for item in answer.json()["items"]]
        if not answer.json()["next"]:
            break
        query["before"] = answer.json()["next"]
    is_same(titles, list("43210"))


def check_clean_up() -> None:
    account = sign_up()
    page = Page(account)
    now = timezone.now()
    ages = {"Old": 40, "Older": 100, "Young": 20}
    for title, days in ages.items():
        row = tell(account, title)
        mine = UserNotification.objects.filter(pk=row.pk)
        mine.update(created_at=now - timedelta(days=days), read_at=now)
    notify_user(account, "Unread")
    profile_of(account).notification_retention_days = 30
    profile_of(account).save()
    page.look()
    with redirect_stdout(io.StringIO()):
        call_command("cleanup_notifications")
    is_same(page.look(), ["Unread", "Young"])
    with redirect_stdout(io.StringIO()):
        call_command("themis_new_epoch")
    is_same(page.look(), ["Unread", "Young"])


def check_the_admin() -> None:
    boss, people = sign_up(), [sign_up() for _ in range(3)]
    USERS.filter(pk=boss.pk).update(is_staff=True, is_superuser=True)
    client = Page(boss).client
    here = f"/admin/{UserNotification._meta.app_label}/"
    name = User.USERNAME_FIELD
    in_admin = admin.site.is_registered(User)
    named = [str(one.pk) if in_admin else getattr(one, name) for one in people]
    form = {
        **dict.fromkeys(("message", "url", "expires_at_0", "expires_at_1"), ""),
        **dict.fromkeys(("source_app", "source_model", "source_id"), ""),
        "users": named if in_admin else "\n".join(named),
        "title": "To some",
        "level": "info",
    }
    sent = client.post(f"{here}usernotification/add/", form)
    is_same((sent.status_code, Page(people[2]).titles), (302, ["To some"]))
    row = UserNotification.objects.get(user=people[0])
    for path in ("", f"?q={getattr(people[0], name)}", f"{row.pk}/change/"):
        shown = client.get(f"{here}usernotification/{path}")
        is_same((path, shown.status_code), (path, 200))
        assert "To some" in shown.text
    profile = profile_of(people[0])
    for path in ("", f"{profile.pk}/change/", f"{profile.pk}/delete/", "add/"):
        shown = client.get(f"{here}userprofile/{path}")
        is_same((path, shown.status_code), (path, 200))
    acting = {"action": "delete_selected", "_selected_action": [row.pk], "post": "yes"}
    is_same(client.post(f"{here}usernotification/", acting).status_code, 302)
    is_same([Page(one).titles for one in people], [[], ["To some"], ["To some"]])
    assert_nothing_waits()


def check_expiry() -> None:
    account = sign_up()
    page = Page(account)
    local = timezone.now() + timedelta(seconds=0.4)
    aware = datetime.now(UTC) + timedelta(seconds=0.4)
    for number, moment in enumerate((local, aware)):
        notify_user(account, f"Short-lived {number}", expires_at=moment)
    notify_user(account, "Long-lived", expires_at=local + timedelta(hours=1))
    notify_user(account, "Over", expires_at=local - timedelta(hours=1))
    is_same(
        (page.look(), page.unread),
        (["Long-lived", "Short-lived 1", "Short-lived 0"], 3),
    )
    (expires_at,) = {item["expires_at"] for item in page.items[1:2]}
    assert abs(datetime.fromisoformat(expires_at) - aware) < timedelta(seconds=0.01)
    wait_until(lambda: page.look() == ["Long-lived"])
    wait_until(lambda: page.look() is not None and page.unread == 1)
    assert (
        not UserNotification.objects.unread().filter(title__contains="Short").exists()
    )


def check_pages() -> None:
    account = sign_up()
    first, second = (tell(account, title, url="/") for title in ("One", "Two"))
    client = Page(account).client
    html = client.get("/").content.decode()
    assert "<themis-bell" in html, html
    html = client.get(MOUNT).content.decode()
    assert html.index("Two") < html.index("One"), html
    answer = client.get(f"{MOUNT}{first.pk}/open/")
    is_same((answer.status_code, answer["Location"]), (302, "/"))
    is_same(mailbox.look(account.pk).unread, 1)
    box = mailbox.look(account.pk)
    form = {"verb": "read", "up_to": box.revision, "epoch": box.epoch}
    done = client.post(MOUNT, form)
    is_same((done.status_code, mailbox.look(account.pk).unread), (302, 0))
    (at,) = re.findall(r'name="at" value="([^"]+)"', client.get(done["Location"]).text)
    is_same(client.post(MOUNT, {"verb": "unread", "at": at}).status_code, 302)
    second.refresh_from_db()
    assert not second.is_read
    answer = client.get(f"{MOUNT}preferences/")
    is_same(answer.status_code, 200)
    form = {"notifications_enabled": "on", "notification_min_level": "warning"}
    is_same(client.post(f"{MOUNT}preferences/", form).status_code, 302)
    assert notify_user(account, "Not wanted") is None


def check_sending_in_the_admin() -> None:
    """Where accounts are found by a search, and where they are not."""
    root, account = sign_up(), sign_up()
    USERS.filter(pk=root.pk).update(is_staff=True, is_superuser=True)
    client, page = Page(root).client, Page(account)
    rows, profiles = (f"/admin/themis/{name}/" for name in _ADMINS)
    said = {"title": "By search", "level": "info", "users": str(account.pk)}
    answer = client.post(f"{rows}add/", said, follow=True)
    assert "Sent to 1 user." in answer.text, answer.text
    admin.site.unregister(User)
    said |= {"title": "By name", "users": account.get_username()}
    answer = client.post(f"{rows}add/", said, follow=True)
    assert "Sent to 1 user." in answer.text, answer.text
    is_same(page.look(), ["By name", "By search"])
    query = {"q": account.get_username(), "state": "unread"}
    answer = client.get(rows, query)
    assert answer.text.count("field-title") == len(page.items), answer.text
    for item in page.items:
        is_same(client.get(f"{rows}{item['id']}/change/").status_code, 200)
    chosen = {"action": "mark_as_read", "index": 0, "select_across": 1}
    chosen["_selected_action"] = page.items[0]["id"]
    is_same(client.post(f"{rows}?{urlencode(query)}", chosen).status_code, 302)
    page.look()
    is_same((len(page.items), page.unread), (2, 0))
    answer = client.get(profiles, {"q": account.get_username()})
    assert "1 notification profile" in answer.text, answer.text
    profile = f"{profiles}{profile_of(account).pk}/change/"
    is_same(client.get(profile).status_code, 200)
    wishes = {"notification_min_level": "danger"}
    is_same(client.post(profile, wishes).status_code, 302)
    assert notify_user(account, "Not wanted") is None


def check_a_view_that_notifies() -> None:
    account = sign_up()
    page = Page(account)
    answer = page.client.post("/notify/", {"user": account.pk, "title": "Done"})
    atomic = settings.DATABASES[database()].get("ATOMIC_REQUESTS", False)
    is_same((answer.status_code, answer.content.decode()), (200, str(atomic)))
    assert_nothing_waits()
    with _silenced():
        wrong = {"user": account.pk, "title": "Rolled back", "fail": "on purpose"}
        is_same(page.client.post("/notify/", wrong).status_code, 500)
    is_same(page.look(), ["Done"] if atomic else ["Rolled back", "Done"])


def check_sockets() -> None:
    account = sign_up()
    # As AuthMiddleware brings it: loaded.
    account = USERS.get(pk=account.pk)
    notify_user(account, "Before")
    with override_settings(
        THEMIS_BROADCASTER="realtime.broadcasting.ChannelsBroadcaster"
    ):
        asyncio.run(_connect(account))


async def _connect(account: Any) -> None:
    async with Connection(account) as connection:
        (state,) = await connection.frames(1)
        is_same([item["title"] for item in state["items"]], ["Before"])
        await asyncio.to_thread(_notify_elsewhere, account, "While connected")
        *_, state = await connection.frames(2)
        is_same([item["title"] for item in state["items"]], ["While connected"])
    for hub in running_hubs():
        await hub.stop()


def _notify_elsewhere(account: Any, title: str) -> None:
    notify_user(account, title)
    connections.close_all()


def check_a_deleted_account() -> None:
    account, other = sign_up(), sign_up()
    for one in (account, other):
        notify_user(one, "Title")
        tell(one, "Gone").delete()
    with dying_after_the_commit(), in_transaction():
        notify_user(account, "Pending")
        UserNotification.objects.filter(user=account, title="Title").delete()
    key = account.pk
    account.delete()
    mailbox.stamp_waiting()
    mailbox.stamp_waiting()
    assert_nothing_waits()
    for model in (UserNotification, UserProfile, Mailbox):
        assert not model._base_manager.filter(user=key).exists(), model
    is_same(Page(other).titles, ["Title"])


def check_fixtures() -> None:
    """A dump of everything, and one of accounts and notifications alone."""
    account = sign_up()
    page = Page(account)
    for title in ("One", "Two", "Three"):
        notify_user(account, title)
    notify_user(account, "Claimed", deduplicate=True)
    page.look()
    page.post("read", ids=[page.items[-1]["id"]])
    UserNotification.objects.filter(title="Two").update(message="Edited last")
    page.look()
    titles, unread = page.titles, page.unread
    profile_of(account).notification_min_level = "success"
    profile_of(account).save()
    everything, some = Path("everything.json"), Path("some.json")
    alias = database()
    left_out = ["contenttypes", "auth.permission", "sessions", "admin"]
    call_command("dumpdata", output=everything, exclude=left_out, database=alias)
    accounts = User._meta.label
    if settings.AUTH_USER_MODEL == "inherited.Member":
        accounts = "inherited"
    call_command(
        "dumpdata", accounts, "themis.usernotification", output=some, database=alias
    )
    again: Any = None
    for fixture in (everything, some):
        call_command("flush", interactive=False, verbosity=0, database=alias)
        for _ in range(2):
            call_command("loaddata", fixture, verbosity=0, database=alias)
            again = USERS.get(pk=account.pk)
            is_same(
                UserProfile.objects.filter(user=again).count(), fixture is everything
            )
            box = mailbox.look(again.pk)
            is_same((fixture, box.unread), (fixture, unread))
            state = mailbox.read_state(again.pk)
            is_same([row.title for row in state.items], titles)
            fresh = Mirror()
            fresh.apply(over_the_wire(state))
            is_same(fresh.unread, unread)
        assert notify_user(again, "Claimed", deduplicate=True) is None
        notify_user(again, "After")
        is_same(Page(again).titles, ["After", *titles])
        level = profile_of(again).notification_min_level
        is_same(level, "success" if fixture is everything else "info")
        is_same(UserProfile.objects.filter(user=again).count(), 1)


def check_a_fixture_over_a_mailbox_in_use() -> None:
    """What it brings is shown, to pages that are open, too."""
    account = sign_up()
    page = Page(account)
    notify_user(account, "Here")
    fields = {"user": str(account.pk), "title": "From a fixture"}
    stamped = {"created_revision": 900, "revision": 901, "pending": False}
    rows: list[Any] = [
        {"model": "themis.usernotification", "pk": 10**6 + number, "fields": one}
        for number, one in enumerate((fields, fields | stamped))
    ]
    fixture = Path("rows.json")
    fixture.write_text(json.dumps(rows))
    call_command("loaddata", fixture, verbosity=0, database=database())
    is_same(page.look(), ["From a fixture", "From a fixture", "Here"])
    rows[0]["fields"]["title"] = "Edited"
    fixture.write_text(json.dumps(rows))
    call_command("loaddata", fixture, verbosity=0, database=database())
    is_same(sorted(page.look()), ["Edited", "From a fixture", "Here"])
    is_same(page.unread, 3)


def check_more_than_one_stamp_holds() -> None:
    count = holding.USERS_PER_STAMP + 30
    people = create([new_account() for _ in range(count)])
    with in_transaction():
        for account in people:
            notify_user(account, "To the whole team")
    assert_nothing_waits()
    revisions = Mailbox.objects.filter(user__in=[one.pk for one in people])
    is_same({*revisions.values_list("revision", flat=True)}, {1})
    is_same(revisions.count(), count)


@contextmanager
def _silenced() -> Iterator[None]:
    """Let what is logged on purpose not look like trouble."""
    import logging  # noqa: PLC0415

    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


def main() -> None:
    checks: dict[str, Callable[[], None]] = {
        name: one for name, one in globals().items() if name.startswith("check_")
    }
    random.seed(os.environ.get("THEMIS_SEED", "2"))
    for name, check in checks.items():
        print(name, flush=True)  # noqa: T201
        SENT.clear()
        with override_settings(THEMIS_BROADCASTER=broadcasting.PATH):
            check()
    connections.close_all()


if __name__ == "__main__":
    main()
