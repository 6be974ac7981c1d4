"""Expiry: at the moment it is over, with no write by anybody."""

import logging
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connections
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries, Settings

from tests.mirror import Mirror, over_the_wire
from tests.themis.colleague import Colleague
from tests.themis.conftest import Clock, make_user
from tests.waiting import wait_until
from themis import mailbox
from themis.events import Changes
from themis.models import Mailbox, UserNotification
from themis.notifications import notify_user

transactional = pytest.mark.django_db(transaction=True)

STATE = "/notifications/api/state"


def remind(user: User, **in_time: float) -> UserNotification:
    """Notify of what expires by and by; stamped."""
    expires_at = timezone.now() + timedelta(**in_time)
    row = notify_user(user, "A reminder", expires_at=expires_at)
    assert row is not None
    return row


@transactional
class TestStampDue:
    def test_it_stamps_what_is_due_and_tells_what_comes_next(
        self, clock: Clock, sent: list[Changes]
    ) -> None:
        ada, grace = make_user("ada"), make_user("grace")
        rows = [remind(ada, minutes=1), remind(ada, minutes=3), remind(grace, hours=1)]
        clock.advance(minutes=2)
        sent.clear()
        positions = mailbox.stamp_due([ada.pk, grace.pk])
        (change,) = sent
        assert (change.user_key, change.unread) == (str(ada.pk), 1)
        assert change.removed == [rows[0].pk]
        assert positions == {
            ada.pk: (change.epoch, 3, rows[1].expires_at),
            grace.pk: (Mailbox.objects.get(pk=grace.pk).epoch, 1, rows[2].expires_at),
        }

    def test_nothing_due_costs_two_statements(
        self, clock: Clock, django_assert_num_queries: DjangoAssertNumQueries
    ) -> None:
        users = [make_user(name) for name in ("ada", "grace", "alan")]
        for user in users:
            remind(user, hours=1)
        with django_assert_num_queries(2):
            positions = mailbox.stamp_due([user.pk for user in users])
        assert len(positions) == 3

    def test_users_who_are_gone_are_not_in_the_answer(self) -> None:
        ada = make_user("ada")
        assert list(mailbox.stamp_due([ada.pk, 10**6])) == [ada.pk]
        assert list(mailbox.positions([ada.pk, 10**6])) == [ada.pk]

    def test_any_number_at_once_make_one_revision_and_no_noise(
        self, sent: list[Changes], caplog: pytest.LogCaptureFixture
    ) -> None:
        users = [make_user(f"user {number}") for number in range(30)]
        for user in users:
            remind(user, seconds=0.3)
        keys = [user.pk for user in users]
        sent.clear()

        def nothing_is_due(positions: dict[Any, mailbox.Standing]) -> bool:
            return not any(found.next_expiry_at for found in positions.values())

        def stamp(_number: int) -> None:
            try:
                wait_until(lambda: nothing_is_due(mailbox.stamp_due(keys)))
            finally:
                connections.close_all()

        with ThreadPoolExecutor(4) as processes:
            list(processes.map(stamp, range(4)))
        assert sorted(int(change.user_key) for change in sent) == sorted(keys)
        assert {change.revision for change in sent} == {2}
        assert set(Mailbox.objects.values_list("revision", flat=True)) == {2}
        assert [r for r in caplog.records if r.levelno >= logging.WARNING] == []

    @pytest.mark.only("postgres")
    def test_a_mailbox_that_somebody_holds_is_left_to_them_without_a_wait(
        self, sent: list[Changes], caplog: pytest.LogCaptureFixture, clock: Clock
    ) -> None:
        ada, grace = make_user("ada"), make_user("grace")
        for user in (ada, grace):
            remind(user, minutes=1)
        clock.advance(minutes=2)
        sent.clear()
        held = Mailbox.objects.select_for_update().filter(pk=ada.pk)
        with Colleague() as colleague:
            colleague.begin()
            colleague.run(lambda: list(held))
            begun = time.monotonic()
            positions = mailbox.stamp_due([ada.pk, grace.pk])
            mailbox.stamp_waiting()
            assert time.monotonic() - begun < 0.4
            colleague.commit()
        assert [change.user_key for change in sent] == [str(grace.pk)]
        due = positions[ada.pk].next_expiry_at
        assert due is not None
        assert due <= timezone.now()
        assert positions[grace.pk].next_expiry_at is None
        assert caplog.records == []
        mailbox.stamp_waiting()
        assert [change.user_key for change in sent] == [str(grace.pk), str(ada.pk)]


