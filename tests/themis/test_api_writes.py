"""The four writes by API: what they change, their undo, and every refusal."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.test import Client
from django.utils import timezone
from hypothesis import HealthCheck, example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pytest_django import Settings

from tests.themis.contention import elsewhere, writing
from tests.themis.requests import (
    STATE,
    VERBS,
    WIRE,
    ask,
    assert_frame,
    assert_problem,
    box_of,
    everything,
    ids,
    notified,
    post,
    signed_in,
    stamped,
    titles,
    token_of,
    url_of,
)
from themis import holding, mailbox
from themis.events import Changes
from themis.models import UserNotification

pytestmark = pytest.mark.django_db


@pytest.fixture
def client(ada: User) -> Client:
    """A browser in which ada is signed in."""
    return signed_in(ada)


@pytest.mark.anywhere
class TestRefusals:
    def test_signed_out_is_a_problem_not_a_redirect(self) -> None:
        assert_problem(Client().get(STATE), 401)
        for verb in VERBS:
            assert_problem(post(Client(), verb, {"ids": ["1"]}), 401)

    def test_signed_out_comes_before_any_other_complaint(self) -> None:
        assert_problem(Client().get(STATE, {"since": "x"}), 401)
        assert_problem(post(Client(), "read", b"{"), 401)

    @pytest.mark.parametrize("method", ["post", "put", "patch", "delete", "options"])
    def test_state_is_read_only(self, client: Client, method: str) -> None:
        response = getattr(client, method)(STATE)
        assert_problem(response, 405)
        assert response["Allow"] == "GET, HEAD"

    @pytest.mark.parametrize("verb", VERBS)
    @pytest.mark.parametrize("method", ["get", "put", "patch", "delete", "options"])
    def test_the_verbs_take_posts(
        self, client: Client, ada: User, verb: str, method: str
    ) -> None:
        stamped(ada, 1)
        before = everything()
        response = getattr(client, method)(url_of(verb))
        assert_problem(response, 405)
        assert response["Allow"] == "POST"
        assert everything() == before

    @pytest.mark.parametrize("verb", VERBS)
    def test_without_the_csrf_token_nothing_is_written(
        self, ada: User, verb: str
    ) -> None:
        (row,) = stamped(ada, 1)
        before = everything()
        client = signed_in(ada, enforce_csrf_checks=True)
        assert_problem(post(client, verb, {"ids": [str(row.pk)]}), 403)
        wrong = {"X-CSRFToken": "x" * 32}
        response = post(client, verb, {"ids": [str(row.pk)]}, headers=wrong)
        assert_problem(response, 403)
        assert everything() == before

    def test_with_the_token_of_the_bell_it_is_written(self, ada: User) -> None:
        (row,) = stamped(ada, 1)
        client = signed_in(ada, enforce_csrf_checks=True)
        response = post(
            client, "read", {"ids": [str(row.pk)]}, headers=token_of(client)
        )
        assert_frame(response, "changes")

    def test_a_form_is_no_json(self, ada: User) -> None:
        """The CSRF check reads a form before the view can; still a problem."""
        (row,) = stamped(ada, 1)
        before = everything()
        client = signed_in(ada, enforce_csrf_checks=True)
        headers: Any = token_of(client)
        form = {"ids": str(row.pk)}
        response = client.post(url_of("read"), form, headers=headers)
        assert_problem(response, 415)
        response = client.post(
            url_of("read"),
            "ids=1",
            content_type="application/x-www-form-urlencoded",
            headers=headers,
        )
        assert_problem(response, 400)
        assert everything() == before


class TestByIds:
    @pytest.mark.parametrize(
        ("verb", "field"), [("read", "read_at"), ("dismiss", "dismissed_at")]
    )
    def test_the_rows_named_are_changed_and_the_answer_says_when(
        self, client: Client, ada: User, verb: str, field: str
    ) -> None:
        rows = stamped(ada, 3)
        named = {rows[0].pk, rows[2].pk}
        before = box_of(ada)
        response = post(client, verb, {"ids": [str(pk) for pk in named]})
        frame = assert_frame(response, "changes")
        assert frame["since"] == before.revision
        assert frame["revision"] == before.revision + 1
        assert frame["unread"] == 1
        written = dict(UserNotification.objects.values_list("pk", field))
        assert {pk for pk, moment in written.items() if moment} == named
        assert written[rows[0].pk] == written[rows[2].pk]
        assert datetime.fromisoformat(frame["at"]) == written[rows[0].pk]
        assert frame["at"].endswith("Z")
        if verb == "read":
            assert ids(frame) == [str(rows[2].pk), str(rows[0].pk)]
            assert {item["read_at"] for item in frame["items"]} == {frame["at"]}
        else:
            assert sorted(frame["removed"]) == sorted(map(str, named))

    @pytest.mark.parametrize(
        ("verb", "back", "field"),
        [("read", "unread", "read_at"), ("dismiss", "restore", "dismissed_at")],
    )
    def test_a_change_is_taken_back(
        self, client: Client, ada: User, verb: str, back: str, field: str
    ) -> None:
        row, _other = stamped(ada, 2)
        post(client, verb, {"ids": [str(row.pk)]})
        frame = assert_frame(post(client, back, {"ids": [str(row.pk)]}), "changes")
        assert frame["at"] is None
        assert frame["unread"] == 2
        assert str(row.pk) in ids(frame)
        row.refresh_from_db()
        assert getattr(row, field) is None

    def test_what_is_restored_is_not_new(self, client: Client, ada: User) -> None:
        """It keeps the revision of its creation, so no page rings."""
        (row,) = stamped(ada, 1)
        post(client, "dismiss", {"ids": [str(row.pk)]})
        (item,) = post(client, "restore", {"ids": [str(row.pk)]}).json()["items"]
        assert item["created_revision"] == row.created_revision
        assert item["revision"] > row.created_revision

    @pytest.mark.parametrize("verb", VERBS)
    def test_the_second_time_changes_nothing(
        self, client: Client, ada: User, verb: str
    ) -> None:
        (row,) = stamped(ada, 1)
        post(client, verb, {"ids": [str(row.pk)]})
        before = everything()
        frame = assert_frame(post(client, verb, {"ids": [str(row.pk)]}), "changes")
        assert everything() == before
        assert frame["at"] is None
        assert frame["since"] == frame["revision"] == box_of(ada).revision
        assert (frame["items"], frame["removed"]) == ([], [])

    def test_a_late_second_click_keeps_the_time_of_the_first(
        self, client: Client, ada: User
    ) -> None:
        """Else the undo of the first operation would miss the row."""
        one, other = stamped(ada, 2)
        first = post(client, "read", {"ids": [str(one.pk)]}).json()["at"]
        both = post(client, "read", {"ids": [str(one.pk), str(other.pk)]}).json()["at"]
        one.refresh_from_db()
        other.refresh_from_db()
        assert one.read_at == datetime.fromisoformat(first)
        assert other.read_at == datetime.fromisoformat(both)

    @pytest.mark.parametrize("verb", VERBS)
    def test_ids_of_others_are_ignored(
        self, client: Client, ada: User, grace: User, verb: str
    ) -> None:
        (mine,) = stamped(ada, 1)
        (theirs,) = stamped(grace, 1)
        other = UserNotification.objects.filter(pk=theirs.pk).values()
        before = list(other)
        body = {"ids": [str(mine.pk), str(theirs.pk), "987654321"]}
        frame = post(client, verb, body).json()
        assert str(theirs.pk) not in [*ids(frame), *frame["removed"]]
        assert list(other) == before

    @pytest.mark.parametrize("verb", VERBS)
    def test_none_of_ones_own_is_not_found(
        self, client: Client, grace: User, verb: str
    ) -> None:
        """Of another user or of nobody: the answer doesn't tell which."""
        (theirs,) = stamped(grace, 1)
        before = list(UserNotification.objects.values())
        foreign = post(client, verb, {"ids": [str(theirs.pk)]})
        nobodys = post(client, verb, {"ids": ["987654321", str(2**63 - 1)]})
        assert assert_problem(foreign, 404) == assert_problem(nobodys, 404)
        assert list(UserNotification.objects.values()) == before

    def test_ids_may_repeat_and_be_numbers(self, client: Client, ada: User) -> None:
        (row,) = stamped(ada, 1)
        frame = post(client, "read", {"ids": [str(row.pk), row.pk, row.pk]}).json()
        assert ids(frame) == [str(row.pk)]

    def test_a_thousand_ids_are_a_snapshot(self, client: Client, ada: User) -> None:
        """More rows than changes may carry; written with one time all the same."""
        UserNotification.objects.bulk_create(
            UserNotification(user=ada, title=str(number)) for number in range(1_000)
        )
        keys = [str(row.pk) for row in UserNotification.objects.all()]
        frame = assert_frame(post(client, "read", {"ids": keys}), "snapshot")
        assert frame["unread"] == 0
        moments = set(UserNotification.objects.values_list("read_at", flat=True))
        assert moments == {datetime.fromisoformat(frame["at"])}


