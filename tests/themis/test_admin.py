"""Notifications, profiles and sending in the admin, through its pages."""

import re
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.core import checks
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from tests.themis.conftest import make_user
from tests.themis.markup import Element, parse
from themis import mailbox
from themis.events import Changes
from themis.models import UserNotification, UserProfile
from themis.notifications import notify_user

pytestmark = pytest.mark.django_db(transaction=True)

LIST = "/admin/themis/usernotification/"
ADD = f"{LIST}add/"
PROFILES = "/admin/themis/userprofile/"
USERS = "/admin/auth/user/"

MESSAGE = {
    "title": "Maintenance",
    "message": "Tonight\r\nat eight",
    "level": "warning",
    "url": "/status/",
    "source_app": "ops",
    "source_model": "Outage",
    "source_id": "7",
    "expires_at_0": "2040-01-01",
    "expires_at_1": "08:00:00",
    "deduplicate": "on",
}


@pytest.fixture
def root() -> User:
    return User.objects.create_superuser("root")


@pytest.fixture
def client(root: User) -> Client:
    """A browser in which root is signed in; CSRF is checked, as everywhere outside."""
    client = Client()
    client.force_login(root)
    return client


def staff(*permissions: str) -> Client:
    """A browser of somebody with these permissions only."""
    user = User.objects.create_user("staff", is_staff=True)
    codenames = [name.partition(".")[2] for name in permissions]
    user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
    assert user.user_permissions.count() == len(permissions)
    client = Client()
    client.force_login(user)
    return client


def made(user: User, title: str = "Title", **fields: Any) -> UserNotification:
    row = notify_user(user, title)
    assert row is not None
    if fields:
        UserNotification.objects.filter(pk=row.pk).update(**fields)
        row.refresh_from_db()
    return row


def page_of(response: Any) -> Element:
    assert response.status_code == 200, response
    return parse(response.content.decode())


def text_of(response: Any) -> str:
    """What stands on a page, with single spaces."""
    assert response.status_code == 200, response
    return " ".join(re.sub("<[^>]*>", "", response.content.decode()).split())


def titles(response: Any) -> list[str]:
    """The titles in a list of notifications."""
    return [cell.text for cell in page_of(response).find("th", class_="field-title")]


def column(response: Any, name: str) -> list[str]:
    return [
        cell.text
        for tag in ("td", "th")
        for cell in page_of(response).find(tag, class_=f"field-{name}")
    ]


def said(response: Any) -> list[str]:
    """What the page after an action says."""
    (messages,) = page_of(response).find("ul", class_="messagelist")
    return [item.text for item in messages.find("li")]


def errors(response: Any) -> list[str]:
    lists = page_of(response).find("ul", class_="errorlist")
    return [item.text for one in lists for item in one.find("li")]


def act(
    client: Client,
    path: str,
    action: str,
    rows: Iterable[Any],
    *,
    across: bool = False,
    **data: Any,
) -> Any:
    """Choose an action for rows of a list, as the browser sends it."""
    chosen = {
        "action": action,
        "select_across": "1" if across else "0",
        "index": "0",
        "_selected_action": [str(row.pk) for row in rows],
    }
    return client.post(path, chosen | data, follow=True)


def hidden(response: Any) -> dict[str, list[str]]:
    """What a page before an action sends on."""
    fields: dict[str, list[str]] = {}
    for field in page_of(response).find("input", type="hidden"):
        name = field.attributes["name"]
        fields.setdefault(name, []).append(field.attributes["value"])
    return fields


def confirm(client: Client, path: str, response: Any, **data: Any) -> Any:
    """Send the page before an action."""
    return client.post(path, hidden(response) | data, follow=True)


