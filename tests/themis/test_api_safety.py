"""Whose answer it is, and what no endpoint may do whatever it is sent."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.conf import settings as project
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.urls import URLPattern
from pytest_django import Settings

from tests.themis.conftest import make_user
from tests.themis.requests import (
    LIST,
    PREFERENCES,
    STATE,
    VERBS,
    ask,
    assert_frame,
    assert_problem,
    box_of,
    everything,
    post,
    signed_in,
    stamped,
    titles,
    token_of,
    url_of,
)
from themis import mailbox, profiles, urls
from themis.events import Changes
from themis.models import Mailbox
from themis.owners import is_owner, owner_of
from themis.transactions import outside_transactions

pytestmark = pytest.mark.django_db

MEGABYTES = b'{"ids": ["' + b"1" * 10_000_000 + b'"]}'
TEST_KEY = project.SECRET_KEY
FORM = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data; boundary=x"
WRITES = [*(("POST", url_of(verb)) for verb in VERBS), ("PATCH", PREFERENCES)]
READS = [("GET", STATE), ("GET", LIST), ("GET", PREFERENCES)]

each_write = pytest.mark.parametrize(("method", "url"), WRITES)
each_request = pytest.mark.parametrize(("method", "url"), READS + WRITES)


@pytest.fixture
def client(ada: User) -> Client:
    """A browser in which ada is signed in, and whose writes need the token."""
    stamped(ada, 1)
    client = signed_in(ada, enforce_csrf_checks=True)
    client.defaults["HTTP_X_CSRFTOKEN"] = token_of(client)["X-CSRFToken"]
    return client


class TestWhoseStateItIs:
    """A 304 says "as you know it": only to the person who knows it."""

    @pytest.mark.parametrize("header", ["*", "the tag", 'W/"x", {}', "{}, *"])
    def test_signed_out_no_header_gets_a_304(self, ada: User, header: str) -> None:
        stamped(ada, 1)
        browser = signed_in(ada)
        etag = ask(browser)["ETag"]
        header = header.replace("the tag", etag).format(etag)
        browser.logout()
        for method, url in [*READS, *WRITES]:
            headers = {"If-None-Match": header}
            response = browser.generic(method, url, headers=headers)
            assert_problem(response, 401)
            assert "ETag" not in response

    def test_the_next_person_at_the_same_browser_gets_their_own(
        self, ada: User, grace: User
    ) -> None:
        """Both mailboxes have seen the same, and stand at the same revision."""
        for user in (ada, grace):
            stamped(user, 1)
        assert box_of(ada).revision == box_of(grace).revision
        browser = signed_in(ada)
        etag = ask(browser)["ETag"]
        assert ask(browser, etag).status_code == 304
        browser.logout()
        browser.force_login(grace)
        for header in (etag, f'W/"x", {etag}', f"{etag}, *", "*"):
            response = ask(browser, header)
            assert assert_frame(response, "snapshot")["epoch"] == box_of(grace).epoch
            assert response["ETag"] != etag

    def test_with_the_position_of_the_other_it_is_a_snapshot_of_ones_own(
        self, ada: User, grace: User
    ) -> None:
        for user in (ada, grace):
            stamped(user, 2)
        position: dict[str, Any] = {"since": 1, "epoch": box_of(ada).epoch}
        etag = ask(signed_in(ada), **position)["ETag"]
        frame = assert_frame(ask(signed_in(grace), etag, **position), "snapshot")
        assert len(titles(frame)) == 2

    @each_request
    def test_a_page_made_for_another_is_told_that_nobody_is_signed_in(
        self, client: Client, ada: User, method: str, url: str
    ) -> None:
        """The browser has another session by now: no page shows two people's."""
        grace = make_user("grace")
        named = {"Themis-For": owner_of(grace.pk)}
        response = client.generic(method, url, headers=named)
        assert_problem(response, 401)
        assert mailbox.look(ada.pk).unread == 1

    @pytest.mark.parametrize("user_pk", ["ada", 7])
    def test_the_name_of_a_page_outlives_a_secret_key(
        self, settings: Settings, user_pk: Any
    ) -> None:
        named = owner_of(user_pk)
        assert re.fullmatch("[0-9a-f]{32}", named)
        assert is_owner(named, user_pk)
        settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "new", ["older", "k"]
        assert not is_owner(named, user_pk)
        settings.SECRET_KEY_FALLBACKS = [TEST_KEY]
        assert is_owner(named, user_pk)
        assert owner_of(user_pk) != named

    @pytest.mark.parametrize("named", ["x", "0" * 32, "é", "a" * 5000])
    def test_a_name_that_is_none_is_nobodys(self, client: Client, named: str) -> None:
        header = {"Themis-For": named.encode().decode("latin1")}
        assert_problem(client.get(STATE, headers=header), 401)

    def test_a_page_made_for_the_same_person_is_answered(
        self, client: Client, ada: User
    ) -> None:
        named = {"Themis-For": owner_of(ada.pk)}
        assert client.get(STATE, headers=named).status_code == 200
        assert client.get(STATE, headers={"Themis-For": ""}).status_code == 200

    def test_no_two_mailboxes_share_an_epoch(self) -> None:
        """72 random bits each: so one's tag names no state of another's mailbox."""
        users = [make_user(f"user-{number}") for number in range(30)]
        tags = set()
        for user in users:
            response = ask(signed_in(user))
            epoch = response.json()["epoch"]
            assert re.fullmatch(r"[\w-]{12}", epoch)
            assert epoch in response["ETag"]
            tags.add(response["ETag"])
        assert len(tags) == len(users)
        assert len({*Mailbox.objects.values_list("epoch", flat=True)}) == len(users)

    def test_the_list_and_the_preferences_have_no_tag(self, client: Client) -> None:
        """So no header makes them a 304."""
        for _method, url in READS[1:]:
            for header in ("*", ask(client)["ETag"]):
                response = client.get(url, headers={"If-None-Match": header})
                assert response.status_code == 200
                assert "ETag" not in response


