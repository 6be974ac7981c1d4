"""{% themis_bell %}: what it puts into a host's page, and what it costs."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.contrib.sessions.backends.db import SessionStore
from django.core.exceptions import ImproperlyConfigured
from django.db import connection, transaction
from django.http import HttpRequest, HttpResponse
from django.template import Context, RequestContext, Template
from django.test import Client, RequestFactory
from django.test.utils import CaptureQueriesContext
from django.urls import include, path, set_script_prefix
from django.utils import timezone, translation
from pytest_django import Settings

from tests.themis.conftest import Clock, make_user
from tests.themis.markup import Element, assert_allowed_by_strict_csp, parse
from themis import mailbox
from themis.conf import CHANNELS_BROADCASTER
from themis.models import Mailbox, UserNotification
from themis.notifications import notify_user
from themis.owners import owner_of

pytestmark = pytest.mark.django_db

TEMPLATE = "{% load themis %}<header>{% themis_bell %}</header>"


def request_of(user: Any) -> HttpRequest:
    request = RequestFactory().get("/any/page/")
    request.user = user
    return request


def render(request: HttpRequest) -> str:
    return Template(TEMPLATE).render(RequestContext(request))


def bell_of(user: User) -> Element:
    (bell,) = parse(render(request_of(user))).find("themis-bell")
    return bell


def stored(user: User, count: int, **fields: Any) -> None:
    UserNotification.objects.bulk_create(
        UserNotification(user=user, title=str(number), **fields)
        for number in range(count)
    )


def badge_of(bell: Element) -> tuple[str, bool]:
    """What the badge says, and whether it is hidden."""
    (badge,) = bell.find("span", class_="themis-badge")
    return badge.text, "hidden" in badge.attributes


def name_of(bell: Element) -> str:
    """What a screen reader says of the link."""
    (name,) = bell.find("span", **{"data-themis": "name"})
    return name.text


class TestWhoSeesIt:
    def test_nothing_for_somebody_who_is_not_signed_in(self) -> None:
        with CaptureQueriesContext(connection) as statements:
            assert render(request_of(AnonymousUser())) == "<header></header>"
        assert not statements.captured_queries

    def test_nothing_on_a_site_without_authentication(self) -> None:
        """The request of a middleware's error page has no user yet."""
        request = RequestFactory().get("/")
        assert not hasattr(request, "user")
        template = Template(TEMPLATE)
        assert template.render(Context({"request": request})) == "<header></header>"

    @pytest.mark.parametrize("context", [{}, {"request": None}], ids=str)
    def test_without_the_request_the_error_says_what_to_do(
        self, context: dict[str, Any]
    ) -> None:
        with pytest.raises(ImproperlyConfigured) as raised:
            Template(TEMPLATE).render(Context(context))
        assert "django.template.context_processors.request" in str(raised.value)
        assert "{% themis_bell %}" in str(raised.value)

    def test_another_persons_notifications_do_not_count(self, ada: User) -> None:
        stored(make_user("grace"), 3)
        assert badge_of(bell_of(ada)) == ("", True)


class TestWithoutJavaScript:
    def test_it_is_a_link_to_the_list_with_the_count(self, ada: User) -> None:
        stored(ada, 2)
        bell = bell_of(ada)
        (link,) = [link for link in bell.find("a") if link in bell.children]
        assert link.attributes["href"] == "/notifications/"
        assert badge_of(link) == ("2", False)
        assert name_of(link) == "Notifications, 2 unread"

    def test_there_is_no_count_at_zero(self, ada: User) -> None:
        bell = bell_of(ada)
        assert badge_of(bell) == ("", True)
        assert name_of(bell) == "Notifications"

    @pytest.mark.parametrize(
        ("count", "badge", "name"),
        [
            (1, "1", "Notifications, 1 unread"),
            (99, "99", "Notifications, 99 unread"),
            (100, "99+", "Notifications, 100 unread"),
            (10_001, "99+", "Notifications, more than 9,999 unread"),
        ],
    )
    def test_the_badge_is_capped_and_the_name_is_exact(
        self, ada: User, count: int, badge: str, name: str
    ) -> None:
        stored(ada, count)
        bell = bell_of(ada)
        assert badge_of(bell) == (badge, False)
        assert name_of(bell) == name
        assert bell.attributes["data-unread"] == str(min(count, 10_000))

    def test_only_what_is_unread_now_counts(self, clock: Clock, ada: User) -> None:
        soon = timezone.now() + timedelta(minutes=1)
        stored(ada, 1, expires_at=soon)
        stored(ada, 1, read_at=timezone.now())
        stored(ada, 1, dismissed_at=timezone.now())
        stored(ada, 1)
        assert badge_of(bell_of(ada))[0] == "2"
        clock.advance(minutes=2)
        assert badge_of(bell_of(ada))[0] == "1"

    def test_what_waits_to_be_stamped_counts_at_once(self, ada: User) -> None:
        """As in the request that has just made it."""
        with transaction.atomic():
            notify_user(ada, "Deploy v2")
            assert badge_of(bell_of(ada))[0] == "1"


