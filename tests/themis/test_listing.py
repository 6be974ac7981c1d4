"""Pages of notifications: what each state shows, and that no page loses a row."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.utils import timezone
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pytest_django import DjangoAssertNumQueries

from tests.themis.conftest import make_user
from themis import mailbox
from themis.content import MAX_INTEGER
from themis.listing import STATES, Cursor, Filters, Page, read_page
from themis.models import UserNotification
from themis.notifications import notify_user

pytestmark = pytest.mark.django_db


def notified(user: User, title: str, **fields: object) -> UserNotification:
    row = notify_user(user, title, **fields)  # type: ignore[arg-type] # any field
    assert row is not None
    return row


def stamped(user: User, names: str, **fields: object) -> list[UserNotification]:
    """Notifications, each with a revision of its own."""
    rows = []
    for name in names:
        rows.append(notified(user, name, **fields))
        # The transaction of the test is open: nobody else stamps them.
        mailbox.look(user.pk)
    return rows


def titles(page: Page) -> list[str]:
    return [row.title for row in page.items]


def all_titles(
    user: User, filters: Filters, *, limit: int, unstamped: bool = False
) -> str:
    """What all pages show one after the other, each row by its one-letter title."""
    found = ""
    page = read_page(user.pk, filters, limit=limit, unstamped=unstamped)
    while True:
        assert len(page.items) <= limit
        found += "".join(titles(page))
        if page.next is None:
            return found
        assert len(page.items) == limit
        before = Cursor.parse(str(page.next))
        page = read_page(
            user.pk, filters, before=before, limit=limit, unstamped=unstamped
        )


@pytest.fixture
def mixed(ada: User) -> User:
    """ada has one of every kind, and grace some of hers: A is the oldest."""
    now = timezone.now()
    kinds = [
        {},
        {"read_at": now},
        {"dismissed_at": now},
        {"read_at": now, "dismissed_at": now},
    ]
    names = iter("ABCDEFGHIJKL")
    for expires_at in (None, now + timedelta(days=1), now - timedelta(days=1)):
        for kind in kinds:
            row = notified(ada, next(names))
            rows = UserNotification.objects.filter(pk=row.pk)
            rows.update(**kind, expires_at=expires_at)
    notified(make_user("grace"), "Z")
    mailbox.look(ada.pk)
    return ada


@pytest.mark.parametrize("limit", [1, 2, 3, 25])
@pytest.mark.parametrize(
    ("state", "shown"),
    [("all", "FEBA"), ("unread", "EA"), ("read", "FB"), ("dismissed", "HGDC")],
)
def test_each_state_shows_its_own_and_nothing_expired(
    mixed: User, state: str, shown: str, limit: int
) -> None:
    assert state in STATES
    filters = Filters(state)
    assert all_titles(mixed, filters, limit=limit) == shown


def test_level_and_source_narrow_each_alone_and_together(ada: User) -> None:
    stamped(ada, "A", level="danger", source_app="shop")
    stamped(ada, "B", level="info", source_app="shop")
    stamped(ada, "C", level="danger")
    assert all_titles(ada, Filters(level="danger"), limit=1) == "CA"
    assert all_titles(ada, Filters(source_app="shop"), limit=1) == "BA"
    assert all_titles(ada, Filters("all", "danger", "shop"), limit=1) == "A"
    # No source is a source, too: what was given none.
    assert all_titles(ada, Filters(source_app=""), limit=1) == "C"


def test_a_page_that_is_just_full_is_the_last(ada: User) -> None:
    stamped(ada, "ABCD")
    page = read_page(ada.pk, Filters(), limit=2)
    assert titles(page) == ["D", "C"]
    assert page.next is not None
    page = read_page(ada.pk, Filters(), before=page.next, limit=2)
    assert titles(page) == ["B", "A"]
    assert page.next is None


def test_pages_of_one_revision_go_on_within_it(ada: User) -> None:
    for name in "ABCDE":
        notified(ada, name)
    mailbox.look(ada.pk)
    page = read_page(ada.pk, Filters(), limit=25)
    assert len({row.created_revision for row in page.items}) == 1
    assert all_titles(ada, Filters(), limit=2) == "EDCBA"


def test_what_comes_and_goes_between_two_pages_moves_nothing(ada: User) -> None:
    rows = stamped(ada, "ABCDEF")
    page = read_page(ada.pk, Filters(), limit=2)
    assert titles(page) == ["F", "E"]
    stamped(ada, "G")
    # The row that the cursor was made of, and one of the next page.
    UserNotification.objects.filter(pk__in=[rows[4].pk, rows[3].pk]).delete()
    page = read_page(ada.pk, Filters(), before=page.next, limit=2)
    assert titles(page) == ["C", "B"]


def test_a_page_is_one_statement(
    mixed: User, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    first = read_page(mixed.pk, Filters(), limit=1)
    for before in (None, first.next, Cursor(None, 7)):
        for unstamped in (False, True):
            with django_assert_num_queries(1):
                read_page(
                    mixed.pk, Filters(), before=before, limit=25, unstamped=unstamped
                )


class TestUnstamped:
    @pytest.fixture
    def waiting(self, ada: User) -> User:
        """ada's A and B are stamped; C to G are committed and wait."""
        stamped(ada, "AB")
        for name in "CDEFG":
            notified(ada, name)
        assert UserNotification.objects.filter(created_revision=None).count() == 5
        return ada

    @pytest.mark.parametrize("limit", [1, 2, 3, 5, 6, 25])
    def test_a_list_that_asks_for_them_shows_them_all_first(
        self, waiting: User, limit: int
    ) -> None:
        shown = all_titles(waiting, Filters(), limit=limit, unstamped=True)
        assert shown == "GFEDCBA"

    def test_the_wire_shows_none(self, waiting: User) -> None:
        assert all_titles(waiting, Filters(), limit=2) == "BA"
        page = read_page(
            waiting.pk, Filters(), limit=25, before=Cursor(None, MAX_INTEGER)
        )
        assert titles(page) == ["B", "A"]

    def test_stamping_between_two_pages_hides_none(self, waiting: User) -> None:
        page = read_page(waiting.pk, Filters(), limit=2, unstamped=True)
        assert titles(page) == ["G", "F"]
        mailbox.look(waiting.pk)
        rest = read_page(
            waiting.pk, Filters(), before=page.next, limit=25, unstamped=True
        )
        # Those of the first page may come again; none is left out.
        assert titles(rest)[-5:] == list("EDCBA")


