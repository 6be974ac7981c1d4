"""The forms of the list page: read, unread, dismiss, restore, and undo."""

import time
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import BadRequest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

from tests.themis.contention import writing
from tests.themis.views.pages import (
    LIST,
    buttons,
    done,
    everything,
    form_with,
    get,
    keys,
    notices,
    notified,
    press,
    row_of,
    rows_of,
    stored,
    unread_count,
)
from themis import mailbox
from themis.events import Changes, wire_time
from themis.models import Mailbox, UserNotification
from themis.views.places import PAGE

pytestmark = pytest.mark.django_db

UNREAD = f"{LIST}?state=unread"
DISMISSED = f"{LIST}?state=dismissed"


def at(row: UserNotification, field: str = "read_at") -> str:
    """The address part that carries the handle of what was done to `row`."""
    row.refresh_from_db()
    spelt = wire_time(getattr(row, field)) or ""
    return "at=" + spelt.replace(":", "%3A")


class TestOneRow:
    def test_it_is_read_and_marked_unread(self, client: Client, ada: User) -> None:
        one, other = stored(ada, 2)
        response = press(client, row_of(get(client), one), "Mark read: Number 0")
        # Back at the row.
        assert response.status_code == 302
        assert response.url == f"{LIST}?done=read&{at(one)}#n-{one.pk}"
        assert one.is_read
        page = get(client, response.url)
        assert unread_count(page) == "1 unread"
        assert done(page) == ["Marked as read."]
        response = press(client, row_of(page, one), "Mark unread: Number 0")
        assert response.url == f"{LIST}#n-{one.pk}"
        assert notices(get(client, LIST)) == ["Marked as unread."]
        assert UserNotification.objects.unread().count() == 2
        assert not other.is_read

    def test_it_is_dismissed_and_restored(self, client: Client, ada: User) -> None:
        one, other = stored(ada, 2)
        response = press(client, row_of(get(client), one), "Dismiss: Number 0")
        assert response.url == f"{LIST}?done=dismiss&{at(one, 'dismissed_at')}"
        page = get(client, response.url)
        assert done(page) == ["Dismissed."]
        assert keys(page) == [other.pk]
        page = get(client, DISMISSED)
        assert keys(page) == [one.pk]
        response = press(client, row_of(page, one), "Restore: Number 0")
        assert response.url == DISMISSED
        page = get(client, DISMISSED)
        assert notices(page) == ["Restored."]
        assert keys(page) == []
        assert keys(get(client)) == [other.pk, one.pk]

    @pytest.mark.parametrize(
        ("first", "second", "verb"),
        [("Mark read", "read", "unread"), ("Dismiss", "dismiss", "restore")],
    )
    def test_undo_takes_it_back(
        self, client: Client, ada: User, first: str, second: str, verb: str
    ) -> None:
        (row,) = stored(ada, 1)
        before = UserNotification.objects.values("read_at", "dismissed_at").get()
        response = press(client, row_of(get(client), row), f"{first}: Number 0")
        page = get(client, response.url)
        _form, button = form_with(page, "Undo")
        assert button.attributes["value"] == verb
        response = press(client, page, "Undo")
        assert (response.status_code, response.url) == (302, LIST)
        page = get(client)
        assert notices(page) == ["Undone."]
        assert done(page) == []
        assert (
            UserNotification.objects.values("read_at", "dismissed_at").get() == before
        )

    def test_undo_is_offered_after_a_reload_and_without_messages(
        self, client: Client, ada: User, settings: Settings
    ) -> None:
        """Because the page's address carries it."""
        settings.MIDDLEWARE = [
            name for name in settings.MIDDLEWARE if "messages" not in name
        ]
        row, _other = stored(ada, 2)
        response = press(client, row_of(get(client), row), "Dismiss: Number 0")
        get(client, response.url)
        page = get(client, response.url)
        assert done(page) == ["Dismissed."]
        response = press(client, page, "Undo")
        assert response.url == LIST
        assert row.pk in keys(get(client))

    def test_undo_a_second_time_says_that_there_is_nothing(
        self, client: Client, ada: User
    ) -> None:
        row, _other = stored(ada, 2)
        response = press(client, row_of(get(client), row), "Mark read: Number 0")
        page = get(client, response.url)
        press(client, page, "Undo")
        get(client)
        before = everything()
        assert press(client, page, "Undo").status_code == 302
        assert notices(get(client)) == ["There was nothing left to undo."]
        assert everything() == before

    def test_undo_touches_nothing_else(
        self, client: Client, ada: User, grace: User
    ) -> None:
        """Not what was read at another time, nor what another person read."""
        early, late = stored(ada, 2)
        (theirs,) = stored(grace, 1)
        mailbox.change(ada.pk, "read", ids=[early.pk])
        response = press(client, row_of(get(client), late), "Mark read: Number 1")
        late.refresh_from_db()
        UserNotification.objects.filter(pk=theirs.pk).update(read_at=late.read_at)
        press(client, get(client, response.url), "Undo")
        for row, expected in ((early, True), (late, False), (theirs, True)):
            row.refresh_from_db()
            assert row.is_read is expected

    @pytest.mark.parametrize(
        "query",
        [
            "done=read",
            "done=read&at=",
            "done=read&at=yesterday",
            "done=read&at=2026-11-22T10:00:00",
            "done=read&at=0001-01-01T00:00:00Z",
            "done=read&at=2026-13-22T10:00:00Z",
            "done=&at=2026-11-22T10:00:00Z",
            "done=restore&at=2026-11-22T10:00:00Z",
            "done=%00&at=%00",
            "at=2026-11-22T10:00:00Z",
        ],
    )
    def test_an_edited_address_offers_no_undo(
        self, client: Client, ada: User, query: str
    ) -> None:
        stored(ada, 1)
        assert done(get(client, f"{LIST}?{query}")) == []

    def test_it_comes_back_to_the_page_it_was_on(
        self, client: Client, ada: User
    ) -> None:
        rows = stored(ada, PAGE + 2)
        (older,) = get(client, f"{UNREAD}&level=info").find("a", rel="next nofollow")
        url = older.attributes["href"]
        page = get(client, url)
        response = press(client, row_of(page, rows[1]), "Mark read: Number 1")
        assert response.url == f"{url}&done=read&{at(rows[1])}"
        page = get(client, response.url)
        assert keys(page) == [rows[0].pk]
        response = press(client, row_of(page, rows[0]), "Mark read: Number 0")
        assert "There is nothing from here on." in get(client, response.url).text

    def test_what_is_gone_is_said(self, client: Client, ada: User) -> None:
        (row,) = stored(ada, 1)
        shown = row_of(get(client), row)
        row.delete()
        assert press(client, shown, "Mark read: Number 0").url == LIST
        assert notices(get(client)) == ["This notification is no longer there."]

    @pytest.mark.parametrize("label", ["Mark read", "Dismiss"])
    def test_twice_is_no_error_and_offers_no_undo_of_nothing(
        self, client: Client, ada: User, label: str
    ) -> None:
        (row,) = stored(ada, 1)
        shown = row_of(get(client), row)
        press(client, shown, f"{label}: Number 0")
        before = everything()
        response = press(client, shown, f"{label}: Number 0")
        assert response.status_code == 302
        assert "done" not in response.url
        assert everything() == before

    def test_anothers_cannot_be_touched(
        self, client: Client, ada: User, grace: User
    ) -> None:
        (row,) = stored(ada, 1)
        (theirs,) = stored(grace, 1)
        before = UserNotification.objects.filter(pk=theirs.pk).values().get()
        shown = row_of(get(client), row)
        for label in ("Mark read: Number 0", "Dismiss: Number 0"):
            response = press(client, shown, label, ids=str(theirs.pk))
            assert response.url == LIST
        assert UserNotification.objects.filter(pk=theirs.pk).values().get() == before

    def test_it_is_stamped_and_told_at_once(
        self, client: Client, ada: User, sent: list[Changes]
    ) -> None:
        (row,) = stored(ada, 1)
        shown = row_of(get(client), row)
        sent.clear()
        press(client, shown, "Mark read: Number 0")
        row.refresh_from_db()
        assert not row.pending
        assert row.revision == Mailbox.objects.get(user=ada).revision