class TestItsConfiguration:
    def test_it_stands_in_data_attributes(self, ada: User) -> None:
        stored(ada, 3)
        attributes = bell_of(ada).attributes
        token = attributes.pop("data-csrf-token")
        assert re.fullmatch(r"\w{64}", token)
        assert attributes.pop("data-user") == owner_of(ada.pk)
        assert attributes == {
            "class": "themis",
            "lang": "en-us",
            "data-list-url": "/notifications/",
            "data-mount-url": "/notifications/",
            "data-state-url": "/notifications/api/state",
            "data-notifications-url": "/notifications/api/notifications",
            "data-socket-url": "",
            "data-poll-interval": "60",
            "data-unread": "3",
            "data-session": "",
            "data-csrf-cookie": "csrftoken",
        }

    @pytest.mark.urls(__name__)
    def test_tabs_of_one_session_and_no_other_know_each_other(self, ada: User) -> None:
        def names(client: Client) -> tuple[str | None, ...]:
            (bell,) = parse(client.get("/").content.decode()).find("themis-bell")
            return bell.attributes["data-user"], bell.attributes["data-session"]

        here, there = Client(), Client()
        for client in (here, there):
            client.force_login(ada)
        assert names(here) == names(here)
        user, session = names(there)
        assert names(here)[0] == user
        assert names(here)[1] != session
        # Neither a key nor what the API takes for one.
        key = there.session.session_key
        assert key is not None
        assert key not in {user, session}
        assert ada.username not in {user, session}

    @pytest.mark.parametrize("setting", ["CSRF_COOKIE_HTTPONLY", "CSRF_USE_SESSIONS"])
    def test_a_cookie_that_scripts_cannot_read_is_not_named(
        self, ada: User, settings: Settings, setting: str
    ) -> None:
        settings.CSRF_COOKIE_NAME = "other"
        assert bell_of(ada).attributes["data-csrf-cookie"] == "other"
        setattr(settings, setting, True)
        with_session = request_of(ada)
        with_session.session = SessionStore()
        (bell,) = parse(render(with_session)).find("themis-bell")
        assert bell.attributes["data-csrf-cookie"] == ""

    def test_the_token_is_one_that_the_api_takes(self, ada: User) -> None:
        """The bell on any page of the host is enough to write."""
        row = notify_user(ada, "Deploy v2")
        assert row is not None
        client = Client(enforce_csrf_checks=True)
        client.force_login(ada)
        request = request_of(ada)
        (bell,) = parse(render(request)).find("themis-bell")
        client.cookies["csrftoken"] = request.META["CSRF_COOKIE"]
        response = client.post(
            f"{bell.attributes['data-notifications-url']}/read",
            {"ids": [str(row.pk)]},
            content_type="application/json",
            headers={"X-CSRFToken": bell.attributes["data-csrf-token"]},
        )
        assert response.status_code == 200
        assert response.json()["unread"] == 0

    def test_the_socket_is_where_the_broadcaster_says(
        self, ada: User, settings: Settings
    ) -> None:
        settings.THEMIS_BROADCASTER = CHANNELS_BROADCASTER
        assert bell_of(ada).attributes["data-socket-url"] == "/ws/notifications/"

    @pytest.mark.parametrize(
        "url",
        ["wss://push.example/ws/notifications/", "/push/", 'wss://x/?a=1&b="2"'],
    )
    def test_the_setting_says_where_the_socket_is(
        self, ada: User, settings: Settings, url: str
    ) -> None:
        settings.THEMIS_BROADCASTER = CHANNELS_BROADCASTER
        settings.THEMIS_REALTIME_URL = url
        assert bell_of(ada).attributes["data-socket-url"] == url

    def test_without_a_broadcaster_pages_poll(
        self, ada: User, settings: Settings
    ) -> None:
        settings.THEMIS_BROADCASTER = None
        settings.THEMIS_REALTIME_URL = "wss://push.example/"
        assert bell_of(ada).attributes["data-socket-url"] == ""

    @pytest.mark.parametrize("interval", [0, 15, 86_400])
    def test_the_poll_interval_is_passed_on(
        self, ada: User, settings: Settings, interval: int
    ) -> None:
        """0 as well: it means never."""
        settings.THEMIS_NOTIFICATION_POLL_INTERVAL = interval
        attributes = bell_of(ada).attributes
        assert attributes["data-poll-interval"] == str(interval)

    def test_numbers_are_not_localized(self, ada: User, settings: Settings) -> None:
        settings.USE_THOUSAND_SEPARATOR = True
        settings.THEMIS_NOTIFICATION_POLL_INTERVAL = 3_600
        stored(ada, 1_234)
        with translation.override("de"):
            attributes = bell_of(ada).attributes
        assert attributes["data-unread"] == "1234"
        assert attributes["data-poll-interval"] == "3600"

    def test_a_site_below_a_prefix_has_its_addresses_there(
        self, ada: User, settings: Settings
    ) -> None:
        settings.THEMIS_BROADCASTER = CHANNELS_BROADCASTER
        set_script_prefix("/intranet/")
        try:
            attributes = bell_of(ada).attributes
        finally:
            set_script_prefix("/")
        assert attributes["data-list-url"] == "/intranet/notifications/"
        assert attributes["data-state-url"] == "/intranet/notifications/api/state"
        assert attributes["data-socket-url"] == "/intranet/ws/notifications/"


