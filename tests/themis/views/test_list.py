"""The list page: what it shows, its filters and its pages."""

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django import Settings

from tests.themis.conftest import Clock
from tests.themis.views.pages import (
    HOSTILE,
    LIST,
    UNSAFE,
    buttons,
    get,
    keys,
    notified,
    press,
    row_of,
    rows_of,
    stored,
    titles,
    unread_count,
)
from themis import mailbox
from themis.listing import Cursor
from themis.models import Mailbox, UserNotification
from themis.views.places import PAGE

pytestmark = pytest.mark.django_db


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

    def test_a_row_offers_what_can_be_done_with_it(
        self, client: Client, ada: User
    ) -> None:
        row = notified(ada, "Deploy")
        steps: list[tuple[mailbox.Verb, str, list[str], bool]] = [
            ("unread", LIST, ["Mark read: Deploy", "Dismiss: Deploy"], True),
            ("read", LIST, ["Mark unread: Deploy", "Dismiss: Deploy"], False),
            ("unread", LIST, ["Mark read: Deploy", "Dismiss: Deploy"], True),
            ("dismiss", f"{LIST}?state=dismissed", ["Restore: Deploy"], False),
        ]
        for verb, url, offered, is_marked in steps:
            mailbox.change(ada.pk, verb, ids=[row.pk])
            (shown,) = rows_of(get(client, url))
            assert buttons(shown) == offered
            assert ("data-unread" in shown.attributes) == is_marked
            (word,) = shown.find("span", **{"data-themis": "unread"})
            assert word.text == "Unread:"
            assert ("hidden" in word.attributes) != is_marked

    @pytest.mark.parametrize(
        ("query", "said"),
        [
            ("", "No notifications"),
            ("?state=unread", "all caught up"),
            ("?state=read", "Nothing read yet"),
            ("?state=dismissed", "Nothing dismissed"),
            ("?level=danger", "Nothing of this kind"),
            ("?state=read&source_app=tasks", "Nothing of this kind"),
            (f"?before={Cursor(1, 1)}", "Nothing older"),
        ],
    )
    def test_nothing_is_said_kindly(
        self, client: Client, query: str, said: str
    ) -> None:
        page = get(client, LIST + query)
        (placeholder,) = page.find("div", class_="themis-placeholder")
        assert said in placeholder.text
        assert not page.find("form")

    def test_the_count_is_exact_beyond_what_the_mailbox_stores(
        self, client: Client, ada: User
    ) -> None:
        """It takes a statement more, once per revision of the mailbox."""
        rows = stored(ada, 10_002)
        counts = []
        for expected in ("10002", "10002", "10001"):
            if expected == "10001":
                mailbox.change(ada.pk, "read", ids=[rows[0].pk])
            with CaptureQueriesContext(connection) as statements:
                assert unread_count(get(client)) == f"{expected} unread"
            counts.append(len(statements))
        assert counts == [5, 4, 5]

    def test_the_count_is_of_all_pages_and_filters(
        self, client: Client, ada: User
    ) -> None:
        rows = stored(ada, PAGE + 5)
        mailbox.change(ada.pk, "read", ids=[row.pk for row in rows[:3]])
        for url in (LIST, f"{LIST}?state=unread"):
            assert unread_count(get(client, url)) == f"{PAGE + 2} unread"

    def test_the_title_names_the_list(self, client: Client) -> None:
        for query, expected in (
            ("", "Notifications"),
            ("?state=unread", "Unread notifications"),
            ("?state=read", "Read notifications"),
            ("?state=dismissed", "Dismissed notifications"),
        ):
            (title,) = get(client, LIST + query).find("title")
            assert title.text == expected

    def test_head_is_answered_like_get(self, client: Client) -> None:
        response = client.head(LIST)
        assert response.status_code == 200
        assert response.content == b""

    @pytest.mark.parametrize("method", ["put", "patch", "delete"])
    def test_other_methods_are_refused(self, client: Client, method: str) -> None:
        client = Client()
        client.force_login(User.objects.get())
        assert getattr(client, method)(LIST).status_code == 405

    @pytest.mark.parametrize("query", ["", "?state=unread"])
    def test_signed_out_one_is_asked_to_sign_in_and_comes_back(
        self, query: str
    ) -> None:
        response: Any = Client().get(LIST + query)
        assert response.status_code == 302
        back = (LIST + query).replace("?", "%3F").replace("=", "%3D")
        assert response.url == f"/accounts/login/?next={back}"
        assert "no-store" in response["Cache-Control"]

    @pytest.mark.parametrize(
        "query", ["", "?state=unread", "?state=read", "?level=info"]
    )
    def test_its_statements_do_not_grow_with_its_rows(
        self, client: Client, ada: User, query: str
    ) -> None:
        """Session, user, mailbox with its count, and the page."""
        counts = []
        for number in (1, 10, 100):
            stored(ada, number)
            with CaptureQueriesContext(connection) as statements:
                get(client, LIST + query)
            counts.append(len(statements))
        assert counts == [4, 4, 4]