class TestAll:
    def test_all_are_read_that_the_mailbox_held_when_the_page_was_made(
        self, client: Client, ada: User
    ) -> None:
        """Also those of later pages, but not what has arrived meanwhile."""
        stored(ada, PAGE + 5)
        page = get(client)
        late = notified(ada, "Late")
        response = press(client, page, "Mark all read")
        page = get(client, response.url)
        assert done(page) == ["Marked as read."]
        assert unread_count(page) == "1 unread"
        assert UserNotification.objects.get(read_at=None) == late
        moments = UserNotification.objects.filter(read_at__isnull=False)
        assert moments.values("read_at").distinct().count() == 1
        press(client, page, "Undo")
        assert unread_count(get(client)) == f"{PAGE + 6} unread"

    def test_undo_leaves_what_was_read_before(self, client: Client, ada: User) -> None:
        early, _late = stored(ada, 2)
        mailbox.change(ada.pk, "read", ids=[early.pk])
        response = press(client, get(client), "Mark all read")
        press(client, get(client, response.url), "Undo")
        early.refresh_from_db()
        assert early.is_read
        assert unread_count(get(client)) == "1 unread"

    def test_a_filter_bounds_it_and_the_button_says_so(
        self, client: Client, ada: User
    ) -> None:
        info = notified(ada, "Info")
        danger = notified(ada, "Danger", level="danger", source_app="a")
        other = notified(ada, "Other", level="danger", source_app="b")
        page = get(client, f"{UNREAD}&level=danger&source_app=a")
        press(client, page, "Mark these read")
        for row, expected in ((info, False), (danger, True), (other, False)):
            row.refresh_from_db()
            assert row.is_read is expected

    def test_nothing_unread_is_ever_dismissed_with_the_rest(
        self, client: Client, ada: User
    ) -> None:
        """The list offers to read first; what comes after the page stays."""
        rows = stored(ada, 3)
        page = get(client)
        assert "Dismiss all" not in buttons(page)
        press(client, page, "Mark all read")
        for url in (LIST, f"{LIST}?state=read"):
            page = get(client, url)
            assert "Mark all read" not in buttons(page)
            assert "Dismiss all" in buttons(page)
        late = notified(ada, "Late")
        response = press(client, page, "Dismiss all")
        assert keys(get(client)) == [late.pk]
        assert len(keys(get(client, DISMISSED))) == len(rows)
        press(client, get(client, response.url), "Undo")
        assert len(keys(get(client))) == len(rows) + 1

    def test_where_there_is_nothing_to_do_nothing_is_offered(
        self, client: Client, ada: User
    ) -> None:
        (row,) = stored(ada, 1)
        assert len(buttons(get(client, f"{LIST}?level=danger"))) == 0
        mailbox.change(ada.pk, "dismiss", ids=[row.pk])
        assert buttons(get(client, DISMISSED)) == ["Restore: Number 0"]
        assert buttons(get(client)) == []

    def test_after_a_new_epoch_an_older_page_marks_nothing(
        self, client: Client, ada: User
    ) -> None:
        """Its revisions count what another mailbox held: a restored backup."""
        (row,) = stored(ada, 1)
        page = get(client)
        Mailbox.objects.filter(user=ada).update(epoch="restored")
        assert press(client, page, "Mark all read").url == LIST
        assert notices(get(client)) == ["The list had changed; this is how it is now."]
        row.refresh_from_db()
        assert not row.is_read


