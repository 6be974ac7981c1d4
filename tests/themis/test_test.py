"""What hosts' own tests ask: what was sent, to whom, and instead of what."""

import re
import subprocess
import sys
import unittest
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.db import DatabaseError, connection, transaction
from django.test import TestCase
from django.utils.translation import gettext_lazy

from tests.themis.colleague import Colleague
from themis.models import UserNotification
from themis.notifications import notify_user, notify_users
from themis.test import (
    aassert_not_notified,
    aassert_notified,
    assert_not_notified,
    assert_notified,
    captured_notifications,
)

pytestmark = pytest.mark.django_db


class TestCapturedNotifications:
    def test_it_is_what_was_made_in_the_block(self, ada: User, grace: User) -> None:
        """In the order of their making, whoever gets them."""
        notify_user(ada, "before")
        with captured_notifications() as sent:
            notify_user(ada, "first")
            notify_user(grace, "second")
        notify_user(ada, "after")
        assert [row.title for row in sent] == ["first", "second"]
        assert [row.user for row in sent] == [ada, grace]
        assert len(sent) == 2
        assert sent[-1].title == "second"
        assert [row.title for row in sent[:1]] == ["first"]

    def test_many_at_once_count_each(self, ada: User, grace: User) -> None:
        with captured_notifications() as sent:
            notify_users([grace, ada], "To both")
            notify_users(User.objects.order_by("-pk"), "To all", level="danger")
        assert [row.title for row in sent] == ["To both"] * 2 + ["To all"] * 2
        for user in (ada, grace):
            assert_notified(user, level="danger", count=1, among=sent)

    def test_it_can_be_looked_at_while_the_block_runs(self, ada: User) -> None:
        with captured_notifications() as sent:
            assert not sent
            assert sent == []
            row = notify_user(ada, "first")
            assert sent == [row]
            notify_user(ada, "second")
            assert len(sent) == 2

    def test_what_is_rolled_back_was_never_sent(self, ada: User) -> None:
        with captured_notifications() as sent:
            with transaction.atomic():
                notify_user(ada, "undone")
                transaction.set_rollback(True)
            notify_user(ada, "kept")
        assert [row.title for row in sent] == ["kept"]

    def test_what_is_taken_back_is_not_among_them(self, ada: User) -> None:
        with captured_notifications() as sent:
            notify_user(ada, "gone", source_id=1)
            notify_user(ada, "kept")
            UserNotification.objects.filter(source_id="1").delete()
        assert [row.title for row in sent] == ["kept"]

    def test_blocks_can_be_nested(self, ada: User) -> None:
        with captured_notifications() as outer:
            notify_user(ada, "1")
            with captured_notifications() as inner:
                notify_user(ada, "2")
            notify_user(ada, "3")
        assert [row.title for row in outer] == ["1", "2", "3"]
        assert [row.title for row in inner] == ["2"]

    def test_after_the_block_it_stays_what_it_was(self, ada: User) -> None:
        with captured_notifications() as sent:
            notify_user(ada, "first")
        UserNotification.objects.all().delete()
        assert [row.title for row in sent] == ["first"]

    def test_an_error_in_the_block_is_the_tests_own(self, ada: User) -> None:
        """Even if the transaction can't answer any more."""
        captured = captured_notifications()

        def fail() -> None:
            with transaction.atomic(), captured, connection.cursor() as cursor:
                notify_user(ada, "undone")
                cursor.execute("SELEKT")

        with pytest.raises(DatabaseError, match="syntax"):
            fail()
        assert captured == []

    def test_the_recipients_cost_no_statement_each(
        self, ada: User, grace: User
    ) -> None:
        with captured_notifications() as sent:
            notify_user(ada, "first")
            notify_user(grace, "second")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(connection, "cursor", None)
            assert [row.user.username for row in sent] == ["ada", "grace"]

    def test_it_shows_what_was_sent_where_an_assertion_fails(self, ada: User) -> None:
        with captured_notifications() as sent:
            notify_user(ada, "Overdue", "Since 1", level="danger", url="/1/")
            notify_user(ada, "Done", source_app="tasks", source_id=7)
        assert repr(sent) == (
            "[danger 'Overdue' message='Since 1' url='/1/', "
            "info 'Done' source_app='tasks' source_id='7']"
        )

    def test_it_is_no_list_of_something_else(self) -> None:
        with captured_notifications() as sent:
            assert sent != {}
            assert sent != ["text"]

    def test_outside_a_block_it_tells_what_is_missing(self) -> None:
        with pytest.raises(RuntimeError, match="use it in a `with`"):
            len(captured_notifications())

    @pytest.mark.django_db(transaction=True)
    def test_another_connection_counts_too(self, ada: User) -> None:
        """A worker, say, or the threads of a live server."""
        with Colleague() as worker, captured_notifications() as sent:
            worker.run(notify_user, ada, "from afar")
            assert [row.title for row in sent] == ["from afar"]

    @pytest.mark.django_db(transaction=True)
    async def test_async_code_has_it_too(self) -> None:
        ada = await User.objects.acreate(username="ada")
        async with captured_notifications() as sent:
            await UserNotification.objects.acreate(user=ada, title="async")
        assert [row.title for row in sent] == ["async"]
        assert (await aassert_notified(ada, title="async")).title == "async"
        await aassert_not_notified(ada, title="sync")

    def test_what_comes_after_the_commit_can_be_tested(self, ada: User) -> None:
        """In a TestCase, with Django's own means."""
        capture = TestCase.captureOnCommitCallbacks(execute=True)
        with captured_notifications() as sent, capture:
            transaction.on_commit(lambda: notify_user(ada, "after the commit"))
            assert sent == []
        assert [row.title for row in sent] == ["after the commit"]