class TestFilters:
    def test_each_state_has_an_address(self, client: Client, ada: User) -> None:
        unread, read, dismissed = stored(ada, 3)
        mailbox.change(ada.pk, "read", ids=[read.pk])
        mailbox.change(ada.pk, "dismiss", ids=[dismissed.pk])
        for url, chosen, expected in (
            (LIST, "All", [read, unread]),
            (f"{LIST}?state=", "All", [read, unread]),
            (f"{LIST}?state=all", "All", [read, unread]),
            (f"{LIST}?state=unread", "Unread", [unread]),
            (f"{LIST}?state=read", "Read", [read]),
            (f"{LIST}?state=dismissed", "Dismissed", [dismissed]),
        ):
            page = get(client, url)
            assert keys(page) == [row.pk for row in expected]
            links = page.find("a", class_="themis-filter")[:4]
            assert [(link.text, link.attributes["href"]) for link in links] == [
                ("All", LIST),
                ("Unread", f"{LIST}?state=unread"),
                ("Read", f"{LIST}?state=read"),
                ("Dismissed", f"{LIST}?state=dismissed"),
            ]
            assert current(page) == [chosen, "Any level"]

    def test_levels_narrow_the_state(self, client: Client, ada: User) -> None:
        for level in ("info", "success", "warning", "danger"):
            notified(ada, level, level=level)
        page = get(client, f"{LIST}?state=unread")
        links = {link.text: link.attributes["href"] for link in page.find("a")}
        for label, expected in (
            ("Info", ["info"]),
            ("Success", ["success"]),
            ("Warning", ["warning"]),
            ("Danger", ["danger"]),
            ("Any level", ["danger", "warning", "success", "info"]),
        ):
            page = get(client, links[label])
            assert titles(page) == expected
            assert current(page) == ["Unread", label]

    def test_a_source_narrows_and_can_be_left(self, client: Client, ada: User) -> None:
        notified(ada, "Task", source_app="tasks")
        notified(ada, "Event", source_app="events")
        page = get(client, f"{LIST}?source_app=tasks&level=info")
        assert titles(page) == ["Task"]
        assert "Only from tasks" in page.text
        (leave,) = [link for link in page.find("a") if link.text == "Show all sources"]
        assert leave.attributes["href"] == f"{LIST}?level=info"
        for link in page.find("a", class_="themis-filter"):
            assert "source_app=tasks" in link.attributes["href"]

    @pytest.mark.parametrize(
        "query",
        [
            "state=UNREAD",
            "state=seen",
            "state=%00",
            "state=²",
            "level=urgent",
            "level=INFO",
            "level=%00",
            "source_app=%00",
            "source_app=a%0Db",
            f"source_app={'x' * 101}",
        ],
    )
    def test_one_that_there_is_not_is_not_found(
        self, client: Client, query: str
    ) -> None:
        assert client.get(f"{LIST}?{query}").status_code == 404
        posted = Client()
        posted.force_login(User.objects.get())
        assert posted.post(f"{LIST}?{query}", {"verb": "read"}).status_code == 404

    def test_a_surrogate_in_an_address_is_no_error(self, client: Client) -> None:
        assert client.get(f"{LIST}?source_app=%ED%A0%80").status_code in {200, 404}


def current(page: Any) -> list[str]:
    """The filters that are chosen."""
    return [link.text for link in page.find("a", **{"aria-current": "true"})]


