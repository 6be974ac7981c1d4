"""The HTTP API: state with its ETag, the four writes, and every refusal."""

import json
import logging
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.test import Client, TestCase
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from hypothesis import HealthCheck, example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pytest_django import Settings

from tests.themis.conftest import Clock, make_user
from tests.themis.contention import elsewhere, writing
from tests.themis.requests import (
    STATE,
    VERBS,
    WIRE,
    ask,
    assert_frame,
    assert_problem,
    box_of,
    everything,
    ids,
    notified,
    post,
    signed_in,
    stamped,
    titles,
    token_of,
    url_of,
)
from themis import mailbox, stamping
from themis.events import Changes
from themis.models import Mailbox, UserNotification

pytestmark = pytest.mark.django_db


@pytest.fixture
def ada() -> User:
    return make_user("ada")


@pytest.fixture
def grace() -> User:
    return make_user("grace")


@pytest.fixture
def client(ada: User) -> Client:
    """A browser in which ada is signed in."""
    return signed_in(ada)


class TestState:
    def test_without_a_position_it_is_a_snapshot(
        self, client: Client, ada: User, settings: Settings
    ) -> None:
        settings.THEMIS_NOTIFICATION_POLL_INTERVAL = 7
        rows = stamped(ada, 2)
        frame = assert_frame(ask(client), "snapshot")
        assert titles(frame) == ["Number 1", "Number 0"]
        assert ids(frame) == [str(rows[1].pk), str(rows[0].pk)]
        assert frame["unread"] == 2
        assert frame["v"] == 1
        assert frame["epoch"] == box_of(ada).epoch
        assert frame["revision"] == box_of(ada).revision == 2
        assert frame["poll_interval"] == 7
        assert frame["desktop"] is False

    def test_somebody_without_a_mailbox_gets_an_empty_one(
        self, client: Client, ada: User
    ) -> None:
        frame = assert_frame(ask(client), "snapshot")
        assert (frame["items"], frame["unread"], frame["revision"]) == ([], 0, 0)
        assert frame["epoch"] == box_of(ada).epoch

    def test_a_snapshot_has_the_newest_twenty(self, client: Client, ada: User) -> None:
        stamped(ada, 22)
        frame = assert_frame(ask(client), "snapshot")
        assert titles(frame) == [f"Number {number}" for number in range(21, 1, -1)]
        assert frame["unread"] == 22

    def test_a_snapshot_is_in_the_order_of_creation_then_id(
        self, client: Client, ada: User
    ) -> None:
        """Rows of one stamp share a revision; a later change moves nothing."""
        for title in ("a", "b", "c"):
            notified(ada, title)
        mailbox.look(ada.pk)
        UserNotification.objects.filter(title="a").update(message="changed")
        assert titles(ask(client).json()) == ["c", "b", "a"]

    def test_from_a_position_it_is_what_has_changed_since(
        self, client: Client, ada: User
    ) -> None:
        stamped(ada, 2)
        before = ask(client).json()
        notified(ada, "New")
        frame = assert_frame(
            ask(client, since=before["revision"], epoch=before["epoch"]), "changes"
        )
        assert titles(frame) == ["New"]
        assert frame["since"] == before["revision"] == frame["revision"] - 1
        assert frame["removed"] == []
        assert frame["unread"] == 3

    def test_from_the_present_there_are_no_changes(
        self, client: Client, ada: User
    ) -> None:
        stamped(ada, 1)
        now = ask(client).json()
        frame = assert_frame(
            ask(client, since=now["revision"], epoch=now["epoch"]), "changes"
        )
        assert (frame["items"], frame["removed"]) == ([], [])
        assert frame["since"] == frame["revision"] == now["revision"]

    @pytest.mark.parametrize("given", ["since", "epoch"])
    def test_one_of_since_and_epoch_alone_is_a_snapshot(
        self, client: Client, ada: User, given: str
    ) -> None:
        stamped(ada, 2)
        position = {"since": "1", "epoch": box_of(ada).epoch}
        assert_frame(ask(client, **{given: position[given]}), "snapshot")

    def test_empty_parameters_are_none_at_all(self, client: Client) -> None:
        assert_frame(ask(client, since="", epoch=""), "snapshot")

    @pytest.mark.parametrize("epoch", ["of-another-life", "with space", 'q"uote'])
    def test_another_epoch_is_a_snapshot(
        self, client: Client, ada: User, epoch: str
    ) -> None:
        stamped(ada, 2)
        response = ask(client, since="1", epoch=epoch)
        frame = assert_frame(response, "snapshot")
        assert frame["epoch"] == box_of(ada).epoch
        assert_is_weak_etag(response["ETag"])

    def test_over_a_hundred_changes_are_a_snapshot(
        self, client: Client, ada: User
    ) -> None:
        epoch = ask(client).json()["epoch"]
        for number in range(100):
            notified(ada, str(number))
        mailbox.look(ada.pk)
        frame = assert_frame(ask(client, since="0", epoch=epoch), "changes")
        assert len(frame["items"]) == 100
        notified(ada, "One more")
        assert_frame(ask(client, since="0", epoch=epoch), "snapshot")

    def test_below_the_floor_is_a_snapshot(self, client: Client, ada: User) -> None:
        """Tombstones from before the floor are gone: changes might not be whole."""
        stamped(ada, 3)
        box = box_of(ada)
        Mailbox.objects.filter(pk=ada.pk).update(floor_revision=2)
        assert_frame(ask(client, since="1", epoch=box.epoch), "snapshot")
        assert_frame(ask(client, since="2", epoch=box.epoch), "changes")

    def test_what_is_deleted_or_dismissed_is_removed_and_the_window_refilled(
        self, client: Client, ada: User
    ) -> None:
        """A page that holds the newest twenty gets what moves up into its window."""
        rows = stamped(ada, 23)
        before = ask(client).json()
        deleted, dismissed = rows[-1].pk, rows[-2].pk
        UserNotification.objects.get(pk=deleted).delete()
        UserNotification.objects.filter(pk=dismissed).update(
            dismissed_at=timezone.now()
        )
        frame = assert_frame(
            ask(client, since=before["revision"], epoch=before["epoch"]), "changes"
        )
        assert sorted(frame["removed"], key=int) == [str(dismissed), str(deleted)]
        assert titles(frame) == ["Number 2", "Number 1"]
        assert frame["unread"] == 21

    def test_what_expires_is_removed_by_the_first_request_after(
        self, clock: Clock, ada: User
    ) -> None:
        client = signed_in(ada)
        row = notified(ada, expires_at=timezone.now() + timedelta(minutes=1))
        first = ask(client)
        frame = first.json()
        position = {"since": frame["revision"], "epoch": frame["epoch"]}
        assert ids(frame) == [str(row.pk)]
        unchanged = ask(client, **position)
        assert ask(client, unchanged["ETag"], **position).status_code == 304

        clock.advance(minutes=2)
        due = ask(client, unchanged["ETag"], **position)
        frame = assert_frame(due, "changes")
        assert frame["removed"] == [str(row.pk)]
        assert (frame["items"], frame["unread"]) == ([], 0)
        assert frame["revision"] == position["since"] + 1
        assert ask(client, first["ETag"]).status_code == 200

    def test_a_new_preference_reaches_pages_that_poll(
        self, client: Client, ada: User
    ) -> None:
        frame = ask(client).json()
        position = {"since": frame["revision"], "epoch": frame["epoch"]}
        etag = ask(client, **position)["ETag"]
        profile: Any = ada
        profile.profile.browser_notifications_enabled = True
        profile.profile.save()
        frame = assert_frame(ask(client, etag, **position), "changes")
        assert frame["desktop"] is True
        assert frame["revision"] > position["since"]

    def test_an_unsafe_link_in_the_table_stays_off_the_wire(
        self, client: Client, ada: User
    ) -> None:
        UserNotification.objects.create(user=ada, title="x", url="javascript:alert(1)")
        (item,) = ask(client).json()["items"]
        assert item["url"] == ""
        assert item["open_url"] == f"{item['id']}/open/"

    def test_others_rows_are_not_told(
        self, client: Client, ada: User, grace: User
    ) -> None:
        stamped(grace, 2)
        stamped(ada, 1)
        assert titles(ask(client).json()) == ["Number 0"]
        assert ask(client).json()["unread"] == 1


