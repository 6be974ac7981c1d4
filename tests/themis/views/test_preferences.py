"""The preferences page."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

from tests.themis.contention import elsewhere
from tests.themis.markup import Element, assert_allowed_by_strict_csp, parse
from tests.themis.views.pages import LIST, everything, get, notices, press
from themis import mailbox
from themis.events import Changes
from themis.models import Mailbox, UserNotification, UserProfile
from themis.models.profile import MAX_RETENTION_DAYS, MIN_RETENTION_DAYS
from themis.notifications import notify_user

pytestmark = pytest.mark.django_db

PREFERENCES = "/notifications/preferences/"

# What the form sends as the defaults have it: a box that is not ticked sends nothing.
DEFAULTS = {
    "notifications_enabled": "on",
    "notification_min_level": "info",
    "notification_retention_days": "",
}


@pytest.fixture
def lenient(ada: User) -> Client:
    """ada's browser, without a form to take the CSRF token from."""
    client = Client()
    client.force_login(ada)
    return client


def field(page: Element, name: str, tag: str = "input", **attributes: str) -> Element:
    (found,) = page.find(tag, name=name, **attributes)
    return found


def stored(user: User) -> tuple[bool, str, bool, int | None]:
    profile = UserProfile.objects.get(user=user)
    return (
        profile.notifications_enabled,
        profile.notification_min_level,
        profile.browser_notifications_enabled,
        profile.notification_retention_days,
    )


class TestShowing:
    def test_the_fields_say_what_is_stored(self, client: Client, ada: User) -> None:
        profiles = UserProfile.objects.filter(user=ada)
        profiles.update(
            notifications_enabled=False,
            notification_min_level="warning",
            browser_notifications_enabled=True,
            notification_retention_days=14,
        )
        page = get(client, PREFERENCES)
        (title,) = page.find("title")
        assert title.text == "Notification preferences"
        assert "checked" not in field(page, "notifications_enabled").attributes
        assert "checked" in field(page, "browser_notifications_enabled").attributes
        days = field(page, "notification_retention_days")
        assert days.attributes["value"] == "14"
        assert chosen(page) == "warning"

    def test_what_weighs_the_same_is_one_choice(
        self, client: Client, ada: User
    ) -> None:
        UserProfile.objects.filter(user=ada).update(notification_min_level="success")
        page = get(client, PREFERENCES)
        assert chosen(page) == "info"
        assert len(page.find("input", type="radio")) == 3

    def test_without_a_profile_it_shows_the_defaults_and_makes_none(
        self, client: Client, ada: User
    ) -> None:
        UserProfile.objects.all().delete()
        page = get(client, PREFERENCES)
        assert "checked" in field(page, "notifications_enabled").attributes
        assert "checked" not in field(page, "browser_notifications_enabled").attributes
        assert "value" not in field(page, "notification_retention_days").attributes
        assert chosen(page) == "info"
        assert not UserProfile.objects.exists()

    def test_it_says_how_long_the_site_keeps_them(
        self, client: Client, settings: Settings
    ) -> None:
        assert "90 days" in get(client, PREFERENCES).text
        settings.THEMIS_NOTIFICATION_MAX_AGE_DAYS = 1
        assert "does: 1 day." in get(client, PREFERENCES).text

    def test_every_field_has_a_label_and_its_help(self, client: Client) -> None:
        page = get(client, PREFERENCES)
        ids = {one.attributes["id"] for one in page.walk() if "id" in one.attributes}
        labelled = {label.attributes["for"] for label in page.find("label")}
        for one in page.find("input"):
            if one.attributes["type"] == "hidden":
                continue
            assert one.attributes["id"] in labelled
            described = one.attributes.get("aria-describedby", "").split()
            assert ids.issuperset(described)
        assert len(page.find("legend")) == 1

    def test_this_device_is_a_matter_of_the_script(
        self, client: Client, ada: User
    ) -> None:
        """Hidden, and no part of what the form sends."""
        page = get(client, PREFERENCES)
        assert_allowed_by_strict_csp(page)
        (form,) = page.find("form")
        (choice,) = form.find("themis-desktop")
        (bell,) = parse(client.get("/").content.decode()).find("themis-bell")
        attributes = choice.attributes
        assert "hidden" in attributes
        assert attributes["data-user"] == bell.attributes["data-user"]
        assert attributes["data-preferences-url"] == "/notifications/api/preferences"
        assert attributes["data-csrf-token"]
        assert not [one for one in choice.walk() if "name" in one.attributes]
        buttons = choice.find("button")
        assert {button.attributes["type"] for button in buttons} == {"button"}

    def test_only_here_pages_load_its_script(self, client: Client) -> None:
        script = "/static/themis/define-desktop.js"
        assert len(get(client, PREFERENCES).find("script", src=script)) == 1
        assert get(client, LIST).find("script", src=script) == []

    def test_list_and_bell_lead_to_it_and_it_leads_back(self, client: Client) -> None:
        assert PREFERENCES in links(get(client, LIST))
        assert LIST in links(get(client, PREFERENCES))
        assert client.get("/").content.decode().count(f'"{PREFERENCES}"') == 1

    def test_it_takes_a_statement_besides_session_and_user(
        self, client: Client
    ) -> None:
        with CaptureQueriesContext(connection) as statements:
            get(client, PREFERENCES)
        assert len(statements) == 3


