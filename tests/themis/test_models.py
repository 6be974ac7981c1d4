"""The tables, and what host code may do with them while bells are open."""

import asyncio
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import (
    DatabaseError,
    IntegrityError,
    connection,
    transaction,
)
from django.db.migrations.executor import MigrationExecutor
from django.db.models import F, Model, Window
from django.db.models.functions import RowNumber, Upper
from django.db.models.signals import post_delete, pre_delete
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

import themis.models.queryset
from tests.themis.colleague import Colleague, dying_after_the_commit
from tests.themis.conftest import Clock, make_user
from themis import mailbox
from themis.events import Changes
from themis.models import Level, Mailbox, Tombstone, UserNotification, UserProfile
from themis.notifications import notify_user

pytestmark = pytest.mark.django_db(transaction=True)


def make(user: User, title: str = "Title", **fields: Any) -> UserNotification:
    row = notify_user(user, title, **fields)
    assert row is not None
    return row


def shown(user: User) -> list[str]:
    """What a fresh page of the user shows."""
    return [row.title for row in mailbox.read_state(user.pk).items]


def assert_nothing_waits() -> None:
    assert not UserNotification.objects.filter(pending=True).exists()
    assert not Tombstone.objects.filter(revision=None).exists()
    assert not UserProfile.objects.filter(pending=True).exists()


class TestLevel:
    def test_weights(self) -> None:
        """What a minimum is compared with."""
        assert {level.value: level.weight for level in Level} == {
            "info": 0,
            "success": 0,
            "warning": 1,
            "danger": 2,
        }


