"""The protocol as a whole: whatever happens, each page equals a fresh snapshot.

Hypothesis plays hosts that write, roll back and crash, two more whose transactions stay
open and end in any order, people who read and dismiss, operators who restore backups,
and pages whose frames are lost, repeated, reordered and late, on a real database with
real commits. A small model beside it knows what must be in the tables; `Mirror` knows
what a page makes of frames. The window is 3 and all other limits are small, so that
every boundary is met.

`make faults` searches ten times longer, and as long as MODEL_CHECK_EXAMPLES and
MODEL_CHECK_STEPS in the environment say.
"""

import contextlib
import copy
import logging
import os
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, ClassVar, Literal

import pytest
from django.core.exceptions import ObjectDoesNotExist
from django.db import (
    DatabaseError,
    OperationalError,
    connection,
    models,
    transaction,
)
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

import themis.models.queryset
from tests.mirror import Mirror, over_the_wire
from tests.themis.broadcasting import CollectingBroadcaster
from tests.themis.colleague import Colleague, dying_after_the_commit
from tests.themis.conftest import Clock, make_user
from themis import (
    cleaning,
    holding,
    mailbox,
    queries,
    revisions,
    ringing,
    stamping,
    store,
)
from themis.events import Changes, Snapshot, wire_time
from themis.models import (
    Mailbox,
    Tombstone,
    UserNotification,
    UserProfile,
    make_epoch,
)
from themis.notifications import mark_read, notify_user, notify_users, withdraw
from themis.transactions import is_contention

WINDOW = 3
CHANGES_LIMIT = 5
ROWS_PER_STAMP = 6
CHUNK = 2
SHORT_MS = 15

_USUAL = "200" if os.environ.get("THEMIS_FAULTS") == "all" else "20"
EXAMPLES = int(os.environ.get("MODEL_CHECK_EXAMPLES", _USUAL))
STEPS = int(os.environ.get("MODEL_CHECK_STEPS", "40"))

TABLES = (UserNotification, Tombstone, Mailbox, UserProfile)


def plain(model: type[models.Model]) -> models.QuerySet[Any]:
    """All rows, with writes that nothing follows."""
    return models.QuerySet(model)


def source_of(source_id: str) -> dict[str, str]:
    """A source whole, or none."""
    if not source_id:
        return {}
    return {"source_app": "tasks", "source_model": "Task", "source_id": source_id}


@dataclass
class Known:
    """What must be in a row of UserNotification."""

    user_id: int
    source_id: str
    title: str
    level: str
    read_at: datetime | None = None
    dismissed_at: datetime | None = None
    expires_at: datetime | None = None
    # It asked to be dropped if it is a second one.
    asked: bool = False
    # It was listed from its birth on: whoever watched has heard of it.
    steady: bool = True
    # Somebody changed it after it was made: two of a kind may be open then.
    meddled: bool = False

    @classmethod
    def of(cls, row: UserNotification) -> "Known":
        return cls(
            user_id=row.user_id,
            source_id=row.source_id,
            title=row.title,
            level=row.level,
            read_at=row.read_at,
            dismissed_at=row.dismissed_at,
            expires_at=row.expires_at,
        )

    @property
    def identity(self) -> tuple[object, ...]:
        """What makes another one its duplicate."""
        if self.source_id:
            return self.user_id, self.source_id
        return self.user_id, self.level, self.title

    def is_listed(self, now: datetime) -> bool:
        expired = self.expires_at is not None and self.expires_at <= now
        return self.dismissed_at is None and not expired

    def is_open(self, now: datetime) -> bool:
        return self.read_at is None and self.is_listed(now)


@dataclass(frozen=True)
class Act:
    """One write by host code."""

    kind: Literal[
        "notify",
        "notify_users",
        "mark_read",
        "withdraw",
        "update",
        "save",
        "delete",
        "remove",
        "move",
        "prefer",
        "bulk",
        "late",
    ]
    user: int
    pick: int
    source: str
    change: str
    deduplicate: bool
    lifetime: int | None


@dataclass
class Writer:
    """A host on a connection of its own, whose transaction may stay open."""

    colleague: Colleague
    is_open: bool = False
    # What its transaction has made of rows and of preferences; None = deleted.
    changes: dict[int, Known | None] = field(default_factory=dict)
    wishes: dict[int, tuple[bool, str]] = field(default_factory=dict)
    touched: set[int] = field(default_factory=set)
    moved: set[int] = field(default_factory=set)
    # Whose mailboxes it has locked.
    boxes: set[int] = field(default_factory=set)

    def begin(self) -> None:
        if not self.is_open:
            self.colleague.begin()
            self.is_open = True
            if not _can_skip():
                # SQLite's one lock, had from the beginning as IMMEDIATE has it: else
                # the transaction could write no more when somebody else has.
                nothing = plain(Mailbox).filter(revision__lt=0)
                self.colleague.run(lambda: nothing.update(revision=0))

    def forget(self) -> None:
        self.is_open = False
        self.changes, self.wishes = {}, {}
        self.touched, self.moved, self.boxes = set(), set(), set()


# Most of it happens to one user, so that there is much of it in one mailbox.
USERS = st.sampled_from((0, 0, 0, 1))
PAGES = st.integers(0, 3)
ACTS = st.builds(
    Act,
    kind=st.sampled_from(
        (
            *("notify", "notify", "notify", "notify", "notify", "notify"),
            *("update", "update", "save", "save", "remove", "remove"),
            *("delete", "move", "prefer", "bulk", "late"),
            *("notify_users", "mark_read", "withdraw"),
        )
    ),
    user=USERS,
    pick=st.integers(0, 9),
    source=st.sampled_from(("", "1", "1", "1", "2")),
    change=st.sampled_from(
        ("read", "unread", "dismiss", "restore", "expire", "retitle", "resource")
    ),
    deduplicate=st.booleans(),
    lifetime=st.none() | st.integers(1, 3),
)

# What pages miss, and what happens to it before they ask.
NEWS = st.builds(
    Act,
    kind=st.just("notify"),
    user=USERS,
    pick=st.integers(0, 1),
    source=st.sampled_from(("", "3")),
    change=st.just("read"),
    deduplicate=st.just(value=False),
    lifetime=st.none(),
)
EDITS = st.builds(
    Act,
    kind=st.sampled_from(("update", "save", "remove")),
    user=USERS,
    pick=st.integers(1, 3),
    source=st.just(""),
    change=st.sampled_from(("read", "dismiss", "retitle", "resource")),
    deduplicate=st.just(value=False),
    lifetime=st.none(),
)