@pytest.mark.anywhere
class TestBodies:
    @each_write
    @pytest.mark.parametrize("kind", ["application/json", FORM, MULTIPART])
    def test_ten_megabytes_are_refused_whatever_they_are_called(
        self, client: Client, method: str, url: str, kind: str
    ) -> None:
        before = everything()
        body = MEGABYTES
        if kind == MULTIPART:
            field = b'--x\r\nContent-Disposition: form-data; name="ids"\r\n\r\n'
            body = field + MEGABYTES + b"\r\n--x--\r\n"
        response = client.generic(method, url, body, content_type=kind)
        assert_problem(response, 413)
        assert everything() == before

    @each_write
    @pytest.mark.parametrize(
        ("kind", "body"),
        [
            ("application/json", b"\x00"),
            ("application/json", b'{"ids": ["1"]'),
            ("application/json", b"\xed\xa0\x80"),
            ("application/json", "\u202e{}".encode()),
            ("application/json; charset=nonsense", b"{"),
            ("", b"{"),
            ("nonsense", b"{"),
            (FORM, b"ids=1"),
            (FORM, b"%ff=%ed%a0%80&\x00"),
            (FORM + "; charset=utf-16", b"ids=1"),
            (FORM, b"&".join(b"a=1" for _ in range(2_000))),
            (MULTIPART, b"ids=1"),
            (MULTIPART, b'--x\r\nContent-Disposition: form-data; name="ids"\r\n\r\n1'),
            ("multipart/form-data", b"ids=1"),
            ("multipart/form-data; boundary=\xe9", b"ids=1"),
        ],
    )
    def test_what_is_no_json_is_a_problem_and_nothing_is_written(
        self, client: Client, method: str, url: str, kind: str, body: bytes
    ) -> None:
        before = everything()
        response = client.generic(method, url, body, content_type=kind)
        assert response.status_code in {400, 403, 415}
        assert_problem(response, response.status_code)
        assert everything() == before

    @pytest.mark.parametrize("verb", VERBS)
    def test_ten_thousand_ids_are_too_many(self, client: Client, verb: str) -> None:
        before = everything()
        many = [str(number) for number in range(10_000)]
        assert_problem(post(client, verb, {"ids": many}), 400, "ids")
        assert everything() == before

    def test_a_thousand_ids_are_not(self, client: Client, ada: User) -> None:
        (row,) = ada.themis_notifications.all()
        many = [str(row.pk), *(str(10**9 + number) for number in range(999))]
        frame = assert_frame(post(client, "read", {"ids": many}), "changes")
        assert [item["id"] for item in frame["items"]] == [str(row.pk)]

    @each_write
    def test_bidi_characters_are_characters(
        self, client: Client, method: str, url: str
    ) -> None:
        """Unexpected ones here, and named as they were sent."""
        body = json.dumps({"\u202eids": ["1"]}, ensure_ascii=False).encode()
        response = client.generic(method, url, body, content_type="application/json")
        assert_problem(response, 400, "\u202eids")

    @each_request
    def test_a_session_that_is_none_is_signed_out(self, method: str, url: str) -> None:
        client = Client()
        for value in ("x", "\ud800".encode("utf-8", "replace").decode(), "0" * 32):
            client.cookies["sessionid"] = value
            assert_problem(client.generic(method, url), 401)


