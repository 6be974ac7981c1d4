"""Preferences by API, and the verbs below: what changes, who hears of it, refusals."""

import json
import threading
from itertools import product
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import ObjectDoesNotExist
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tests.themis.colleague import Colleague, dying_after_the_commit
from tests.themis.conftest import make_user
from tests.themis.contention import elsewhere
from tests.themis.requests import (
    PREFERENCES,
    ask,
    assert_problem,
    box_of,
    everything,
    notified,
    signed_in,
    token_of,
)
from themis import holding, mailbox, profiles
from themis.events import Changes
from themis.models import UserProfile
from themis.notifications import notify_user

pytestmark = pytest.mark.django_db

DEFAULTS = {
    "notifications_enabled": True,
    "notification_min_level": "info",
    "browser_notifications_enabled": False,
    "notification_retention_days": None,
}
OTHERS = {
    "notifications_enabled": False,
    "notification_min_level": "danger",
    "browser_notifications_enabled": True,
    "notification_retention_days": 30,
}


@pytest.fixture
def ada() -> User:
    ada = make_user("ada")
    # So that her mailbox is there, and nothing waits in it.
    mailbox.look(ada.pk)
    return ada


@pytest.fixture
def client(ada: User) -> Client:
    """A browser in which ada is signed in."""
    return signed_in(ada)


def patch(client: Client, body: object, **options: Any) -> Any:
    """Patch with `body`: as it is if it is bytes, else as JSON."""
    content = body if isinstance(body, bytes) else json.dumps(body)
    options.setdefault("content_type", "application/json")
    return client.patch(PREFERENCES, content, **options)


def assert_preferences(response: Any, expected: dict[str, Any]) -> None:
    assert response.status_code == 200
    assert response["Content-Type"] == "application/json"
    assert "no-store" in response["Cache-Control"]
    assert response.json() == expected


def stored(user: User) -> dict[str, Any]:
    return dict(UserProfile.objects.filter(user=user).values(*DEFAULTS).get())


class TestReading:
    def test_they_are_the_four_fields(self, client: Client, ada: User) -> None:
        assert_preferences(client.get(PREFERENCES), DEFAULTS)
        UserProfile.objects.filter(user=ada).update(**OTHERS)
        assert_preferences(client.get(PREFERENCES), OTHERS)

    def test_without_a_row_the_defaults_hold_and_none_is_made(
        self, client: Client, ada: User
    ) -> None:
        UserProfile.objects.filter(user=ada).delete()
        assert_preferences(client.get(PREFERENCES), DEFAULTS)
        assert not UserProfile.objects.exists()

    def test_a_level_that_no_form_writes_reads_as_the_rule_takes_it(
        self, client: Client, ada: User
    ) -> None:
        UserProfile.objects.filter(user=ada).update(notification_min_level="fatal")
        assert_preferences(client.get(PREFERENCES), DEFAULTS)

    def test_it_is_one_statement_besides_session_and_user(self, client: Client) -> None:
        with CaptureQueriesContext(connection) as statements:
            client.get(PREFERENCES)
        assert len(statements) == 3
        assert "themis_userprofile" in statements[2]["sql"]