class TestPaging:
    @pytest.mark.parametrize("query", ["", "?state=unread"])
    def test_the_pages_hold_everything_once_in_order(
        self, client: Client, ada: User, query: str
    ) -> None:
        """Also where many rows share the revision of their creation."""
        stored(ada, PAGE + 7)
        stored(ada, 3)
        stored(ada, 2 * PAGE)
        seen: list[int] = []
        page = get(client, LIST + query)
        for _number in range(10):
            seen += keys(page)
            older = page.find("a", rel="next nofollow")
            if not older:
                break
            assert len(rows_of(page)) == PAGE
            page = get(client, older[0].attributes["href"])
        expected = UserNotification.objects.order_by("-created_revision", "-pk")
        assert seen == [row.pk for row in expected]

    def test_a_full_last_page_leads_nowhere(self, client: Client, ada: User) -> None:
        stored(ada, PAGE)
        page = get(client)
        assert len(rows_of(page)) == PAGE
        assert not page.find("a", rel="next nofollow")

    def test_what_arrives_meanwhile_shifts_nothing(
        self, client: Client, ada: User
    ) -> None:
        rows = stored(ada, PAGE + 2)
        (older,) = get(client).find("a", rel="next nofollow")
        stored(ada, 5)
        page = get(client, older.attributes["href"])
        assert keys(page) == [rows[1].pk, rows[0].pk]

    def test_a_filter_stays_from_page_to_page(self, client: Client, ada: User) -> None:
        stored(ada, PAGE + 1)
        (older,) = get(client, f"{LIST}?state=unread").find("a", rel="next nofollow")
        page = get(client, older.attributes["href"])
        assert current(page) == ["Unread", "Any level"]

    def test_an_older_page_leads_back_to_the_newest(
        self, client: Client, ada: User
    ) -> None:
        stored(ada, PAGE + 1)
        page = get(client, f"{LIST}?state=unread")
        assert "Newest notifications" not in page.text
        (older,) = page.find("a", rel="next nofollow")
        page = get(client, older.attributes["href"])
        (newest,) = [a for a in page.find("a") if a.text == "Newest notifications"]
        assert newest.attributes["href"] == f"{LIST}?state=unread"

    def test_the_cursor_of_another_person_shows_ones_own(
        self, client: Client, ada: User, grace: User
    ) -> None:
        stored(grace, 2 * PAGE)
        stored(ada, 1)
        page = get(client, f"{LIST}?before={Cursor(99, 999_999_999)}")
        assert titles(page) == ["Number 0"]

    @pytest.mark.parametrize(
        "cursor",
        [
            "x",
            "1-1",
            "1-1-00000000",
            str(Cursor(1, 2)).replace("1-2", "1-3"),
            f"{Cursor(1, 2)} ",
            str(Cursor(2**63, 1)),
            str(Cursor(1, 2**63)),
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
        assert buttons(row) == [f"Mark read: {text}", f"Dismiss: {text}"]
        for button in row.find("button", type="submit"):
            assert set(button.attributes) - {"hidden"} == {
                *("class", "type", "name", "value", "title", "aria-label")
            }
        assert not page.find("img")

    def test_what_reaches_a_page_through_its_address_stays_text(
        self, client: Client, ada: User
    ) -> None:
        stored(ada, 1, source_app="<b>")
        attack = '"><script>alert(1)</script>'
        page = get(client, f"{LIST}?x={attack}&source_app=<b>&done={attack}&at=x")
        assert not page.find("script")
        assert not page.find("b")
        assert "Only from <b>" in page.text
        for form in page.find("form"):
            assert form.attributes["action"] == f"{LIST}?source_app=%3Cb%3E"

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
        row = UserNotification.objects.get()
        response = press(client, row_of(page, row), "Mark read: Look")
        assert response.status_code == 302
        row.refresh_from_db()
        assert row.is_read

    def test_ids_on_the_page_are_unique(self, client: Client, ada: User) -> None:
        stored(ada, 3)
        found = [
            element.attributes["id"]
            for element in get(client).walk()
            if "id" in element.attributes
        ]
        assert len(found) == len(set(found)) == 3
