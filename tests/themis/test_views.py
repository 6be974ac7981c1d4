"""The pages without JavaScript: the list, and the link that opens a notification."""

import re
import time
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django import Settings

from tests.themis.conftest import Clock, make_user
from tests.themis.contention import writing
from tests.themis.markup import Element, assert_allowed_by_strict_csp, parse
from themis import mailbox, views
from themis.models import Mailbox, UserNotification
from themis.notifications import notify_user

pytestmark = pytest.mark.django_db

LIST = "/notifications/"

# What tries to leave the text or the attribute that it stands in.
HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    '" onfocus="alert(1)" autofocus="',
    "</title></style><svg/onload=alert(1)>",
    "{{ 7|add:7 }}{% load i18n %}%(title)s {title}",
    "&lt;b&gt; &amp;lt;",
    "javascript:alert(1)",
    "\u202egnp.exe\u2066",
]
UNSAFE = [
    "javascript:alert(1)",
    "JaVaScRiPt:alert(1)",
    "\tjava\nscript:alert(1)",
    " javascript:alert(1)",
    "data:text/html,<script>alert(1)</script>",
    "vbscript:msgbox(1)",
    "//evil.example/",
    "/\\evil.example/",
    "\\\\evil.example/",
    "https:evil.example",
    "https:///evil.example/",
    "https://ada@evil.example/",
    "https://site.example\\@evil.example/",
    "ftp://evil.example/",
    "evil.example",
    "/ok\r\nSet-Cookie: a=b",
    "/nul\x01",
]


@pytest.fixture
def ada() -> User:
    return make_user("ada")


@pytest.fixture
def grace() -> User:
    return make_user("grace")


@pytest.fixture
def client(ada: User) -> Client:
    """A browser in which ada is signed in; CSRF is checked, as everywhere outside."""
    client = Client(enforce_csrf_checks=True)
    client.force_login(ada)
    return client


def notified(
    user: User, title: str = "Deploy v2", message: str = "", **fields: Any
) -> UserNotification:
    row = notify_user(user, title, message, **fields)
    assert row is not None
    return row


def stored(user: User, count: int, **fields: Any) -> list[UserNotification]:
    """Notifications as a host's bulk_create() leaves them: all of one revision."""
    rows = [
        UserNotification(user=user, title=f"Number {number}", **fields)
        for number in range(count)
    ]
    UserNotification.objects.bulk_create(rows)
    mailbox.look(user.pk)
    return list(UserNotification.objects.filter(user=user).order_by("pk"))


def get(client: Client, url: str = LIST) -> Element:
    """The page, which is valid, private and allowed by a strict policy."""
    response: Any = client.get(url)
    assert response.status_code == 200
    assert "no-store" in response["Cache-Control"]
    page = parse(response.content.decode())
    assert_allowed_by_strict_csp(page)
    return page


def rows_of(page: Element) -> list[Element]:
    return page.find("li", class_="themis-row")


def keys(page: Element) -> list[int]:
    return [int(row.attributes["id"].removeprefix("n-")) for row in rows_of(page)]


def titles(page: Element) -> list[str]:
    return [row.find("bdi")[0].text for row in rows_of(page)]


def unread_count(page: Element) -> str:
    """What the heading says, if anything."""
    return " ".join(count.text for count in page.find("p", class_="themis-inbox-count"))


def notices(page: Element) -> list[str]:
    return [notice.text for notice in page.find("li", role="status")]


def form_of(element: Element) -> Element:
    (form,) = element.find("form")
    return form


def submit(client: Client, form: Element) -> Any:
    """Send a form as a browser without JavaScript does."""
    assert form.attributes["method"] == "post"
    assert len(form.find("button", type="submit")) == 1
    fields = {
        field.attributes["name"]: field.attributes["value"]
        for field in form.find("input")
    }
    return client.post(form.attributes["action"], fields)


def everything() -> list[Any]:
    """All that a request could have changed."""
    return [
        *UserNotification.objects.order_by("pk").values(),
        *Mailbox.objects.order_by("pk").values(),
    ]