class TestTheList:
    def test_it_shows_the_newest_first(
        self, client: Client, ada: User, grace: User
    ) -> None:
        made(ada, "first", source_app="tasks", source_model="Task", source_id="7")
        made(grace, "second", level="danger", source_id="9")
        response = client.get(LIST)
        assert titles(response) == ["second", "first"]
        assert column(response, "user") == ["grace", "ada"]
        assert column(response, "level") == ["Danger", "Info"]
        assert column(response, "source") == ["9", "tasks.Task 7"]
        assert column(response, "state") == ["Unread", "Unread"]

    def test_it_can_be_turned(self, client: Client, ada: User) -> None:
        for number in range(3):
            made(ada, str(number))
        assert titles(client.get(LIST, {"o": "6"})) == ["0", "1", "2"]
        assert titles(client.get(LIST, {"o": "-6"})) == ["2", "1", "0"]

    @pytest.mark.parametrize(
        ("query", "found"),
        [
            ("outage", ["title", "message"]),
            ("4711", ["source"]),
            ("GRACE", ["whose"]),
            ("nowhere", []),
        ],
    )
    def test_it_can_be_searched(
        self, client: Client, ada: User, grace: User, query: str, found: list[str]
    ) -> None:
        texts = {
            "title": made(ada, "An Outage"),
            "message": made(ada, "a", message="of the outage"),
            "source": made(ada, "b", source_id="4711"),
            "whose": made(grace, "c"),
        }
        expected = [texts[name].title for name in found]
        assert sorted(titles(client.get(LIST, {"q": query}))) == sorted(expected)

    def test_it_can_be_filtered_by_state(self, client: Client, ada: User) -> None:
        """Each is in exactly one state, the one that the column shows."""
        now = timezone.now()
        past, future = now - timedelta(days=1), now + timedelta(days=1)
        for number in range(16):
            made(
                ada,
                str(number),
                read_at=now if number & 1 else None,
                dismissed_at=now if number & 2 else None,
                expires_at=(None, past, future, past)[number >> 2],
            )
        shown = client.get(LIST)
        states = dict(zip(titles(shown), column(shown, "state"), strict=True))
        found: list[str] = []
        for state in ("unread", "read", "dismissed", "expired"):
            rows = titles(client.get(LIST, {"state": state}))
            assert rows
            assert {states[title] for title in rows} == {state.title()}
            found += rows
        assert sorted(found) == sorted(states)
        assert len(titles(client.get(LIST, {"state": "nonsense"}))) == 16

    def test_it_can_be_filtered_by_what_it_is_about(
        self, client: Client, ada: User
    ) -> None:
        for number, app in enumerate(["tasks", "", "events", "tasks"]):
            made(ada, str(number), source_app=app)
        (menu,) = [
            one
            for one in page_of(client.get(LIST)).find("details")
            if "source app" in one.text
        ]
        choices = [link.text for link in menu.find("a")]
        assert choices == ["All", "No source", "events", "tasks"]
        assert titles(client.get(LIST, {"source_app": "tasks"})) == ["3", "0"]
        assert titles(client.get(LIST, {"source_app": ""})) == ["1"]

    def test_it_can_be_filtered_by_level_and_time(
        self, client: Client, ada: User
    ) -> None:
        made(ada, "old", created_at=timezone.now() - timedelta(days=400))
        made(ada, "new", level="danger")
        assert titles(client.get(LIST, {"level__exact": "danger"})) == ["new"]
        today = timezone.now() - timedelta(hours=1)
        since = {"created_at__gte": today.isoformat()}
        assert titles(client.get(LIST, since)) == ["new"]

    def test_an_empty_list_has_a_page(self, client: Client) -> None:
        assert titles(client.get(LIST)) == []

    @pytest.mark.parametrize(
        "edited", ["source_app=%00", "level__exact=%00", "created_at__gte=x"]
    )
    def test_an_edited_address_gets_a_list(
        self, client: Client, ada: User, edited: str
    ) -> None:
        """SQLite finds nothing with NUL in it; PostgreSQL refuses to look."""
        made(ada)
        response = client.get(f"{LIST}?{edited}", follow=True)
        assert titles(response) == (["Title"] if response.redirect_chain else [])
        assert client.get(f"{PROFILES}?{edited}", follow=True).status_code == 200

    @pytest.mark.parametrize("key", ["", "x", "\0", "-1", "9" * 30])
    def test_an_edited_selection_is_refused(
        self, client: Client, ada: User, key: str
    ) -> None:
        for path in (LIST, PROFILES):
            data = {"action": "delete_selected", "_selected_action": key, "post": "yes"}
            assert client.post(path, data).status_code == 400

    def test_what_people_wrote_is_text(self, client: Client, ada: User) -> None:
        row = made(ada, "<script>alert(1)</script>", url="javascript:alert(1)")
        for path in (LIST, f"{LIST}{row.pk}/change/"):
            page = client.get(path).content.decode()
            assert "<script>alert" not in page
            assert 'href="javascript' not in page

    def test_the_statements_are_the_same_for_any_number_of_rows(
        self, client: Client, ada: User, grace: User
    ) -> None:
        """Session, person, one count, the apps, the rows with their users."""

        def statements() -> list[str]:
            with CaptureQueriesContext(connection) as captured:
                assert client.get(LIST).status_code == 200
            return [query["sql"] for query in captured.captured_queries]

        made(ada, source_app="tasks")
        few = statements()
        for number in range(40):
            made((ada, grace)[number % 2], source_app=f"app{number % 7}")
        many = statements()
        assert len(few) == len(many) == 5
        assert sum("COUNT(" in sql for sql in many) == 1
        assert not any("DISTINCT" in sql for sql in many)