class TestUpTo:
    def test_what_came_later_stays_unread(self, client: Client, ada: User) -> None:
        """The page read what it had rendered, not what arrived meanwhile."""
        stamped(ada, 2)
        rendered = ask(client).json()
        late = notified(ada, "Late")
        body = {"up_to": rendered["revision"], "epoch": rendered["epoch"]}
        frame = assert_frame(post(client, "read", body), "changes")
        assert frame["unread"] == 1
        (unread,) = UserNotification.objects.filter(read_at=None)
        assert unread == late
        moments = UserNotification.objects.filter(read_at__isnull=False)
        assert set(moments.values_list("read_at", flat=True)) == {
            datetime.fromisoformat(frame["at"])
        }

    def test_it_goes_by_creation_not_by_the_last_change(
        self, client: Client, ada: User
    ) -> None:
        (row,) = stamped(ada, 1)
        UserNotification.objects.filter(pk=row.pk).update(title="Edited")
        post(client, "read", {"up_to": 1})
        row.refresh_from_db()
        assert row.is_read

    def test_dismiss_takes_all_that_is_listed_read_or_not(
        self, client: Client, ada: User
    ) -> None:
        one, _two = stamped(ada, 2)
        post(client, "read", {"ids": [str(one.pk)]})
        frame = post(client, "dismiss", {"up_to": box_of(ada).revision}).json()
        assert len(frame["removed"]) == 2
        assert ask(client).json()["items"] == []

    def test_another_epoch_is_a_conflict(self, client: Client, ada: User) -> None:
        stamped(ada, 1)
        before = everything()
        for verb in ("read", "dismiss"):
            body = {"up_to": 1, "epoch": "of-another-life"}
            assert_problem(post(client, verb, body), 409)
        assert everything() == before

    def test_level_and_source_narrow(self, client: Client, ada: User) -> None:
        for level, app in (
            ("info", "tasks"),
            ("danger", "tasks"),
            ("danger", "billing"),
        ):
            notified(ada, f"{level} {app}", level=level, source_app=app)
        mailbox.look(ada.pk)

        def read() -> set[str]:
            rows = UserNotification.objects.filter(read_at__isnull=False)
            return {row.title for row in rows}

        body = {"up_to": 1, "level": "danger", "source_app": "tasks"}
        post(client, "read", body)
        assert read() == {"danger tasks"}
        post(client, "read", {"up_to": 1, "source_app": "tasks"})
        assert read() == {"danger tasks", "info tasks"}
        post(client, "read", {"up_to": 1, "level": "danger"})
        assert read() == {"danger tasks", "info tasks", "danger billing"}

    def test_a_source_that_nothing_has_matches_nothing(
        self, client: Client, ada: User
    ) -> None:
        stamped(ada, 1)
        frame = post(client, "read", {"up_to": 9, "source_app": "Tåsks"}).json()
        assert frame["at"] is None
        assert frame["unread"] == 1

    def test_an_empty_mailbox_is_fine(self, client: Client) -> None:
        frame = assert_frame(post(client, "read", {"up_to": 0}), "changes")
        assert (frame["at"], frame["items"]) == (None, [])

    def test_the_largest_revision_means_all(self, client: Client, ada: User) -> None:
        stamped(ada, 2)
        assert post(client, "read", {"up_to": 2**63 - 1}).json()["unread"] == 0

    def test_it_is_for_this_person_alone(
        self, client: Client, ada: User, grace: User
    ) -> None:
        stamped(ada, 1)
        (theirs,) = stamped(grace, 1)
        for verb in ("read", "dismiss"):
            post(client, verb, {"up_to": 99})
        theirs.refresh_from_db()
        assert not theirs.is_read
        assert not theirs.is_dismissed

    @pytest.mark.parametrize("verb", ["unread", "restore"])
    def test_it_is_for_read_and_dismiss_alone(self, client: Client, verb: str) -> None:
        problem = assert_problem(post(client, verb, {"up_to": 1}), 400, "up_to")
        assert "up_to" in problem["errors"]