class TestItsMarkup:
    def test_a_strict_policy_allows_it(self, ada: User) -> None:
        stored(ada, 1, message="<script>alert(1)</script>")
        html = render(request_of(ada))
        page = parse(html)
        assert_allowed_by_strict_csp(page)
        (script,) = page.find("script")
        assert script.attributes == {
            "type": "module",
            "src": "/static/themis/define.js",
        }
        (style,) = page.find("link", rel="stylesheet")
        assert style.attributes["href"] == "/static/themis/themis.css"
        assert "alert" not in html

    def test_it_has_the_parts_that_the_script_needs(self, ada: User) -> None:
        parts = {
            template.attributes["data-themis"]
            for template in bell_of(ada).find("template")
        }
        assert {"panel", "row", "texts"} <= parts
        assert {
            f"icon-{level}" for level in ("info", "success", "warning", "danger")
        } <= parts

    def test_two_bells_on_a_page_do_not_clash(self, ada: User) -> None:
        """One in the header, one in the menu of small screens: no ids."""
        page = parse(render(request_of(ada)) * 2)
        assert len(page.find("themis-bell")) == 2
        assert not [element for element in page.walk() if "id" in element.attributes]

    def test_its_links_are_not_prefetched(self, ada: User) -> None:
        """A link that marks read must not be followed by a machine."""
        (row,) = [
            template
            for template in bell_of(ada).find("template")
            if template.attributes["data-themis"] == "row"
        ]
        (link,) = row.find("a")
        assert link.attributes["rel"] == "nofollow"
        assert link.attributes["data-turbo-prefetch"] == "false"
        assert link.attributes["hx-boost"] == "false"


class TestItsCost:
    @pytest.mark.parametrize("count", [0, 1, 150])
    def test_it_is_one_statement(self, ada: User, count: int) -> None:
        stored(ada, count)
        request = request_of(ada)
        with CaptureQueriesContext(connection) as statements:
            render(request)
        (statement,) = statements.captured_queries
        assert statement["sql"].startswith("SELECT")

    def test_the_stored_count_is_taken_where_nothing_waits(self, ada: User) -> None:
        """However many are unread: no row is looked at."""
        stored(ada, 2)
        mailbox.look(ada.pk)
        Mailbox.objects.update(unread=7)
        assert bell_of(ada).attributes["data-unread"] == "7"
        stored(ada, 1)
        assert bell_of(ada).attributes["data-unread"] == "3"

    def test_it_writes_nothing(self, ada: User) -> None:
        """Neither a mailbox for who has none, nor stamps on what waits."""
        stored(ada, 2)
        bell_of(ada)
        assert not Mailbox.objects.exists()
        assert UserNotification.objects.filter(pending=True).count() == 2
        mailbox.look(ada.pk)
        stored(ada, 1)
        revision = Mailbox.objects.get().revision
        bell_of(ada)
        assert Mailbox.objects.get().revision == revision


def some_page(request: HttpRequest) -> HttpResponse:
    """A page of the host."""
    return HttpResponse(render(request))


urlpatterns = [
    path("", some_page),
    path("notifications/", include("themis.urls")),
]


@pytest.mark.urls(__name__)
class TestInAPageOfTheHost:
    def test_no_shared_cache_may_give_it_to_somebody_else(self, ada: User) -> None:
        client = Client()
        client.force_login(ada)
        response = client.get("/")
        assert "Cookie" in response["Vary"]
        assert client.cookies["csrftoken"].value

    def test_a_visitor_gets_no_cookie_for_it(self) -> None:
        client = Client()
        assert client.get("/").content == b"<header></header>"
        assert not client.cookies

    def test_it_adds_one_statement_to_session_and_user(self, ada: User) -> None:
        client = Client()
        client.force_login(ada)
        with CaptureQueriesContext(connection) as statements:
            client.get("/")
        assert len(statements.captured_queries) == 3