class TestChanging:
    def change(self, client: Client, row: UserNotification, **data: str) -> Any:
        page = client.get(f"{LIST}{row.pk}/change/")
        (form,) = page_of(page).find("form", id="usernotification_form")
        fields = {
            field.attributes["name"]: field.attributes.get("value", "")
            for field in form.find("input")
            if field.attributes.get("type") in {"text", "hidden"}
        }
        fields |= {"level": row.level, "message": row.message}
        return client.post(f"{LIST}{row.pk}/change/", fields | data, follow=True)

    def test_open_pages_follow(
        self, client: Client, ada: User, sent: list[Changes]
    ) -> None:
        row = made(ada)
        sent.clear()
        assert "was changed" in said(self.change(client, row, title="Mended"))[0]
        assert [item.title for change in sent for item in change.items] == ["Mended"]
        row.refresh_from_db()
        assert row.title == "Mended"
        assert not row.pending

    def test_only_what_was_changed_is_written(self, client: Client, ada: User) -> None:
        """The form can't write the microseconds of a time, and need not."""
        moment = timezone.now() + timedelta(days=1, microseconds=7)
        row = made(ada, expires_at=moment, read_at=moment)
        self.change(client, row, title="Mended")
        row.refresh_from_db()
        assert (row.expires_at, row.read_at) == (moment, moment)

    def test_nothing_changed_rings_nobody(
        self, client: Client, ada: User, sent: list[Changes]
    ) -> None:
        row = made(ada)
        sent.clear()
        self.change(client, row)
        assert sent == []

    def test_internal_fields_and_times_cannot_be_changed(
        self, client: Client, ada: User, grace: User
    ) -> None:
        row = made(ada)
        rows: Any = UserNotification.objects.values()
        before = rows.get()
        tried: dict[str, Any] = {
            name: "1"
            for name in before
            if name not in {"title", "message", "level", "url", "source_app"}
            and name not in {"source_model", "source_id", "id"}
        }
        tried |= {"user": str(grace.pk), "read_at": "2030-01-01"}
        self.change(client, row, **tried, title="Mended")
        after = rows.get()
        changed = {name for name in before if before[name] != after[name]}
        assert changed == {"title", "revision"}

    @pytest.mark.parametrize(
        "url", ["javascript:alert(1)", "//evil.example/", "https://a:b@x.example/"]
    )
    def test_an_unsafe_link_is_refused(
        self, client: Client, ada: User, url: str
    ) -> None:
        row = made(ada)
        response = self.change(client, row, url=url)
        (error,) = errors(response)
        assert error.startswith("Enter a path such as /tasks/42/, or an http")
        row.refresh_from_db()
        assert row.url == ""

    def test_a_long_text_of_many_lines_fits(self, client: Client, ada: User) -> None:
        """Browsers send two characters for the end of a line."""
        row = made(ada)
        self.change(client, row, message="x\r\n" * 1_999 + "xx")
        row.refresh_from_db()
        assert row.message == "x\n" * 1_999 + "xx"

    def test_what_no_database_stores_is_mended(self, client: Client, ada: User) -> None:
        """As with `notify_user`."""
        row = made(ada)
        self.change(client, row, title="a\0b", message="a\x01b", source_id="\x01")
        row.refresh_from_db()
        mended = (row.title, row.message, row.source_id)
        assert mended == ("a\ufffdb", "a\ufffdb", "\ufffd")

    def test_it_is_not_saved_as_a_new_one(self, client: Client, ada: User) -> None:
        """Nobody's; Django heeds this button even where it doesn't offer it."""
        row = made(ada)
        path = f"{LIST}{row.pk}/change/"
        assert client.post(path, {"_saveasnew": "1"}).status_code == 400
        assert UserNotification.objects.count() == 1

    def test_deleting_one_is_followed(
        self, client: Client, ada: User, sent: list[Changes]
    ) -> None:
        row = made(ada)
        sent.clear()
        path = f"{LIST}{row.pk}/delete/"
        assert client.get(path).status_code == 200
        client.post(path, {"post": "yes"})
        assert [change.removed for change in sent] == [[row.pk]]

    def test_the_statements_of_a_page_are_few(self, client: Client, ada: User) -> None:
        row = made(ada)
        with CaptureQueriesContext(connection) as captured:
            client.get(f"{LIST}{row.pk}/change/")
        statements = [query["sql"] for query in captured.captured_queries]
        assert len(statements) == 4, statements


