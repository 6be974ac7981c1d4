"""Deleting a user: it works whatever goes on, and their sockets are closed."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth.models import Group, User
from django.db import OperationalError, connection, transaction
from django.db.models.signals import post_delete
from django.test import Client
from django.test.utils import isolate_apps

from tests.themis.colleague import Colleague, somebody_waits
from tests.themis.conftest import make_user
from tests.waiting import wait_until
from themis import mailbox, revisions, stamping
from themis.broadcasters import DummyBroadcaster
from themis.models import Mailbox, Tombstone, UserNotification, UserProfile
from themis.notifications import notify_user

transactional = pytest.mark.django_db(transaction=True)


@pytest.fixture
def colleagues(transactional_db: None) -> Iterator[list[Colleague]]:
    del transactional_db
    with Colleague() as first, Colleague() as second:
        yield [first, second]


@transactional
class TestDisconnecting:
    @pytest.mark.parametrize("how", ["instance", "queryset", "admin"])
    def test_it_is_told_once_and_leaves_nothing(
        self, ada: User, disconnected: list[str], how: str
    ) -> None:
        notify_user(ada, "Never read")
        gone = notify_user(ada, "Deleted before")
        assert gone is not None
        gone.delete()
        key = str(ada.pk)
        if how == "instance":
            ada.delete()
        elif how == "queryset":
            User.objects.filter(pk=ada.pk).delete()
        else:
            delete_in_the_admin([ada])
        assert disconnected == [key]
        for model in (UserNotification, Mailbox, UserProfile):
            assert not model._base_manager.exists()

    def test_many_are_told_of_after_the_commit(self, disconnected: list[str]) -> None:
        users = [make_user(f"user {number}") for number in range(5)]
        with transaction.atomic():
            User.objects.exclude(pk=users[0].pk).delete()
            assert disconnected == []
        assert sorted(disconnected) == sorted(str(user.pk) for user in users[1:])

    def test_a_rollback_tells_nothing(self, ada: User, disconnected: list[str]) -> None:
        with transaction.atomic():
            User.objects.filter(pk=ada.pk).delete()
            transaction.set_rollback(True)
        with transaction.atomic():
            inner = transaction.atomic()
            inner.__enter__()
            User.objects.filter(pk=ada.pk).delete()
            transaction.set_rollback(True)
            inner.__exit__(None, None, None)
        assert disconnected == []
        assert User.objects.filter(pk=ada.pk).exists()

    @isolate_apps("django.contrib.auth")
    def test_a_proxy_of_the_user_model_counts(
        self, ada: User, disconnected: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class Member(User):
            class Meta:
                proxy = True
                app_label = "auth"

        models = [User, Member]
        monkeypatch.setattr(apps, "get_models", lambda: models)
        apps.get_app_config("themis").ready()
        key = str(ada.pk)
        try:
            Member.objects.get(pk=ada.pk).delete()
        finally:
            post_delete.disconnect(sender=Member, dispatch_uid="themis.disconnect")
        assert disconnected == [key]

    def test_other_models_are_deleted_as_fast_as_ever(self) -> None:
        """A listener for all senders would make Django load each row."""
        assert post_delete.has_listeners(User)
        for model in (Group, UserNotification, Mailbox):
            assert not post_delete.has_listeners(model)

    def test_a_broadcaster_without_sockets_needs_no_method(self) -> None:
        DummyBroadcaster().disconnect(["1"])


def delete_in_the_admin(users: list[User]) -> None:
    """As the action "Delete selected users" of the admin does."""
    boss = User.objects.create_superuser("boss")
    client = Client()
    client.force_login(boss)
    response = client.post(
        "/admin/auth/user/",
        {
            "action": "delete_selected",
            "_selected_action": [str(user.pk) for user in users],
            "post": "yes",
        },
    )
    assert response.status_code == 302
    for model in (UserNotification, Mailbox, UserProfile):
        model._base_manager.filter(user=boss.pk).delete()


@transactional
class TestRaces:
    def test_what_was_not_told_of_the_deleted_is_forgotten(self, ada: User) -> None:
        Tombstone.objects.create(notification_id=1, user_id=ada.pk)
        ada.delete()
        mailbox.stamp_waiting()
        assert not Tombstone.objects.exists()

    def test_a_change_of_somebody_deleted_meanwhile_finds_nothing(
        self, ada: User, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        row = notify_user(ada, "Title")
        assert row is not None
        key = ada.pk
        bump = revisions.bump

        def delete_first(*arguments: Any, **options: Any) -> Any:
            # Nothing is locked yet: the deletion can be quicker.
            with Colleague() as colleague:
                colleague.run(User.objects.filter(pk=key).delete)
            return bump(*arguments, **options)

        if connection.vendor == "postgresql":
            monkeypatch.setattr(revisions, "bump", delete_first)
        else:
            ada.delete()
        with pytest.raises(Mailbox.DoesNotExist):
            mailbox.change(key, "read", ids=[row.pk])

    @pytest.mark.only("postgres")
    def test_a_mailbox_is_not_made_of_somebody_deleted_meanwhile(
        self, ada: User, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The insert is refused by the foreign key; that is no error of a reader."""
        grace = make_user("grace")
        key = ada.pk
        in_bulk = Mailbox.objects.db_manager("default").none().bulk_create.__func__  # type: ignore[attr-defined]

        def delete_first(self: Any, boxes: Any, **options: Any) -> Any:
            boxes = list(boxes)
            with Colleague() as colleague:
                colleague.run(User.objects.filter(pk=key).delete)
            return in_bulk(self, boxes, **options)

        monkeypatch.setattr("django.db.models.QuerySet.bulk_create", delete_first)
        assert list(mailbox.positions([key, grace.pk])) == [grace.pk]
        with pytest.raises(Mailbox.DoesNotExist):
            mailbox.look(key)

    @pytest.mark.only("postgres")
    def test_a_bulk_deletion_does_not_wait_for_a_stamp_that_waits(
        self, colleagues: list[Colleague]
    ) -> None:
        """
        The deletion has the last mailbox and wants the first. If the stamp had that
        while it waits, PostgreSQL could kill whoever waited first: the deletion.
        """
        users = [make_user(name) for name in ("first", "middle", "last")]
        first, middle, last = (user.pk for user in users)
        revisions.make_missing([first, middle, last], "default")
        for user in users:
            notify_user(user, "Title")
        deleter, holder = colleagues
        holder.begin()
        holder.run(lambda: list(Mailbox.objects.select_for_update().filter(pk=middle)))
        deleter.begin()
        deleter.run(User.objects.filter(pk=last).delete)
        with Colleague() as stamper:
            stamped = stamper.start(stamping.stamp, [first, middle, last])
            wait_until(lambda: waiting() == 1)
            deleter.run(User.objects.filter(pk=first).delete)
            assert not stamped.done()
            holder.commit()
            stamped.result(10)
            deleter.commit()
        assert list(User.objects.values_list("pk", flat=True)) == [middle]

    @pytest.mark.only("postgres")
    def test_a_deletion_survives_the_person_marking_as_read(
        self, ada: User, colleagues: list[Colleague]
    ) -> None:
        """The deletion has the rows and wants the mailbox, the request vice versa."""
        row = notify_user(ada, "Title")
        assert row is not None
        key = ada.pk
        deleter, holder = colleagues
        deleter.begin()
        # What Django's collector deletes first, before the mailbox and the user.
        deleter.run(
            UserNotification._base_manager.filter(pk=row.pk)._raw_delete, "default"
        )
        holder.begin()
        holder.run(lambda: list(Mailbox.objects.select_for_update().filter(pk=key)))
        with Colleague() as reader:
            read = reader.start(mailbox.change, key, "read", ids=[row.pk])
            wait_until(somebody_waits)
            deleted = deleter.start(User.objects.filter(pk=key).delete)
            wait_until(lambda: waiting() == 2)
            holder.commit()
            with pytest.raises(OperationalError):
                read.result(10)
            deleted.result(10)
            deleter.commit()
        assert not User.objects.exists()

    @pytest.mark.only("postgres")
    def test_deletions_and_stamps_at_once_never_kill_a_deletion(self) -> None:
        """Whoever gives way, it is the stamp."""
        users = [make_user(f"user {number}") for number in range(60)]
        keys = [user.pk for user in users]
        revisions.make_missing(keys, "default")
        for user in users:
            with transaction.atomic():
                notify_user(user, "Title")
                connection.run_on_commit.clear()
        with Colleague() as deleter, Colleague() as stamper:
            stamped = stamper.start(lambda: [*map(stamping.stamp, [keys] * 10)])
            for start in range(0, 50, 10):
                chunk = User.objects.filter(pk__in=keys[start : start + 10])
                deleter.run(chunk.delete)
            stamped.result(30)
        assert User.objects.count() == 10
        stamping.stamp(keys)
        assert not UserNotification.objects.filter(pending=True).exists()
        assert Mailbox.objects.count() == 10


def waiting() -> int:
    """How many wait for a lock, on PostgreSQL."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
            " AND datname = current_database()"
        )
        return int(cursor.fetchone()[0])
