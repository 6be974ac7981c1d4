"""The plans of PostgreSQL: what runs often finds its rows by an index.

The statements are those that Themis really sends, explained where it sends them. With
PLANS_ROWS in the environment there are more rows, and `-s` shows the plans and times:

    PLANS_ROWS=1000000 pytest --database postgres -s tests/themis/test_plans.py
"""

import itertools
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, ClassVar
from unittest import mock

import psycopg
import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connection, transaction
from django.test import SimpleTestCase
from django.utils import timezone

from tests.waiting import wait_until
from themis import mailbox
from themis.cleaning import clean_up
from themis.listing import Cursor, Filters, State, read_page
from themis.models import Mailbox, UserNotification
from themis.notifications import mark_read, notify_user, notify_users, withdraw

ROWS = int(os.environ.get("PLANS_ROWS", "100000"))
USERS = 10_000
# One person has a fifth of all rows, and has read nothing.
SHARE = 5

pytestmark = [
    pytest.mark.django_db,  # else the database is not even made; see the class
    pytest.mark.only("postgres"),
    pytest.mark.timeout(60 + ROWS // 2_000),
]

# Hundreds of thousands of rows: never read from one end to the other.
BIG = {"themis_usernotification", "themis_tombstone"}
# A row for each user: read so where many users are asked for at once, being so small.
ONE_EACH = {"themis_mailbox", "themis_userprofile", "auth_user"}

_FILL = """
INSERT INTO auth_user (password, username, first_name, last_name, email,
    is_superuser, is_staff, is_active, date_joined)
SELECT '', 'user' || i, '', '', '', false, false, true, now()
FROM generate_series(1, %(users)s) AS i;

-- Else what some test before has left says that they are few: each row that follows
-- would look for its user among all of them, and the join below take minutes.
ANALYZE auth_user;

INSERT INTO themis_userprofile (user_id, notifications_enabled, notification_min_level,
    browser_notifications_enabled, notification_retention_days, pending)
SELECT id, true, 'info', false, CASE WHEN id %% 50 = 0 THEN 30 END, false
FROM auth_user;

INSERT INTO themis_usernotification (user_id, title, message, level, url, source_app,
    source_model, source_id, created_at, read_at, dismissed_at, expires_at,
    created_revision, revision, pending, expiry_stamped, deduplicate)
SELECT owner, 'Title ' || i %% 1000, repeat('A message. ', 10),
    CASE i %% 4 WHEN 0 THEN 'warning' ELSE 'info' END, '/tasks/', 'tasks', 'Task',
    i %% 5000, born, CASE WHEN owner <> heavy AND i %% 10 < 7 THEN born END,
    CASE WHEN owner <> heavy AND i %% 10 = 7 THEN born END,
    CASE WHEN i %% 100 = 8 THEN now() + interval '30 days' END,
    nth, nth, false, false, false
FROM (
    SELECT i, owner, heavy,
        now() - interval '92 days' * (1 - i / %(rows)s::float) AS born,
        row_number() OVER (PARTITION BY owner ORDER BY i) AS nth
    FROM (
        SELECT i, heavy,
            CASE WHEN i %% %(share)s = 0 THEN heavy
                ELSE heavy + 1 + i::bigint * 7919 %% (%(users)s - 1) END AS owner
        FROM generate_series(1, %(rows)s) AS i,
            (SELECT min(id) AS heavy FROM auth_user) AS least
    ) AS owned
) AS counted;

ANALYZE themis_usernotification;

INSERT INTO themis_mailbox (user_id, epoch, revision, floor_revision, next_expiry_at,
    unread)
SELECT auth_user.id, 'epoch' || auth_user.id, count(owned.id), 0, min(owned.expires_at),
    least(10000, count(owned.id) FILTER
        (WHERE owned.read_at IS NULL AND owned.dismissed_at IS NULL))
FROM auth_user
LEFT JOIN themis_usernotification AS owned ON owned.user_id = auth_user.id
GROUP BY auth_user.id;

INSERT INTO themis_tombstone (notification_id, user_id, revision, created_at)
SELECT -i, id, 0, now() - interval '1 day' * (i %% 7)
FROM auth_user, generate_series(1, 3) AS i;

VACUUM ANALYZE auth_user;
VACUUM ANALYZE themis_userprofile;
VACUUM ANALYZE themis_usernotification;
VACUUM ANALYZE themis_mailbox;
VACUUM ANALYZE themis_tombstone
"""


@dataclass
class Plan:
    """One statement, and how the database goes about it."""

    sql: str
    root: dict[str, Any]
    milliseconds: float = 0

    @property
    def nodes(self) -> list[dict[str, Any]]:
        found, waiting = [], [self.root]
        while waiting:
            node = waiting.pop()
            found.append(node)
            waiting += node.get("Plans", [])
        return found

    @property
    def indexes(self) -> set[str]:
        return {node["Index Name"] for node in self.nodes if "Index Name" in node}

    @property
    def scanned(self) -> set[str]:
        """The tables that are read from one end to the other."""
        return {
            node["Relation Name"]
            for node in self.nodes
            if node["Node Type"].endswith("Seq Scan")
        }

    @property
    def sorts(self) -> bool:
        return any("Sort" in node["Node Type"] for node in self.nodes)

    def __str__(self) -> str:
        kind = " ".join(self.sql.split())[:70]
        return f"{self.milliseconds:9.2f} ms  {sorted(self.indexes)}  {kind}"


SOURCE: dict[str, Any] = {
    "source_app": "tasks",
    "source_model": "Task",
    "source_id": "4711",
}


_AUTO_EXPLAIN = {
    "auto_explain.log_nested_statements": "on",
    "auto_explain.log_format": "json",
    "auto_explain.log_min_duration": "0",
    "client_min_messages": "log",
}


@contextmanager
def explained() -> Iterator[list[Plan]]:
    """The plans of what is sent to Themis' tables in this block, made on the spot."""
    plans: list[Plan] = []

    def explain(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if "themis_" not in sql or not sql.lstrip().startswith(
            ("SELECT", "INSERT", "UPDATE", "DELETE", "WITH", "(SELECT")
        ):
            return execute(sql, params, many, context)
        with connection.create_cursor() as cursor:
            cursor.execute(f"EXPLAIN (FORMAT JSON) {sql}", params)
            plan = Plan(sql, cursor.fetchone()[0][0]["Plan"])
        plans.append(plan)
        began = time.perf_counter()
        result = execute(sql, params, many, context)
        plan.milliseconds = 1000 * (time.perf_counter() - began)
        return result

    with connection.execute_wrapper(explain):
        yield plans
    for plan in plans:
        print(plan)  # noqa: T201 -- for whoever runs it by hand
    assert plans, "nothing was sent"


@contextmanager
def explained_by_the_server() -> Iterator[list[Plan]]:
    """The plans of what runs in this block, what runs inside of functions included:
    the server tells them itself, of these very runs.
    """
    plans: list[Plan] = []

    def note(notice: psycopg.errors.Diagnostic) -> None:
        duration, _, document = (notice.message_primary or "").partition("plan:")
        told = json.loads(document)
        plans.append(Plan(told["Query Text"], told["Plan"], float(duration.split()[1])))

    connection.ensure_connection()
    connection.connection.add_notice_handler(note)
    with connection.cursor() as cursor:
        cursor.execute("LOAD 'auto_explain'")
        for name, value in _AUTO_EXPLAIN.items():
            cursor.execute(f"SET {name} = {value}")
        try:
            yield plans
        finally:
            for name in _AUTO_EXPLAIN:
                cursor.execute(f"RESET {name}")
            connection.connection.remove_notice_handler(note)
    for plan in plans:
        print(plan)  # noqa: T201 -- for whoever runs it by hand


def assert_indexed(plans: list[Plan], *wanted: str, many: bool = False) -> None:
    """No big table is scanned, and these indexes are among those used. `many` users are
    asked for at once.
    """
    for plan in plans:
        scanned = plan.scanned & (BIG if many else BIG | ONE_EACH)
        assert not scanned, (scanned, plan.sql, plan.root)
    used = set().union(*(plan.indexes for plan in plans))
    assert used.issuperset(wanted), (used, [plan.sql for plan in plans])


class TestPlans(SimpleTestCase):
    """
    On one set of rows, made once: this class of Django's neither wraps a test in a
    transaction nor clears the tables after each.
    """

    databases = {"default"}
    heavy: ClassVar[User]
    light: ClassVar[User]

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        numbers = {"rows": ROWS, "users": USERS, "share": SHARE}
        with connection.cursor() as cursor:
            for statement in _FILL.split(";\n"):
                cursor.execute(statement, numbers)
        users = User.objects.order_by("pk")
        cls.heavy, cls.light = users[0], users[USERS // 2]

    @classmethod
    def tearDownClass(cls) -> None:
        call_command("flush", verbosity=0, interactive=False)
        super().tearDownClass()

    def test_a_page_of_a_list_comes_out_of_the_index_in_order(self) -> None:
        """The first page and a deep one, of whoever has many and of whoever has few."""
        deep = Mailbox.objects.get(pk=self.heavy.pk).revision // 2
        row = UserNotification.objects.get(user=self.heavy, created_revision=deep)
        indexes: dict[State, str] = {
            "all": "themis_listed",
            "unread": "themis_unread",
            "dismissed": "themis_dismissed",
        }
        places = itertools.product(indexes, (None, Cursor(deep, row.pk)), (False, True))
        for state, before, unstamped in places:
            with explained() as plans:
                read_page(
                    self.heavy.pk,
                    Filters(state=state),
                    before=before,
                    limit=25,
                    unstamped=unstamped,
                )
            (plan,) = plans
            assert_indexed(plans)
            if state != "dismissed":
                assert plan.indexes == {indexes[state]}
                assert not plan.sorts
            with explained() as plans:
                read_page(
                    self.light.pk, Filters(state=state), limit=25, unstamped=unstamped
                )
            assert_indexed(plans)

    def test_the_count_comes_out_of_the_index(self) -> None:
        with explained() as plans:
            assert mailbox.count_unread(self.heavy.pk) == min(10_000, ROWS // SHARE)
        assert_indexed(plans, "themis_unread")

    def test_a_poll_finds_what_changed(self) -> None:
        """Nothing, some of it, too much, and all."""
        for user, behind in itertools.product(
            (self.heavy, self.light), (None, 0, 50, 150)
        ):
            box = mailbox.look(user.pk)
            since = None if behind is None else max(0, box.revision - behind)
            with explained() as plans:
                mailbox.look(user.pk)
                mailbox.read_state(user.pk, since=since, epoch=box.epoch)
            assert_indexed(plans, "themis_mailbox_pkey")
            if (user, behind) == (self.heavy, 50):
                assert_indexed(plans, "themis_changed", "themis_deleted")

    def test_a_notification_finds_its_user_and_its_rivals(self) -> None:
        """Stamped at once, and inside a transaction with the stamp after its commit."""
        kinds: list[tuple[dict[str, Any], set[str]]] = [
            ({}, set()),
            ({"deduplicate": True}, {"themis_unsourced"}),
            (SOURCE | {"deduplicate": True}, {"themis_source"}),
        ]
        for (options, rivals), inside in itertools.product(kinds, (False, True)):
            with explained() as plans:
                if inside:
                    with transaction.atomic():
                        notify_user(self.heavy, "Hello", **options)
                else:
                    # By statements; what the function does, the next test asks.
                    with mock.patch("themis.shortcut.leads_to", return_value=False):
                        notify_user(self.heavy, "Hello", **options)
            inserts = [plan for plan in plans if plan.sql.startswith("INSERT")]
            assert_indexed(plans, "auth_user_pkey" if inside else "themis_mailbox_pkey")
            assert_indexed(inserts, *rivals)

    def test_the_function_finds_its_rows_by_indexes(self) -> None:
        """Whether it is planned for its arguments, or once and for all."""
        people = (self.heavy, self.light)
        for mode, user in itertools.product(
            ("force_custom_plan", "force_generic_plan"), people
        ):
            with connection.cursor() as cursor:
                cursor.execute(f"SET plan_cache_mode = {mode}")
            with explained_by_the_server() as plans:
                assert notify_user(user, "Hello", **SOURCE)
            with connection.cursor() as cursor:
                cursor.execute("RESET plan_cache_mode")
            *inner, outer = [plan for plan in plans if "themis_" in plan.sql]
            assert "FROM themis_store_1(" in outer.sql
            # The mailbox, the profile, the row, and the mailbox with its counts.
            assert len(inner) == 4, [plan.sql for plan in inner]
            # And of the row's foreign key, the account.
            assert_indexed(
                plans,
                "auth_user_pkey",
                "themis_mailbox_pkey",
                "themis_userprofile_user_id_key",
                "themis_unread",
                "themis_expiring",
            )
            # Of each index the part of this person alone, not all that it holds.
            for node in itertools.chain(*(plan.nodes for plan in inner)):
                if "Index Name" in node:
                    assert "(user_id = " in node.get("Index Cond", ""), node

    def test_a_chunk_of_notify_users_scans_nothing(self) -> None:
        users = User.objects.filter(pk__lt=self.heavy.pk + 250)
        for deduplicate, inside in itertools.product((False, True), repeat=2):
            options: dict[str, Any] = SOURCE | {"deduplicate": deduplicate}
            with explained() as plans:
                if inside:
                    with transaction.atomic():
                        notify_users(users, "Hello", **options)
                else:
                    notify_users(users, "Hello", **options)
            assert_indexed(plans, many=True)

    def test_the_reconciler_finds_nothing_quickly(self) -> None:
        users = [self.heavy.pk + number for number in range(50)]
        mailbox.stamp_waiting()
        with explained() as plans:
            mailbox.stamp_waiting()
        assert len(plans) == 2
        assert_indexed(plans, "themis_pending", "themis_deleted_pending")
        with explained() as plans:
            mailbox.positions(users)
        assert_indexed(plans, "themis_mailbox_pkey")

    def test_what_falls_due_is_found(self) -> None:
        """An expiry is stamped without a look at anything else."""
        soon = timezone.now() + timedelta(seconds=0.3)
        for user in (self.heavy, self.light):
            notify_user(user, "Short", expires_at=soon)
        wait_until(lambda: timezone.now() > soon)
        with explained() as plans:
            mailbox.stamp_waiting()
        assert_indexed(plans, "themis_expiring")

    def test_a_source_is_found(self) -> None:
        notify_user(self.heavy, "Hello", **SOURCE)
        with explained() as plans:
            assert mark_read(self.heavy, **SOURCE)
        assert_indexed(plans)
        with explained() as plans:
            assert withdraw(**SOURCE)
        assert_indexed(plans, "themis_source", many=True)

    def test_clean_up_reads_ranges_of_keys(self) -> None:
        """Ranges to look for what is due, and keys to delete it."""
        with explained() as plans:
            cleared = clean_up()
        assert cleared["read"] > cleared["dismissed"] > 0
        assert_indexed(plans, "themis_usernotification_pkey", many=True)
        assert any(plan.sql.startswith("DELETE") for plan in plans)