class TestUndo:
    @pytest.mark.parametrize(
        ("verb", "back", "field"),
        [("read", "unread", "read_at"), ("dismiss", "restore", "dismissed_at")],
    )
    def test_it_takes_back_exactly_one_operation(
        self, client: Client, ada: User, verb: str, back: str, field: str
    ) -> None:
        one, two, three = stamped(ada, 3)
        post(client, verb, {"ids": [str(one.pk)]})
        at = post(client, verb, {"up_to": box_of(ada).revision}).json()["at"]
        frame = assert_frame(post(client, back, {"at": at}), "changes")
        assert frame["unread"] == 2
        done = UserNotification.objects.filter(**{f"{field}__isnull": False})
        assert [row.pk for row in done] == [one.pk]
        assert set(ids(frame)) == {str(two.pk), str(three.pk)}
        assert frame["at"] is None

    def test_the_time_may_come_in_any_zone(self, client: Client, ada: User) -> None:
        (row,) = stamped(ada, 1)
        at = post(client, "read", {"ids": [str(row.pk)]}).json()["at"]
        elsewhere = datetime.fromisoformat(at).astimezone(
            timezone.get_fixed_timezone(330)
        )
        assert post(client, "unread", {"at": elsewhere.isoformat()}).json()["items"]

    def test_a_time_at_which_nothing_happened_undoes_nothing(
        self, client: Client, ada: User
    ) -> None:
        (row,) = stamped(ada, 1)
        post(client, "read", {"ids": [str(row.pk)]})
        before = everything()
        frame = assert_frame(
            post(client, "unread", {"at": "2020-01-01T00:00:00Z"}), "changes"
        )
        assert (frame["at"], frame["items"]) == (None, [])
        assert everything() == before

    def test_the_same_time_of_another_user_is_left_alone(
        self, client: Client, ada: User, grace: User
    ) -> None:
        (mine,) = stamped(ada, 1)
        (theirs,) = stamped(grace, 1)
        at = post(client, "read", {"ids": [str(mine.pk)]}).json()["at"]
        moment = datetime.fromisoformat(at)
        UserNotification.objects.filter(pk=theirs.pk).update(read_at=moment)
        post(client, "unread", {"at": at})
        theirs.refresh_from_db()
        assert theirs.read_at == moment

    @pytest.mark.parametrize("verb", ["read", "dismiss"])
    def test_it_is_for_unread_and_restore_alone(
        self, client: Client, verb: str
    ) -> None:
        body = {"at": "2030-01-01T00:00:00Z"}
        assert_problem(post(client, verb, body), 400, "at")

    def test_it_works_on_a_site_without_time_zones(
        self, client: Client, ada: User, settings: Settings
    ) -> None:
        """There the columns hold local times; the wire stays in UTC."""
        settings.USE_TZ = False
        (row,) = stamped(ada, 1)
        at = post(client, "read", {"ids": [str(row.pk)]}).json()["at"]
        assert at.endswith("Z")
        moment = datetime.fromisoformat(at)
        assert abs(moment - datetime.now(UTC)) < timedelta(minutes=1)
        assert post(client, "unread", {"at": at}).json()["unread"] == 1