class TestMarkAsRead:
    def test_open_pages_follow(
        self, client: Client, ada: User, grace: User, sent: list[Changes]
    ) -> None:
        first, second, other = made(ada), made(ada), made(grace)
        sent.clear()
        response = act(client, LIST, "mark_as_read", [first, other])
        assert said(response) == ["2 notifications were marked as read."]
        assert sorted(str(change.user_key) for change in sent) == sorted(
            [str(ada.pk), str(grace.pk)]
        )
        assert UserNotification.objects.get(read_at=None) == second
        assert (
            UserNotification.objects.exclude(read_at=None)
            .values("read_at")
            .distinct()
            .count()
            == 1
        )

    def test_what_is_read_keeps_its_time(self, client: Client, ada: User) -> None:
        before = timezone.now() - timedelta(days=1)
        row = made(ada, read_at=before)
        response = act(client, LIST, "mark_as_read", [row])
        assert said(response) == ["0 notifications were marked as read."]
        row.refresh_from_db()
        assert row.read_at == before

    def test_all_across_the_pages(self, client: Client, ada: User, grace: User) -> None:
        """With the filters of the list."""
        UserNotification.objects.bulk_create(
            UserNotification(user=user, title="x", level=level)
            for user in (ada, grace)
            for level in ("info", "danger")
            for _ in range(600)
        )
        some = UserNotification.objects.filter(level="danger")[:1]
        path = f"{LIST}?level__exact=danger"
        response = act(client, path, "mark_as_read", some, across=True)
        assert said(response) == ["1200 notifications were marked as read."]
        unread = UserNotification.objects.filter(read_at=None)
        assert {*unread.values_list("level", flat=True)} == {"info"}
        assert mailbox.read_state(ada.pk).unread == 600

    def test_it_needs_the_permission_to_change(self, ada: User) -> None:
        row = made(ada)
        client = staff("themis.view_usernotification")
        assert 'value="mark_as_read"' not in client.get(LIST).content.decode()
        act(client, LIST, "mark_as_read", [row])
        row.refresh_from_db()
        assert not row.is_read