class TestRefusals:
    def test_without_the_csrf_token_nothing_is_done(
        self, client: Client, ada: User
    ) -> None:
        (row,) = stored(ada, 1)
        before = everything()
        response = client.post(LIST, {"verb": "read", "ids": row.pk})
        assert response.status_code == 403
        assert everything() == before

    def test_signed_out_nothing_is_done(self, ada: User) -> None:
        (row,) = stored(ada, 1)
        before = everything()
        response: Any = Client().post(LIST, {"verb": "read", "ids": row.pk})
        assert response.status_code == 302
        assert response.url.startswith("/accounts/login/?next=")
        assert everything() == before

    @pytest.mark.parametrize(
        "fields",
        [
            {},
            {"verb": "read"},
            {"ids": "{pk}"},
            {"verb": "delete", "ids": "{pk}"},
            {"verb": "READ", "ids": "{pk}"},
            {"verb": "\x00", "ids": "{pk}"},
            {"verb": "read", "ids": ""},
            {"verb": "read", "ids": "x"},
            {"verb": "read", "ids": "-{pk}"},
            {"verb": "read", "ids": "²"},
            {"verb": "read", "ids": "{pk}\x00"},
            {"verb": "read", "ids": "{pk}.0"},
            {"verb": "read", "ids": "9" * 19},
            {"verb": "read", "ids": "9" * 30},
            {"verb": "read", "ids": "9" * 5_000},
            {"verb": "read", "up_to": ""},
            {"verb": "read", "up_to": "x"},
            {"verb": "read", "up_to": "-1"},
            {"verb": "read", "up_to": "9" * 30},
            {"verb": "read", "up_to": "1", "ids": "{pk}"},
            {"verb": "read", "up_to": "1", "epoch": "\x00"},
            {"verb": "read", "at": "2026-11-22T10:00:00Z"},
            {"verb": "dismiss", "at": "2026-11-22T10:00:00Z"},
            {"verb": "unread", "up_to": "1"},
            {"verb": "restore", "up_to": "1"},
            {"verb": "unread", "at": "yesterday"},
            {"verb": "unread", "at": "2026-11-22T10:00:00"},
            {"verb": "unread", "at": "0001-01-01T00:00:00Z"},
            {"verb": "unread", "at": "9999-12-31T23:59:59-23:59"},
            {"verb": "unread", "at": "2026-02-30T00:00:00Z"},
            {"verb": "unread", "at": "x" * 100_000},
            {"verb": "unread", "at": "2026-11-22T10:00:00Z", "ids": "{pk}"},
        ],
        ids=lambda fields: f"{str(fields)[:40]!a}{len(str(fields))}",
    )
    def test_what_no_form_of_the_page_sends_is_refused(
        self, ada: User, fields: dict[str, str]
    ) -> None:
        client = Client()
        client.force_login(ada)
        (row,) = stored(ada, 1)
        before = everything()
        sent = {name: text.format(pk=row.pk) for name, text in fields.items()}
        assert client.post(LIST, sent).status_code == 400
        assert everything() == before

    @pytest.mark.parametrize(
        "fields",
        [
            {"verb": "read", "ids": "9223372036854775807"},
            {"verb": "dismiss", "ids": "0"},
            {"verb": "read", "up_to": "0"},
            {"verb": "unread", "at": "2026-11-22T10:00:00Z"},
            {"verb": "restore", "at": "9998-12-31T23:59:59.999999Z"},
        ],
        ids=str,
    )
    def test_what_selects_nothing_does_nothing(
        self, ada: User, fields: dict[str, str]
    ) -> None:
        client = Client()
        client.force_login(ada)
        stored(ada, 1)
        before = everything()
        assert client.post(LIST, fields).status_code == 302
        assert everything() == before

    def test_too_much_is_refused(self, ada: User) -> None:
        client = Client()
        client.force_login(ada)
        stored(ada, 1)
        before = everything()
        many = {"verb": "read", "ids": ["1"] * 10_000}
        assert client.post(LIST, many).status_code == 400
        large = {"verb": "read", "epoch": "x" * 10_000_000}
        assert client.post(LIST, large).status_code == 400
        for body in ("{", "[" * 100_000):
            sent = client.post(LIST, body, content_type="application/json")
            assert sent.status_code == 400
        assert everything() == before

    def test_the_log_says_why(
        self, ada: User, caplog: pytest.LogCaptureFixture
    ) -> None:
        client = Client(raise_request_exception=False)
        client.force_login(ada)
        client.post(LIST, {"verb": "delete"})
        (logged,) = [one for one in caplog.records if one.exc_info]
        assert logged.exc_info
        assert isinstance(logged.exc_info[1], BadRequest)
        assert "verb" in str(logged.exc_info[1])