@pytest.mark.django_db(transaction=True)
class TestChanging:
    @pytest.mark.parametrize("name", DEFAULTS)
    def test_each_field_alone(
        self, client: Client, ada: User, name: str, sent: list[Changes]
    ) -> None:
        expected = DEFAULTS | {name: OTHERS[name]}
        assert_preferences(patch(client, {name: OTHERS[name]}), expected)
        assert stored(ada) == expected
        (change,) = sent
        assert change.revision == box_of(ada).revision == 1
        assert change.desktop == expected["browser_notifications_enabled"]
        assert_preferences(patch(client, {name: DEFAULTS[name]}), DEFAULTS)
        assert len(sent) == 2

    def test_all_at_once_are_one_change(
        self, client: Client, ada: User, sent: list[Changes]
    ) -> None:
        assert_preferences(patch(client, OTHERS), OTHERS)
        assert stored(ada) == OTHERS
        assert [change.revision for change in sent] == [1]

    @pytest.mark.parametrize("days", [1, 2**31 - 1, None])
    def test_the_bounds_of_retention_are_allowed(
        self, client: Client, days: int | None
    ) -> None:
        patch(client, {"notification_retention_days": 7})
        expected = DEFAULTS | {"notification_retention_days": days}
        response = patch(client, {"notification_retention_days": days})
        assert_preferences(response, expected)

    def test_what_changes_nothing_rings_nobody(
        self, client: Client, ada: User, sent: list[Changes]
    ) -> None:
        patch(client, OTHERS)
        before = everything()
        for name, value in OTHERS.items():
            assert_preferences(patch(client, {name: value}), OTHERS)
        assert_preferences(patch(client, OTHERS), OTHERS)
        assert everything() == before
        assert len(sent) == 1

    def test_without_a_row_one_is_made(
        self, client: Client, ada: User, sent: list[Changes]
    ) -> None:
        UserProfile.objects.filter(user=ada).delete()
        changed = {"notification_min_level": "warning"}
        assert_preferences(patch(client, changed), DEFAULTS | changed)
        assert stored(ada) == DEFAULTS | changed
        assert len(sent) == 1

    def test_a_row_that_says_what_none_says_rings_nobody(
        self, client: Client, ada: User, sent: list[Changes]
    ) -> None:
        UserProfile.objects.filter(user=ada).delete()
        assert_preferences(patch(client, DEFAULTS), DEFAULTS)
        assert stored(ada) == DEFAULTS
        assert (sent, box_of(ada).revision) == ([], 0)

    def test_the_next_notification_goes_by_them(
        self, client: Client, ada: User
    ) -> None:
        assert ada.profile.notifications_enabled
        patch(client, {"notification_min_level": "warning"})
        assert notify_user(ada, "A", level="info") is None
        assert notify_user(ada, "B", level="warning") is not None
        patch(client, {"notifications_enabled": False})
        assert notify_user(ada, "C", level="danger") is None

    def test_every_page_that_polls_hears_of_it(self, client: Client, ada: User) -> None:
        first = ask(client)
        held = first.json()
        patch(client, {"browser_notifications_enabled": True})
        again = ask(
            client, first["ETag"], since=held["revision"], epoch=held["epoch"]
        ).json()
        assert again["type"] == "changes"
        assert again["desktop"] is True
        assert again["items"] == again["removed"] == []

    def test_what_else_waits_in_the_mailbox_is_not_lost(
        self, client: Client, ada: User
    ) -> None:
        with dying_after_the_commit():
            row = notified(ada)
            row.title = "Deploy v3"
            row.save()
        patch(client, OTHERS)
        row.refresh_from_db()
        assert row.pending
        assert [item["id"] for item in ask(client).json()["items"]] == [str(row.pk)]

    def test_a_wish_that_host_code_wrote_is_told_once(
        self, client: Client, ada: User, sent: list[Changes]
    ) -> None:
        with dying_after_the_commit():
            ada.profile.browser_notifications_enabled = True
            ada.profile.save()
        patch(client, {"notification_min_level": "danger"})
        ask(client)
        assert [change.desktop for change in sent] == [True]

    def test_of_others_nothing_changes(self, client: Client) -> None:
        grace = make_user("grace")
        patch(client, OTHERS)
        assert stored(grace) == DEFAULTS

    def test_a_change_costs_a_bounded_number_of_statements(
        self, client: Client
    ) -> None:
        with CaptureQueriesContext(connection) as statements:
            patch(client, OTHERS)
        words = [statement["sql"].split()[0] for statement in statements]
        work = [word for word in words if word in {"SELECT", "INSERT", "UPDATE"}]
        lock = "SELECT" if connection.vendor == "postgresql" else "UPDATE"
        # Session, user; the mailbox's lock, the change, the answer, the count.
        assert work == ["SELECT", "SELECT", lock, "UPDATE", "SELECT", "UPDATE"]