def nested(depth: int) -> bytes:
    return b"[" * depth + b"]" * depth


NO_OBJECT = {
    "nothing": b"",
    "no json": b"ids=1",
    "half of it": b'{"ids": ["1"',
    "not utf-8": b'{"ids": ["\xff"]}',
    "a list": b'["1"]',
    "a string": b'"ids"',
    "a number": b"1",
    "null": b"null",
    "deep": nested(100_000),
    "deep ids": b'{"ids": ' + nested(100_000) + b"}",
    "digits beyond int()": b'{"ids": [' + b"9" * 5_000 + b"]}",
}

# Bodies, and the fields that the problem blames.
MALFORMED: dict[str, tuple[bytes, set[str]]] = {
    "ids null": (b'{"ids": null}', {"ids"}),
    "ids string": (b'{"ids": "1"}', {"ids"}),
    "ids object": (b'{"ids": {"0": "1"}}', {"ids"}),
    "ids empty": (b'{"ids": []}', {"ids"}),
    "ids too many": (
        json.dumps({"ids": [str(pk) for pk in range(1_001)]}).encode(),
        {"ids"},
    ),
    **{
        f"id {name}": (b'{"ids": ["1", ' + item + b"]}", {"ids"})
        for name, item in {
            "null": b"null",
            "true": b"true",
            "false": b"false",
            "float": b"1.0",
            "exponent": b"1e0",
            "infinite": b"Infinity",
            "nan": b"NaN",
            "list": b'["1"]',
            "object": b'{"id": "1"}',
            "nested": nested(100),
            "empty": b'""',
            "negative": b'"-1"',
            "negative number": b"-1",
            "signed": b'"+1"',
            "with space": b'" 1"',
            "text": b'"one"',
            "superscript": '"²"'.encode(),
            "arabic": '"٣"'.encode(),
            "nul": b'"1\\u0000"',
            "surrogate": b'"\\ud800"',
            "too large": b'"9223372036854775808"',
            "too large number": b"9223372036854775808",
            "digits": b'"' + b"9" * 100 + b'"',
            "zeros and digits": b'"' + b"0" * 20 + b"9" * 20 + b'"',
            "digits beyond int()": b'"' + b"0" * 20 + b"9" * 5_000 + b'"',
        }.items()
    },
    "unknown field": (b'{"ids": ["1"], "all": true}', {"all"}),
    **{
        f"unknown field {name!a}": (
            json.dumps({"ids": ["1"], name: 1}).encode(),
            {name},
        )
        # The names of arguments too: none may reach a call as a keyword.
        for name in ("status", "detail", "errors", "self", "user", "", "\ud800", "\x00")
    },
    "epoch beside ids": (b'{"ids": ["1"], "epoch": "x"}', {"epoch"}),
    "level beside ids": (b'{"ids": ["1"], "level": "info"}', {"level"}),
}