def test_an_action_takes_as_many_statements_whatever_the_mailbox_holds(
    client: Client, ada: User
) -> None:
    counts = []
    for number in (1, 100, 400):
        rows = stored(ada, number)
        shown = row_of(get(client), rows[-1])
        with CaptureQueriesContext(connection) as statements:
            press(client, shown, f"Mark read: {rows[-1].title}")
        counts.append(len(statements))
    assert len(set(counts)) == 1, counts


@pytest.mark.django_db(transaction=True)
def test_what_another_transaction_holds_is_to_be_tried_again(
    client: Client, ada: User, settings: Settings
) -> None:
    # In a cookie, because SQLite's writer locks out the session's table too.
    settings.MESSAGE_STORAGE = "django.contrib.messages.storage.cookie.CookieStorage"
    row = notified(ada)
    (shown,) = rows_of(get(client))
    with writing(row):
        began = time.monotonic()
        response = press(client, shown, "Mark read: Deploy v2")
        assert time.monotonic() - began < 4
    assert (response.status_code, response.url) == (302, LIST)
    assert notices(get(client)) == ["That didn't work just now; try again."]
    row.refresh_from_db()
    assert not row.is_read


@pytest.mark.django_db(transaction=True)
def test_in_a_host_with_atomic_requests_an_action_is_stamped_before_the_answer(
    client: Client, ada: User, sent: list[Changes], settings: Settings
) -> None:
    (row,) = stored(ada, 1)
    connection.settings_dict["ATOMIC_REQUESTS"] = True
    try:
        shown = row_of(get(client), row)
        sent.clear()
        with CaptureQueriesContext(connection) as statements:
            press(client, shown, "Mark read: Number 0")
        page = get(client)
    finally:
        connection.settings_dict["ATOMIC_REQUESTS"] = False
    assert [change.unread for change in sent] == [0]
    assert not any("SAVEPOINT" in one["sql"] for one in statements)
    assert unread_count(page) == ""


@pytest.mark.django_db(transaction=True)
def test_undo_works_in_a_host_without_time_zones(
    client: Client, ada: User, settings: Settings
) -> None:
    settings.USE_TZ = False
    settings.TIME_ZONE = "America/Chicago"
    connection.close()
    try:
        row, _other = stored(ada, 2)
        response = press(client, row_of(get(client), row), "Dismiss: Number 0")
        page = get(client, response.url)
        assert done(page) == ["Dismissed."]
        press(client, page, "Undo")
        assert row.pk in keys(get(client))
        listed = get(client)
        assert row_of(listed, row).find("time")[0].attributes["datetime"]
    finally:
        connection.close()
