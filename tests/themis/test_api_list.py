"""The list by API: pages, filters, and every refusal."""

import json
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tests.themis.conftest import make_user
from tests.themis.requests import (
    LIST,
    WIRE,
    assert_problem,
    box_of,
    everything,
    notified,
    signed_in,
    stamped,
    titles,
)
from themis.content import MAX_INTEGER
from themis.listing import Cursor
from themis.models import Level, UserNotification

pytestmark = pytest.mark.django_db


@pytest.fixture
def client(ada: User) -> Client:
    """A browser in which ada is signed in."""
    return signed_in(ada)


def ask(client: Client, **query: Any) -> Any:
    return client.get(LIST, query)


def page(client: Client, **query: Any) -> dict[str, Any]:
    response = ask(client, **query)
    assert response.status_code == 200
    assert response["Content-Type"] == "application/json"
    assert "no-store" in response["Cache-Control"]
    found: dict[str, Any] = response.json()
    assert set(found) == {"items", "next"}
    item = json.loads((WIRE / "snapshot.json").read_text())["items"][0]
    assert all(set(one) == set(item) for one in found["items"])
    return found


def all_titles(client: Client, **query: Any) -> list[str]:
    found = page(client, **query)
    shown = titles(found)
    while found["next"] is not None:
        found = page(client, **query, before=found["next"])
        shown += titles(found)
    return shown


def numbers(*each: int) -> list[str]:
    return [f"Number {one}" for one in each]


class TestPages:
    def test_nothing_is_a_page_too(self, client: Client) -> None:
        assert page(client) == {"items": [], "next": None}

    def test_a_page_has_20_unless_another_number_is_asked_for(
        self, client: Client, ada: User
    ) -> None:
        stamped(ada, 21)
        first = page(client)
        assert titles(first) == numbers(*range(20, 0, -1))
        assert titles(page(client, before=first["next"])) == numbers(0)
        assert len(page(client, limit=100)["items"]) == 21
        assert titles(page(client, limit=1)) == numbers(20)

    @pytest.mark.parametrize("limit", [1, 2, 3, 5, 6])
    def test_following_next_shows_each_once(
        self, client: Client, ada: User, limit: int
    ) -> None:
        stamped(ada, 5)
        assert all_titles(client, limit=limit) == numbers(4, 3, 2, 1, 0)

    def test_it_shows_ones_own_alone(self, client: Client, ada: User) -> None:
        stamped(ada, 1)
        notified(make_user("grace"), "For grace")
        assert all_titles(client) == numbers(0)

    def test_what_waits_is_stamped_and_shown(self, client: Client, ada: User) -> None:
        notified(ada)
        (item,) = page(client)["items"]
        assert item["created_revision"] == box_of(ada).revision == 1

    def test_each_state_shows_its_own(self, client: Client, ada: User) -> None:
        rows = stamped(ada, 5)
        of = UserNotification.objects.filter
        of(pk=rows[1].pk).update(read_at=timezone.now())
        of(pk=rows[2].pk).update(dismissed_at=timezone.now())
        of(pk=rows[3].pk).update(expires_at=timezone.now() - timedelta(days=1))
        assert all_titles(client) == numbers(4, 1, 0)
        assert all_titles(client, state="all", limit=1) == numbers(4, 1, 0)
        assert all_titles(client, state="unread", limit=1) == numbers(4, 0)
        assert all_titles(client, state="read", limit=1) == numbers(1)
        assert all_titles(client, state="dismissed", limit=1) == numbers(2)

    def test_level_and_source_narrow_it(self, client: Client, ada: User) -> None:
        notified(ada, "A", level="danger", source_app="tâches")
        notified(ada, "B", source_app="tâches")
        notified(ada, "C", level="danger")
        assert all_titles(client, level="danger") == ["C", "A"]
        assert all_titles(client, source_app="tâches") == ["B", "A"]
        assert all_titles(client, level="danger", source_app="tâches") == ["A"]
        assert all_titles(client, source_app="other") == []

    def test_parameters_that_say_nothing_are_as_if_they_were_not_there(
        self, client: Client, ada: User
    ) -> None:
        stamped(ada, 1)
        empty = dict.fromkeys(("state", "level", "source_app", "before", "limit"), "")
        assert page(client, **empty) == page(client)

    def test_a_cursor_of_another_person_opens_nothing_of_theirs(
        self, client: Client, ada: User
    ) -> None:
        grace = make_user("grace")
        stamped(grace, 3)
        stamped(ada, 2)
        cursor = page(signed_in(grace), limit=1)["next"]
        assert set(titles(page(client, before=cursor))) <= {*numbers(0, 1)}

    def test_a_page_is_two_statements_besides_session_and_user(
        self, client: Client, ada: User
    ) -> None:
        stamped(ada, 30)
        cursor = page(client)["next"]
        for query in ({}, {"before": cursor, "state": "unread", "level": "info"}):
            with CaptureQueriesContext(connection) as statements:
                ask(client, **query)
            tables = [statement["sql"] for statement in statements]
            assert len(tables) == 4, tables
            assert "themis_mailbox" in tables[2]
            assert "themis_usernotification" in tables[3]
            assert all(sql.startswith(("SELECT", "\nSELECT")) for sql in tables)