MALFORMED_UP_TO: dict[str, tuple[bytes, set[str]]] = {
    "two ways": (b'{"ids": ["1"], "up_to": 1}', {"ids", "up_to"}),
    **{
        f"up_to {name}": (b'{"up_to": ' + value + b"}", {"up_to"})
        for name, value in {
            "null": b"null",
            "float": b"1.0",
            "infinite": b"1e999",
            "nan": b"NaN",
            "true": b"true",
            "string": b'"1"',
            "list": b"[1]",
            "object": b"{}",
            "negative": b"-1",
            "too large": str(2**63).encode(),
            "much too large": str(2**70).encode(),
        }.items()
    },
    **{
        f"{field} {name}": (
            b'{"up_to": 1, "' + field.encode() + b'": ' + value + b"}",
            {field},
        )
        for field in ("epoch", "level", "source_app")
        for name, value in {
            "null": b"null",
            "number": b"1",
            "true": b"true",
            "list": b'["info"]',
            "object": b"{}",
            "long": b'"' + b"x" * 200 + b'"',
            "nul": b'"info\\u0000"',
            "surrogate": b'"\\ud800"',
        }.items()
    },
    "level unknown": (b'{"up_to": 1, "level": "fatal"}', {"level"}),
    "level empty": (b'{"up_to": 1, "level": ""}', {"level"}),
    "level in capitals": (b'{"up_to": 1, "level": "INFO"}', {"level"}),
}

MALFORMED_AT: dict[str, tuple[bytes, set[str]]] = {
    "two ways": (
        b'{"ids": ["1"], "at": "2030-01-01T00:00:00Z"}',
        {"ids", "at"},
    ),
    "level beside at": (
        b'{"at": "2030-01-01T00:00:00Z", "level": "info"}',
        {"level"},
    ),
    **{
        f"at {name}": (b'{"at": ' + value + b"}", {"at"})
        for name, value in {
            "null": b"null",
            "number": b"1893456000",
            "true": b"true",
            "list": b"[]",
            "empty": b'""',
            "text": b'"yesterday"',
            "naive": b'"2030-01-01T00:00:00"',
            "date": b'"2030-01-01"',
            "no such day": b'"2030-02-30T00:00:00Z"',
            "before all time": b'"0001-01-01T00:00:00+23:59"',
            "after all time": b'"9999-12-31T23:59:59-23:59"',
            "first moment": b'"0001-01-01T00:00:00Z"',
            "last moment": b'"9999-12-31T23:59:59Z"',
            "nul": b'"2030-01-01T00:00:00Z\\u0000"',
            "surrogate": b'"2030-01-01\\ud80000:00:00Z"',
            "long": b'"2030-01-01T00:00:00.' + b"0" * 100_000 + b'Z"',
        }.items()
    },
}


