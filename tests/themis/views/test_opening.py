"""The link that opens a notification."""

import time
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from tests.themis.conftest import Clock
from tests.themis.contention import writing
from tests.themis.views.pages import (
    LIST,
    UNSAFE,
    everything,
    get,
    keys,
    notices,
    notified,
    rows_of,
    stored,
)
from themis import mailbox
from themis.models import UserNotification
from themis.views.places import PAGE

pytestmark = pytest.mark.django_db


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

    def test_one_that_is_far_down_is_shown_where_the_page_begins(
        self, client: Client, ada: User
    ) -> None:
        """The newest page keeps its plain address; a later row is on a later page."""
        rows = stored(ada, PAGE + 5)
        on_newest, below = rows[5], rows[4]
        response: Any = client.get(open_url(on_newest))
        assert response.url == f"{LIST}#n-{on_newest.pk}"
        assert on_newest.pk in keys(get(client))
        response = client.get(open_url(below))
        assert response.url.startswith(f"{LIST}?before=")
        assert response.url.endswith(f"#n-{below.pk}")
        page = get(client, response.url)
        assert keys(page) == [row.pk for row in reversed(rows[:5])]

    def test_a_dismissed_one_is_shown_among_the_dismissed(
        self, client: Client, ada: User
    ) -> None:
        rows = stored(ada, PAGE + 1)
        mailbox.change(ada.pk, "dismiss", ids=[row.pk for row in rows])
        newest: Any = client.get(open_url(rows[-1]))
        assert newest.url == f"{LIST}?state=dismissed#n-{rows[-1].pk}"
        oldest: Any = client.get(open_url(rows[0]))
        assert oldest.url.startswith(f"{LIST}?state=dismissed&before=")
        for response, row in ((newest, rows[-1]), (oldest, rows[0])):
            assert row.pk in keys(get(client, response.url))

    def test_one_that_has_expired_and_leads_nowhere_is_no_longer_there(
        self, ada: User, clock: Clock
    ) -> None:
        client = Client()
        client.force_login(ada)
        soon = timezone.now() + timedelta(minutes=1)
        row = notified(ada, expires_at=soon)
        clock.advance(hours=1)
        self.expect_nothing_there(client, open_url(row))

    def test_one_that_is_not_stamped_yet_is_stamped_and_shown(
        self, client: Client, ada: User
    ) -> None:
        row = notified(ada)
        assert UserNotification.objects.get().created_revision is None
        response: Any = client.get(open_url(row))
        assert response.url == f"{LIST}#n-{row.pk}"
        row.refresh_from_db()
        assert row.is_read
        assert row.created_revision == 1

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
def test_what_another_transaction_holds_leads_on_unmarked(
    client: Client, ada: User
) -> None:
    row = notified(ada, url="/tasks/7/")
    with writing(row):
        began = time.monotonic()
        response: Any = client.get(open_url(row))
        assert time.monotonic() - began < 4
    assert (response.status_code, response.url) == (302, "/tasks/7/")
    row.refresh_from_db()
    assert not row.is_read