class TestAssertNotified:
    def test_it_returns_the_newest_that_fits(self, ada: User) -> None:
        notify_user(ada, "Overdue", level="danger", source_id=1)
        newest = notify_user(ada, "Overdue", level="danger", source_id=2)
        notify_user(ada, "Done", level="success")
        assert assert_notified(ada, level="danger") == newest
        assert assert_notified(ada, level="danger", source_id=1).source_id == "1"
        assert assert_notified(ada).title == "Done"

    def test_all_that_is_given_must_fit(self, ada: User) -> None:
        said: Any = {
            "title": "Overdue",
            "message": "Since Monday",
            "level": "danger",
            "url": "/tasks/1/",
            "source_app": "tasks",
            "source_model": "Task",
            "source_id": "1",
        }
        notify_user(ada, **said)
        assert_notified(ada, **said)
        for name in said:
            other = "info" if name == "level" else "/other"
            with pytest.raises(AssertionError, match=f"{name}='{other}'"):
                assert_notified(ada, **(said | {name: other}))
            assert_not_notified(ada, **(said | {name: other}))

    def test_a_text_may_be_a_pattern(self, ada: User) -> None:
        notify_user(ada, "Overdue: Deploy v2", "Since Monday", url="/tasks/1/")
        assert_notified(
            ada,
            title=re.compile("deploy", re.IGNORECASE),
            message=re.compile("Monday$"),
            url=re.compile("^/tasks/"),
        )
        with pytest.raises(AssertionError, match=r"with title: re\.compile"):
            assert_notified(ada, title=re.compile("^Deploy"))

    def test_what_is_wanted_is_mended_as_what_is_stored(self, ada: User) -> None:
        """Lazy, too long, with control characters, a number for an id."""
        long = "x" * 300
        notify_user(ada, long, "a\r\nb\x00", source_id=7)
        lazy: Any = gettext_lazy("Notifications")
        notify_user(ada, lazy)
        assert_notified(ada, title=long, message="a\r\nb\x00", source_id=7)
        assert_notified(ada, title=lazy)

    def test_read_dismissed_and_expired_ones_count(self, ada: User) -> None:
        """It was sent, whatever the person has done since."""
        row = notify_user(ada, "Overdue")
        assert row is not None
        row.read_at = row.dismissed_at = row.expires_at = row.created_at
        row.save()
        assert_notified(ada, title="Overdue")

    def test_somebody_elses_does_not_count(self, ada: User, grace: User) -> None:
        notify_user(grace, "Overdue")
        assert_not_notified(ada)
        with pytest.raises(AssertionError, match="ada was not notified"):
            assert_notified(ada)

    def test_the_number_can_be_asked_for(self, ada: User) -> None:
        for _ in range(2):
            notify_user(ada, "Overdue")
        assert_notified(ada, title="Overdue", count=2)
        with pytest.raises(AssertionError, match=r"2 times with .*, not 1"):
            assert_notified(ada, title="Overdue", count=1)
        with pytest.raises(ValueError, match="assert_not_notified"):
            assert_notified(ada, count=0)

    def test_it_can_look_at_what_was_captured_only(self, ada: User) -> None:
        notify_user(ada, "before")
        with captured_notifications() as sent:
            notify_user(ada, "inside")
        assert_notified(ada, title="inside", count=1, among=sent)
        assert_not_notified(ada, title="before", among=sent)
        with pytest.raises(AssertionError, match="was not notified"):
            assert_notified(ada, title="before", among=sent)

    def test_a_failure_shows_what_was_sent_instead(self, ada: User) -> None:
        notify_user(ada, "Assigned", "To you", url="/1/", source_id=1)
        notify_user(ada, "Due", level="warning", source_app="tasks")
        with pytest.raises(AssertionError) as failure:
            assert_notified(ada, level="danger", source_id=1)
        assert str(failure.value).splitlines() == [
            "ada was not notified with level='danger', source_id='1'.",
            "ada got 2, the newest last:",
            "  info 'Assigned' message='To you' url='/1/' source_id='1'",
            "  warning 'Due' source_app='tasks'",
        ]

    def test_a_failure_with_many_shows_the_newest(self, ada: User) -> None:
        for number in range(23):
            notify_user(ada, f"Title {number}")
        with pytest.raises(AssertionError) as failure:
            assert_notified(ada, title="Title 23")
        _, head, older, first, *_, last = str(failure.value).splitlines()
        assert head == "ada got 23, the newest last:"
        assert older == "  ... 3 older ones"
        assert (first, last) == ("  info 'Title 3'", "  info 'Title 22'")

    def test_a_failure_names_preferences_that_may_be_why(self, ada: User) -> None:
        ada.profile.notification_min_level = "warning"
        ada.profile.save()
        with pytest.raises(AssertionError) as failure:
            assert_notified(ada, level="info")
        assert str(failure.value).splitlines()[1:] == [
            "ada wants nothing below the level 'warning'.",
            "ada got nothing.",
        ]
        with pytest.raises(AssertionError) as failure:
            assert_notified(ada, level="danger")
        assert str(failure.value).splitlines()[1:] == ["ada got nothing."]
        ada.profile.notifications_enabled = False
        ada.profile.save()
        with pytest.raises(AssertionError, match="ada has notifications switched off"):
            assert_notified(ada, level="danger")
        ada.profile.delete()
        with pytest.raises(AssertionError, match="ada got nothing"):
            assert_notified(ada)

    def test_what_no_notification_can_say_is_an_error(self, ada: User) -> None:
        """Or a misspelt level would make assert_not_notified pass for ever."""
        checks: list[Any] = [assert_notified, assert_not_notified]
        for check in checks:
            with pytest.raises(ValueError, match="level must be one of info"):
                check(ada, level="error")
            with pytest.raises(ValueError, match="title must not be empty"):
                check(ada, title="")
            with pytest.raises(ValueError, match="url must be"):
                check(ada, url="javascript:alert(1)")
            with pytest.raises(TypeError, match="'titel' is nothing to look for"):
                check(ada, titel="x")
            with pytest.raises(TypeError, match="source_id can't be a pattern"):
                check(ada, source_id=re.compile("4"))

    @pytest.mark.parametrize("nobody", [None, AnonymousUser(), User(), "ada"])
    @pytest.mark.parametrize("among", [None, []])
    def test_nobody_is_an_error(self, nobody: Any, among: Any) -> None:
        """Who can't be notified never is: that would prove nothing."""
        checks: list[Any] = [assert_notified, assert_not_notified]
        for check in checks:
            with pytest.raises(ValueError, match="user must be a saved User"):
                check(nobody, among=among)

    def test_its_own_frames_are_not_shown(self, ada: User) -> None:
        """A failure points at the line of the host's test."""

        class HostTest(unittest.TestCase):
            def test(self) -> None:
                assert_notified(ada, title="nothing")

        report = StringIO()
        unittest.TextTestRunner(report).run(HostTest("test"))
        assert "ada was not notified with title='nothing'." in report.getvalue()
        assert "themis/test.py" not in report.getvalue()


class TestAssertNotNotified:
    def test_a_failure_shows_what_was_sent(self, ada: User) -> None:
        notify_user(ada, "Overdue", level="danger")
        assert_not_notified(ada, level="info")
        with pytest.raises(AssertionError) as failure:
            assert_not_notified(ada, level="danger")
        assert str(failure.value).splitlines() == [
            "ada was notified with level='danger' (once).",
            "ada got 1, the newest last:",
            "  danger 'Overdue'",
        ]
        with pytest.raises(AssertionError, match=r"^ada was notified \(once\)\."):
            assert_not_notified(ada)


@pytest.mark.once
def test_it_needs_no_test_runner() -> None:
    """A project that tests with unittest has no pytest."""
    code = (
        "import sys, django\n"
        "from django.conf import settings\n"
        "settings.configure(INSTALLED_APPS=['django.contrib.auth',"
        " 'django.contrib.contenttypes', 'themis'])\n"
        "django.setup()\n"
        "import themis.test\n"
        "assert not {'pytest', 'hypothesis', 'playwright'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