def refusals() -> list[Any]:
    found = []
    for verb in VERBS:
        other = MALFORMED_UP_TO if verb in {"read", "dismiss"} else MALFORMED_AT
        for name, (body, blamed) in (MALFORMED | other).items():
            label = f"{verb}: {name}"
            found.append(pytest.param(verb, body, blamed, id=label))
    return found


@pytest.mark.anywhere
class TestMalformedBodies:
    @pytest.mark.parametrize(("verb", "body", "blamed"), refusals())
    def test_a_wrong_field_is_named_and_nothing_changes(
        self, client: Client, verb: str, body: bytes, blamed: set[str]
    ) -> None:
        stamped(User.objects.get(), 1)
        before = everything()
        assert_problem(post(client, verb, body), 400, *blamed)
        assert everything() == before

    @pytest.mark.parametrize("body", NO_OBJECT.values(), ids=NO_OBJECT.keys())
    def test_what_is_no_json_object_is_refused(
        self, client: Client, ada: User, body: bytes
    ) -> None:
        stamped(ada, 1)
        before = everything()
        for verb in VERBS:
            assert_problem(post(client, verb, body), 400)
        assert everything() == before

    def test_ten_megabytes_are_too_large(self, client: Client) -> None:
        body = b'{"ids": ["' + b"1" * 10_000_000 + b'"]}'
        assert_problem(post(client, "read", body), 413)

    def test_one_way_to_choose_must_be_given(self, client: Client) -> None:
        for verb in ("read", "dismiss"):
            assert_problem(post(client, verb, {}), 400, "ids", "up_to")
        for verb in ("unread", "restore"):
            assert_problem(post(client, verb, {}), 400, "ids", "at")

    def test_the_problem_has_the_shape_of_the_wire_examples(
        self, client: Client
    ) -> None:
        example = json.loads((WIRE / "problem.json").read_text())
        assert post(client, "read", {"ids": []}).json() == example

    def test_a_field_given_twice_counts_once(self, client: Client, ada: User) -> None:
        """The last one, as everywhere in JSON."""
        (row,) = stamped(ada, 1)
        body = b'{"ids": null, "ids": ["%d"]}' % row.pk
        assert_frame(post(client, "read", body), "changes")


scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(exclude_categories=()), max_size=10)
    | st.sampled_from(["1", "info", "tasks", "read_at", "2030-01-01T00:00:00Z"])
    | st.datetimes(timezones=st.none() | st.timezones()).map(datetime.isoformat)
)
values = st.recursive(
    scalars,
    lambda children: (
        st.lists(children, max_size=3)
        | st.dictionaries(st.text(max_size=5), children, max_size=3)
    ),
    max_leaves=6,
)
fields = st.sampled_from(["ids", "up_to", "epoch", "level", "source_app", "at"])
objects = st.dictionaries(fields | st.text(max_size=5), values, max_size=4)
# Nearly right bodies reach what lies behind the parser.
close = st.fixed_dictionaries(
    {},
    optional={
        "ids": st.lists(st.integers(0, 2**63) | st.integers(0).map(str), max_size=4),
        "up_to": st.integers(),
        "level": st.sampled_from(["info", "danger"]),
        "source_app": st.text(max_size=10),
        "at": st.datetimes(timezones=st.timezones()).map(datetime.isoformat),
    },
)