@each_request
def test_an_account_that_is_deleted_meanwhile_is_no_error(
    client: Client, method: str, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the session was looked up, and before anything else."""
    asked: list[str] = []

    def vanish(name: str, module: Any) -> None:
        verb = getattr(module, name)

        def late(*args: Any, **kwargs: Any) -> Any:
            asked.append(name)
            User.objects.all().delete()
            return verb(*args, **kwargs)

        monkeypatch.setattr(module, name, late)

    vanish("look", mailbox)
    vanish("read_preferences", profiles)
    vanish("change_preferences", profiles)
    body = (
        b'{"notifications_enabled": false}' if method == "PATCH" else b'{"ids": ["1"]}'
    )
    response = client.generic(method, url, body, "application/json")
    assert asked
    if url == PREFERENCES and method == "GET":
        assert response.status_code == 200
    else:
        assert_problem(response, 404 if method == "POST" else 401)


def _patterns() -> Iterator[URLPattern]:
    for pattern in urls.urlpatterns:
        assert isinstance(pattern, URLPattern)
        yield pattern


class TestAtomicRequests:
    """A host with ATOMIC_REQUESTS: the views work in transactions of their own."""

    @pytest.mark.parametrize(
        "pattern", [*_patterns()], ids=lambda pattern: str(pattern.pattern) or "list"
    )
    def test_no_view_is_wrapped_in_a_transaction(self, pattern: URLPattern) -> None:
        assert "default" in pattern.callback._non_atomic_requests  # type: ignore[attr-defined]

    def test_nor_in_one_on_another_database(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("themis.transactions.connections", ["default", "mail"])

        def view(request: Any) -> Any:
            return request

        exempt: Any = outside_transactions(view)
        assert exempt._non_atomic_requests == {"default", "mail"}

    @pytest.mark.django_db(transaction=True)
    @each_request
    def test_each_endpoint_stamps_and_tells_before_it_answers(
        self,
        ada: User,
        method: str,
        url: str,
        sent: list[Changes],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", True)
        browser = signed_in(ada)
        (row,) = stamped(ada, 1)
        inside = []

        def spy(module: Any, name: str) -> None:
            verb = getattr(module, name)

            def spied(*args: Any, **kwargs: Any) -> Any:
                inside.append(connection.in_atomic_block)
                return verb(*args, **kwargs)

            monkeypatch.setattr(module, name, spied)

        spy(mailbox, "look")
        spy(profiles, "read_preferences")
        spy(profiles, "change_preferences")
        sent.clear()
        body: dict[str, Any] = {"ids": [str(row.pk)]}
        if method == "PATCH":
            body = {"browser_notifications_enabled": True}
        content = b"" if method == "GET" else json.dumps(body).encode()
        response = browser.generic(method, url, content, "application/json")
        assert response.status_code == 200
        assert inside
        assert not any(inside)
        changing = method == "PATCH" or url.endswith(("/read", "/dismiss"))
        assert len(sent) == changing
        assert not ada.themis_notifications.filter(pending=True).exists()