@pytest.mark.django_db(transaction=True)
class TestBesideOthers:
    def test_it_is_pushed_before_the_answer(
        self, client: Client, ada: User, sent: list[Changes]
    ) -> None:
        patch(client, {"browser_notifications_enabled": True})
        assert [change.desktop for change in sent] == [True]

    def test_with_atomic_requests_too(
        self,
        client: Client,
        ada: User,
        sent: list[Changes],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", True)
        patch(client, {"browser_notifications_enabled": True})
        assert [change.desktop for change in sent] == [True]
        assert not UserProfile.objects.filter(pending=True).exists()

    def test_two_who_change_different_fields_both_win(
        self, client: Client, ada: User
    ) -> None:
        """Both read the old row; neither writes it back."""
        start = threading.Barrier(2)

        def change(**changes: Any) -> None:
            start.wait(timeout=10)
            profiles.change_preferences(ada.pk, **changes)

        with Colleague() as one, Colleague() as two:
            first = one.start(change, notifications_enabled=False)
            second = two.start(change, notification_retention_days=7)
            first.result(timeout=20)
            second.result(timeout=20)
        wanted = {"notifications_enabled": False, "notification_retention_days": 7}
        assert stored(ada) == DEFAULTS | wanted
        assert box_of(ada).revision == 2

    def test_a_mailbox_that_is_held_is_busy(self, client: Client, ada: User) -> None:
        with elsewhere(holding.hold([ada.pk], "default")):
            response = patch(client, OTHERS)
        assert_problem(response, 503)
        assert response["Retry-After"] == "1"
        assert stored(ada) == DEFAULTS


class TestRefusals:
    def test_signed_out_comes_first(self) -> None:
        assert_problem(Client().get(PREFERENCES), 401)
        assert_problem(patch(Client(), b"{"), 401)

    @pytest.mark.parametrize("method", ["post", "put", "delete", "options"])
    def test_other_methods_are_refused(self, client: Client, method: str) -> None:
        response = getattr(client, method)(PREFERENCES)
        assert_problem(response, 405)
        assert response["Allow"] == "GET, HEAD, PATCH"

    def test_without_the_csrf_token_nothing_is_written(self, ada: User) -> None:
        notified(ada)
        client = signed_in(ada, enforce_csrf_checks=True)
        assert_problem(patch(client, OTHERS), 403)
        assert stored(ada) == DEFAULTS
        assert_preferences(patch(client, OTHERS, headers=token_of(client)), OTHERS)

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            *product(
                DEFAULTS, ["", "\x00", "\ud800", [], {}, 1.5, -1, 0, "yes", 10**30]
            ),
            *[
                (name, None)
                for name in DEFAULTS
                if name != "notification_retention_days"
            ],
            *[("notification_min_level", one) for one in ("INFO", "fatal", "info\n")],
            *[("notification_min_level", one) for one in (True, "\u202einfo")],
            *[("notification_retention_days", one) for one in (True, "30", 2**31)],
            *[("notifications_enabled", one) for one in (1, "true")],
            *[(name, 1) for name in ("user", "id", "pending", "pk", "self", "\ud800")],
        ],
        ids=repr,
    )
    def test_what_is_wrong_is_named_and_nothing_changes(
        self, client: Client, name: str, value: Any
    ) -> None:
        before = everything()
        assert_problem(patch(client, {name: value}), 400, name)
        # Not in part either.
        right = {"notifications_enabled": False, "notification_min_level": "danger"}
        assert_problem(patch(client, right | {name: value}), 400, name)
        assert everything() == before

    def test_all_that_is_wrong_is_named_at_once(self, client: Client) -> None:
        wrong = dict.fromkeys(DEFAULTS, "x")
        assert_problem(patch(client, wrong), 400, *DEFAULTS)

    def test_nothing_to_change_is_refused(self, client: Client) -> None:
        assert_problem(patch(client, {}), 400, *DEFAULTS)

    @pytest.mark.parametrize(
        "body", [b"", b"{", b"[]", b"null", b"\xff", b"[" * 100_000, b"NaN"]
    )
    def test_what_is_no_json_object_is_refused(
        self, client: Client, body: bytes
    ) -> None:
        assert_problem(patch(client, body), 400)

    def test_ten_megabytes_are_too_large(self, client: Client) -> None:
        body = b'{"notification_min_level": "' + b"x" * 10_000_000 + b'"}'
        assert_problem(patch(client, body), 413)

    def test_nobody_has_no_preferences_to_change(self) -> None:
        with pytest.raises(ObjectDoesNotExist):
            profiles.change_preferences(0, notifications_enabled=False)
        assert not UserProfile.objects.exists()

    def test_the_verb_says_what_is_wrong(self, ada: User) -> None:
        with pytest.raises(ValueError, match="notification_min_level: This must be"):
            profiles.change_preferences(ada.pk, notification_min_level="fatal")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=4,
)


@hypothesis_settings(
    max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    body=st.dictionaries(
        st.sampled_from([*DEFAULTS, "user", "other"]),
        json_values | st.sampled_from(["info", "danger", True, False, 7]),
        max_size=3,
    )
)
def test_any_body_gets_the_preferences_or_a_clear_refusal(
    client: Client, body: dict[str, Any]
) -> None:
    response = patch(client, body)
    if response.status_code == 200:
        assert body.items() <= response.json().items()
    else:
        assert_problem(response, 400, *response.json()["errors"])