@contextmanager
def undone() -> Iterator[None]:
    """So that one example is not the beginning of the next."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


class TestAnyRequest:
    @hypothesis_settings(
        max_examples=80,
        suppress_health_check=[HealthCheck.function_scoped_fixture],
    )
    @given(
        verb=st.sampled_from(VERBS),
        body=(values | objects | close).map(lambda body: json.dumps(body).encode())
        | st.binary(max_size=40),
    )
    @example(verb="read", body=b'{"ids": ["1"], "status": 200}')
    @example(verb="unread", body=b'{"at": "0001-01-01T00:00:00+23:59"}')
    def test_a_body_gets_an_answer_or_a_clear_refusal(
        self, client: Client, verb: str, body: bytes
    ) -> None:
        ada = User.objects.get()
        if not ada.themis_notifications.exists():
            stamped(ada, 2)
        with undone():
            before = everything()
            response = post(client, verb, body)
            assert response.status_code < 500
            if response.status_code == 200:
                assert "at" in response.json()
            else:
                assert response["Content-Type"] == "application/problem+json"
                assert response.json()["status"] == response.status_code
                assert everything() == before


@pytest.mark.django_db(transaction=True)
class TestContention:
    @pytest.mark.parametrize("verb", ["read", "dismiss"])
    def test_a_row_that_another_transaction_holds_is_busy_within_bounds(
        self, client: Client, ada: User, verb: str
    ) -> None:
        row = notified(ada)
        with writing(row):
            began = time.monotonic()
            response = post(client, verb, {"ids": [str(row.pk)]})
            waited = time.monotonic() - began
        assert_problem(response, 503)
        assert 1 <= int(response["Retry-After"]) <= 5
        assert 0.4 < waited < 4
        row.refresh_from_db()
        assert not row.is_read
        assert not row.is_dismissed
        assert_frame(post(client, verb, {"ids": [str(row.pk)]}), "changes")

    def test_a_mailbox_that_is_being_stamped_is_busy_within_bounds(
        self, client: Client, ada: User
    ) -> None:
        row = notified(ada)
        with elsewhere(holding.hold([ada.pk], "default")):
            began = time.monotonic()
            response = post(client, "read", {"ids": [str(row.pk)]})
            waited = time.monotonic() - began
        assert_problem(response, 503)
        assert "Retry-After" in response
        assert waited < 4

    def test_state_is_read_past_a_writer(self, client: Client, ada: User) -> None:
        """A page that polls never waits for a host's long transaction."""
        row = notified(ada)
        with writing(row):
            began = time.monotonic()
            frame = assert_frame(ask(client), "snapshot")
            assert time.monotonic() - began < 1
        assert titles(frame) == ["Deploy v2"]
        assert titles(ask(client).json()) == ["Held"]

    def test_errors_that_are_no_contention_are_raised(
        self, client: Client, ada: User, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A broken database is not called busy."""
        row = notified(ada)
        # Django remembers the table of a column from its first use on.
        post(client, "read", {"ids": [str(row.pk)]})
        table = UserNotification._meta.db_table
        monkeypatch.setattr(UserNotification._meta, "db_table", "themis_no_such_table")
        with pytest.raises(Exception, match="themis_no_such_table"):
            post(client, "read", {"ids": [str(row.pk)]})
        monkeypatch.setattr(UserNotification._meta, "db_table", table)


@pytest.mark.django_db(transaction=True)
class TestAtomicRequests:
    """A host with ATOMIC_REQUESTS: Themis' views stamp in transactions of their own."""

    @pytest.fixture(autouse=True)
    def _atomic_requests(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", True)

    def test_no_transaction_is_open_around_the_views(
        self, client: Client, ada: User, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        row = notified(ada)
        inside = []
        look = mailbox.look

        def spy(user: Any) -> Any:
            inside.append(connection.in_atomic_block)
            return look(user)

        monkeypatch.setattr(mailbox, "look", spy)
        ask(client)
        for verb in VERBS:
            post(client, verb, {"ids": [str(row.pk)]})
        client.get("/notifications/")
        client.post("/notifications/", {"verb": "read", "ids": row.pk})
        client.get(f"/notifications/{row.pk}/open/")
        assert len(inside) >= 8
        assert not any(inside)

    def test_they_stamp_and_tell_before_they_answer(
        self, client: Client, ada: User, sent: list[Changes]
    ) -> None:
        row = notified(ada)
        sent.clear()
        frame = post(client, "read", {"ids": [str(row.pk)]}).json()
        assert [change.revision for change in sent] == [frame["revision"]]
        row.refresh_from_db()
        assert row.revision == frame["revision"]
        assert not row.pending