class TestProfile:
    def test_it_is_made_with_the_user(self, ada: User) -> None:
        """With the defaults, and once."""
        profile = UserProfile.objects.get()
        assert profile.user == ada
        assert profile.notifications_enabled is True
        assert profile.notification_min_level == "info"
        assert profile.browser_notifications_enabled is False
        assert profile.notification_retention_days is None
        ada.save()
        assert UserProfile.objects.count() == 1
        assert ada.profile == profile

    def test_a_fixture_brings_its_own(self, tmp_path: Path) -> None:
        """Loading a dump makes nothing that is in the dump already."""
        fixture = tmp_path / "users.json"
        user = {"username": "ada", "password": "x"}
        profile = {"user": 7, "notification_min_level": "danger"}
        objects = [
            {"model": "auth.user", "pk": 7, "fields": user},
            {"model": "themis.userprofile", "pk": 9, "fields": profile},
        ]
        fixture.write_text(json.dumps(objects))
        call_command("loaddata", fixture, verbosity=0)
        assert User.objects.get().profile.notification_min_level == "danger"
        fixture.write_text(json.dumps(objects[:1]))
        UserProfile.objects.all().delete()
        call_command("loaddata", fixture, verbosity=0)
        assert not UserProfile.objects.exists()

    def test_a_missing_one_is_made_on_access(self) -> None:
        """Users who came another way have one when somebody asks for it."""
        User.objects.bulk_create([User(username="ada")])
        ada = User.objects.get()
        assert not UserProfile.objects.exists()
        assert ada.profile.notifications_enabled
        ada.profile.notification_min_level = "danger"
        ada.profile.save()
        assert UserProfile.objects.get().notification_min_level == "danger"

    def test_one_that_was_deleted_is_made_again(self, ada: User) -> None:
        """For an account that is loaded anew."""
        UserProfile.objects.all().delete()
        assert User.objects.get().profile.pk is not None
        del ada

    def test_an_unsaved_user_has_none(self) -> None:
        """There is nobody to make one for."""
        with pytest.raises(UserProfile.DoesNotExist):
            _ = User(username="new").profile

    def test_it_can_be_selected_and_filtered(self, ada: User) -> None:
        """It is an ordinary relation of the user."""
        with CaptureQueriesContext(connection) as queries:
            user = User.objects.select_related("profile").get()
            assert user.profile.user_id == ada.pk
        assert len(queries) == 1
        users = User.objects.filter(profile__notifications_enabled=True)
        assert list(users) == [ada]

    def test_existing_users_get_one_by_migration(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """In batches; those who have one keep it."""
        module = "themis.migrations.0002_profiles_of_existing_users"
        executor = MigrationExecutor(connection)
        executor.migrate([("themis", "0001_initial")])
        try:
            User.objects.bulk_create(User(username=f"user {n}") for n in range(5))
            kept = make_user("has one")
            UserProfile.objects.filter(user=kept).update(notifications_enabled=False)
            monkeypatch.setattr(f"{module}.BATCH", 2)
        finally:
            executor.loader.build_graph()
            executor.migrate(executor.loader.graph.leaf_nodes("themis"))
        assert UserProfile.objects.count() == 6
        assert UserProfile.objects.filter(notifications_enabled=True).count() == 5
        kept.profile.refresh_from_db()
        assert not kept.profile.notifications_enabled

    @pytest.mark.parametrize("by", ["save", "update_fields", "update", "bulk_update"])
    def test_a_change_reaches_every_tab(
        self, ada: User, sent: list[Changes], by: str
    ) -> None:
        """It is a revision, with the wish in the frame."""
        make(ada)
        sent.clear()
        profile = UserProfile.objects.get()
        profile.browser_notifications_enabled = True
        if by == "save":
            profile.save()
        elif by == "update_fields":
            profile.save(update_fields=["browser_notifications_enabled"])
        elif by == "update":
            UserProfile.objects.update(browser_notifications_enabled=True)
        else:
            UserProfile.objects.bulk_update(
                [profile], ["browser_notifications_enabled"]
            )
        (change,) = sent
        assert (change.since, change.revision, change.desktop) == (1, 2, True)
        assert (change.items, change.removed, change.unread) == ([], [], 1)
        assert_nothing_waits()

    def test_a_new_row_that_wishes_something_reaches_every_tab(
        self, ada: User, sent: list[Changes]
    ) -> None:
        """No row means the defaults; one that says so, too, is no revision."""
        make(ada)
        for desktop in (False, True):
            UserProfile.objects.all().delete()
            sent.clear()
            UserProfile.objects.update_or_create(
                user=ada, defaults={"browser_notifications_enabled": desktop}
            )
            assert [change.desktop for change in sent] == [True] * desktop
            assert_nothing_waits()

    def test_the_host_test_of_the_reference(self, ada: User) -> None:
        """Switched off through the cached relation, and nothing is stored."""
        ada.profile.notifications_enabled = False
        ada.profile.save()
        assert notify_user(ada, "Should be skipped") is None
        assert UserNotification.objects.count() == 0


class TestSave:
    def test_an_edit_is_followed(self, ada: User, sent: list[Changes]) -> None:
        """A new revision; the notification stays the one it was."""
        row = make(ada)
        sent.clear()
        row.title = "Edited"
        row.save()
        (change,) = sent
        (item,) = change.items
        assert (item.title, item.created_revision, item.revision) == ("Edited", 1, 2)
        assert change.unread == 1

    def test_an_instance_from_before_its_stamp_undoes_nothing(self, ada: User) -> None:
        """What stamping wrote stays as it is in the database."""
        with transaction.atomic():
            row = make(ada)
        assert row.pending
        row.title = "Edited"
        row.save()
        row.refresh_from_db()
        assert (row.created_revision, row.revision) == (1, 2)
        assert not row.pending

    def test_a_stale_instance_undoes_nothing(self, ada: User) -> None:
        """Nor does one that has seen only an older revision."""
        row = make(ada)
        stale = UserNotification.objects.get()
        for number in range(3):
            row.title = f"Edit {number}"
            row.save()
        stale.save()
        stale.refresh_from_db()
        assert (stale.created_revision, stale.revision) == (1, 5)

    @pytest.mark.parametrize("names", [["title"], ["title", "read_at"], None])
    def test_fields_may_be_chosen(
        self, ada: User, sent: list[Changes], names: list[str] | None
    ) -> None:
        """update_fields is Django's."""
        row = make(ada, "Title", message="Message")
        row.title, row.message, row.read_at = "New", "New", timezone.now()
        row.save(update_fields=names)
        row.refresh_from_db()
        assert row.title == "New"
        assert row.message == ("Message" if names else "New")
        assert row.is_read is (names is None or "read_at" in names)
        assert sent[-1].unread == (0 if row.is_read else 1)

    def test_a_deferred_instance_saves_what_was_loaded(self, ada: User) -> None:
        """And nothing else."""
        make(ada, "Title", message="Message")
        row = UserNotification.objects.only("title").get()
        UserNotification.objects.update(message="Edited meanwhile")
        row.title = "New"
        row.save()
        row = UserNotification.objects.get()
        assert (row.title, row.message) == ("New", "Edited meanwhile")
        assert_nothing_waits()

    @pytest.mark.parametrize("nested", [False, True])
    def test_saving_a_deleted_one_is_an_error(
        self, ada: User, sent: list[Changes], *, nested: bool
    ) -> None:
        """It isn't raised from the dead, and the transaction stays usable."""
        row = make(ada)
        stale = UserNotification.objects.get()
        row.delete()
        sent.clear()
        if nested:
            with transaction.atomic():
                with pytest.raises(DatabaseError):
                    stale.save()
                make_user("after")
            assert User.objects.count() == 2
        else:
            with pytest.raises(DatabaseError):
                stale.save()
        assert not UserNotification.objects.exists()
        assert not sent

    def test_one_that_a_host_creates_is_shown(
        self, ada: User, sent: list[Changes]
    ) -> None:
        """Hosts shouldn't, but may."""
        row = UserNotification.objects.create(user=ada, title="Own")
        made, created = UserNotification.objects.update_or_create(
            user=ada, title="Other", defaults={"level": "danger"}
        )
        assert created
        assert [change.unread for change in sent] == [1, 2]
        row.refresh_from_db()
        made.refresh_from_db()
        assert (row.created_revision, made.created_revision) == (1, 2)

    @pytest.mark.parametrize("name", ["user", "user_id", None])
    def test_moving_to_another_user(
        self, ada: User, grace: User, sent: list[Changes], name: str | None
    ) -> None:
        """Gone there and new here, in one stamp."""
        row = make(ada)
        stayed = make(ada, "Stayed")
        make(grace, "Was here")
        sent.clear()
        row.user = grace
        row.save(update_fields=None if name is None else [name])
        left, came = sorted(sent, key=lambda change: int(change.user_key))
        assert (left.user_key, left.removed, left.unread) == (str(ada.pk), [row.pk], 1)
        assert (came.user_key, came.removed, came.unread) == (str(grace.pk), [], 2)
        (item,) = came.items
        assert (item.pk, item.created_revision) == (row.pk, came.revision)
        assert shown(ada) == ["Stayed"]
        assert shown(grace) == ["Title", "Was here"]
        stayed.refresh_from_db()
        assert stayed.created_revision == 2
        assert_nothing_waits()

    def test_moving_there_and_back_in_a_transaction(
        self, ada: User, grace: User, sent: list[Changes]
    ) -> None:
        """The other never hears of it; here it is shown once."""
        row = make(ada)
        sent.clear()
        with transaction.atomic():
            row.user = grace
            row.save()
            row.user = ada
            row.save()
        (change,) = sent
        assert change.user_key == str(ada.pk)
        assert ([item.pk for item in change.items], change.unread) == ([row.pk], 1)
        assert not change.removed, "an id is either shown or removed"
        assert shown(ada) == ["Title"]
        assert shown(grace) == []

    def test_an_instance_that_has_moved_since_it_was_loaded(
        self, ada: User, grace: User, sent: list[Changes]
    ) -> None:
        """A few fields are saved where it is; all of them move it back."""
        make(ada)
        stale = UserNotification.objects.get()
        UserNotification.objects.update(user=grace)
        sent.clear()
        stale.title = "Edited"
        stale.save(update_fields=["title"])
        (change,) = sent
        assert (change.user_key, len(change.items)) == (str(grace.pk), 1)
        assert_nothing_waits()
        stale.save()
        assert (shown(ada), shown(grace)) == (["Edited"], [])

    def test_a_copy_is_another_one(self, ada: User, sent: list[Changes]) -> None:
        """Django's way to copy a row: what is inserted is new, and claims nothing."""
        row = make(ada, "Title", source_id="7", deduplicate=True)
        sent.clear()
        copied = UserNotification.objects.get(pk=row.pk)
        copied.pk, copied._state.adding = None, True
        copied.save()
        another = UserNotification.objects.get(pk=row.pk)
        another.pk = None
        UserNotification.objects.bulk_create([another])
        assert [change.unread for change in sent] == [2, 3]
        rows = UserNotification.objects.order_by("pk")
        assert [row.created_revision for row in rows] == [1, 2, 3]
        assert len(shown(ada)) == 3

    def test_get_or_create_and_update_or_create(
        self, ada: User, sent: list[Changes]
    ) -> None:
        """Each way through them: found, made, and written over."""
        rows = UserNotification.objects
        made, created = rows.get_or_create(user=ada, title="Title")
        found, again = rows.get_or_create(user=ada, title="Title")
        assert (created, again, found.pk) == (True, False, made.pk)
        _row, created = rows.update_or_create(
            user=ada, title="Title", defaults={"read_at": timezone.now()}
        )
        assert not created
        assert [(change.revision, change.unread) for change in sent] == [(1, 1), (2, 0)]

    async def test_async_twins_are_followed(self, sent: list[Changes]) -> None:
        """They are Django's, on top of the same methods."""
        ada = await User.objects.acreate(username="ada")
        row = await UserNotification.objects.acreate(user=ada, title="One")
        row.title = "Two"
        await row.asave()
        await UserNotification.objects.aupdate(title="Three")
        await UserNotification.objects.all().adelete()
        assert [change.revision for change in sent] == [1, 2, 3, 4]
        assert [change.unread for change in sent] == [1, 1, 1, 0]


class TestUpdate:
    def test_it_is_followed(self, ada: User, grace: User, sent: list[Changes]) -> None:
        """All users' rows, in one stamp; the number is Django's."""
        make(ada, "1")
        make(ada, "2")
        make(grace, "3")
        sent.clear()
        read_at = timezone.now()
        assert (
            UserNotification.objects.filter(read_at=None).update(read_at=read_at) == 3
        )
        assert [(change.user_key, change.unread) for change in sent] == [
            (str(ada.pk), 0),
            (str(grace.pk), 0),
        ]
        assert {item.read_at for change in sent for item in change.items} == {read_at}
        assert_nothing_waits()

    def test_nothing_that_matches_is_nothing(
        self, ada: User, sent: list[Changes]
    ) -> None:
        """No stamp, no revision."""
        make(ada)
        sent.clear()
        assert UserNotification.objects.filter(title="Other").update(title="x") == 0
        assert UserNotification.objects.none().update(title="x") == 0
        assert not sent

    def test_in_chunks(
        self, ada: User, sent: list[Changes], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Also where the change takes the rows out of what was selected."""
        monkeypatch.setattr(themis.models.queryset, "CHUNK", 2)
        for number in range(5):
            make(ada, f"{number}")
        sent.clear()
        unread = UserNotification.objects.filter(read_at=None)
        assert unread.update(read_at=timezone.now()) == 5
        (change,) = sent
        assert len(change.items) == 5
        assert unread.delete() == (0, {})
        count, by_model = UserNotification.objects.all().delete()
        assert (count, by_model) == (5, {"themis.UserNotification": 5})
        assert len(sent[-1].removed) == 5

    def test_in_reverse(
        self, ada: User, sent: list[Changes], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Each row once, whichever way round."""
        monkeypatch.setattr(themis.models.queryset, "CHUNK", 2)
        for number in range(5):
            make(ada, f"{number}")
        turned = UserNotification.objects.in_order().reverse()
        assert turned.update(read_at=timezone.now()) == 5
        count, _by_model = turned.delete()
        assert count == 5
        assert not UserNotification.objects.exists()

    def test_all_but_the_first(
        self, ada: User, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A window is looked through once, not anew for each chunk."""
        monkeypatch.setattr(themis.models.queryset, "CHUNK", 2)
        for number in range(6):
            make(ada, f"{number}")
        place = Window(RowNumber(), partition_by="user", order_by="pk")
        numbered = UserNotification.objects.annotate(place=place)
        assert numbered.filter(place__gt=1).delete()[0] == 5
        assert shown(ada) == ["0"]

    def test_expressions(self, ada: User, clock: Clock) -> None:
        """What Django computes in SQL, it computes."""
        make(ada, "title", expires_at=clock.time + timedelta(hours=1))
        UserNotification.objects.update(
            title=Upper("title"), expires_at=F("expires_at") + timedelta(hours=1)
        )
        row = UserNotification.objects.get()
        assert row.title == "TITLE"
        assert row.expires_at is not None
        assert row.expires_at > clock.time + timedelta(minutes=119)

    def test_what_django_refuses_is_refused(self, ada: User) -> None:
        """A slice can't be updated or deleted."""
        make(ada)
        with pytest.raises(TypeError):
            UserNotification.objects.all()[:1].update(title="x")
        with pytest.raises(TypeError):
            UserNotification.objects.all()[:1].delete()
        with pytest.raises(TypeError):
            UserNotification.objects.distinct("title").delete()
        assert UserNotification.objects.get().title == "Title"

    def test_through_the_user(self, ada: User, grace: User) -> None:
        """user.themis_notifications is followed, and reaches nobody else's."""
        make(ada)
        make(grace)
        ada.themis_notifications.all().update(title="Edited")
        assert shown(ada) == ["Edited"]
        ada.themis_notifications.all().delete()
        assert (shown(ada), shown(grace)) == ([], ["Title"])

    @pytest.mark.parametrize("method", ["add", "aadd", "set", "unbulked"])
    def test_moving_through_the_user(
        self, ada: User, grace: User, sent: list[Changes], method: str
    ) -> None:
        """Gone there and new here; only the user is written."""
        row, stayed = make(ada), make(ada, "Stayed")
        mine = make(grace, "Was here")
        UserNotification.objects.filter(pk=row.pk).update(message="Edited meanwhile")
        sent.clear()
        if method == "add":
            grace.themis_notifications.add(row, mine)
        elif method == "aadd":
            asyncio.run(grace.themis_notifications.aadd(row, mine))
        elif method == "set":
            grace.themis_notifications.set([row, mine])
        else:
            row.refresh_from_db()
            grace.themis_notifications.add(row, bulk=False)
        left, came = sorted(sent, key=lambda change: int(change.user_key))
        assert (left.removed, left.unread) == ([row.pk], 1)
        assert [item.pk for item in came.items] == [row.pk]
        assert (came.unread, came.items[0].message) == (2, "Edited meanwhile")
        assert row.user == grace
        assert shown(ada) == [stayed.title]
        assert_nothing_waits()

    def test_adding_what_is_not_saved_is_refused(self, ada: User, grace: User) -> None:
        """As by Django, and nothing else has moved."""
        row = make(ada)
        with pytest.raises(ValueError, match="bulk=False"):
            grace.themis_notifications.add(row, UserNotification(title="Not saved"))
        assert (shown(ada), shown(grace)) == (["Title"], [])
        grace.themis_notifications.add(UserNotification(title="New"), bulk=False)
        assert shown(grace) == ["New"]

    def test_making_through_the_user(self, ada: User, sent: list[Changes]) -> None:
        """Every method of the related manager that makes one."""
        mine = ada.themis_notifications
        mine.create(title="1")
        mine.get_or_create(title="2")
        mine.update_or_create(title="2", defaults={"message": "Edited"})
        mine.bulk_create([UserNotification(user=ada, title="3")])
        mine.update(level="danger")
        assert [change.revision for change in sent] == [1, 2, 3, 4, 5]
        assert {item.level for item in sent[-1].items} == {"danger"}
        assert shown(ada) == ["3", "2", "1"]
        assert_nothing_waits()

    @pytest.mark.parametrize("by", ["user", "user_id", "bulk_update"])
    def test_moving_between_users(
        self, ada: User, grace: User, sent: list[Changes], by: str
    ) -> None:
        """Gone there and new here."""
        rows = [make(ada, "1"), make(ada, "2"), make(ada, "Stays")]
        sent.clear()
        if by == "bulk_update":
            for row in rows[:2]:
                row.user = grace
            assert UserNotification.objects.bulk_update(rows[:2], ["user"]) == 2
        else:
            moving = UserNotification.objects.filter(title__in="12")
            assert moving.update(**{by: grace.pk}) == 2
        left, came = sorted(sent, key=lambda change: int(change.user_key))
        assert (left.unread, sorted(left.removed)) == (1, [rows[0].pk, rows[1].pk])
        assert (came.unread, came.removed) == (2, [])
        assert [item.created_revision for item in came.items] == [1, 1]
        assert shown(ada) == ["Stays"]
        assert shown(grace) == ["2", "1"]
        assert_nothing_waits()

    def test_merging_two_users_rings_for_nothing_that_was_there(
        self, ada: User, grace: User, sent: list[Changes]
    ) -> None:
        """What stays in its mailbox is the notification it was."""
        make(ada, "Ada's")
        make(grace, "Grace's")
        sent.clear()
        assert UserNotification.objects.update(user=grace) == 2
        came = next(change for change in sent if change.user_key == str(grace.pk))
        assert not came.removed
        created = {item.title: item.created_revision for item in came.items}
        assert created["Ada's"] == came.revision == 2
        assert created["Grace's"] == 1

    def test_a_key_does_not_move(self, ada: User, grace: User) -> None:
        """Two of a kind may meet in a mailbox, and no constraint breaks."""
        source: dict[str, Any] = {"source_id": "7", "deduplicate": True}
        make(ada, "Ada's", **source)
        make(grace, "Grace's", **source)
        UserNotification.objects.filter(user=ada).update(user=grace)
        assert sorted(shown(grace)) == ["Ada's", "Grace's"]
        assert notify_user(ada, "Again", **source)

    def test_nothing_of_a_rolled_back_update_is_seen(
        self, ada: User, sent: list[Changes]
    ) -> None:
        """No revision."""
        make(ada)
        sent.clear()
        with transaction.atomic():
            UserNotification.objects.update(title="x")
            transaction.set_rollback(True)
        assert not sent
        assert shown(ada) == ["Title"]


class TestBulk:
    def test_bulk_create(self, ada: User, grace: User, sent: list[Changes]) -> None:
        """One stamp for all, and the objects have their keys."""
        rows = UserNotification.objects.bulk_create(
            [
                UserNotification(user=user, title=title)
                for user, title in ((ada, "1"), (ada, "2"), (grace, "3"))
            ]
        )
        assert all(row.pk for row in rows)
        assert [(change.unread, change.revision) for change in sent] == [(2, 1), (1, 1)]
        assert UserNotification.objects.bulk_create([]) == []
        assert_nothing_waits()

    def test_bulk_create_over_what_is_there(
        self, ada: User, grace: User, sent: list[Changes]
    ) -> None:
        """An upsert is an update of what it writes over, wherever that is."""
        row = make(ada, "Title", source_id="7", deduplicate=True)
        sent.clear()
        UserNotification.objects.bulk_create(
            [
                UserNotification(pk=row.pk, user=ada, title="Edited", source_id="8"),
                UserNotification(pk=row.pk + 99, user=grace, title="New"),
            ],
            update_conflicts=True,
            update_fields=["title", "source_id"],
            unique_fields=["id"],
        )
        edited, new = sorted(sent, key=lambda change: int(change.user_key))
        assert [(item.title, item.created_revision) for item in edited.items] == [
            ("Edited", 1)
        ]
        assert [item.title for item in new.items] == ["New"]
        assert notify_user(ada, "Of the old source", source_id="7", deduplicate=True)
        assert_nothing_waits()

    def test_users_may_be_named_by_the_text_of_their_keys(
        self, ada: User, sent: list[Changes]
    ) -> None:
        """As a form sends them, beside real ones."""
        key: Any = str(ada.pk)
        with transaction.atomic():
            UserNotification.objects.create(user_id=key, title="1")
            make(ada, "2")
        (change,) = sent
        assert (change.user_key, change.unread) == (key, 2)
        assert notify_user(User.objects.model(pk=key, username="ada"), "3")
        assert shown(ada) == ["3", "2", "1"]
        assert_nothing_waits()

    def test_bulk_update(self, ada: User, sent: list[Changes]) -> None:
        """Different values for each row."""
        rows = [make(ada, f"{number}") for number in range(3)]
        sent.clear()
        for row in rows:
            row.title += " edited"
        assert UserNotification.objects.bulk_update(rows, ["title"]) == 3
        (change,) = sent
        assert [item.title for item in change.items] == [
            "2 edited",
            "1 edited",
            "0 edited",
        ]
        assert {item.created_revision for item in change.items} == {1, 2, 3}


class TestDelete:
    def test_an_instance(self, ada: User, sent: list[Changes]) -> None:
        """The result is Django's."""
        row = make(ada)
        pk = row.pk
        assert row.delete() == (1, {"themis.UserNotification": 1})
        assert not row.pk
        assert (sent[-1].removed, sent[-1].unread) == ([pk], 0)

    def test_one_that_is_gone_already(self, ada: User, sent: list[Changes]) -> None:
        """Nothing happens, and nothing is told."""
        row = make(ada)
        stale = UserNotification.objects.get()
        row.delete()
        sent.clear()
        assert stale.delete()[0] == 0
        assert not sent
        assert Tombstone.objects.count() == 1

    def test_an_instance_that_has_moved_since_it_was_loaded(
        self, ada: User, grace: User, sent: list[Changes]
    ) -> None:
        """It is deleted where it is, and there it is told."""
        make(ada)
        stale = UserNotification.objects.get()
        UserNotification.objects.update(user=grace)
        sent.clear()
        pk = stale.pk
        stale.delete()
        (change,) = sent
        assert (change.user_key, change.removed) == (str(grace.pk), [pk])
        assert_nothing_waits()

    def test_signals_are_sent(self, ada: User) -> None:
        """Hosts may listen to Django's own."""
        heard: list[str] = []

        def listen(*, signal: Any, **_: Any) -> None:
            heard.append("pre" if signal is pre_delete else "post")

        for signal in (pre_delete, post_delete):
            signal.connect(listen, sender=UserNotification)
        try:
            make(ada)
            UserNotification.objects.all().delete()
            make(ada).delete()
        finally:
            for signal in (pre_delete, post_delete):
                signal.disconnect(listen, sender=UserNotification)
        assert heard == ["pre", "post"] * 2

    def test_the_clean_up_of_a_source(self, ada: User, grace: User) -> None:
        """The reference's post_delete receiver, for everyone."""
        source: dict[str, Any] = {
            "source_app": "tasks",
            "source_model": "Task",
            "source_id": "42",
        }
        for user in (ada, grace):
            make(user, "About it", **source)
            make(user, "About another", **{**source, "source_id": "43"})
        UserNotification.objects.filter(**source).delete()
        assert shown(ada) == shown(grace) == ["About another"]

    def test_a_deleted_user_takes_everything_along(
        self, ada: User, grace: User, sent: list[Changes]
    ) -> None:
        """On both databases, with tombstones and pending rows in it."""
        make(ada, "Gone").delete()
        make(ada)
        make(grace)
        with dying_after_the_commit(), transaction.atomic():
            make(ada, "Pending")
            UserNotification.objects.filter(title="Title", user=ada).delete()
        sent.clear()
        key = ada.pk
        ada.delete()
        assert not UserNotification.objects.filter(user=key).exists()
        assert not Mailbox.objects.filter(pk=key).exists()
        assert not UserProfile.objects.filter(user=key).exists()
        mailbox.stamp_waiting()
        mailbox.stamp_waiting()
        assert not sent
        assert not Tombstone.objects.filter(revision=None).exists()
        assert shown(grace) == ["Title"]

    def test_a_queryset_of_users_takes_everything_along(self, ada: User) -> None:
        """The fast way out is one, too."""
        make(ada)
        User.objects.all().delete()
        assert not UserNotification.objects.exists()
        assert not Mailbox.objects.exists()

    def test_a_new_user_with_an_old_key_has_a_mailbox_of_their_own(
        self, ada: User
    ) -> None:
        """No epoch is used twice, and no tombstone is another's."""
        make(ada).delete()
        key, old = ada.pk, mailbox.look(ada.pk)
        ada.delete()
        again = User.objects.create(pk=key, username="other")
        make(again, "New")
        state = mailbox.read_state(key, since=old.revision, epoch=old.epoch)
        assert state.epoch != old.epoch
        assert not isinstance(state, Changes)
        assert [row.title for row in state.items] == ["New"]


@pytest.mark.only("postgres")
@pytest.mark.parametrize("by", ["update", "save", "delete", "instance"])
def test_a_write_while_another_stamps_is_not_lost(
    ada: User, colleague: Colleague, by: str
) -> None:
    """The row that is being stamped waits or is skipped; in the end all is told."""
    row = make(ada)
    colleague.begin()
    colleague.run(mailbox.change, ada.pk, "read", ids=[row.pk])
    committed = colleague.commit_when(lambda: True)
    if by == "update":
        UserNotification.objects.update(title="Edited")
    elif by == "save":
        row.title = "Edited"
        row.save(update_fields=["title"])
    elif by == "delete":
        UserNotification.objects.all().delete()
    else:
        row.delete()
    committed.result()
    assert shown(ada) == (["Edited"] if by in {"update", "save"} else [])
    assert_nothing_waits()


class TestSchema:
    def test_the_migrations_are_complete(self) -> None:
        """makemigrations has nothing to add."""
        call_command("makemigrations", "themis", check=True, dry_run=True, verbosity=0)

    def test_two_open_ones_cannot_have_the_same_key(
        self, ada: User, grace: User
    ) -> None:
        """The database itself refuses; read, dismissed and others' don't matter."""

        def insert(user: User, **fields: Any) -> None:
            row = UserNotification(user=user, title="T", dedup_key="key", **fields)
            Model.save(row, force_insert=True)

        insert(ada)
        insert(grace)
        insert(ada, read_at=timezone.now())
        insert(ada, dismissed_at=timezone.now())
        with pytest.raises(IntegrityError):
            insert(ada)

    def test_epochs_are_random(self, ada: User, grace: User) -> None:
        """Made with the row; any two differ."""
        assert mailbox.look(ada.pk).epoch != mailbox.look(grace.pk).epoch

    def test_names(self, ada: User) -> None:
        """What the admin and logs show."""
        row = make(ada)
        assert str(row) == "Title"
        assert str(ada.profile) == "ada"
        assert str(Mailbox.objects.get()).endswith(":1")
        row.delete()
        assert str(ada.pk) in str(Tombstone.objects.get())


@pytest.mark.parametrize(
    ("fields", "listed", "unread"),
    [
        ({}, True, True),
        ({"read_at": -1}, True, False),
        ({"dismissed_at": -1}, False, False),
        ({"read_at": -1, "dismissed_at": -1}, False, False),
        ({"expires_at": -1}, False, False),
        ({"expires_at": 0}, False, False),
        ({"expires_at": 1}, True, True),
        ({"expires_at": 1, "read_at": -1}, True, False),
    ],
)
def test_listed_and_unread(
    ada: User,
    monkeypatch: pytest.MonkeyPatch,
    fields: dict[str, int],
    *,
    listed: bool,
    unread: bool,
) -> None:
    """What counts and what is shown, in SQL and for a row."""
    now = timezone.now()
    monkeypatch.setattr(timezone, "now", lambda: now)
    row = UserNotification.objects.create(
        user=ada,
        title="Title",
        **{name: now + timedelta(seconds=by) for name, by in fields.items()},
    )
    assert UserNotification.objects.listed().exists() is listed
    assert UserNotification.objects.unread().exists() is unread
    assert row.is_listed_at(now) is listed
    assert mailbox.count_unread(ada.pk) == unread
    assert row.is_read is ("read_at" in fields)
    assert row.is_dismissed is ("dismissed_at" in fields)