class TestARewind:
    def test_a_position_ahead_gets_a_new_epoch_and_a_snapshot(
        self, client: Client, ada: User, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A page that knows more than the database: an older one was restored."""
        stamped(ada, 2)
        old = box_of(ada)
        with caplog.at_level(logging.ERROR, logger="themis"):
            response = ask(client, since=old.revision + 1, epoch=old.epoch)
        frame = assert_frame(response, "snapshot")
        assert frame["epoch"] == box_of(ada).epoch != old.epoch
        assert titles(frame) == ["Number 1", "Number 0"]
        (record,) = caplog.records
        assert record.levelname == "ERROR"
        assert str(ada.pk) in record.getMessage()

    def test_it_happens_once(
        self, client: Client, ada: User, caplog: pytest.LogCaptureFixture
    ) -> None:
        """The next page that comes with the old epoch just gets a snapshot."""
        stamped(ada, 1)
        old = box_of(ada)
        ask(client, since=99, epoch=old.epoch)
        renewed = box_of(ada).epoch
        caplog.clear()
        assert_frame(ask(client, since=99, epoch=old.epoch), "snapshot")
        assert box_of(ada).epoch == renewed
        assert not caplog.records

    def test_ahead_in_another_epoch_proves_nothing(
        self, client: Client, ada: User
    ) -> None:
        stamped(ada, 1)
        epoch = box_of(ada).epoch
        assert_frame(ask(client, since=99, epoch="of-another-life"), "snapshot")
        assert box_of(ada).epoch == epoch

    def test_the_largest_revision_there_can_be_is_a_rewind(
        self, client: Client, ada: User
    ) -> None:
        stamped(ada, 1)
        old = box_of(ada).epoch
        frame = assert_frame(ask(client, since=2**63 - 1, epoch=old), "snapshot")
        assert frame["epoch"] != old


def assert_is_weak_etag(text: str) -> None:
    """RFC 9110, 8.8.3: a quoted string without quotes, spaces or controls in it."""
    assert re.fullmatch(r'W/"[\x21\x23-\x7e]+"', text)


class TestETag:
    def test_the_same_state_is_not_sent_twice(self, client: Client, ada: User) -> None:
        stamped(ada, 1)
        first = ask(client)
        assert_is_weak_etag(first["ETag"])
        again = ask(client, first["ETag"])
        assert again.status_code == 304
        assert again.content == b""
        assert again["ETag"] == first["ETag"]
        assert "no-store" in again["Cache-Control"]

    def test_any_of_several_tags_will_do(self, client: Client) -> None:
        etag = ask(client)["ETag"]
        assert ask(client, f'W/"other", {etag}').status_code == 304
        assert ask(client, 'W/"other"').status_code == 200

    @pytest.mark.parametrize("header", ["", "*", '"', "W/", "nonsense", "\x7f,,,"])
    def test_a_header_that_names_no_state_gets_the_state(
        self, client: Client, header: str
    ) -> None:
        assert ask(client, header).status_code == 200

    @pytest.mark.parametrize("positioned", [False, True])
    def test_each_way_the_state_changes_changes_it(
        self, client: Client, ada: User, *, positioned: bool
    ) -> None:
        """New, read, edited, deleted: whatever raises the revision."""
        (row,) = stamped(ada, 1)
        box = box_of(ada)
        position: dict[str, Any] = {"since": box.revision, "epoch": box.epoch}
        query = position if positioned else {}
        seen = {ask(client, **query)["ETag"]}

        def expect_new() -> None:
            response = ask(client, min(seen), **query)
            assert response.status_code == 200
            assert response["ETag"] not in seen
            seen.add(response["ETag"])

        notified(ada, "Another")
        expect_new()
        post(client, "read", {"ids": [str(row.pk)]})
        expect_new()
        UserNotification.objects.filter(pk=row.pk).update(title="Edited")
        expect_new()
        UserNotification.objects.filter(pk=row.pk).delete()
        expect_new()

    def test_it_names_the_position(self, client: Client, ada: User) -> None:
        """Two answers that differ never share one."""
        stamped(ada, 2)
        epoch = box_of(ada).epoch
        tags = [
            ask(client)["ETag"],
            ask(client, since=1, epoch=epoch)["ETag"],
            ask(client, since=2, epoch=epoch)["ETag"],
        ]
        assert len(set(tags)) == 3
        assert ask(client, tags[1], since=2, epoch=epoch).status_code == 200

    def test_a_new_epoch_changes_it(self, client: Client, ada: User) -> None:
        etag = ask(client)["ETag"]
        Mailbox.objects.filter(pk=ada.pk).update(epoch="the-next-life")
        assert ask(client, etag).status_code == 200

    def test_a_new_poll_interval_changes_it(
        self, client: Client, settings: Settings
    ) -> None:
        """It is part of the answer, so pages learn it without a notification."""
        etag = ask(client)["ETag"]
        settings.THEMIS_NOTIFICATION_POLL_INTERVAL = 1234
        assert ask(client, etag).json()["poll_interval"] == 1234

    def test_a_304_costs_one_statement_besides_session_and_user(
        self, client: Client, ada: User
    ) -> None:
        stamped(ada, 30)
        epoch = box_of(ada).epoch
        etag = ask(client, since=1, epoch=epoch)["ETag"]
        with CaptureQueriesContext(connection) as statements:
            assert ask(client, etag, since=1, epoch=epoch).status_code == 304
        tables = [statement["sql"] for statement in statements]
        assert len(tables) == 3, tables
        assert "django_session" in tables[0]
        assert "auth_user" in tables[1]
        assert "themis_mailbox" in tables[2]
        assert all(sql.startswith("SELECT") for sql in tables)

    def test_changes_cost_a_bounded_number_of_statements(
        self, client: Client, ada: User
    ) -> None:
        counts = set()
        for number in (1, 20):
            before = ask(client).json()
            stamped(ada, number)
            with CaptureQueriesContext(connection) as statements:
                ask(client, since=before["revision"], epoch=before["epoch"])
            counts.add(len(statements))
        assert len(counts) == 1
        assert counts.pop() <= 7

    def test_signed_out_there_is_no_304(self, client: Client, ada: User) -> None:
        stamped(ada, 1)
        etag = ask(client)["ETag"]
        client.logout()
        assert_problem(ask(client, etag), 401)
        assert_problem(ask(Client(), etag), 401)

    def test_the_tag_of_another_user_is_no_304(
        self, client: Client, ada: User, grace: User
    ) -> None:
        """Not even for mailboxes at the same revision."""
        stamped(ada, 1)
        stamped(grace, 1)
        response = ask(signed_in(grace), ask(client)["ETag"])
        assert titles(assert_frame(response, "snapshot")) == ["Number 0"]

    def test_an_account_switched_off_gets_no_304(
        self, client: Client, ada: User
    ) -> None:
        etag = ask(client)["ETag"]
        User.objects.filter(pk=ada.pk).update(is_active=False)
        assert_problem(ask(client, etag), 401)


class TestStamping:
    """The requests of pages stamp what waits; so a host's `TestCase` works."""

    @pytest.mark.parametrize("method", ["state", "read"])
    def test_what_is_pending_is_stamped_by_the_request(
        self, client: Client, ada: User, method: str
    ) -> None:
        """pytest's transaction is open around this test: nothing has committed."""
        row = notified(ada)
        if method == "state":
            frame = ask(client).json()
        else:
            frame = post(client, "read", {"ids": [str(row.pk)]}).json()
        assert ids(frame) == [str(row.pk)]
        now = UserNotification.objects.get()
        assert (row.pending, now.pending) == (True, False)
        assert row.created_revision is None
        assert now.created_revision
        assert frame["revision"] == now.revision

    def test_what_is_pending_changes_the_etag(self, client: Client, ada: User) -> None:
        etag = ask(client)["ETag"]
        notified(ada)
        assert ask(client, etag).status_code == 200

    def test_open_pages_hear_of_it(
        self,
        client: Client,
        ada: User,
        sent: list[Changes],
        django_capture_on_commit_callbacks: Any,
    ) -> None:
        row = notified(ada)
        with django_capture_on_commit_callbacks(execute=True):
            post(client, "read", {"ids": [str(row.pk)]})
        last = sent[-1]
        assert last.user_key == str(ada.pk)
        assert [item.pk for item in last.items] == [row.pk]
        assert last.unread == 0


class TestStampingInATestCaseOfTheHost(TestCase):
    def test_a_notification_is_seen_by_the_next_request(self) -> None:
        user = make_user("ada")
        row = notified(user)
        client = signed_in(user)
        frame = ask(client).json()
        assert ids(frame) == [str(row.pk)]
        assert frame["unread"] == 1
        answer = post(client, "dismiss", {"ids": [str(row.pk)]}).json()
        assert answer["removed"] == [str(row.pk)]
        assert ask(client).json()["items"] == []


class TestMalformedPositions:
    @pytest.mark.parametrize(
        "since",
        [
            "-1",
            "+1",
            "1.0",
            "1e3",
            "0x10",
            "one",
            " 1",
            "1 ",
            "1_000",
            "null",
            "²",
            "٣",
            "\uff11",
            "1\x00",
            "1\n",
            str(2**63),
            "9" * 20,
            "0" * 20 + "9" * 20,
            "0" * 20 + "9" * 5000,
            "9" * 5000,
        ],
        ids=lambda text: f"{text[:24]!a} of {len(text)}",
    )
    def test_a_since_that_is_no_revision_is_refused(
        self, client: Client, ada: User, since: str
    ) -> None:
        stamped(ada, 1)
        before = everything()
        response = ask(client, since=since, epoch=box_of(ada).epoch)
        assert_problem(response, 400, "since")
        assert everything() == before

    @pytest.mark.parametrize(
        "epoch",
        ["x" * 65, "x" * 100_000, "a\nSet-Cookie: b", "a\r", "a\x00", "\ud800", "é"],
        ids=lambda text: f"{text[:24]!a} of {len(text)}",
    )
    def test_an_epoch_that_is_none_is_refused(
        self, client: Client, ada: User, epoch: str
    ) -> None:
        """No header is made of it, either."""
        stamped(ada, 1)
        response = ask(client, since=0, epoch=epoch.encode("utf-8", "surrogatepass"))
        assert_problem(response, 400, "epoch")

    def test_parameters_that_are_unknown_are_nobodys_business(
        self, client: Client
    ) -> None:
        """So that a page may add what keeps caches off."""
        assert_frame(ask(client, _="1"), "snapshot")


class TestRefusals:
    def test_signed_out_is_a_problem_not_a_redirect(self) -> None:
        assert_problem(Client().get(STATE), 401)
        for verb in VERBS:
            assert_problem(post(Client(), verb, {"ids": ["1"]}), 401)

    def test_signed_out_comes_before_any_other_complaint(self) -> None:
        assert_problem(Client().get(STATE, {"since": "x"}), 401)
        assert_problem(post(Client(), "read", b"{"), 401)

    @pytest.mark.parametrize("method", ["post", "put", "patch", "delete", "options"])
    def test_state_is_read_only(self, client: Client, method: str) -> None:
        response = getattr(client, method)(STATE)
        assert_problem(response, 405)
        assert response["Allow"] == "GET, HEAD"

    @pytest.mark.parametrize("verb", VERBS)
    @pytest.mark.parametrize("method", ["get", "put", "patch", "delete", "options"])
    def test_the_verbs_take_posts(
        self, client: Client, ada: User, verb: str, method: str
    ) -> None:
        stamped(ada, 1)
        before = everything()
        response = getattr(client, method)(url_of(verb))
        assert_problem(response, 405)
        assert response["Allow"] == "POST"
        assert everything() == before

    @pytest.mark.parametrize("verb", VERBS)
    def test_without_the_csrf_token_nothing_is_written(
        self, ada: User, verb: str
    ) -> None:
        (row,) = stamped(ada, 1)
        before = everything()
        client = signed_in(ada, enforce_csrf_checks=True)
        assert_problem(post(client, verb, {"ids": [str(row.pk)]}), 403)
        wrong = {"X-CSRFToken": "x" * 32}
        response = post(client, verb, {"ids": [str(row.pk)]}, headers=wrong)
        assert_problem(response, 403)
        assert everything() == before

    def test_with_the_token_of_the_bell_it_is_written(self, ada: User) -> None:
        (row,) = stamped(ada, 1)
        client = signed_in(ada, enforce_csrf_checks=True)
        response = post(
            client, "read", {"ids": [str(row.pk)]}, headers=token_of(client)
        )
        assert_frame(response, "changes")

    def test_a_form_is_no_json(self, ada: User) -> None:
        """The CSRF check reads a form before the view can; still a problem."""
        (row,) = stamped(ada, 1)
        before = everything()
        client = signed_in(ada, enforce_csrf_checks=True)
        headers: Any = token_of(client)
        form = {"ids": str(row.pk)}
        response = client.post(url_of("read"), form, headers=headers)
        assert_problem(response, 415)
        response = client.post(
            url_of("read"),
            "ids=1",
            content_type="application/x-www-form-urlencoded",
            headers=headers,
        )
        assert_problem(response, 400)
        assert everything() == before


class TestByIds:
    @pytest.mark.parametrize(
        ("verb", "field"), [("read", "read_at"), ("dismiss", "dismissed_at")]
    )
    def test_the_rows_named_are_changed_and_the_answer_says_when(
        self, client: Client, ada: User, verb: str, field: str
    ) -> None:
        rows = stamped(ada, 3)
        named = {rows[0].pk, rows[2].pk}
        before = box_of(ada)
        response = post(client, verb, {"ids": [str(pk) for pk in named]})
        frame = assert_frame(response, "changes")
        assert frame["since"] == before.revision
        assert frame["revision"] == before.revision + 1
        assert frame["unread"] == 1
        written = dict(UserNotification.objects.values_list("pk", field))
        assert {pk for pk, moment in written.items() if moment} == named
        assert written[rows[0].pk] == written[rows[2].pk]
        assert datetime.fromisoformat(frame["at"]) == written[rows[0].pk]
        assert frame["at"].endswith("Z")
        if verb == "read":
            assert ids(frame) == [str(rows[2].pk), str(rows[0].pk)]
            assert {item["read_at"] for item in frame["items"]} == {frame["at"]}
        else:
            assert sorted(frame["removed"]) == sorted(map(str, named))

    @pytest.mark.parametrize(
        ("verb", "back", "field"),
        [("read", "unread", "read_at"), ("dismiss", "restore", "dismissed_at")],
    )
    def test_a_change_is_taken_back(
        self, client: Client, ada: User, verb: str, back: str, field: str
    ) -> None:
        row, _other = stamped(ada, 2)
        post(client, verb, {"ids": [str(row.pk)]})
        frame = assert_frame(post(client, back, {"ids": [str(row.pk)]}), "changes")
        assert frame["at"] is None
        assert frame["unread"] == 2
        assert str(row.pk) in ids(frame)
        row.refresh_from_db()
        assert getattr(row, field) is None

    def test_what_is_restored_is_not_new(self, client: Client, ada: User) -> None:
        """It keeps the revision of its creation, so no page rings."""
        (row,) = stamped(ada, 1)
        post(client, "dismiss", {"ids": [str(row.pk)]})
        (item,) = post(client, "restore", {"ids": [str(row.pk)]}).json()["items"]
        assert item["created_revision"] == row.created_revision
        assert item["revision"] > row.created_revision

    @pytest.mark.parametrize("verb", VERBS)
    def test_the_second_time_changes_nothing(
        self, client: Client, ada: User, verb: str
    ) -> None:
        (row,) = stamped(ada, 1)
        post(client, verb, {"ids": [str(row.pk)]})
        before = everything()
        frame = assert_frame(post(client, verb, {"ids": [str(row.pk)]}), "changes")
        assert everything() == before
        assert frame["at"] is None
        assert frame["since"] == frame["revision"] == box_of(ada).revision
        assert (frame["items"], frame["removed"]) == ([], [])

    def test_a_late_second_click_keeps_the_time_of_the_first(
        self, client: Client, ada: User
    ) -> None:
        """Else the undo of the first operation would miss the row."""
        one, other = stamped(ada, 2)
        first = post(client, "read", {"ids": [str(one.pk)]}).json()["at"]
        both = post(client, "read", {"ids": [str(one.pk), str(other.pk)]}).json()["at"]
        one.refresh_from_db()
        other.refresh_from_db()
        assert one.read_at == datetime.fromisoformat(first)
        assert other.read_at == datetime.fromisoformat(both)

    @pytest.mark.parametrize("verb", VERBS)
    def test_ids_of_others_are_ignored(
        self, client: Client, ada: User, grace: User, verb: str
    ) -> None:
        (mine,) = stamped(ada, 1)
        (theirs,) = stamped(grace, 1)
        other = UserNotification.objects.filter(pk=theirs.pk).values()
        before = list(other)
        body = {"ids": [str(mine.pk), str(theirs.pk), "987654321"]}
        frame = post(client, verb, body).json()
        assert str(theirs.pk) not in [*ids(frame), *frame["removed"]]
        assert list(other) == before

    @pytest.mark.parametrize("verb", VERBS)
    def test_none_of_ones_own_is_not_found(
        self, client: Client, grace: User, verb: str
    ) -> None:
        """Of another user or of nobody: the answer doesn't tell which."""
        (theirs,) = stamped(grace, 1)
        before = list(UserNotification.objects.values())
        foreign = post(client, verb, {"ids": [str(theirs.pk)]})
        nobodys = post(client, verb, {"ids": ["987654321", str(2**63 - 1)]})
        assert assert_problem(foreign, 404) == assert_problem(nobodys, 404)
        assert list(UserNotification.objects.values()) == before

    def test_ids_may_repeat_and_be_numbers(self, client: Client, ada: User) -> None:
        (row,) = stamped(ada, 1)
        frame = post(client, "read", {"ids": [str(row.pk), row.pk, row.pk]}).json()
        assert ids(frame) == [str(row.pk)]

    def test_a_thousand_ids_are_a_snapshot(self, client: Client, ada: User) -> None:
        """More rows than changes may carry; written with one time all the same."""
        UserNotification.objects.bulk_create(
            UserNotification(user=ada, title=str(number)) for number in range(1_000)
        )
        keys = [str(row.pk) for row in UserNotification.objects.all()]
        frame = assert_frame(post(client, "read", {"ids": keys}), "snapshot")
        assert frame["unread"] == 0
        moments = set(UserNotification.objects.values_list("read_at", flat=True))
        assert moments == {datetime.fromisoformat(frame["at"])}


class TestUpTo:
    def test_what_came_later_stays_unread(self, client: Client, ada: User) -> None:
        """The page read what it had rendered, not what arrived meanwhile."""
        stamped(ada, 2)
        rendered = ask(client).json()
        late = notified(ada, "Late")
        body = {"up_to": rendered["revision"], "epoch": rendered["epoch"]}
        frame = assert_frame(post(client, "read", body), "changes")
        assert frame["unread"] == 1
        (unread,) = UserNotification.objects.filter(read_at=None)
        assert unread == late
        moments = UserNotification.objects.filter(read_at__isnull=False)
        assert set(moments.values_list("read_at", flat=True)) == {
            datetime.fromisoformat(frame["at"])
        }

    def test_it_goes_by_creation_not_by_the_last_change(
        self, client: Client, ada: User
    ) -> None:
        (row,) = stamped(ada, 1)
        UserNotification.objects.filter(pk=row.pk).update(title="Edited")
        post(client, "read", {"up_to": 1})
        row.refresh_from_db()
        assert row.is_read

    def test_dismiss_takes_all_that_is_listed_read_or_not(
        self, client: Client, ada: User
    ) -> None:
        one, _two = stamped(ada, 2)
        post(client, "read", {"ids": [str(one.pk)]})
        frame = post(client, "dismiss", {"up_to": box_of(ada).revision}).json()
        assert len(frame["removed"]) == 2
        assert ask(client).json()["items"] == []

    def test_another_epoch_is_a_conflict(self, client: Client, ada: User) -> None:
        stamped(ada, 1)
        before = everything()
        for verb in ("read", "dismiss"):
            body = {"up_to": 1, "epoch": "of-another-life"}
            assert_problem(post(client, verb, body), 409)
        assert everything() == before

    def test_level_and_source_narrow(self, client: Client, ada: User) -> None:
        for level, app in (
            ("info", "tasks"),
            ("danger", "tasks"),
            ("danger", "billing"),
        ):
            notified(ada, f"{level} {app}", level=level, source_app=app)
        mailbox.look(ada.pk)

        def read() -> set[str]:
            rows = UserNotification.objects.filter(read_at__isnull=False)
            return {row.title for row in rows}

        body = {"up_to": 1, "level": "danger", "source_app": "tasks"}
        post(client, "read", body)
        assert read() == {"danger tasks"}
        post(client, "read", {"up_to": 1, "source_app": "tasks"})
        assert read() == {"danger tasks", "info tasks"}
        post(client, "read", {"up_to": 1, "level": "danger"})
        assert read() == {"danger tasks", "info tasks", "danger billing"}

    def test_a_source_that_nothing_has_matches_nothing(
        self, client: Client, ada: User
    ) -> None:
        stamped(ada, 1)
        frame = post(client, "read", {"up_to": 9, "source_app": "Tåsks"}).json()
        assert frame["at"] is None
        assert frame["unread"] == 1

    def test_an_empty_mailbox_is_fine(self, client: Client) -> None:
        frame = assert_frame(post(client, "read", {"up_to": 0}), "changes")
        assert (frame["at"], frame["items"]) == (None, [])

    def test_the_largest_revision_means_all(self, client: Client, ada: User) -> None:
        stamped(ada, 2)
        assert post(client, "read", {"up_to": 2**63 - 1}).json()["unread"] == 0

    def test_it_is_for_this_person_alone(
        self, client: Client, ada: User, grace: User
    ) -> None:
        stamped(ada, 1)
        (theirs,) = stamped(grace, 1)
        for verb in ("read", "dismiss"):
            post(client, verb, {"up_to": 99})
        theirs.refresh_from_db()
        assert not theirs.is_read
        assert not theirs.is_dismissed

    @pytest.mark.parametrize("verb", ["unread", "restore"])
    def test_it_is_for_read_and_dismiss_alone(self, client: Client, verb: str) -> None:
        problem = assert_problem(post(client, verb, {"up_to": 1}), 400, "up_to")
        assert "up_to" in problem["errors"]


class TestUndo:
    @pytest.mark.parametrize(
        ("verb", "back", "field"),
        [("read", "unread", "read_at"), ("dismiss", "restore", "dismissed_at")],
    )
    def test_it_takes_back_exactly_one_operation(
        self, client: Client, ada: User, verb: str, back: str, field: str
    ) -> None:
        one, two, three = stamped(ada, 3)
        post(client, verb, {"ids": [str(one.pk)]})
        at = post(client, verb, {"up_to": box_of(ada).revision}).json()["at"]
        frame = assert_frame(post(client, back, {"at": at}), "changes")
        assert frame["unread"] == 2
        done = UserNotification.objects.filter(**{f"{field}__isnull": False})
        assert [row.pk for row in done] == [one.pk]
        assert set(ids(frame)) == {str(two.pk), str(three.pk)}
        assert frame["at"] is None

    def test_the_time_may_come_in_any_zone(self, client: Client, ada: User) -> None:
        (row,) = stamped(ada, 1)
        at = post(client, "read", {"ids": [str(row.pk)]}).json()["at"]
        elsewhere = datetime.fromisoformat(at).astimezone(
            timezone.get_fixed_timezone(330)
        )
        assert post(client, "unread", {"at": elsewhere.isoformat()}).json()["items"]

    def test_a_time_at_which_nothing_happened_undoes_nothing(
        self, client: Client, ada: User
    ) -> None:
        (row,) = stamped(ada, 1)
        post(client, "read", {"ids": [str(row.pk)]})
        before = everything()
        frame = assert_frame(
            post(client, "unread", {"at": "2020-01-01T00:00:00Z"}), "changes"
        )
        assert (frame["at"], frame["items"]) == (None, [])
        assert everything() == before

    def test_the_same_time_of_another_user_is_left_alone(
        self, client: Client, ada: User, grace: User
    ) -> None:
        (mine,) = stamped(ada, 1)
        (theirs,) = stamped(grace, 1)
        at = post(client, "read", {"ids": [str(mine.pk)]}).json()["at"]
        moment = datetime.fromisoformat(at)
        UserNotification.objects.filter(pk=theirs.pk).update(read_at=moment)
        post(client, "unread", {"at": at})
        theirs.refresh_from_db()
        assert theirs.read_at == moment

    @pytest.mark.parametrize("verb", ["read", "dismiss"])
    def test_it_is_for_unread_and_restore_alone(
        self, client: Client, verb: str
    ) -> None:
        body = {"at": "2030-01-01T00:00:00Z"}
        assert_problem(post(client, verb, body), 400, "at")

    def test_it_works_on_a_site_without_time_zones(
        self, client: Client, ada: User, settings: Settings
    ) -> None:
        """There the columns hold local times; the wire stays in UTC."""
        settings.USE_TZ = False
        (row,) = stamped(ada, 1)
        at = post(client, "read", {"ids": [str(row.pk)]}).json()["at"]
        assert at.endswith("Z")
        moment = datetime.fromisoformat(at)
        assert abs(moment - datetime.now(UTC)) < timedelta(minutes=1)
        assert post(client, "unread", {"at": at}).json()["unread"] == 1


def nested(depth: int) -> bytes:
    return b"[" * depth + b"]" * depth


NO_OBJECT = {
    "nothing": b"",
    "no json": b"ids=1",
    "half of it": b'{"ids": ["1"',
    "not utf-8": b'{"ids": ["\xff"]}',
    "a list": b'["1"]',
    "a string": b'"ids"',
    "a number": b"1",
    "null": b"null",
    "deep": nested(100_000),
    "deep ids": b'{"ids": ' + nested(100_000) + b"}",
    "digits beyond int()": b'{"ids": [' + b"9" * 5_000 + b"]}",
}

# Bodies, and the fields that the problem blames.
MALFORMED: dict[str, tuple[bytes, set[str]]] = {
    "ids null": (b'{"ids": null}', {"ids"}),
    "ids string": (b'{"ids": "1"}', {"ids"}),
    "ids object": (b'{"ids": {"0": "1"}}', {"ids"}),
    "ids empty": (b'{"ids": []}', {"ids"}),
    "ids too many": (
        json.dumps({"ids": [str(pk) for pk in range(1_001)]}).encode(),
        {"ids"},
    ),
    **{
        f"id {name}": (b'{"ids": ["1", ' + item + b"]}", {"ids"})
        for name, item in {
            "null": b"null",
            "true": b"true",
            "false": b"false",
            "float": b"1.0",
            "exponent": b"1e0",
            "infinite": b"Infinity",
            "nan": b"NaN",
            "list": b'["1"]',
            "object": b'{"id": "1"}',
            "nested": nested(100),
            "empty": b'""',
            "negative": b'"-1"',
            "negative number": b"-1",
            "signed": b'"+1"',
            "with space": b'" 1"',
            "text": b'"one"',
            "superscript": '"²"'.encode(),
            "arabic": '"٣"'.encode(),
            "nul": b'"1\\u0000"',
            "surrogate": b'"\\ud800"',
            "too large": b'"9223372036854775808"',
            "too large number": b"9223372036854775808",
            "digits": b'"' + b"9" * 100 + b'"',
            "zeros and digits": b'"' + b"0" * 20 + b"9" * 20 + b'"',
            "digits beyond int()": b'"' + b"0" * 20 + b"9" * 5_000 + b'"',
        }.items()
    },
    "unknown field": (b'{"ids": ["1"], "all": true}', {"all"}),
    **{
        f"unknown field {name!a}": (
            json.dumps({"ids": ["1"], name: 1}).encode(),
            {name},
        )
        # The names of arguments too: none may reach a call as a keyword.
        for name in ("status", "detail", "errors", "self", "user", "", "\ud800", "\x00")
    },
    "epoch beside ids": (b'{"ids": ["1"], "epoch": "x"}', {"epoch"}),
    "level beside ids": (b'{"ids": ["1"], "level": "info"}', {"level"}),
}

MALFORMED_UP_TO: dict[str, tuple[bytes, set[str]]] = {
    "two ways": (b'{"ids": ["1"], "up_to": 1}', {"ids", "up_to"}),
    **{
        f"up_to {name}": (b'{"up_to": ' + value + b"}", {"up_to"})
        for name, value in {
            "null": b"null",
            "float": b"1.0",
            "infinite": b"1e999",
            "nan": b"NaN",
            "true": b"true",
            "string": b'"1"',
            "list": b"[1]",
            "object": b"{}",
            "negative": b"-1",
            "too large": str(2**63).encode(),
            "much too large": str(2**70).encode(),
        }.items()
    },
    **{
        f"{field} {name}": (
            b'{"up_to": 1, "' + field.encode() + b'": ' + value + b"}",
            {field},
        )
        for field in ("epoch", "level", "source_app")
        for name, value in {
            "null": b"null",
            "number": b"1",
            "true": b"true",
            "list": b'["info"]',
            "object": b"{}",
            "long": b'"' + b"x" * 200 + b'"',
            "nul": b'"info\\u0000"',
            "surrogate": b'"\\ud800"',
        }.items()
    },
    "level unknown": (b'{"up_to": 1, "level": "fatal"}', {"level"}),
    "level empty": (b'{"up_to": 1, "level": ""}', {"level"}),
    "level in capitals": (b'{"up_to": 1, "level": "INFO"}', {"level"}),
}

MALFORMED_AT: dict[str, tuple[bytes, set[str]]] = {
    "two ways": (
        b'{"ids": ["1"], "at": "2030-01-01T00:00:00Z"}',
        {"ids", "at"},
    ),
    "level beside at": (
        b'{"at": "2030-01-01T00:00:00Z", "level": "info"}',
        {"level"},
    ),
    **{
        f"at {name}": (b'{"at": ' + value + b"}", {"at"})
        for name, value in {
            "null": b"null",
            "number": b"1893456000",
            "true": b"true",
            "list": b"[]",
            "empty": b'""',
            "text": b'"yesterday"',
            "naive": b'"2030-01-01T00:00:00"',
            "date": b'"2030-01-01"',
            "no such day": b'"2030-02-30T00:00:00Z"',
            "before all time": b'"0001-01-01T00:00:00+23:59"',
            "after all time": b'"9999-12-31T23:59:59-23:59"',
            "first moment": b'"0001-01-01T00:00:00Z"',
            "last moment": b'"9999-12-31T23:59:59Z"',
            "nul": b'"2030-01-01T00:00:00Z\\u0000"',
            "surrogate": b'"2030-01-01\\ud80000:00:00Z"',
            "long": b'"2030-01-01T00:00:00.' + b"0" * 100_000 + b'Z"',
        }.items()
    },
}


def refusals() -> list[Any]:
    found = []
    for verb in VERBS:
        other = MALFORMED_UP_TO if verb in {"read", "dismiss"} else MALFORMED_AT
        for name, (body, blamed) in (MALFORMED | other).items():
            label = f"{verb}: {name}"
            found.append(pytest.param(verb, body, blamed, id=label))
    return found


class TestMalformedBodies:
    @pytest.mark.parametrize(("verb", "body", "blamed"), refusals())
    def test_a_wrong_field_is_named_and_nothing_changes(
        self, client: Client, verb: str, body: bytes, blamed: set[str]
    ) -> None:
        stamped(User.objects.get(), 1)
        before = everything()
        assert_problem(post(client, verb, body), 400, *blamed)
        assert everything() == before

    @pytest.mark.parametrize("body", NO_OBJECT.values(), ids=NO_OBJECT.keys())
    def test_what_is_no_json_object_is_refused(
        self, client: Client, ada: User, body: bytes
    ) -> None:
        stamped(ada, 1)
        before = everything()
        for verb in VERBS:
            assert_problem(post(client, verb, body), 400)
        assert everything() == before

    def test_ten_megabytes_are_too_large(self, client: Client) -> None:
        body = b'{"ids": ["' + b"1" * 10_000_000 + b'"]}'
        assert_problem(post(client, "read", body), 413)

    def test_one_way_to_choose_must_be_given(self, client: Client) -> None:
        for verb in ("read", "dismiss"):
            assert_problem(post(client, verb, {}), 400, "ids", "up_to")
        for verb in ("unread", "restore"):
            assert_problem(post(client, verb, {}), 400, "ids", "at")

    def test_the_problem_has_the_shape_of_the_wire_examples(
        self, client: Client
    ) -> None:
        example = json.loads((WIRE / "problem.json").read_text())
        assert post(client, "read", {"ids": []}).json() == example

    def test_a_field_given_twice_counts_once(self, client: Client, ada: User) -> None:
        """The last one, as everywhere in JSON."""
        (row,) = stamped(ada, 1)
        body = b'{"ids": null, "ids": ["%d"]}' % row.pk
        assert_frame(post(client, "read", body), "changes")


scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(exclude_categories=()), max_size=10)
    | st.sampled_from(["1", "info", "tasks", "read_at", "2030-01-01T00:00:00Z"])
    | st.datetimes(timezones=st.none() | st.timezones()).map(datetime.isoformat)
)
values = st.recursive(
    scalars,
    lambda children: (
        st.lists(children, max_size=3)
        | st.dictionaries(st.text(max_size=5), children, max_size=3)
    ),
    max_leaves=6,
)
fields = st.sampled_from(["ids", "up_to", "epoch", "level", "source_app", "at"])
objects = st.dictionaries(fields | st.text(max_size=5), values, max_size=4)
# Nearly right bodies reach what lies behind the parser.
close = st.fixed_dictionaries(
    {},
    optional={
        "ids": st.lists(st.integers(0, 2**63) | st.integers(0).map(str), max_size=4),
        "up_to": st.integers(),
        "level": st.sampled_from(["info", "danger"]),
        "source_app": st.text(max_size=10),
        "at": st.datetimes(timezones=st.timezones()).map(datetime.isoformat),
    },
)