@transactional
class TestNextExpiry:
    """What the hub is told, by whichever way it hears of a mailbox."""

    @pytest.mark.parametrize("use_tz", [True, False])
    def test_it_is_known_of_states_changes_and_positions(
        self, sent: list[Changes], settings: Settings, *, use_tz: bool
    ) -> None:
        settings.USE_TZ = use_tz
        ada = make_user("ada")
        at = timezone.now() + timedelta(hours=1)
        remind(ada, hours=2)
        notify_user(ada, "First", expires_at=at)
        epoch = sent[-1].epoch
        box = mailbox.look(ada.pk)
        assert sent[-1].next_expiry_at == at
        assert box.next_expiry_at == at
        assert mailbox.read_state(ada.pk).next_expiry_at == at
        assert mailbox.read_state(ada.pk, since=0, epoch=epoch).next_expiry_at == at
        assert mailbox.positions([ada.pk])[ada.pk].next_expiry_at == at
        assert at.timestamp() - timezone.now().timestamp() == pytest.approx(3600, abs=9)

    def test_it_is_not_on_the_wire(self, sent: list[Changes]) -> None:
        remind(make_user("ada"), hours=1)
        assert "next_expiry_at" not in over_the_wire(sent[-1])

    def test_what_leaves_otherwise_is_not_waited_for(self, sent: list[Changes]) -> None:
        ada = make_user("ada")
        row = remind(ada, hours=1)
        mailbox.change(ada.pk, "dismiss", ids=[row.pk])
        assert sent[-1].next_expiry_at is None
        mailbox.change(ada.pk, "restore", ids=[row.pk])
        assert sent[-1].next_expiry_at == row.expires_at
        row.delete()
        assert sent[-1].next_expiry_at is None


@transactional
class TestOverHttp:
    def test_no_304_is_given_past_an_expiry(self, client: Client) -> None:
        """By the real clock: asked all the time, it changes at the second."""
        ada = make_user("ada")
        client.force_login(ada)
        row = remind(ada, seconds=1)
        assert row.expires_at is not None
        frame = client.get(STATE).json()
        position = {"since": frame["revision"], "epoch": frame["epoch"]}
        etag = client.get(STATE, position)["ETag"]
        answers: list[Any] = []

        def has_changed() -> bool:
            asked_at = timezone.now()
            response = client.get(STATE, position, headers={"If-None-Match": etag})
            answers.append((asked_at, response))
            return response.status_code == 200

        wait_until(has_changed)
        assert len(answers) > 1
        for asked_at, response in answers[:-1]:
            assert response.status_code == 304
            assert asked_at < row.expires_at
        asked_at, changed = answers[-1]
        assert asked_at >= row.expires_at - timedelta(seconds=0.1)
        frame = changed.json()
        assert (frame["removed"], frame["unread"]) == ([str(row.pk)], 0)

    def test_an_extended_one_is_back_and_not_new(
        self, client: Client, clock: Clock
    ) -> None:
        ada = make_user("ada")
        client.force_login(ada)
        page = Mirror()

        def poll() -> list[Any]:
            position = page.position if page.epoch else {}
            outcome, news = page.apply(client.get(STATE, position).json())
            assert outcome == "applied"
            return news

        poll()
        row = remind(ada, minutes=1)
        assert [item["title"] for item in poll()] == ["A reminder"]
        clock.advance(minutes=2)
        assert poll() == []
        assert (page.unread, page.shown(clock.time)) == (0, [])
        row.expires_at = clock.time + timedelta(minutes=5)
        row.save()
        assert poll() == []
        (item,) = page.shown(clock.time)
        assert (item["id"], item["created_revision"]) == (str(row.pk), 1)
        assert page.unread == 1
        # And off again, though it has been stamped as expired before.
        clock.advance(minutes=6)
        assert poll() == []
        assert (page.unread, page.shown(clock.time)) == (0, [])