class TestRefusals:
    def test_signed_out_comes_first(self) -> None:
        assert_problem(ask(Client()), 401)
        assert_problem(ask(Client(), state="nonsense"), 401)

    @pytest.mark.parametrize("method", ["post", "put", "patch", "delete", "options"])
    def test_it_is_read_only(self, client: Client, method: str) -> None:
        response = getattr(client, method)(LIST)
        assert_problem(response, 405)
        assert response["Allow"] == "GET, HEAD"

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            *[("state", text) for text in ("open", "UNREAD", "unread ", "0", "\x00")],
            *[("level", text) for text in ("fatal", "INFO", "info,danger", "\x00")],
            *[("source_app", text) for text in ("x" * 101, "a\x00", "a\u0085")],
            *[
                ("limit", text)
                for text in ("0", "101", "-1", "1.0", "ten", "²", "1e1", "9" * 5000)
            ],
            *[
                ("before", text)
                for text in (
                    "1",
                    "1-1",
                    "nonsense",
                    "\x00",
                    "\U0001f600",
                    "x" * 100_000,
                    str(Cursor(MAX_INTEGER + 1, 1)),
                    str(Cursor(1, MAX_INTEGER + 1)),
                    str(Cursor(1, 1)).upper() + " ",
                )
            ],
            *[(name, "1") for name in ("colour", "filter", "offset", "ids", "\x00")],
        ],
        ids=lambda text: f"{text[:24]!a} of {len(text)}",
    )
    def test_what_is_wrong_is_named(
        self, client: Client, ada: User, name: str, value: str
    ) -> None:
        stamped(ada, 1)
        before = everything()
        assert_problem(ask(client, **{name: value}), 400, name)
        assert everything() == before

    def test_a_lone_surrogate_is_refused_or_nobodys(
        self, client: Client, ada: User
    ) -> None:
        """Bytes that are no UTF-8 reach the view as U+FFFD."""
        stamped(ada, 1)
        for name in ("state", "level", "before", "limit"):
            query = f"{LIST}?{name}=%ED%A0%80"
            assert_problem(client.get(query), 400, name)
        assert client.get(f"{LIST}?source_app=%ED%A0%80").json()["items"] == []

    def test_a_bidi_override_is_a_source_like_any_other(
        self, client: Client, ada: User
    ) -> None:
        notified(ada, source_app="\u202egpj")
        assert len(page(client, source_app="\u202egpj")["items"]) == 1

    def test_all_that_is_wrong_is_named_at_once(self, client: Client) -> None:
        response = ask(client, state="x", level="x", before="x", limit="x")
        assert_problem(response, 400, "state", "level", "before", "limit")

    def test_a_cursor_that_someone_edited_is_refused(
        self, client: Client, ada: User
    ) -> None:
        stamped(ada, 3)
        cursor = page(client, limit=1)["next"]
        for place, char in enumerate(cursor):
            other = "1" if char != "1" else "2"
            edited = cursor[:place] + other + cursor[place + 1 :]
            assert_problem(ask(client, before=edited), 400, "before")
        for edited in (cursor[:-1], cursor[1:], cursor + "0", cursor * 2):
            assert_problem(ask(client, before=edited), 400, "before")
        assert titles(page(client, before=cursor)) == numbers(1, 0)

    def test_a_thousand_parameters_are_a_problem_too(self, client: Client) -> None:
        response = client.get(LIST + "?" + "&".join(f"a{n}=1" for n in range(1_001)))
        assert_problem(response, 400)


@hypothesis_settings(
    max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    query=st.dictionaries(
        st.sampled_from(["state", "level", "source_app", "before", "limit", "other"]),
        st.text(max_size=30)
        | st.sampled_from(["all", "read", "1", "100", "tasks", *Level.values])
        | st.builds(Cursor, st.integers(1, 9), st.integers(1, 9)).map(str),
    )
)
def test_any_query_gets_a_page_or_a_clear_refusal(
    client: Client, query: dict[str, str]
) -> None:
    response = ask(client, **query)
    if response.status_code == 200:
        assert set(response.json()) == {"items", "next"}
    else:
        assert_problem(response, 400, *response.json()["errors"])