class TestCursors:
    @pytest.mark.parametrize(
        "cursor",
        [Cursor(1, 1), Cursor(None, 3), Cursor(MAX_INTEGER, MAX_INTEGER)],
    )
    def test_a_cursor_reads_as_it_was_written(self, cursor: Cursor) -> None:
        assert Cursor.parse(str(cursor)) == cursor

    @given(data=st.data(), revision=st.integers(1, 10_000), pk=st.integers(1, 10_000))
    @hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
    def test_one_with_another_character_is_none(
        self, data: st.DataObject, revision: int, pk: int
    ) -> None:
        text = str(Cursor(revision, pk))
        place = data.draw(st.integers(0, len(text) - 1))
        other = data.draw(st.characters().filter(lambda char: char != text[place]))
        with pytest.raises(ValueError, match="no cursor"):
            Cursor.parse(text[:place] + other + text[place + 1 :])

    @given(text=st.text(st.characters(), max_size=40))
    def test_what_nobody_wrote_is_none(self, text: str) -> None:
        with pytest.raises(ValueError, match="no cursor"):
            Cursor.parse(text)

    @pytest.mark.parametrize(
        "place", ["9223372036854775808-1", "1-9223372036854775808"]
    )
    def test_one_that_no_column_holds_is_none(self, place: str) -> None:
        revision, pk = map(int, place.split("-"))
        with pytest.raises(ValueError, match="no cursor"):
            Cursor.parse(str(Cursor(revision, pk)))
