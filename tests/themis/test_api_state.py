"""State by API: snapshots, changes, rewinds, the ETag, malformed positions."""

import logging
import re
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client, TestCase
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pytest_django import Settings

from tests.themis.conftest import Clock, make_user
from tests.themis.requests import (
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
)
from themis import mailbox
from themis.events import Changes
from themis.models import Mailbox, UserNotification

pytestmark = pytest.mark.django_db


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

    @pytest.mark.parametrize("sent", ["{tag}", "W/{tag}", '"x", {tag}'])
    def test_a_tag_is_compared_weakly(
        self, client: Client, ada: User, sent: str
    ) -> None:
        """RFC 9110, section 13.1.2; a proxy may have dropped the mark."""
        stamped(ada, 1)
        tag = ask(client)["ETag"].removeprefix("W/")
        assert ask(client, sent.format(tag=tag)).status_code == 304

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