@dataclass
class Page:
    """An open page, the frames on their way to it, and what it has heard."""

    user: int
    mirror: Mirror = field(default_factory=lambda: Mirror(window=WINDOW))
    connected: bool = True
    inbox: list[dict[str, Any]] = field(default_factory=list)
    heard: Counter[tuple[str | None, str, int]] = field(default_factory=Counter)
    # Where its last snapshot was: nothing is promised about what came before.
    baseline: tuple[str | None, int] = (None, 0)


class MailboxMachine(RuleBasedStateMachine):
    """The mailboxes of two users, their pages, and everyone who writes."""

    users: ClassVar[list[Any]]
    clock: ClassVar[Clock]
    writers: ClassVar[list[Writer]]

    def __init__(self) -> None:
        super().__init__()
        for table in TABLES:
            if table is not UserProfile:
                plain(table)._raw_delete(using="default")
        plain(UserProfile).update(
            browser_notifications_enabled=False,
            notifications_enabled=True,
            notification_min_level="info",
            pending=False,
        )
        self.known: dict[int, Known] = {}
        # Who wants to be told at all, and from which level on.
        self.wishes = {user.pk: (True, "info") for user in self.users}
        # Whose transaction is at work, if it is not the test's own.
        self.acting: Writer | None = None
        self.pages: list[Page] = []
        self.births: dict[int, int] = {}
        self.revisions: dict[int, int] = {}
        self.handles: list[tuple[int, str, datetime]] = []
        self.stale: dict[int, UserNotification] = {}
        self.backup: Any = None
        self.touched: set[int] = set()
        self.titles = 0
        self.errors: list[str] = []
        self.log = _ErrorLog(self.errors)
        self.log.attach()
        CollectingBroadcaster.listeners[:] = [self._on_broadcast]

    def teardown(self) -> None:
        for writer in self.writers:
            self._give_up(writer)
        self.log.detach()
        CollectingBroadcaster.listeners.clear()
        CollectingBroadcaster.sent.clear()

    # Hosts

    @rule(act=ACTS, crash=st.sampled_from((False, False, False, True)))
    def host_writes(self, act: Act, crash: bool) -> None:
        """Host code writes with no transaction open."""
        if self._is_shut():
            return
        self.touched = set()
        with dying_after_the_commit() if crash else contextlib.nullcontext():
            self._act(act)
        if not crash:
            self._assert_stamped(self.touched)

    @rule(
        acts=st.lists(ACTS, min_size=1, max_size=4),
        inner=st.lists(ACTS, max_size=3),
        inner_fails=st.booleans(),
        last=st.lists(ACTS, max_size=1),
        takes=st.sampled_from((0, 0, 2)),
        end=st.sampled_from(("commit", "commit", "rollback", "crash")),
    )
    def host_transaction(
        self,
        *,
        acts: Sequence[Act],
        inner: Sequence[Act],
        inner_fails: bool,
        last: Sequence[Act],
        takes: int,
        end: str,
    ) -> None:
        """Host code writes in a transaction, some of it under a savepoint."""
        if self._is_shut():
            return
        before = copy.deepcopy((self.known, self.wishes))
        self.touched = set()
        dying = end == "crash"
        with (
            dying_after_the_commit() if dying else contextlib.nullcontext(),
            transaction.atomic(),
        ):
            for act in acts:
                self._act(act)
            self._savepoint(inner, fails=inner_fails)
            self.clock.advance(seconds=takes)
            for act in last:
                self._act(act)
            transaction.set_rollback(end == "rollback")
        if end == "rollback":
            (self.known, self.wishes), self.touched = before, set()
        if not dying:
            self._assert_stamped(self.touched)

    def _savepoint(self, acts: Sequence[Act], *, fails: bool) -> None:
        before = copy.deepcopy((self.known, self.wishes))
        touched = set(self.touched)
        with transaction.atomic():
            for act in acts:
                self._act(act)
            transaction.set_rollback(fails)
        if fails:
            (self.known, self.wishes), self.touched = before, touched

    # Hosts whose transactions stay open

    @rule(
        writer=st.integers(0, 1),
        acts=st.lists(ACTS, min_size=1, max_size=3),
        fails=st.sampled_from((False, False, True)),
        lock=st.sampled_from((None, None, None, None, 0, 1)),
    )
    def writer_writes(
        self, *, writer: int, acts: Sequence[Act], fails: bool, lock: int | None
    ) -> None:
        """It goes on in its transaction, under a savepoint; it may lock a mailbox."""
        of, other = self.writers[writer], self.writers[1 - writer]
        if other.is_open and not _can_skip():
            return
        of.begin()
        known, self.known = self.known, self._view_of(of)
        wishes, self.wishes = self.wishes, self.wishes | of.wishes
        before = copy.deepcopy((self.known, self.wishes))
        self.touched, self.acting = set(), of
        moved = set(of.moved)
        try:
            of.colleague.run(self._savepoint, acts, fails=fails)
            for pk in before[0].keys() | self.known.keys():
                if before[0].get(pk) != self.known.get(pk):
                    of.changes[pk] = self.known.get(pk)
            for pk, wish in self.wishes.items():
                if before[1][pk] != wish:
                    of.wishes[pk] = wish
            of.touched |= self.touched
            if fails:
                of.moved = moved
        finally:
            self.known, self.wishes, self.acting = known, wishes, None
        if lock is not None and _can_skip():
            owner = self.users[lock].pk
            if owner not in other.boxes:
                boxes = plain(Mailbox).filter(pk=owner).select_for_update()
                of.colleague.run(lambda: list(boxes))
                of.boxes.add(owner)

    def _view_of(self, writer: Writer) -> dict[int, Known]:
        """The rows as its transaction sees them."""
        view: dict[int, Known | None] = {**self.known, **writer.changes}
        return {pk: copy.deepcopy(row) for pk, row in view.items() if row is not None}

    @precondition(lambda self: any(writer.is_open for writer in self.writers))
    @rule(
        writer=st.integers(0, 1),
        end=st.sampled_from(("commit", "commit", "commit", "rollback", "crash")),
    )
    def writer_ends(self, writer: int, end: str) -> None:
        """A transaction ends, and not always the one that began first."""
        of = self.writers[writer]
        if not of.is_open:
            of = self.writers[1 - writer]
        if end == "rollback":
            self._give_up(of)
            return
        for pk in of.moved:
            self.births.pop(pk, None)
        self.known = self._view_of(of)
        self.wishes |= of.wishes
        touched = set(of.touched)
        of.boxes.clear()
        dying = end == "crash"
        with dying_after_the_commit() if dying else contextlib.nullcontext():
            of.colleague.commit()
        of.forget()
        if not dying:
            self._assert_stamped(touched)

    def _give_up(self, writer: Writer) -> None:
        if writer.is_open:
            writer.colleague.roll_back()
        writer.forget()

    def _is_shut(self) -> bool:
        """Whether nobody else can write: SQLite has one writer."""
        return not _can_skip() and any(writer.is_open for writer in self.writers)

    def _held(self) -> set[int]:
        """Whose mailboxes an open transaction has locked."""
        if self._is_shut():
            return {user.pk for user in self.users}
        return set().union(*(writer.boxes for writer in self.writers))

    def _is_taken(
        self, keys: Collection[int], model: type[models.Model] = UserNotification
    ) -> bool:
        """Whether somebody else's open transaction has locked one of these rows."""
        if not any(w.is_open for w in self.writers if w is not self.acting):
            return False
        return len(_free(plain(model).filter(pk__in=keys))) < len(set(keys))

    def _act(self, act: Act) -> None:
        getattr(self, f"_act_{act.kind}")(act)
        if not transaction.get_connection().in_atomic_block:
            self._forget_twins(
                set(plain(UserNotification).values_list("pk", flat=True))
            )

    def _act_notify(self, act: Act) -> None:
        user = self.users[act.user]
        made = Known(
            user_id=user.pk,
            source_id=act.source,
            title=self._title(act),
            level=_level(act),
            expires_at=self._expiry(act),
            asked=act.deduplicate,
            steady=act.lifetime is None,
        )
        duplicate = self._has_duplicate(made)
        row = notify_user(
            user,
            made.title,
            level=made.level,
            deduplicate=act.deduplicate,
            expires_at=made.expires_at,
            **source_of(made.source_id),
        )
        if not self._wants(made):
            assert row is None, "told somebody who didn't want it"
            return
        if act.deduplicate and duplicate:
            assert row is None, "a duplicate was let through"
            return
        assert row is not None, "skipped without a duplicate"
        self.known[row.pk] = made
        if transaction.get_connection().in_atomic_block:
            # Else it stamps itself, and nothing that somebody left behind.
            self.touched.add(user.pk)

    def _act_notify_users(self, act: Act) -> None:
        """Both users, by the rules of each."""
        title = self._title(act)
        made = {
            user.pk: Known(
                user_id=user.pk,
                source_id=act.source,
                title=title,
                level=_level(act),
                expires_at=self._expiry(act),
                asked=act.deduplicate,
                steady=act.lifetime is None,
            )
            for user in self.users
        }
        told = {
            key
            for key, known in made.items()
            if self._wants(known)
            and not (act.deduplicate and self._has_duplicate(known))
        }
        before = set(plain(UserNotification).values_list("pk", flat=True))
        count = notify_users(
            self.users,
            title,
            level=_level(act),
            deduplicate=act.deduplicate,
            expires_at=self._expiry(act),
            **source_of(act.source),
        )
        rows = plain(UserNotification).exclude(pk__in=before)
        assert count == len(told)
        assert sorted(row.user_id for row in rows) == sorted(told)
        for row in rows:
            self.known[row.pk] = made[row.user_id]
        if transaction.get_connection().in_atomic_block:
            self.touched |= told

    def _wants(self, made: Known) -> bool:
        enabled, least = self.wishes[made.user_id]
        return enabled and (least, made.level) != ("warning", "info")

    def _has_duplicate(self, made: Known) -> bool:
        now = self.clock.time
        return any(
            other.is_open(now) and other.identity == made.identity
            for other in self.known.values()
        )

    def _act_mark_read(self, act: Act) -> None:
        """The person has opened the thing itself."""
        user, source = self.users[act.user], act.source or "0"
        now = self.clock.time
        chosen = [
            pk
            for pk, row in self.known.items()
            if (row.user_id, row.source_id) == (user.pk, source) and row.is_open(now)
        ]
        if self._is_taken(chosen):
            return
        assert mark_read(user, **source_of(source)) == len(chosen)
        times = plain(UserNotification).filter(pk__in=chosen).values("read_at")
        for pk in chosen:
            self.known[pk].read_at = times.get(pk=pk)["read_at"]
            self.known[pk].meddled = True
            if transaction.get_connection().in_atomic_block:
                self.touched.add(user.pk)

    def _act_withdraw(self, act: Act) -> None:
        """The thing is gone, for everybody."""
        source = act.source or "0"
        chosen = [pk for pk, row in self.known.items() if row.source_id == source]
        users = {self.known[pk].user_id for pk in chosen}
        if self._is_taken(chosen):
            return
        assert withdraw(**source_of(source)) == len(chosen)
        touched = set(self.touched)
        self._forget(chosen)
        if not transaction.get_connection().in_atomic_block:
            self.touched = touched
        else:
            self.touched |= users

    def _title(self, act: Act) -> str:
        """A title of its own for what has a source; some have neither."""
        if act.source or act.pick % 2:
            self.titles += 1
            return f"Title {self.titles}"
        return "Said before"

    def _expiry(self, act: Act) -> datetime | None:
        if act.lifetime is None:
            return None
        second = self.clock.time.replace(microsecond=0)
        return second + timedelta(seconds=act.lifetime)

    def _act_late(self, act: Act) -> None:
        """A deduplicating notify whose claim ran out of time."""
        user = self.users[act.user]
        row = UserNotification(
            user=user,
            title=self._title(act),
            deduplicate=True,
            **source_of(act.source),
        )
        with ringing.followed("default") as users:
            models.Model.save(row, force_insert=True)
            users.add(user.pk)
        self.known[row.pk] = replace(Known.of(row), asked=True)
        self.touched.add(user.pk)

    def _act_bulk(self, act: Act) -> None:
        user = self.users[act.user]
        rows = UserNotification.objects.bulk_create(
            UserNotification(user=user, title=f"Bulk {n}", expires_at=self._expiry(act))
            for n in range(act.pick)
        )
        for row in rows:
            self.known[row.pk] = replace(Known.of(row), steady=act.lifetime is None)
            self.touched.add(user.pk)

    def _act_update(self, act: Act) -> None:
        picked, rows = self._picked(act)
        changes = self._changes(act)
        rows.update(**changes)
        self._note(picked, changes)

    def _act_save(self, act: Act) -> None:
        """Save an instance that may have been loaded long ago."""
        if act.deduplicate and self.stale:
            row = self.stale[sorted(self.stale)[act.pick % len(self.stale)]]
            if any(
                row.pk in writer.changes
                for writer in self.writers
                if writer is not self.acting
            ):
                return
            if row.pk in self.known and self._is_taken([row.pk]):
                return
        else:
            picked, rows = self._picked(act, single=True)
            if not picked:
                return
            row = rows.get()
            self.stale[row.pk] = copy.copy(row)
        changes = self._changes(act)
        for name, value in changes.items():
            setattr(row, name, value)
        before = self.known.get(row.pk)
        if before is None:
            with pytest.raises(DatabaseError):
                row.save()
            return
        if act.lifetime is not None:
            row.save(update_fields=list(changes))
            self._note([row.pk], changes)
            return
        self.touched |= {before.user_id, row.user_id}
        if before.user_id != row.user_id:
            self._note_move(row.pk)
        row.save()
        steady = before.steady and row.dismissed_at is None and row.expires_at is None
        self.known[row.pk] = replace(
            Known.of(row),
            asked=before.asked and before.user_id == row.user_id,
            steady=steady and before.user_id == row.user_id,
            meddled=True,
        )

    def _act_delete(self, act: Act) -> None:
        picked, rows = self._picked(act)
        count, _by_model = rows.delete()
        assert count == len(picked)
        self._forget(picked)

    def _act_remove(self, act: Act) -> None:
        picked, rows = self._picked(act, single=True)
        for row in rows:
            row.delete()
        self._forget(picked)

    def _act_move(self, act: Act) -> None:
        """Rows go to another user, or everybody's of a source to one."""
        picked, rows = self._picked(act)
        target = self.users[1 - act.user]
        if act.pick in {2, 4}:
            rows = UserNotification.objects.filter(source_id=act.source)
            picked = [
                pk for pk, row in self.known.items() if row.source_id == act.source
            ]
        if self._is_taken(picked):
            return
        if act.deduplicate:
            rows.update(user=target)
        else:
            moved = list(rows)
            for row in moved:
                row.user = target
            UserNotification.objects.bulk_update(moved, ["user"])
        for pk in picked:
            known = self.known[pk]
            self.touched |= {known.user_id, target.pk}
            known.meddled = True
            if known.user_id != target.pk:
                self._note_move(pk)
                # Whoever moves it wants it to be there.
                known.user_id, known.steady, known.asked = target.pk, False, False

    def _note_move(self, pk: int) -> None:
        """In another mailbox it is a new one, as soon as that is committed."""
        if self.acting is not None:
            self.acting.moved.add(pk)
        else:
            self.births.pop(pk, None)

    def _act_prefer(self, act: Act) -> None:
        user = self.users[act.user]
        if self._is_taken([user.profile.pk], UserProfile):
            return
        wish = _wish(act)
        self.wishes[user.pk] = wish
        if act.deduplicate:
            profile = UserProfile.objects.get(user=user)
            profile.browser_notifications_enabled = bool(act.pick % 2)
            profile.notifications_enabled, profile.notification_min_level = wish
            profile.save()
        else:
            profiles = UserProfile.objects.filter(user=user)
            profiles.update(
                browser_notifications_enabled=bool(act.pick % 2),
                notifications_enabled=wish[0],
                notification_min_level=wish[1],
            )
        self.touched.add(user.pk)

    def _picked(
        self, act: Act, *, single: bool = False
    ) -> tuple[list[int], models.QuerySet[UserNotification]]:
        """Rows of one user: one of them, or all of one source."""
        user = self.users[act.user]
        rows = UserNotification.objects.filter(user=user)
        mine = sorted(pk for pk, row in self.known.items() if row.user_id == user.pk)
        if single or act.pick:
            # Mostly what pages show, or have just missed.
            picked = [mine[-1 - act.pick // 3 % len(mine)]] if mine else []
            rows = rows.filter(pk__in=picked)
        else:
            picked = [pk for pk in mine if self.known[pk].source_id == act.source]
            rows = rows.filter(source_id=act.source)
        return ([], rows.none()) if self._is_taken(picked) else (picked, rows)

    def _changes(self, act: Act) -> dict[str, Any]:
        if act.change == "retitle":
            self.titles += 1
        changes: dict[str, dict[str, Any]] = {
            "read": {"read_at": self.clock.now()},
            "unread": {"read_at": None},
            "dismiss": {"dismissed_at": self.clock.now()},
            "restore": {"dismissed_at": None},
            "expire": {"expires_at": self._expiry(act)},
            "retitle": {"title": f"Title {self.titles}"},
            "resource": source_of(f"{act.pick % 3}"),
        }
        return changes[act.change]

    def _note(self, picked: Sequence[int], changes: dict[str, Any]) -> None:
        for pk in picked:
            row = self.known[pk]
            self.touched.add(row.user_id)
            told = {name: changes[name] for name in vars(row).keys() & changes}
            self.known[pk] = changed = replace(row, **told, meddled=True)
            if changed.dismissed_at is not None or changed.expires_at is not None:
                changed.steady = False

    def _forget(self, picked: Sequence[int]) -> None:
        for pk in picked:
            self.touched.add(self.known.pop(pk).user_id)

    # People

    @rule(
        user=USERS,
        verb=st.sampled_from(("read", "unread", "dismiss", "restore")),
        picks=st.lists(st.integers(0, 9), min_size=1, max_size=7),
        page=PAGES,
        heard=st.booleans(),
    )
    def person_picks(
        self, user: int, verb: Any, picks: list[int], page: int, heard: bool
    ) -> None:
        """A person reads, unreads, dismisses or restores some notifications."""
        everything = sorted(self.known)
        if not everything:
            return
        ids = {everything[pick % len(everything)] for pick in picks}
        owner = self.users[user].pk
        try:
            answer = self._change(owner, verb, ids=ids)
        except ObjectDoesNotExist:
            births = self._births_now()
            assert not [pk for pk in ids if births.get(pk) == owner]
            return
        if answer is None:
            return
        births = self._births_now()
        chosen = {pk for pk in ids if births.get(pk) == owner}
        self._after_change(user, verb, chosen, answer, page if heard else None)

    @rule(
        user=USERS,
        verb=st.sampled_from(("read", "dismiss")),
        page=PAGES,
        heard=st.booleans(),
        behind=st.integers(0, 2),
        with_epoch=st.booleans(),
    )
    def person_clears(
        self,
        *,
        user: int,
        verb: Any,
        page: int,
        heard: bool,
        behind: int,
        with_epoch: bool,
    ) -> None:
        """A person reads or dismisses all that the page has rendered."""
        owner = self.users[user].pk
        mine = [page for page in self.pages if page.user == user]
        if not mine:
            return
        mirror = mine[page % len(mine)].mirror
        up_to = max(0, mirror.revision - behind)
        box = mailbox.look(owner)
        if with_epoch and mirror.epoch not in {None, box.epoch}:
            with pytest.raises(mailbox.EpochChangedError):
                mailbox.change(owner, verb, up_to=up_to, epoch=mirror.epoch)
            return
        now = self.clock.time
        answer = self._change(owner, verb, up_to=up_to)
        if answer is None:
            return
        created = {
            row["id"]: row["created_revision"]
            for row in plain(UserNotification).filter(user=owner).values()
        }
        chosen = {
            pk
            for pk, row in self.known.items()
            if row.user_id == owner
            and row.is_listed(now)
            and (created.get(pk) or up_to + 1) <= up_to
        }
        self._after_change(user, verb, chosen, answer, page if heard else None)

    @precondition(lambda self: self.handles)
    @rule(pick=st.integers(0, 9), page=PAGES, heard=st.booleans())
    def person_undoes(self, pick: int, page: int, heard: bool) -> None:
        """A person takes back one operation."""
        user, verb, at = self.handles[pick % len(self.handles)]
        owner = self.users[user].pk
        undo: Any = {"read": "unread", "dismiss": "restore"}[verb]
        name = {"read": "read_at", "dismiss": "dismissed_at"}[verb]
        answer = self._change(owner, undo, at=at)
        if answer is None:
            return
        chosen = {
            pk
            for pk, row in self.known.items()
            if row.user_id == owner and getattr(row, name) == at
        }
        self._after_change(user, undo, chosen, answer, page if heard else None)

    def _change(
        self, owner: int, verb: Any, **which: Any
    ) -> tuple[Snapshot | Changes, datetime | None] | None:
        """Do it; None if a host's transaction was in the way."""
        try:
            return mailbox.change(owner, verb, **which)
        except OperationalError as error:
            if is_contention(error) and any(w.is_open for w in self.writers):
                return None
            raise

    def _after_change(
        self,
        user: int,
        verb: str,
        chosen: set[int],
        answer: tuple[Snapshot | Changes, datetime | None],
        page: int | None,
    ) -> None:
        frame, at = answer
        name = "read_at" if verb in {"read", "unread"} else "dismissed_at"
        doing = verb in {"read", "dismiss"}
        affected = [
            pk for pk in chosen if (getattr(self.known[pk], name) is None) is doing
        ]
        assert (at is not None) is (doing and bool(affected))
        self._note(affected, {name: at})
        if at is not None:
            self.handles.append((user, verb, at))
        if isinstance(frame, Snapshot):
            assert len(affected) > CHANGES_LIMIT, "a snapshot that nothing explains"
        mine = [page for page in self.pages if page.user == user]
        if page is not None and mine:
            self._deliver(mine[page % len(mine)], over_the_wire(frame))

    def _births_now(self) -> dict[int, int]:
        """Whose the notifications are that the wire may show."""
        rows = plain(UserNotification).filter(created_revision__isnull=False)
        return dict(rows.values_list("pk", "user_id"))

    # Pages

    @initialize(before=st.integers(0, 7), since=st.integers(0, 3))
    def three_pages(self, before: int, since: int) -> None:
        """One user has two pages open, the other has one."""
        self._begin_with(before)
        for user in (0, 0, 1):
            self._connect(user)
        self._begin_with(since)

    def _begin_with(self, number: int) -> None:
        for _ in range(number):
            row = notify_user(self.users[0], "Before")
            assert row is not None
            self.known[row.pk] = Known.of(row)

    @precondition(lambda self: len(self.pages) < 4)
    @rule(user=USERS)
    def connect(self, user: int) -> None:
        """A person opens a page."""
        self._connect(user)

    def _connect(self, user: int) -> None:
        page = Page(user)
        self.pages.append(page)
        self._ask(page)

    @rule(
        page=PAGES,
        trouble=st.sampled_from(("reorder", "repeat", "lose", "disconnect")),
        position=st.integers(0, 3),
    )
    def network_fails(self, page: int, trouble: str, position: int) -> None:
        """A frame arrives too early, or not only once, or not at all."""
        of = self._page(page)
        if trouble == "disconnect":
            of.connected = False
            of.inbox.clear()
        elif trouble == "lose":
            del of.inbox[: position + 1]
        elif of.inbox:
            position %= len(of.inbox)
            keep = trouble == "repeat"
            frame = of.inbox[position] if keep else of.inbox.pop(position)
            self._deliver(of, frame)

    @rule()
    def network_works(self) -> None:
        """All frames arrive, in order; on a gap a page asks."""
        for page in self.pages:
            while page.inbox:
                if self._deliver(page, page.inbox.pop(0)) == "gap":
                    self._ask(page)

    @rule(page=PAGES, missed=st.booleans(), slowly=st.booleans())
    def ask(self, page: int, missed: bool, slowly: bool) -> None:
        """A page asks what it missed; a slow answer may be overtaken by pushes."""
        of = self._page(page)
        of.connected = True
        if missed:
            of.inbox.clear()
        if slowly:
            of.inbox.append(over_the_wire(self._answer(of)))
        else:
            self._ask(of)

    @rule(
        page=PAGES,
        missed=st.none() | NEWS | ACTS,
        act=ACTS | EDITS,
        crash=st.sampled_from((False, False, True)),
        slowly=st.booleans(),
    )
    def ask_while_a_host_writes(
        self, *, page: int, missed: Act | None, act: Act, crash: bool, slowly: bool
    ) -> None:
        """
        A page asks for what it missed, and the server has looked at the mailbox when
        somebody writes to it.
        """
        if self._is_shut():
            return
        of = self._page(page)
        of.connected = True
        owner = self.users[of.user].pk
        if missed is not None:
            self.host_writes(replace(missed, user=of.user), crash=False)
            of.inbox.clear()
        act = replace(act, user=of.user)
        box = mailbox.look(owner)
        # The look has stamped, and may have dropped a second one.
        stored = plain(UserNotification).values_list("pk", flat=True)
        self._forget_twins(set(stored))
        self.host_writes(act, crash)
        frame = over_the_wire(mailbox.read_state(owner, **of.mirror.position, box=box))
        if slowly:
            of.inbox.append(frame)
        elif self._deliver(of, frame) == "gap":
            self._ask(of)

    def _page(self, number: int) -> Page:
        return self.pages[number % len(self.pages)]

    def _ask(self, page: Page) -> None:
        outcome = self._deliver(page, over_the_wire(self._answer(page)))
        assert outcome != "gap", "the answer to a question doesn't fit"
        self._assert_fresh(page)

    def _answer(self, page: Page) -> Snapshot | Changes:
        """What the server answers; a snapshot must have its reason."""
        owner = self.users[page.user].pk
        box = mailbox.look(owner)
        since, epoch = page.mirror.position.values()
        reason = None
        if epoch != box.epoch:
            reason = "epoch"
        elif since > box.revision:
            reason = "rewind"
        elif plain(Mailbox).filter(pk=owner, floor_revision__gt=since).exists():
            reason = "floor"
        else:
            changed = plain(UserNotification).filter(
                user=owner, created_revision__isnull=False, revision__gt=since
            )
            deleted = plain(Tombstone).filter(user=owner, revision__gt=since)
            if changed.count() + deleted.count() > CHANGES_LIMIT:
                reason = "limit"
        frame = mailbox.read_state(owner, since=since, epoch=epoch, box=box)
        if isinstance(frame, Snapshot):
            assert reason, "a snapshot that nothing explains"
            assert len(frame.items) <= WINDOW
        else:
            assert reason is None, "a partial answer"
            assert frame.since == since
            self._assert_complete(frame)
        return frame

    def _deliver(self, page: Page, frame: dict[str, Any]) -> str:
        if frame.get("poke"):
            return "gap"
        assert all(
            item["created_revision"] <= frame["revision"] for item in frame["items"]
        ), "told too early: it comes again, and isn't new then"
        places = [
            (item["created_revision"], int(item["id"])) for item in frame["items"]
        ]
        assert places == sorted(places, reverse=True), "out of order"
        outcome, news = page.mirror.apply(frame)
        if outcome != "applied":
            assert not news
            return outcome
        for item in news:
            key = frame["epoch"], item["id"], item["created_revision"]
            page.heard[key] += 1
            assert page.heard[key] == 1, "rang twice"
        if frame["type"] == "snapshot":
            page.baseline = frame["epoch"], frame["revision"]
        return outcome

    # Time and operators

    @rule(seconds=st.integers(1, 3))
    def time_passes(self, seconds: int) -> None:
        self.clock.advance(seconds=seconds)

    @rule(user=USERS, everywhere=st.booleans())
    def look(self, user: int, everywhere: bool) -> None:
        """Somebody looks at a mailbox, or the reconciler at all: nothing waits then."""
        owners = {self.users[user].pk}
        if everywhere:
            mailbox.stamp_waiting()
            owners = {account.pk for account in self.users}
        else:
            mailbox.look(self.users[user].pk)
        self._assert_stamped(owners)
        # What pages hold is no proof of anything, unless there was a restore.
        before = dict(plain(Mailbox).values_list("pk", "epoch"))
        mailbox.renew_epochs(self._told())
        assert dict(plain(Mailbox).values_list("pk", "epoch")) == before

    def _told(self) -> dict[int, tuple[str, int]]:
        """What the foremost page of each user holds, as a server's check knows it."""
        told: dict[int, tuple[str, int]] = {}
        for owner, epoch in plain(Mailbox).values_list("pk", "epoch"):
            held = [
                page.mirror.revision
                for page in self.pages
                if self.users[page.user].pk == owner and page.mirror.epoch == epoch
            ]
            if held:
                told[owner] = epoch, max(held)
        return told

    @rule(
        does=st.sampled_from(
            (
                *("clean up", "clean up", "forget", "new epoch"),
                *("back up", "restore", "lose a night"),
            )
        ),
        user=USERS,
        behind=st.integers(0, 2),
        told=st.sampled_from(("command", "page", "check")),
        acts=st.lists(ACTS, min_size=1, max_size=3),
    )
    def operator(
        self, *, does: str, user: int, behind: int, told: str, acts: Sequence[Act]
    ) -> None:
        """An operator gives new epochs, cleans up, makes or restores a backup."""
        if self._is_shut():
            return
        if does == "new epoch":
            self._renew_epoch(user)
        elif does == "clean up":
            self._clean_up()
        elif does == "forget":
            self._raise_floor(user, behind)
        elif does == "back up":
            self._back_up()
        elif does == "restore" and self.backup is not None:
            self._restore(*copy.deepcopy(self.backup), told=told)
        elif does == "lose a night":
            self._back_up()
            for act in acts:
                self._act(act)
            self.network_works()
            self._restore(*copy.deepcopy(self.backup), told=told)

    def _back_up(self) -> None:
        tables = {table: list(plain(table)) for table in TABLES}
        known = copy.deepcopy((self.known, self.wishes))
        self.backup = tables, known, dict(self.births)

    def _renew_epoch(self, user: int) -> None:
        if self.users[user].pk not in self._held():
            mine = plain(Mailbox).filter(pk=self.users[user].pk)
            mine.update(epoch=make_epoch())

    def _clean_up(self) -> None:
        """All that is done or expired goes; nobody keeps it for a day."""
        now = self.clock.time
        due = [pk for pk, row in self.known.items() if not row.is_open(now)]
        cleaning.clean_up(1)
        left = plain(UserNotification).filter(pk__in=due)
        kept = set(left.values_list("pk", flat=True))
        free = {row.pk for row in _free(left) if row.user_id not in self._held()}
        assert not free, "left without a reason"
        self._forget([pk for pk in due if pk not in kept])

    def _raise_floor(self, user: int, behind: int) -> None:
        """Forget old deletions."""
        mine = plain(Mailbox).filter(pk=self.users[user].pk)
        for box in mine.exclude(pk__in=self._held()):
            floor = max(box.floor_revision, box.revision - behind)
            mine.update(floor_revision=floor)
            buried = plain(Tombstone).filter(user=box.pk, revision__lte=floor)
            buried._raw_delete(using="default")

    def _restore(
        self,
        tables: dict[type[models.Model], list[Any]],
        known: tuple[dict[int, Known], dict[int, tuple[bool, str]]],
        births: dict[int, int],
        *,
        told: str,
    ) -> None:
        """
        The database goes back in time: the operator says so, a page finds out, or the
        check of a server that knows what pages were told.
        """
        for writer in self.writers:
            self._give_up(writer)
        (self.known, self.wishes), self.births = known, births
        for table, rows in tables.items():
            plain(table)._raw_delete(using="default")
            plain(table).bulk_create(rows)
        self.handles, self.stale = [], {}
        boxes = {box.pk: box for box in plain(Mailbox)}
        self.revisions = {pk: box.revision for pk, box in boxes.items()}
        for user, account in enumerate(self.users):
            if account.pk in boxes:
                self._come_back(user, boxes[account.pk], told=told)

    def _come_back(self, user: int, box: Mailbox, *, told: str) -> None:
        mine = [page for page in self.pages if page.user == user]
        # At the same revision a page may have read what was not stamped yet.
        lost = [page for page in mine if _is_ahead(page, box, by=0)]
        if told == "command":
            self._renew_epoch(user)
        elif lost:
            foremost = max(lost, key=lambda page: page.mirror.revision)
            # A mailbox that has caught up before anyone asks can't know, either;
            # there is a command for that.
            if not _is_ahead(foremost, mailbox.look(box.pk), by=1):
                self._renew_epoch(user)
            elif told == "page":
                self._ask(foremost)
            else:
                mailbox.renew_epochs(self._told())
                assert plain(Mailbox).get(pk=box.pk).epoch != box.epoch
        else:
            # What was sent in a time that never was arrives under its old epoch, or
            # not at all: nothing tells it from what is sent now.
            for page in mine:
                page.inbox.clear()

    # What must always hold

    @invariant()
    def all_is_well(self) -> None:
        assert not self.errors
        self._assert_tables()
        self._assert_all_told()
        self._assert_pages()

    def _assert_tables(self) -> None:
        """The rows are what the model says, and keep their `created_revision`."""
        rows = {row["id"]: row for row in plain(UserNotification).values()}
        self._forget_twins(rows.keys())
        assert rows.keys() == self.known.keys()
        for pk, row in rows.items():
            known = self.known[pk]
            for name in ("user_id", "source_id", "title", "level", "read_at"):
                assert row[name] == getattr(known, name), name
            assert row["dismissed_at"] == known.dismissed_at
            assert row["expires_at"] == known.expires_at
            if row["created_revision"] is not None:
                born = self.births.setdefault(pk, row["created_revision"])
                assert row["created_revision"] == born, "created_revision changed"
        self._assert_no_twins(rows)

    def _forget_twins(self, stored: Collection[int]) -> None:
        """A second one that asked not to be, and hadn't been shown, may vanish."""
        for pk in set(self.known).difference(stored):
            lost = self.known[pk]
            assert lost.asked
            assert lost.read_at is None
            assert lost.dismissed_at is None
            assert pk not in self.births
            twins = [
                other
                for number, other in self.known.items()
                if number in stored and other.identity == lost.identity
            ]
            assert twins, "dropped without a twin"
            del self.known[pk]

    def _assert_no_twins(self, rows: dict[int, Any]) -> None:
        """One that asked not to be shown as a second one is not shown as one."""
        now = self.clock.time
        first: set[tuple[object, ...]] = set()
        for pk in sorted(rows, key=lambda pk: (rows[pk]["created_revision"] or 0, pk)):
            known = self.known[pk]
            if known.meddled or not known.is_open(now) or pk not in self.births:
                continue
            assert not (known.asked and known.identity in first), "two of a kind"
            first.add(known.identity)

    def _assert_all_told(self) -> None:
        """No revision was reached without a broadcast."""
        for pk, revision in plain(Mailbox).values_list("pk", "revision"):
            assert revision == self.revisions.get(pk, 0)

    def _assert_pages(self) -> None:
        """A page at the mailbox's revision equals a fresh snapshot, asked or not."""
        fresh: dict[int, dict[str, Any] | None] = {}
        for page in self.pages:
            if page.user not in fresh:
                fresh[page.user] = self._expected(page.user)
            expected = fresh[page.user]
            mirror = page.mirror
            if expected and mirror.position == {
                "since": expected["revision"],
                "epoch": expected["epoch"],
            }:
                self._assert_equal(page, expected)

    def _assert_fresh(self, page: Page) -> None:
        """The page has just asked: it must know all there is."""
        expected = self._expected(page.user)
        if expected is None and any(writer.is_open for writer in self.writers):
            # It has locked what waits.
            self._assert_stamped({self.users[page.user].pk})
            return
        assert expected is not None, "something waits after a look"
        assert page.mirror.epoch == expected["epoch"]
        assert page.mirror.revision == expected["revision"]
        self._assert_equal(page, expected)

    def _assert_equal(self, page: Page, expected: dict[str, Any]) -> None:
        assert page.mirror.shown(self.clock.time) == expected["items"]
        assert page.mirror.unread == expected["unread"]
        assert page.mirror.desktop == expected["desktop"]
        epoch, revision = page.baseline
        if epoch != page.mirror.epoch:
            return
        for pk, created in expected["steady"].items():
            if created > revision:
                assert page.heard[epoch, str(pk), created] == 1, "never heard of"

    def _expected(self, user: int) -> dict[str, Any] | None:
        """What a snapshot must say; None while something waits to be stamped."""
        owner = self.users[user].pk
        now = self.clock.time
        profile = plain(UserProfile).get(user=owner)
        buried = plain(Tombstone).filter(user=owner, revision=None)
        if profile.pending or buried.exists():
            return None
        rows = list(plain(UserNotification).filter(user=owner).values())
        if any(_is_waiting(row, now) for row in rows):
            return None
        box = plain(Mailbox).get(pk=owner)
        listed = [
            row
            for row in rows
            if row["created_revision"] is not None
            and self.known[row["id"]].is_listed(now)
        ]
        listed.sort(key=lambda row: (row["created_revision"], row["id"]), reverse=True)
        return {
            "epoch": box.epoch,
            "revision": box.revision,
            "desktop": profile.browser_notifications_enabled,
            "unread": sum(row["read_at"] is None for row in listed),
            "items": [_to_item(row) for row in listed[:WINDOW]],
            "steady": {
                row["id"]: row["created_revision"]
                for row in listed
                if self.known[row["id"]].steady
            },
        }

    # What is broadcast

    def _on_broadcast(self, change: Changes) -> None:
        try:
            self._check(change)
        except AssertionError as error:
            self.errors.append(f"broadcast: {error}")
        frame: dict[str, Any] = over_the_wire(change)
        if not change.whole:
            frame = {"poke": True}
        for page in self.pages:
            if page.connected and str(self.users[page.user].pk) == change.user_key:
                page.inbox.append(copy.deepcopy(frame))

    def _check(self, change: Changes) -> None:
        owner = int(change.user_key)
        assert change.since == self.revisions.get(owner, 0), "a hole in the revisions"
        assert change.revision == change.since + 1
        self.revisions[owner] = change.revision
        box = plain(Mailbox).get(pk=owner)
        assert (change.epoch, change.revision) == (box.epoch, box.revision)
        now = self.clock.time
        rows = plain(UserNotification).filter(user=owner)
        unread = [
            row
            for row in rows.filter(created_revision__isnull=False)
            if row.read_at is None and row.is_listed_at(now)
        ]
        assert change.unread == len(unread), "a wrong count"
        born = rows.filter(created_revision=change.revision)
        assert not any(row.is_expired_at(now) for row in born), "told of a dead one"
        stamped = rows.filter(revision=change.revision).count()
        buried = plain(Tombstone).filter(user=owner, revision=change.revision).count()
        if box.floor_revision == change.revision:
            # Pages are told to load the state anew.
            assert not change.whole
            return
        few = stamped + buried <= CHANGES_LIMIT
        # What takes the place of the removed is only said to one user at a time.
        assert change.whole == few or (few and change.removed)
        if change.whole:
            self._assert_complete(change)

    def _assert_complete(self, change: Changes) -> None:
        """The frame has every row that was stamped since, and nothing of others."""
        now = self.clock.time
        rows = plain(UserNotification).filter(user=int(change.user_key))
        stamped = rows.filter(revision__gt=change.since, created_revision__isnull=False)
        listed = {row.pk for row in stamped if row.is_listed_at(now)}
        gone = {row.pk for row in stamped if not row.is_listed_at(now)}
        buried = plain(Tombstone).filter(
            user=int(change.user_key), revision__gt=change.since
        )
        gone |= set(buried.values_list("notification_id", flat=True))
        items = {row.pk for row in change.items}
        assert listed <= items, "something is missing"
        assert gone - listed == set(change.removed) - listed
        assert items <= set(rows.values_list("pk", flat=True)), "not this user's"
        assert all(row.user_id == int(change.user_key) for row in change.items)

    def _assert_stamped(self, owners: set[int]) -> None:
        """Nothing waits in these mailboxes but what an open transaction has locked."""
        owners = owners - self._held()
        for model in (UserNotification, UserProfile):
            waiting = plain(model).filter(user__in=owners, pending=True)
            assert not _free(waiting), "left pending"
        buried = plain(Tombstone).filter(user__in=owners, revision=None)
        assert not buried.exists(), "deletion left pending"


def _can_skip() -> bool:
    return bool(connection.features.has_select_for_update_skip_locked)


def _free(rows: models.QuerySet[Any]) -> list[Any]:
    """Those that nobody else has locked."""
    with transaction.atomic():
        return list(rows.select_for_update(skip_locked=_can_skip()))


def _level(act: Act) -> str:
    return "warning" if act.pick % 4 == 3 else "info"


def _wish(act: Act) -> tuple[bool, str]:
    """Most of the time people want to be told."""
    least = "warning" if act.change == "expire" else "info"
    return act.change != "dismiss", least


def _is_ahead(page: Page, box: Any, *, by: int) -> bool:
    same_epoch = page.mirror.epoch == box.epoch
    return bool(same_epoch and page.mirror.revision >= box.revision + by)


def _is_waiting(row: dict[str, Any], now: datetime) -> bool:
    due = (
        row["expires_at"] is not None
        and row["expires_at"] <= now
        and row["created_revision"] is not None
        and row["dismissed_at"] is None
        and not row["expiry_stamped"]
    )
    return bool(row["pending"]) or due


def _to_item(row: dict[str, Any]) -> dict[str, Any]:
    """What design section 6 says that an item is."""
    return {
        "id": str(row["id"]),
        "title": row["title"],
        "message": row["message"],
        "level": row["level"],
        "url": row["url"],
        "open_url": f"{row['id']}/open/",
        "source": {
            "app": row["source_app"],
            "model": row["source_model"],
            "id": row["source_id"],
        },
        "created_at": wire_time(row["created_at"]),
        "read_at": wire_time(row["read_at"]),
        "expires_at": wire_time(row["expires_at"]),
        "created_revision": row["created_revision"],
        "revision": row["revision"],
    }


class _ErrorLog(logging.Handler):
    """What was logged as an error, but for the rewinds that pages found."""

    def __init__(self, errors: list[str]) -> None:
        super().__init__(logging.ERROR)
        self._errors = errors
        self._loggers = [logging.getLogger("django"), logging.getLogger("themis")]

    def emit(self, record: logging.LogRecord) -> None:
        if "went back" not in record.getMessage():
            self._errors.append(self.format(record))

    def attach(self) -> None:
        for logger in self._loggers:
            logger.addHandler(self)

    def detach(self) -> None:
        for logger in self._loggers:
            logger.removeHandler(self)


@pytest.mark.timeout(0)
@pytest.mark.django_db(transaction=True)
def test_each_page_equals_a_fresh_snapshot(
    monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    """Whoever writes, whatever is lost: pages, counts and revisions are right."""
    monkeypatch.setattr(queries, "WINDOW", WINDOW)
    monkeypatch.setattr(holding, "CHANGES_LIMIT", CHANGES_LIMIT)
    monkeypatch.setattr(stamping, "ROWS_PER_STAMP", ROWS_PER_STAMP)
    monkeypatch.setattr(themis.models.queryset, "CHUNK", CHUNK)
    monkeypatch.setattr(cleaning, "TOMBSTONE_DAYS", 0)
    monkeypatch.setattr(cleaning, "WINDOW", 3)
    monkeypatch.setattr(cleaning, "ROWS_PER_BATCH", 2)
    # Nobody gives way while the other one waits, so there is nothing to wait for.
    monkeypatch.setattr(cleaning, "WAIT_MS", SHORT_MS)
    monkeypatch.setattr(holding, "HOLDING_WAIT_MS", SHORT_MS)
    monkeypatch.setattr(holding, "STAMP_WAIT_MS", SHORT_MS)
    monkeypatch.setattr(stamping, "STAMP_WAIT_MS", SHORT_MS)
    monkeypatch.setattr(revisions, "EPOCHS_WAIT_MS", SHORT_MS)
    monkeypatch.setattr(store, "CLAIM_WAIT_MS", 2 * SHORT_MS)
    MailboxMachine.users = [make_user("ada"), make_user("grace")]
    plain(UserProfile).update(notification_retention_days=0)
    MailboxMachine.clock = clock
    with Colleague() as first, Colleague() as second:
        MailboxMachine.writers = [Writer(first), Writer(second)]
        run_state_machine_as_test(
            MailboxMachine,
            settings=settings(
                max_examples=EXAMPLES,
                stateful_step_count=STEPS,
                suppress_health_check=list(HealthCheck),
            ),
        )