def chosen(page: Element) -> str:
    (radio,) = [one for one in page.find("input", type="radio") if is_checked(one)]
    return radio.attributes["value"]


def is_checked(one: Element) -> bool:
    return "checked" in one.attributes


def links(page: Element) -> list[str]:
    return [link.attributes["href"] for link in page.find("a")]


class TestSaving:
    def test_it_saves_and_says_so(self, lenient: Client, ada: User) -> None:
        response: Any = lenient.post(
            PREFERENCES,
            {
                "notification_min_level": "danger",
                "browser_notifications_enabled": "on",
                "notification_retention_days": "7",
            },
        )
        assert (response.status_code, response.url) == (302, PREFERENCES)
        assert stored(ada) == (False, "danger", True, 7)
        assert notices(get(lenient, PREFERENCES)) == [
            "Your preferences have been saved."
        ]

    def test_its_own_form_changes_nothing_by_itself(
        self, client: Client, ada: User
    ) -> None:
        """Its CSRF token is the right one, too."""
        page = get(client, PREFERENCES)
        (form,) = page.find("form")
        assert "action" not in form.attributes
        form.attributes["action"] = PREFERENCES
        for one in list(form.walk()):
            one.children = [
                child
                for child in one.children
                if child.attributes.get("type") not in {"checkbox", "radio"}
                or is_checked(child)
            ]
        for one in form.find("input", type="checkbox"):
            one.attributes["value"] = "on"
        assert press(client, form, "Save").status_code == 302
        assert stored(ada) == (True, "info", False, None)

    def test_it_makes_the_row_that_is_missing(self, lenient: Client, ada: User) -> None:
        UserProfile.objects.all().delete()
        lenient.post(PREFERENCES, {**DEFAULTS, "notification_min_level": "warning"})
        assert stored(ada) == (True, "warning", False, None)

    def test_it_counts_for_the_next_notification(
        self, lenient: Client, ada: User
    ) -> None:
        lenient.post(PREFERENCES, {**DEFAULTS, "notification_min_level": "warning"})
        assert notify_user(ada, "Filtered") is None
        assert notify_user(ada, "Kept", level="warning") is not None
        lenient.post(PREFERENCES, {"notification_min_level": "info"})
        assert notify_user(ada, "Off", level="danger") is None
        assert UserNotification.objects.count() == 1

    def test_it_is_told_to_all_open_tabs_at_once(
        self, lenient: Client, ada: User
    ) -> None:
        before = mailbox.read_state(ada.pk)
        assert not before.desktop
        lenient.post(PREFERENCES, {**DEFAULTS, "browser_notifications_enabled": "on"})
        assert not UserProfile.objects.get().pending
        after = mailbox.read_state(ada.pk, since=before.revision, epoch=before.epoch)
        assert after.desktop
        assert after.revision > before.revision

    def test_success_is_taken_as_the_api_takes_it(
        self, lenient: Client, ada: User
    ) -> None:
        lenient.post(PREFERENCES, {**DEFAULTS, "notification_min_level": "success"})
        assert stored(ada)[1] == "success"

    def test_days_may_be_more_than_the_site_keeps(
        self, lenient: Client, ada: User
    ) -> None:
        for days in (MIN_RETENTION_DAYS, 91, MAX_RETENTION_DAYS):
            data = {**DEFAULTS, "notification_retention_days": str(days)}
            assert lenient.post(PREFERENCES, data).status_code == 302
            assert stored(ada)[3] == days

    def test_another_persons_preferences_stay(
        self, lenient: Client, grace: User
    ) -> None:
        lenient.post(PREFERENCES, {**DEFAULTS, "user": grace.pk, "id": grace.pk})
        lenient.post(PREFERENCES, {"notification_min_level": "danger"})
        assert stored(grace) == (True, "info", False, None)

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("notification_min_level", ""),
            ("notification_min_level", "urgent"),
            ("notification_min_level", "INFO"),
            ("notification_min_level", "\x00"),
            ("notification_retention_days", "-1"),
            ("notification_retention_days", "many"),
            ("notification_retention_days", "1.5"),
            ("notification_retention_days", str(MIN_RETENTION_DAYS - 1)),
            ("notification_retention_days", str(MAX_RETENTION_DAYS + 1)),
            ("notification_retention_days", "9" * 5_000),
            ("notification_retention_days", "1\x00"),
        ],
        ids=lambda text: f"{text[:24]!a}",
    )
    def test_what_is_wrong_is_said_at_its_field(
        self, lenient: Client, name: str, value: str
    ) -> None:
        before = everything()
        response: Any = lenient.post(PREFERENCES, {**DEFAULTS, name: value})
        assert response.status_code == 200
        assert everything() == before
        page = parse(response.content.decode())
        (title,) = page.find("title")
        assert title.text == "Error: Notification preferences"
        (errors,) = page.find("ul", class_="errorlist")
        assert errors.text
        describing = [
            one
            for one in page.walk()
            if errors.attributes["id"] in one.attributes.get("aria-describedby", "")
        ]
        assert len(describing) == 1

    def test_a_site_without_messages_saves_all_the_same(
        self, lenient: Client, ada: User, settings: Settings
    ) -> None:
        settings.MIDDLEWARE = [
            name for name in settings.MIDDLEWARE if "messages" not in name
        ]
        assert lenient.post(PREFERENCES, DEFAULTS).status_code == 302
        assert notices(get(lenient, PREFERENCES)) == []

    def test_without_the_csrf_token_nothing_is_saved(
        self, client: Client, ada: User
    ) -> None:
        before = everything()
        assert client.post(PREFERENCES, {}).status_code == 403
        assert everything() == before

    @pytest.mark.parametrize("method", ["get", "post"])
    def test_signed_out_one_is_asked_to_sign_in_and_comes_back(
        self, ada: User, method: str
    ) -> None:
        before = everything()
        response: Any = getattr(Client(), method)(PREFERENCES)
        assert response.status_code == 302
        assert response.url == f"/accounts/login/?next={PREFERENCES}"
        assert "no-store" in response["Cache-Control"]
        assert everything() == before