class TestDeleteSelected:
    def test_it_asks_and_open_pages_follow(
        self, client: Client, ada: User, sent: list[Changes]
    ) -> None:
        first, second = made(ada, "first"), made(ada, "second")
        sent.clear()
        page = act(client, LIST, "delete_selected", [first])
        assert "This deletes 1 notification, on open pages too." in text_of(page)
        assert "first (ada)" in text_of(page)
        assert UserNotification.objects.count() == 2
        response = confirm(client, LIST, page)
        assert said(response) == ["1 notification was deleted."]
        assert [change.removed for change in sent] == [[first.pk]]
        assert UserNotification.objects.get() == second
        assert LogEntry.objects.get().object_repr == "first"

    def test_all_across_the_pages(self, client: Client, ada: User) -> None:
        """More than a form may have fields, and only those that were found."""
        UserNotification.objects.bulk_create(
            UserNotification(user=ada, title="x", level=level)
            for level in ("info", "danger")
            for _ in range(1_100)
        )
        path = f"{LIST}?level__exact=danger"
        some = UserNotification.objects.filter(level="danger")[:50]
        page = act(client, path, "delete_selected", some, across=True)
        assert "This deletes 1100 notifications" in text_of(page)
        assert "and 1080 more" in text_of(page)
        response = confirm(client, path, page)
        assert said(response) == ["1100 notifications were deleted."]
        left = UserNotification.objects.values_list("level", flat=True)
        assert [*left] == ["info"] * 1_100
        assert LogEntry.objects.count() == 1_100

    def test_it_needs_the_permission(self, ada: User) -> None:
        row = made(ada)
        client = staff("themis.view_usernotification", "themis.change_usernotification")
        assert 'value="delete_selected"' not in client.get(LIST).content.decode()
        act(client, LIST, "delete_selected", [row], post="yes")
        assert UserNotification.objects.exists()

    def test_where_a_model_of_the_host_points_here_django_asks(
        self, client: Client, ada: User, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Its page shows what would go with them."""
        row = made(ada, "first")
        model_admin = admin.site.get_model_admin(UserNotification)
        monkeypatch.setattr(model_admin, "takes_others_along", lambda: True)
        page = act(client, LIST, "delete_selected", [row])
        assert "All of the following objects and their related" in text_of(page)
        assert said(confirm(client, LIST, page)) == [
            "Successfully deleted 1 notification."
        ]
        assert not UserNotification.objects.exists()

    def test_a_user_can_be_deleted_with_all_that_is_theirs(
        self, client: Client, ada: User
    ) -> None:
        made(ada)
        client.post(f"{USERS}{ada.pk}/delete/", {"post": "yes"})
        assert not User.objects.filter(pk=ada.pk).exists()
        assert not UserNotification.objects.exists()


class TestSendPage:
    def test_it_sends_to_those_it_names(
        self, client: Client, ada: User, grace: User
    ) -> None:
        made(grace)
        page = page_of(client.get(ADD))
        assert page.find("select", name="users")
        response = client.post(
            ADD, MESSAGE | {"users": [ada.pk, grace.pk]}, follow=True
        )
        assert said(response) == ["Sent to 2 users."]
        row = UserNotification.objects.get(user=ada)
        told = {name: getattr(row, name) for name in MESSAGE if hasattr(row, name)}
        assert told == {
            **{name: MESSAGE[name] for name in told},
            "message": "Tonight\nat eight",
            "deduplicate": True,
        }
        assert row.expires_at is not None
        local = timezone.localtime(row.expires_at)
        assert local.isoformat().startswith("2040-01-01T08:00:00")
        assert mailbox.read_state(ada.pk).unread == 1

    def test_it_says_how_many_were_skipped(
        self, client: Client, ada: User, grace: User
    ) -> None:
        grace.profile.notifications_enabled = False
        grace.profile.save()
        data = MESSAGE | {"users": [ada.pk, grace.pk]}
        (first,) = said(client.post(ADD, data, follow=True))
        assert first.startswith("Sent to 1 user. 1 was skipped, because of preferences")
        (second,) = said(client.post(ADD, data, follow=True))
        assert second.startswith("Sent to 0 users. 2 were skipped, because of")
        assert UserNotification.objects.count() == 1
        log = LogEntry.objects.order_by("pk")
        assert [entry.object_repr for entry in log] == ["Maintenance"] * 2
        assert [entry.get_change_message() for entry in log] == [first, second]
        assert client.get("/admin/").status_code == 200

    @pytest.mark.parametrize(
        ("field", "value", "error"),
        [
            ("url", "javascript:alert(1)", "Enter a path such as"),
            ("title", " ", "This field is required."),
            ("title", "x" * 201, "at most 200 characters"),
            ("level", "urgent", "Select a valid choice."),
            ("source_app", "x" * 101, "at most 100 characters"),
            ("expires_at_0", "2001-01-01", "This time is over."),
            ("expires_at_0", "soon", "Enter a valid date."),
            ("users", [], "This field is required."),
            ("users", ["0"], "Select a valid choice."),
            ("users", ["nobody"], "is not a valid value."),
            ("users", ["9" * 30], "is not a valid value."),
        ],
    )
    def test_what_is_wrong_is_said_at_the_field(
        self, client: Client, ada: User, field: str, value: Any, error: str
    ) -> None:
        data = {**MESSAGE, "users": [ada.pk], field: value}
        (told,) = errors(client.post(ADD, data))
        assert error in told
        assert not UserNotification.objects.exists()

    def test_what_only_the_function_refuses_is_said_too(
        self, client: Client, ada: User, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Its errors begin with the name of the argument, or are about all."""
        message = "title must not be empty."

        def refuse(users: Any, **arguments: Any) -> int:
            raise ValueError(message)

        monkeypatch.setattr("themis.admin.sending.notify_users", refuse)
        response = client.post(ADD, MESSAGE | {"users": [ada.pk]})
        (row,) = page_of(response).find("div", class_="field-title")[:1]
        assert "title must not be empty." in row.text
        message = "nothing works"
        assert errors(client.post(ADD, MESSAGE | {"users": [ada.pk]})) == [message]

    def test_without_a_searchable_admin_of_users_names_are_written(
        self,
        client: Client,
        ada: User,
        grace: User,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """A host's user admin may be missing, or have no search."""
        # The addresses of the admin are made once, of what is registered then.
        assert page_of(client.get(ADD)).find("select", name="users")
        registry: Any = admin.site._registry
        monkeypatch.delitem(registry, User)
        assert page_of(client.get(ADD)).find("textarea", name="users")
        names = "ada\r\n\r\n grace \r\nada"
        response = client.post(ADD, MESSAGE | {"users": names}, follow=True)
        assert said(response) == ["Sent to 2 users."]
        wrong = client.post(ADD, MESSAGE | {"users": "ada\nlin\njoan"})
        assert errors(wrong) == ["There are no users with these names: lin, joan"]
        assert page_of(client.get(f"{PROFILES}add/")).find("input", name="user")

    def test_who_may_not_see_users_writes_names_too(self, ada: User) -> None:
        client = staff("themis.add_usernotification")
        assert page_of(client.get(ADD)).find("textarea", name="users")
        response = client.post(ADD, MESSAGE | {"users": "ada"}, follow=True)
        assert response.redirect_chain == [("/admin/", 302)]
        assert UserNotification.objects.get().user == ada

    def test_it_needs_the_permission_to_add(self, ada: User) -> None:
        client = staff("themis.view_usernotification", "themis.change_usernotification")
        assert client.get(ADD).status_code == 403
        assert client.post(ADD, MESSAGE | {"users": "ada"}).status_code == 403
        assert not UserNotification.objects.exists()

    def test_a_write_needs_the_token(self, root: User, ada: User) -> None:
        client = Client(enforce_csrf_checks=True)
        client.force_login(root)
        response = client.post(ADD, MESSAGE | {"users": [ada.pk]})
        assert response.status_code == 403

    def test_users_can_be_searched_for(self, client: Client, ada: User) -> None:
        """The page's field asks the admin's own view."""
        (field,) = page_of(client.get(ADD)).find("select", name="users")
        asked = {
            name.replace("-", "_"): field.attributes[f"data-{name}"]
            for name in ("app-label", "model-name", "field-name")
        }
        url = field.attributes["data-ajax--url"]
        found = client.get(url, asked | {"term": "ad"}).json()["results"]
        assert found == [{"id": str(ada.pk), "text": "ada"}]


class TestSendAction:
    def test_it_asks_then_sends_to_the_selected(
        self, client: Client, ada: User, grace: User
    ) -> None:
        page = act(client, USERS, "send_notification", [ada])
        assert "To 1 user, unless preferences forbid it." in text_of(page)
        assert errors(page) == []
        assert not UserNotification.objects.exists()
        response = confirm(client, USERS, page, **MESSAGE, send="Send")
        assert said(response) == ["Sent to 1 user."]
        assert UserNotification.objects.get().user == ada

    def test_all_across_the_pages(self, client: Client) -> None:
        """With the search of the list, more than a form may have fields."""
        User.objects.bulk_create(User(username=f"user{n}") for n in range(1_200))
        some = User.objects.filter(username="user7")
        path = f"{USERS}?q=user"
        page = act(client, path, "send_notification", some, across=True)
        assert "To 1200 users, unless" in text_of(page)
        response = confirm(client, path, page, **MESSAGE, send="Send")
        assert said(response) == ["Sent to 1200 users."]
        assert UserNotification.objects.count() == 1_200

    def test_what_is_wrong_is_asked_again(self, client: Client, ada: User) -> None:
        page = act(client, USERS, "send_notification", [ada])
        wrong = MESSAGE | {"url": "javascript:alert(1)"}
        again = confirm(client, USERS, page, **wrong, send="Send")
        (error,) = errors(again)
        assert error.startswith("Enter a path such as")
        response = confirm(client, USERS, again, **MESSAGE, send="Send")
        assert said(response) == ["Sent to 1 user."]

    def test_it_needs_the_permission_to_add(self, ada: User) -> None:
        client = staff("auth.view_user", "auth.change_user")
        assert act(client, USERS, "send_notification", [ada]).status_code == 403
        data: Any = MESSAGE | {"send": "Send"}
        response = act(client, USERS, "send_notification", [ada], **data)
        assert response.status_code == 403
        assert not UserNotification.objects.exists()

    def test_with_it_a_member_of_staff_may(self, ada: User) -> None:
        client = staff("auth.view_user", "themis.add_usernotification")
        page = act(client, USERS, "send_notification", [ada])
        response = confirm(client, USERS, page, **MESSAGE, send="Send")
        assert said(response) == ["Sent to 1 user."]


class TestProfiles:
    def test_the_list(self, client: Client, ada: User, grace: User) -> None:
        UserProfile.objects.filter(user=ada).update(notification_min_level="danger")
        response = client.get(PROFILES, {"notification_min_level__exact": "danger"})
        assert column(response, "user") == ["ada"]
        assert column(client.get(PROFILES, {"q": "gra"}), "user") == ["grace"]
        everybody = column(client.get(PROFILES), "user")
        assert sorted(everybody) == ["ada", "grace", "root"]

    def test_the_statements_are_the_same_for_any_number_of_rows(
        self, client: Client
    ) -> None:
        def statements() -> int:
            with CaptureQueriesContext(connection) as captured:
                assert client.get(PROFILES).status_code == 200
            return len(captured)

        few = statements()
        for number in range(30):
            make_user(f"user{number}")
        assert statements() == few == 4

    def test_a_change_reaches_open_tabs(
        self, client: Client, ada: User, grace: User, sent: list[Changes]
    ) -> None:
        made(ada)
        sent.clear()
        path = f"{PROFILES}{ada.profile.pk}/change/"
        assert not page_of(client.get(path)).find("input", name="user")
        data = {
            "user": grace.pk,
            "notifications_enabled": "on",
            "notification_min_level": "warning",
            "browser_notifications_enabled": "on",
            "notification_retention_days": "7",
        }
        assert "was changed" in said(client.post(path, data, follow=True))[0]
        assert [change.desktop for change in sent] == [True]
        profile = UserProfile.objects.get(user=ada)
        assert profile.notification_min_level == "warning"
        assert profile.notification_retention_days == 7

    @pytest.mark.parametrize("days", ["0", "-1", str(2**31)])
    def test_it_keeps_what_the_person_could_choose(
        self, client: Client, ada: User, days: str
    ) -> None:
        path = f"{PROFILES}{ada.profile.pk}/change/"
        data = {"notification_min_level": "info", "notification_retention_days": days}
        (error,) = errors(client.post(path, data))
        assert error.startswith("Ensure this value is")
        assert UserProfile.objects.get(user=ada).notification_retention_days is None

    def test_a_user_that_is_none_is_refused(self, client: Client, ada: User) -> None:
        data = {"user": "nobody", "notification_min_level": "info"}
        (error,) = errors(client.post(f"{PROFILES}add/", data))
        assert error.startswith("Select a valid choice.")

    def test_one_that_is_missing_can_be_made(self, client: Client) -> None:
        User.objects.bulk_create([User(username="ada")])
        ada = User.objects.get(username="ada")
        data = {"user": ada.pk, "notification_min_level": "danger"}
        client.post(f"{PROFILES}add/", data)
        profile = UserProfile.objects.get(user=ada)
        assert not profile.notifications_enabled
        assert profile.notification_min_level == "danger"


def test_djangos_checks_find_nothing() -> None:
    assert not [one for one in checks.run_checks() if "admin" in str(one.id)]


def test_a_host_in_one_transaction_per_request(
    client: Client, ada: User, sent: list[Changes]
) -> None:
    """Bells ring after the commit of the request."""
    connection.settings_dict["ATOMIC_REQUESTS"] = True
    try:
        response = client.post(ADD, MESSAGE | {"users": [ada.pk]}, follow=True)
        assert said(response) == ["Sent to 1 user."]
        row = UserNotification.objects.get()
        act(client, LIST, "mark_as_read", [row])
    finally:
        connection.settings_dict["ATOMIC_REQUESTS"] = False
    assert [change.unread for change in sent] == [1, 0]