@contextmanager
def undone() -> Iterator[None]:
    """So that one example is not the beginning of the next."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


class TestAnyRequest:
    @hypothesis_settings(
        max_examples=80,
        suppress_health_check=[HealthCheck.function_scoped_fixture],
    )
    @given(
        verb=st.sampled_from(VERBS),
        body=(values | objects | close).map(lambda body: json.dumps(body).encode())
        | st.binary(max_size=40),
    )
    @example(verb="read", body=b'{"ids": ["1"], "status": 200}')
    @example(verb="unread", body=b'{"at": "0001-01-01T00:00:00+23:59"}')
    def test_a_body_gets_an_answer_or_a_clear_refusal(
        self, client: Client, verb: str, body: bytes
    ) -> None:
        ada = User.objects.get()
        if not ada.themis_notifications.exists():
            stamped(ada, 2)
        with undone():
            before = everything()
            response = post(client, verb, body)
            assert response.status_code < 500
            if response.status_code == 200:
                assert "at" in response.json()
            else:
                assert response["Content-Type"] == "application/problem+json"
                assert response.json()["status"] == response.status_code
                assert everything() == before

    @hypothesis_settings(
        max_examples=50,
        suppress_health_check=[HealthCheck.function_scoped_fixture],
    )
    @given(since=st.text(max_size=30), epoch=st.text(max_size=80))
    def test_a_position_gets_an_answer_or_a_clear_refusal(
        self, client: Client, since: str, epoch: str
    ) -> None:
        response = ask(client, since=since, epoch=epoch)
        assert response.status_code in {200, 400}
        if response.status_code == 200:
            assert_is_weak_etag(response["ETag"])


@pytest.mark.django_db(transaction=True)
class TestContention:
    @pytest.mark.parametrize("verb", ["read", "dismiss"])
    def test_a_row_that_another_transaction_holds_is_busy_within_bounds(
        self, client: Client, ada: User, verb: str
    ) -> None:
        row = notified(ada)
        with writing(row):
            began = time.monotonic()
            response = post(client, verb, {"ids": [str(row.pk)]})
            waited = time.monotonic() - began
        assert_problem(response, 503)
        assert 1 <= int(response["Retry-After"]) <= 5
        assert 0.4 < waited < 4
        row.refresh_from_db()
        assert not row.is_read
        assert not row.is_dismissed
        assert_frame(post(client, verb, {"ids": [str(row.pk)]}), "changes")

    def test_a_mailbox_that_is_being_stamped_is_busy_within_bounds(
        self, client: Client, ada: User
    ) -> None:
        row = notified(ada)
        with elsewhere(stamping.hold([ada.pk], "default")):
            began = time.monotonic()
            response = post(client, "read", {"ids": [str(row.pk)]})
            waited = time.monotonic() - began
        assert_problem(response, 503)
        assert "Retry-After" in response
        assert waited < 4

    def test_state_is_read_past_a_writer(self, client: Client, ada: User) -> None:
        """A page that polls never waits for a host's long transaction."""
        row = notified(ada)
        with writing(row):
            began = time.monotonic()
            frame = assert_frame(ask(client), "snapshot")
            assert time.monotonic() - began < 1
        assert titles(frame) == ["Deploy v2"]
        assert titles(ask(client).json()) == ["Held"]

    def test_errors_that_are_no_contention_are_raised(
        self, client: Client, ada: User, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A broken database is not called busy."""
        row = notified(ada)
        table = UserNotification._meta.db_table
        monkeypatch.setattr(UserNotification._meta, "db_table", "themis_no_such_table")
        with pytest.raises(Exception, match="themis_no_such_table"):
            post(client, "read", {"ids": [str(row.pk)]})
        monkeypatch.setattr(UserNotification._meta, "db_table", table)


@pytest.mark.django_db(transaction=True)
class TestAtomicRequests:
    """A host with ATOMIC_REQUESTS: Themis' views stamp in transactions of their own."""

    @pytest.fixture(autouse=True)
    def _atomic_requests(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", True)

    def test_no_transaction_is_open_around_the_views(
        self, client: Client, ada: User, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        row = notified(ada)
        inside = []
        look = mailbox.look

        def spy(user: Any) -> Any:
            inside.append(connection.in_atomic_block)
            return look(user)

        monkeypatch.setattr(mailbox, "look", spy)
        ask(client)
        for verb in VERBS:
            post(client, verb, {"ids": [str(row.pk)]})
        client.get("/notifications/")
        client.post("/notifications/", {"verb": "read", "ids": row.pk})
        client.get(f"/notifications/{row.pk}/open/")
        assert len(inside) >= 8
        assert not any(inside)

    def test_they_stamp_and_tell_before_they_answer(
        self, client: Client, ada: User, sent: list[Changes]
    ) -> None:
        row = notified(ada)
        sent.clear()
        frame = post(client, "read", {"ids": [str(row.pk)]}).json()
        assert [change.revision for change in sent] == [frame["revision"]]
        row.refresh_from_db()
        assert row.revision == frame["revision"]
        assert not row.pending