@pytest.mark.django_db(transaction=True)
def test_in_a_host_with_atomic_requests_it_is_told_before_the_answer(
    lenient: Client, ada: User, sent: list[Changes]
) -> None:
    mailbox.look(ada.pk)
    connection.settings_dict["ATOMIC_REQUESTS"] = True
    try:
        sent.clear()
        lenient.post(PREFERENCES, {**DEFAULTS, "browser_notifications_enabled": "on"})
    finally:
        connection.settings_dict["ATOMIC_REQUESTS"] = False
    assert [change.desktop for change in sent] == [True]


@pytest.mark.django_db(transaction=True)
def test_what_another_transaction_holds_is_to_be_tried_again(
    lenient: Client, ada: User, settings: Settings
) -> None:
    """What was entered is still there."""
    settings.MESSAGE_STORAGE = "django.contrib.messages.storage.cookie.CookieStorage"
    mailbox.look(ada.pk)
    with elsewhere(holding(ada)):
        response: Any = lenient.post(
            PREFERENCES, {**DEFAULTS, "notification_min_level": "danger"}
        )
    assert response.status_code == 200
    page = parse(response.content.decode())
    assert notices(page) == ["That didn't work just now; try again."]
    assert chosen(page) == "danger"
    assert stored(ada)[1] == "info"


@contextmanager
def holding(user: User) -> Iterator[None]:
    """Somebody else stamps the mailbox of `user`, and takes their time."""
    with transaction.atomic():
        Mailbox.objects.filter(user=user).update(floor_revision=0)
        yield