class TestTheList:
    def test_the_newest_come_first(self, client: Client, ada: User) -> None:
        """By creation, then id; a later change moves nothing."""
        for title in ("First", "Second", "Third"):
            notified(ada, title)
            mailbox.look(ada.pk)
        UserNotification.objects.filter(title="First").update(message="Changed")
        assert titles(get(client)) == ["Third", "Second", "First"]

    def test_what_waits_to_be_stamped_is_stamped_and_shown(
        self, client: Client, ada: User
    ) -> None:
        row = notified(ada)
        assert keys(get(client)) == [row.pk]
        assert not UserNotification.objects.get().pending

    def test_what_cannot_be_stamped_just_now_comes_first(
        self, client: Client, ada: User, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Somebody else holds the mailbox: the page shows what is committed."""
        notified(ada, "Stamped")
        mailbox.look(ada.pk)
        notified(ada, "Waits")
        notified(ada, "Waits too")
        monkeypatch.setattr(mailbox, "stamp", lambda *_args: None)
        page = get(client)
        assert titles(page) == ["Waits too", "Waits", "Stamped"]
        assert unread_count(page) == "3 unread"

    def test_what_is_dismissed_expired_or_another_persons_is_not_listed(
        self, clock: Clock, ada: User, grace: User
    ) -> None:
        client = Client()
        client.force_login(ada)
        notified(grace, "Another person's")
        notified(ada, "Kept")
        dismissed = notified(ada, "Dismissed")
        notified(ada, "Expiring", expires_at=timezone.now() + timedelta(hours=1))
        mailbox.change(ada.pk, "dismiss", ids=[dismissed.pk])
        assert titles(get(client)) == ["Expiring", "Kept"]
        clock.advance(hours=2)
        assert titles(get(client)) == ["Kept"]

    def test_a_row_says_all_there_is_to_say(self, client: Client, ada: User) -> None:
        row = notified(
            ada, "Deploy v2", "To production.\nToday.", level="danger", url="/tasks/7/"
        )
        (shown,) = rows_of(get(client))
        assert shown.attributes["data-level"] == "danger"
        assert "data-unread" in shown.attributes
        assert "Unread: Deploy v2" in shown.text
        assert "To production. Today." in shown.text
        assert "Danger" in shown.text
        (link,) = shown.find("a")
        assert link.attributes["href"] == f"/notifications/{row.pk}/open/"
        assert link.attributes["rel"] == "nofollow"
        (moment,) = shown.find("time")
        assert moment.attributes["datetime"].startswith(str(row.created_at.year))

    def test_a_read_row_has_no_button_and_no_mark(
        self, client: Client, ada: User
    ) -> None:
        row = notified(ada)
        mailbox.change(ada.pk, "read", ids=[row.pk])
        page = get(client)
        (shown,) = rows_of(page)
        assert "data-unread" not in shown.attributes
        assert "Unread" not in shown.text
        assert not page.find("form")

    def test_nothing_at_all_is_said_kindly(self, client: Client) -> None:
        assert "No notifications" in get(client).text
        assert "all caught up" in get(client, f"{LIST}?filter=unread").text

    def test_the_count_is_exact_beyond_what_badges_show(
        self, client: Client, ada: User
    ) -> None:
        stored(ada, 10_001)
        assert unread_count(get(client)) == "10001 unread"

    def test_the_count_is_of_all_pages_and_filters(
        self, client: Client, ada: User
    ) -> None:
        rows = stored(ada, views.PAGE + 5)
        mailbox.change(ada.pk, "read", ids=[row.pk for row in rows[:3]])
        for url in (LIST, f"{LIST}?filter=unread"):
            assert unread_count(get(client, url)) == f"{views.PAGE + 2} unread"

    def test_head_is_answered_like_get(self, client: Client) -> None:
        response = client.head(LIST)
        assert response.status_code == 200
        assert response.content == b""

    @pytest.mark.parametrize("method", ["put", "patch", "delete"])
    def test_other_methods_are_refused(self, client: Client, method: str) -> None:
        client = Client()
        client.force_login(User.objects.get())
        assert getattr(client, method)(LIST).status_code == 405

    @pytest.mark.parametrize("query", ["", "?filter=unread"])
    def test_signed_out_one_is_asked_to_sign_in_and_comes_back(
        self, query: str
    ) -> None:
        response: Any = Client().get(LIST + query)
        assert response.status_code == 302
        back = (LIST + query).replace("?", "%3F").replace("=", "%3D")
        assert response.url == f"/accounts/login/?next={back}"
        assert "no-store" in response["Cache-Control"]

    def test_its_statements_do_not_grow_with_its_rows(
        self, client: Client, ada: User
    ) -> None:
        """Session, user, mailbox, what waits, the page and the count."""
        counts = []
        for number in (1, 10, 100):
            stored(ada, number)
            with CaptureQueriesContext(connection) as statements:
                get(client)
            counts.append(len(statements))
        assert counts == [6, 6, 6]


class TestFilters:
    def test_they_are_links_with_the_chosen_one_marked(
        self, client: Client, ada: User
    ) -> None:
        one, _two = stored(ada, 2)
        mailbox.change(ada.pk, "read", ids=[one.pk])
        for url, chosen, expected in (
            (LIST, "All", ["Number 1", "Number 0"]),
            (f"{LIST}?filter=all", "All", ["Number 1", "Number 0"]),
            (f"{LIST}?filter=unread", "Unread", ["Number 1"]),
        ):
            page = get(client, url)
            assert titles(page) == expected
            (current,) = page.find("a", **{"aria-current": "page"})
            assert current.text == chosen
            links = page.find("a", class_="themis-filter")
            assert [(link.text, link.attributes["href"]) for link in links] == [
                ("All", "?filter=all"),
                ("Unread", "?filter=unread"),
            ]

    @pytest.mark.parametrize(
        "query", ["filter=", "filter=UNREAD", "filter=read", "filter=%00", "filter=²"]
    )
    def test_one_that_there_is_not_is_not_found(
        self, client: Client, query: str
    ) -> None:
        assert client.get(f"{LIST}?{query}").status_code == 404


class TestPaging:
    @pytest.mark.parametrize("query", ["", "?filter=unread"])
    def test_the_pages_hold_everything_once_in_order(
        self, client: Client, ada: User, query: str
    ) -> None:
        """Also where many rows share the revision of their creation."""
        stored(ada, views.PAGE + 7)
        stored(ada, 3)
        stored(ada, 2 * views.PAGE)
        seen: list[int] = []
        page = get(client, LIST + query)
        for _number in range(10):
            seen += keys(page)
            older = page.find("a", rel="next")
            if not older:
                break
            assert len(rows_of(page)) == views.PAGE
            page = get(client, LIST + older[0].attributes["href"])
        expected = UserNotification.objects.order_by("-created_revision", "-pk")
        assert seen == [row.pk for row in expected]

    def test_a_full_last_page_leads_nowhere(self, client: Client, ada: User) -> None:
        stored(ada, views.PAGE)
        page = get(client)
        assert len(rows_of(page)) == views.PAGE
        assert not page.find("a", rel="next")

    def test_what_arrives_meanwhile_shifts_nothing(
        self, client: Client, ada: User
    ) -> None:
        rows = stored(ada, views.PAGE + 2)
        (older,) = get(client).find("a", rel="next")
        stored(ada, 5)
        page = get(client, LIST + older.attributes["href"])
        assert keys(page) == [rows[1].pk, rows[0].pk]

    def test_a_filter_stays_from_page_to_page(self, client: Client, ada: User) -> None:
        stored(ada, views.PAGE + 1)
        (older,) = get(client, f"{LIST}?filter=unread").find("a", rel="next")
        page = get(client, LIST + older.attributes["href"])
        (current,) = page.find("a", **{"aria-current": "page"})
        assert current.text == "Unread"

    def test_the_cursor_of_another_person_shows_ones_own(
        self, client: Client, ada: User, grace: User
    ) -> None:
        stored(grace, 2 * views.PAGE)
        stored(ada, 1)
        page = get(client, f"{LIST}?before=99-999999999")
        assert titles(page) == ["Number 0"]

    @pytest.mark.parametrize(
        "cursor",
        [
            "x",
            "1",
            "-",
            "1-",
            "-1",
            "1-2-3",
            "1-x",
            "1.0-2",
            "-1-2",
            "+1-2",
            " 1-2",
            "²-1",
            "٣-1",
            "1-\x00",
            "1-2'--",
            "9" * 20 + "-1",
            "1-" + "9" * 20,
            "9" * 5_000 + "-1",
        ],
        ids=lambda text: f"{text[:20]!a} of {len(text)}",
    )
    def test_a_cursor_that_somebody_edited_is_not_found(
        self, client: Client, ada: User, cursor: str
    ) -> None:
        stored(ada, 1)
        assert client.get(LIST, {"before": cursor}).status_code == 404


class TestReading:
    def test_one_is_marked_by_its_own_form(self, client: Client, ada: User) -> None:
        one, other = stored(ada, 2)
        row = rows_of(get(client))[1]
        response = submit(client, form_of(row))
        assert (response.status_code, response.url) == (302, LIST)
        one.refresh_from_db()
        other.refresh_from_db()
        assert one.is_read
        assert not other.is_read
        assert unread_count(get(client)) == "1 unread"

    def test_all_are_marked_that_the_mailbox_held_when_the_page_was_made(
        self, client: Client, ada: User
    ) -> None:
        """Also those of later pages, but not what has arrived meanwhile."""
        stored(ada, views.PAGE + 5)
        (form,) = get(client).find("div", class_="themis-inbox-header")
        late = notified(ada, "Late")
        response = submit(client, form_of(form))
        assert (response.status_code, response.url) == (302, LIST)
        (unread,) = UserNotification.objects.filter(read_at=None)
        assert unread == late
        moments = UserNotification.objects.filter(read_at__isnull=False)
        assert moments.values("read_at").distinct().count() == 1

    def test_one_comes_back_to_the_page_one_was_on(
        self, client: Client, ada: User
    ) -> None:
        stored(ada, views.PAGE + 2)
        (older,) = get(client, f"{LIST}?filter=unread").find("a", rel="next")
        url = LIST + older.attributes["href"]
        response = submit(client, form_of(rows_of(get(client, url))[0]))
        assert response.status_code == 302
        assert response.url == url
        get(client, response.url)

    def test_what_is_gone_is_said(self, client: Client, ada: User) -> None:
        (row,) = stored(ada, 1)
        form = form_of(rows_of(get(client))[0])
        row.delete()
        response = submit(client, form)
        assert response.status_code == 302
        page = get(client, response.url)
        assert notices(page) == ["This notification is no longer there."]

    def test_twice_is_no_error(self, client: Client, ada: User) -> None:
        (row,) = stored(ada, 1)
        form = form_of(rows_of(get(client))[0])
        submit(client, form)
        before = everything()
        assert submit(client, form).status_code == 302
        assert everything() == before
        assert UserNotification.objects.get() == row

    def test_after_a_new_epoch_an_older_page_marks_nothing(
        self, client: Client, ada: User
    ) -> None:
        """Its revisions count what another mailbox held: a restored backup."""
        (row,) = stored(ada, 1)
        page = client.get(LIST)
        epoch, up_to = page.context["epoch"], page.context["up_to"]
        Mailbox.objects.filter(user=ada).update(epoch="restored")
        token = {"csrfmiddlewaretoken": page.context["csrf_token"]}
        fields = {"up_to": up_to, "epoch": epoch, **token}
        response = client.post(LIST, fields, follow=True)
        assert "had changed" in response.content.decode()
        row.refresh_from_db()
        assert not row.is_read

    def test_anothers_cannot_be_marked(
        self, client: Client, ada: User, grace: User
    ) -> None:
        stored(ada, 1)
        (theirs,) = stored(grace, 1)
        form = form_of(rows_of(get(client))[0])
        (field,) = form.find("input", name="ids")
        field.attributes["value"] = str(theirs.pk)
        assert submit(client, form).status_code == 302
        theirs.refresh_from_db()
        assert not theirs.is_read

    def test_without_the_csrf_token_nothing_is_marked(
        self, client: Client, ada: User
    ) -> None:
        (row,) = stored(ada, 1)
        assert client.post(LIST, {"ids": row.pk}).status_code == 403
        row.refresh_from_db()
        assert not row.is_read

    def test_signed_out_nothing_is_marked(self, ada: User) -> None:
        (row,) = stored(ada, 1)
        response: Any = Client().post(LIST, {"ids": row.pk})
        assert response.status_code == 302
        assert response.url.startswith("/accounts/login/?next=")
        row.refresh_from_db()
        assert not row.is_read

    @pytest.mark.parametrize(
        "fields",
        [
            {},
            {"ids": ""},
            {"ids": "x"},
            {"ids": "-1"},
            {"ids": "²"},
            {"ids": "1\x00"},
            {"ids": "1.0"},
            {"ids": "9" * 19},
            {"ids": "9" * 30},
            {"ids": "9" * 5_000},
            {"up_to": ""},
            {"up_to": "x"},
            {"up_to": "-1"},
            {"up_to": "9" * 30},
            {"up_to": "9" * 5_000},
        ],
        ids=lambda fields: f"{str(fields)[:24]!a}{len(str(fields))}",
    )
    def test_what_no_form_of_the_page_sends_marks_nothing(
        self, ada: User, fields: dict[str, str]
    ) -> None:
        client = Client()
        client.force_login(ada)
        stored(ada, 1)
        before = everything()
        assert client.post(LIST, fields).status_code in {302, 400}
        assert everything() == before


class TestMarkup:
    @pytest.mark.parametrize("text", HOSTILE)
    def test_text_stays_text(self, client: Client, ada: User, text: str) -> None:
        """As text, in attributes, and where a translation is filled in."""
        notified(ada, text, text)
        page = get(client)
        (row,) = rows_of(page)
        shown = [bdi.text for bdi in row.find("bdi")]
        assert shown[0] == " ".join(text.split())
        assert (
            " ".join(text.split()) in row.find("p", class_="themis-row-message")[0].text
        )
        (button,) = row.find("button")
        assert button.attributes["aria-label"] == f"Mark read: {text}"
        assert set(button.attributes) == {"class", "type", "title", "aria-label"}
        assert not page.find("img")

    def test_what_reaches_a_page_through_its_address_stays_text(
        self, client: Client, ada: User
    ) -> None:
        stored(ada, 1)
        page = get(client, f'{LIST}?x="><script>alert(1)</script>&filter=all')
        assert not page.find("script")
        for form in page.find("form"):
            assert form.attributes["action"].startswith("/notifications/?x=%22%3E%3C")

    @pytest.mark.parametrize("url", UNSAFE, ids=ascii)
    def test_an_unsafe_link_in_the_table_is_never_on_the_page(
        self, client: Client, ada: User, url: str
    ) -> None:
        row = UserNotification.objects.create(user=ada, title="Look", url=url)
        (shown,) = rows_of(get(client))
        assert [link.attributes["href"] for link in shown.find("a")] == [
            f"/notifications/{row.pk}/open/"
        ]
        assert "evil" not in client.get(LIST).content.decode()

    def test_ids_are_not_localized(
        self, client: Client, ada: User, settings: Settings
    ) -> None:
        """A site with thousand separators still gets ids that are ids."""
        settings.USE_THOUSAND_SEPARATOR = True
        UserNotification.objects.create(pk=1_234_567, user=ada, title="Look")
        mailbox.look(ada.pk)
        Mailbox.objects.update(revision=7_654_321)
        page = get(client)
        assert keys(page) == [1_234_567]
        (header,) = page.find("div", class_="themis-inbox-header")
        (up_to,) = header.find("input", name="up_to")
        assert up_to.attributes["value"] == "7654321"
        submit(client, form_of(rows_of(page)[0]))
        assert UserNotification.objects.get().is_read

    def test_ids_on_the_page_are_unique(self, client: Client, ada: User) -> None:
        stored(ada, 3)
        found = [
            element.attributes["id"]
            for element in get(client).walk()
            if "id" in element.attributes
        ]
        assert len(found) == len(set(found)) == 3


def open_url(row: UserNotification) -> str:
    return f"/notifications/{row.pk}/open/"


class TestOpening:
    @pytest.mark.parametrize(
        "url",
        [
            "/tasks/7/?a=1&b=2#part",
            "https://example.org/x?y=1",
            "http://[::1]:8000/",
            "/ü/" + "x" * 1_990,
            "/" + "ü" * 1_999,
        ],
        ids=lambda url: f"{url[:12]!a}",
    )
    def test_it_marks_read_and_goes_where_the_notification_leads(
        self, client: Client, ada: User, url: str
    ) -> None:
        row = notified(ada, url=url)
        other = notified(ada)
        response: Any = client.get(open_url(row))
        assert response.status_code == 302
        if url.isascii():
            assert response.url == url
        assert "no-store" in response["Cache-Control"]
        row.refresh_from_db()
        other.refresh_from_db()
        assert row.is_read
        assert not other.is_read
        assert mailbox.read_state(ada.pk).unread == 1

    def test_the_second_time_it_goes_there_all_the_same(
        self, client: Client, ada: User
    ) -> None:
        row = notified(ada, url="/tasks/7/")
        client.get(open_url(row))
        before = everything()
        response: Any = client.get(open_url(row))
        assert response.url == "/tasks/7/"
        assert everything() == before

    def test_what_was_dismissed_or_has_expired_still_leads_there(
        self, ada: User, clock: Clock
    ) -> None:
        """A desktop notification may be clicked long after."""
        client = Client()
        client.force_login(ada)
        soon = timezone.now() + timedelta(minutes=1)
        expired = notified(ada, url="/tasks/7/", expires_at=soon)
        dismissed = notified(ada, url="/tasks/8/")
        mailbox.change(ada.pk, "dismiss", ids=[dismissed.pk])
        clock.advance(hours=1)
        assert client.get(open_url(expired))["Location"] == "/tasks/7/"
        assert client.get(open_url(dismissed))["Location"] == "/tasks/8/"

    def test_without_a_link_it_leads_to_its_place_on_the_list(
        self, client: Client, ada: User
    ) -> None:
        row = notified(ada)
        response: Any = client.get(open_url(row))
        assert response.status_code == 302
        assert response.url == f"{LIST}#n-{row.pk}"
        assert rows_of(get(client))[0].attributes["id"] == f"n-{row.pk}"
        row.refresh_from_db()
        assert row.is_read

    @pytest.mark.parametrize("url", UNSAFE, ids=ascii)
    def test_an_unsafe_link_in_the_table_is_not_followed(
        self, client: Client, ada: User, url: str
    ) -> None:
        """No open redirect: only a write past Themis can have stored it."""
        row = UserNotification.objects.create(user=ada, title="Look", url=url)
        response: Any = client.get(open_url(row))
        assert response.url == f"{LIST}#n-{row.pk}"
        assert response.cookies.get("a") is None

    @pytest.mark.parametrize(
        "headers",
        [
            {"Sec-Purpose": "prefetch"},
            {"Sec-Purpose": "prefetch;prerender"},
            {"Purpose": "prefetch"},
            {"X-Purpose": "preview"},
            {"X-Moz": "Prefetch"},
        ],
        ids=str,
    )
    def test_a_prefetch_marks_nothing(
        self, client: Client, ada: User, headers: dict[str, str]
    ) -> None:
        row = notified(ada, url="/tasks/7/")
        mailbox.look(ada.pk)
        before = everything()
        response: Any = client.get(open_url(row), headers=headers)
        assert response.status_code == 302
        assert "no-store" in response["Cache-Control"]
        assert everything() == before

    def test_a_head_marks_nothing(self, client: Client, ada: User) -> None:
        row = notified(ada, url="/tasks/7/")
        mailbox.look(ada.pk)
        before = everything()
        response = client.head(open_url(row))
        assert (response.status_code, response["Location"]) == (302, "/tasks/7/")
        assert "no-store" in response["Cache-Control"]
        assert everything() == before

    def test_one_that_has_vanished_leads_to_the_list_which_says_so(
        self, client: Client, ada: User
    ) -> None:
        row = notified(ada, url="/tasks/7/")
        url = open_url(row)
        row.delete()
        self.expect_nothing_there(client, url)

    def test_one_of_another_person_is_like_none(
        self, client: Client, ada: User, grace: User
    ) -> None:
        """The answers don't tell the two apart, and nothing is marked."""
        notified(ada)
        theirs = notified(grace, "Secret", url="/secret/")
        mailbox.look(grace.pk)
        before = list(UserNotification.objects.filter(user=grace).values())
        self.expect_nothing_there(client, open_url(theirs))
        self.expect_nothing_there(client, "/notifications/987654321/open/")
        assert list(UserNotification.objects.filter(user=grace).values()) == before

    @pytest.mark.parametrize("digits", [19, 20, 100])
    def test_a_number_that_no_row_can_have_is_like_none(
        self, client: Client, digits: int
    ) -> None:
        self.expect_nothing_there(client, f"/notifications/{'9' * digits}/open/")

    @staticmethod
    def expect_nothing_there(client: Client, url: str) -> None:
        response: Any = client.get(url)
        assert (response.status_code, response.url) == (302, LIST)
        assert "no-store" in response["Cache-Control"]
        page = get(client, response.url)
        assert notices(page) == ["This notification is no longer there."]
        assert "Secret" not in page.text
        assert notices(get(client)) == []

    @pytest.mark.parametrize("part", ["-1", "x", "1.0", "²", "9" * 5_000])
    def test_what_is_no_number_is_not_found(self, client: Client, part: str) -> None:
        assert client.get(f"/notifications/{part}/open/").status_code == 404

    def test_a_site_without_messages_still_gets_people_there(
        self, client: Client, settings: Settings
    ) -> None:
        settings.MIDDLEWARE = [
            name for name in settings.MIDDLEWARE if "messages" not in name
        ]
        response = client.get("/notifications/987654321/open/")
        assert (response.status_code, response["Location"]) == (302, LIST)

    def test_signed_out_one_is_asked_to_sign_in_and_comes_back(self, ada: User) -> None:
        row = notified(ada, url="/tasks/7/")
        response: Any = Client().get(open_url(row))
        assert response.status_code == 302
        assert response.url == f"/accounts/login/?next={open_url(row)}"
        assert "no-store" in response["Cache-Control"]
        row.refresh_from_db()
        assert not row.is_read

    @pytest.mark.parametrize("method", ["post", "put", "patch", "delete", "options"])
    def test_it_is_for_reading_only(self, ada: User, method: str) -> None:
        client = Client()
        client.force_login(ada)
        row = notified(ada, url="/tasks/7/")
        response = getattr(client, method)(open_url(row))
        assert response.status_code == 405
        assert set(response["Allow"].split(", ")) == {"GET", "HEAD"}
        row.refresh_from_db()
        assert not row.is_read


@pytest.mark.django_db(transaction=True)
class TestContention:
    """A row that another transaction holds keeps nobody from getting on."""

    def test_the_link_leads_on_unmarked(self, client: Client, ada: User) -> None:
        row = notified(ada, url="/tasks/7/")
        with writing(row):
            began = time.monotonic()
            response: Any = client.get(open_url(row))
            assert time.monotonic() - began < 4
        assert (response.status_code, response.url) == (302, "/tasks/7/")
        row.refresh_from_db()
        assert not row.is_read

    def test_the_list_asks_to_try_again(
        self, client: Client, ada: User, settings: Settings
    ) -> None:
        # In a cookie, because SQLite's writer locks out the session's table too.
        settings.MESSAGE_STORAGE = (
            "django.contrib.messages.storage.cookie.CookieStorage"
        )
        row = notified(ada)
        form = form_of(rows_of(get(client))[0])
        with writing(row):
            response = submit(client, form)
        assert (response.status_code, response.url) == (302, LIST)
        (said,) = notices(get(client))
        assert re.search("try again", said)
        row.refresh_from_db()
        assert not row.is_read
