"""Every route of the running project, as its URLconf has them: who may read and change
what behind it, and where it leads.

A new route is of no kind, and fails until somebody has said of which.
"""

import itertools
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import urljoin, urlsplit

import pytest
from django.contrib.auth.models import Permission, User
from django.contrib.contenttypes.models import ContentType
from django.db import transaction
from django.test import Client
from django.test.client import BOUNDARY, MULTIPART_CONTENT, encode_multipart
from django.urls import URLPattern, URLResolver, get_resolver, reverse
from django.utils import timezone
from pytest_django import Settings

from demo.models import Announcement, Event, Report, Request, Task, Team
from tests.themis.conftest import make_user
from tests.themis.requests import signed_in, token_of
from themis import mailbox
from themis.models import UserNotification, UserProfile

URLCONF = "server.urls"
pytestmark = [pytest.mark.django_db, pytest.mark.urls(URLCONF)]

# The kinds. What is in neither shows or does something that is one person's.
PUBLIC = {"themis:openapi", "home", "login", "logout"}
OF_THE_MAILBOX = {
    *("themis:list", "themis:preferences", "themis:open"),
    *("themis:state", "themis:notifications", "themis:api-preferences"),
    *("themis:read", "themis:unread", "themis:dismiss", "themis:restore"),
}
# Signing in with one click: there only with DEBUG.
OF_DEVELOPMENT = {"sign-in-as"}
OF_THE_DEMO = {
    *("task-list", "task-check-overdue", "task-detail", "task-assign", "task-delete"),
    *("request-list", "request-detail", "request-approve"),
    *("report-list", "report-detail", "report-download"),
    *("event-list", "event-detail", "event-attend", "event-remind", "event-cancel"),
    *("team-list", "team-detail", "team-join", "team-announce"),
    *("announce-to-everybody", "announcement-detail", "announcement-take-back"),
}

# Django's own, and made so on purpose: words, and the form for a new password.
KEPT_BY_BROWSERS = {
    *("admin:jsi18n", "admin:password_change", "admin:password_change_done"),
}

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
UNSAFE = ("POST", "PUT", "PATCH", "DELETE")
SECRET = "What only ada may know"
PASSWORD = "correct horse battery"
# The key of all that is ada's, and one that is nobody's.
HERS, NOBODYS = 70_017, 70_018
EVIL = ["//evil.example/", "https://evil.example/", "/\\evil.example", "javascript:1"]
# Where sites and Django look for the way back.
WAYS_BACK = ("next", "url", "to", "redirect_to", "return", "_changelist_filters")


@dataclass(frozen=True)
class Route:
    """One of the routes, with the names of what stands in its place holders."""

    name: str
    pattern: str

    def __str__(self) -> str:
        return self.pattern

    @property
    def methods(self) -> tuple[str, ...]:
        """Those worth trying: a view of the admin only asks whether it is POST."""
        return ("GET", "POST") if self.name.startswith("admin:") else METHODS

    def path(self, key: int = HERS) -> str:
        """Its path; a key that it asks for is this."""
        values = {
            "username": "ada",
            "app_label": "themis",
            "url": "nothing/",
            "content_type_id": "{content_type_id}",
        }
        filled = re.sub(
            r"<(?:\w+:)?(\w+)>", lambda m: values.get(m[1], str(key)), self.pattern
        )
        if "{" in filled:
            model = ContentType.objects.get_for_model(UserNotification)
            filled = filled.format(content_type_id=model.pk)
        return filled


def _routes(resolver: URLResolver, prefix: str = "/", space: str = "") -> Iterator[Any]:
    for entry in resolver.url_patterns:
        pattern: Any = entry.pattern
        route = getattr(pattern, "_route", None)
        if route is None:
            # Of a regular expression, the groups by their names.
            route = re.sub(r"\(\?P(<\w+>)[^)]*\)", r"\1", pattern._regex).strip("^$")
        if isinstance(entry, URLResolver):
            inner = f"{entry.namespace}:" if entry.namespace else ""
            yield from _routes(entry, prefix + route, space + inner)
        else:
            assert isinstance(entry, URLPattern)
            yield Route(space + (entry.name or ""), prefix + route)


ROUTES: list[Route] = [*_routes(get_resolver(URLCONF))]
ADMIN = [route for route in ROUTES if route.name.startswith("admin:")]
MAILBOX = [route for route in ROUTES if route.name in OF_THE_MAILBOX]


def each(routes: list[Route]) -> pytest.MarkDecorator:
    """A test for each folder of routes, as a test for each costs a minute more."""
    folders: dict[str, list[Route]] = {}
    for route in routes:
        words = route.pattern.strip("/").split("/")
        depth = 3 if words[0] == "admin" and len(words) >= 3 else 1
        folders.setdefault("/".join(words[:depth]), []).append(route)
    return pytest.mark.parametrize("routes", folders.values(), ids=folders)


@contextmanager
def undone() -> Iterator[None]:
    """So that what one route does is not the beginning of the next."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


def test_every_route_is_of_one_kind() -> None:
    """The admin's are Django's to name: all of them are for staff."""
    named = [route.name for route in ROUTES if route not in ADMIN]
    assert len(named) == len({*named})
    kinds = [PUBLIC, OF_THE_MAILBOX, OF_DEVELOPMENT, OF_THE_DEMO]
    assert sorted(named) == sorted(itertools.chain(*kinds))
    for route in ROUTES:
        assert not re.search(r"[<>^$?\\]", route.path()), route


@pytest.fixture(autouse=True)
def ada() -> User:
    """Somebody who has one of everything, all with the same key."""
    ada = User.objects.create_user("ada", pk=HERS, password=PASSWORD)
    UserProfile.objects.filter(user=ada).update(id=HERS)
    now = timezone.now()
    row = UserNotification(pk=HERS, user=ada, title=SECRET, message=SECRET, url="/x/")
    row.save()
    team = Team.objects.create(pk=HERS, name="Analysts")
    Task.objects.create(pk=HERS, title="Hers", created_by=ada, assignee=ada)
    Request.objects.create(pk=HERS, title="Hers", requester=ada)
    Report.objects.create(pk=HERS, owner=ada, made_at=now, content=SECRET)
    soon = now + timedelta(hours=1)
    Event.objects.create(pk=HERS, title="Hers", organizer=ada, start_time=soon)
    # Whoever joins the team may read it.
    Announcement.objects.create(pk=HERS, title="Hers", author=ada, team=team)
    mailbox.look(ada.pk)
    return ada


@pytest.fixture
def root(ada: User) -> User:
    """Ada, who may do everything in the admin too."""
    ada.is_staff = ada.is_superuser = True
    ada.save()
    return ada


@pytest.fixture
def grace() -> User:
    return make_user("grace")


def belongings() -> list[Any]:
    """All that is ada's and that another may not change."""
    mine = {"user": HERS}
    return [
        *User.objects.filter(pk=HERS).values("username", "password", "is_staff"),
        *UserNotification.objects.filter(pk=HERS).values(),
        *UserProfile.objects.filter(**mine).values(),
        *Report.objects.filter(pk=HERS).values(),
        *Event.objects.filter(pk=HERS).values(),
        *Task.objects.filter(pk=HERS).values(),
        *Announcement.objects.filter(pk=HERS).values(),
    ]


def payload(route: Route, key: int = HERS) -> dict[str, Any]:
    """What a write to this route is made with: JSON below api/, else a form."""
    if "/api/" in route.pattern:
        wish = {"notifications_enabled": False}
        body = wish if route.name.endswith("preferences") else {"ids": [str(key)]}
        return {"data": json.dumps(body), "content_type": "application/json"}
    words = {"title": "changed", "name": "changed", "username": "changed"}
    choices = {"verb": "dismiss", "action": "delete_selected", "post": "yes"}
    levels = {"level": "info", "notification_min_level": "danger"}
    named = ("ids", "_selected_action", "user", "users", "assignee")
    fields = words | choices | levels | dict.fromkeys(named, key)
    form = encode_multipart(BOUNDARY, fields)
    return {"data": form, "content_type": MULTIPART_CONTENT}


def ask(
    client: Client, route: Route, method: str, key: int = HERS, **options: Any
) -> Any:
    sent = payload(route, key) if method in UNSAFE else {}
    return client.generic(method, route.path(key), **sent, **options)


def tries(routes: list[Route]) -> Iterator[tuple[Route, str]]:
    """What to ask: each route with each of its methods."""
    for route in routes:
        for method in route.methods:
            yield route, method


def leads_home(response: Any, stored: str = "/x/") -> bool:
    """Whether a redirect stays on this site, as a browser reads it."""
    target = response.get("Location")
    if target is None or target == stored:
        return True
    here = "http://testserver"
    goal = urlsplit(urljoin(here + response.wsgi_request.path, target))
    return f"{goal.scheme}://{goal.netloc}" == here and "\\" not in target


def signs_in(response: Any) -> bool:
    """Whether it leads to a page that asks who this is."""
    return bool(
        response.status_code == 302
        and urlsplit(response["Location"]).path in {"/accounts/login/", "/admin/login/"}
    )


class TestAnotherPersons:
    """Neither read nor changed, whatever is sent where."""

    @each(ROUTES)
    def test_signed_out(self, routes: list[Route]) -> None:
        before = belongings()
        client = Client()
        for route, method in tries(routes):
            response = ask(client, route, method)
            assert SECRET.encode() not in response.content
            assert leads_home(response, stored="")
            assert response.status_code < 500
            if route.name in OF_THE_MAILBOX | OF_THE_DEMO:
                refused = {401, 403, 405}
                assert response.status_code in refused or signs_in(response)
        assert belongings() == before

    @each(ROUTES)
    def test_of_somebody_else_who_is_signed_in(
        self, routes: list[Route], grace: User
    ) -> None:
        before = belongings()
        for route in routes:
            client = signed_in(grace)
            for _, method in tries([route]):
                response = ask(client, route, method)
                assert SECRET.encode() not in response.content
                assert response.status_code < 500
                assert leads_home(response)
                assert belongings() == before, (route, method)

    @each(MAILBOX)
    def test_is_like_nobodys(self, routes: list[Route], grace: User) -> None:
        """The answers don't tell that there is one."""
        client = signed_in(grace)
        mailbox.look(grace.pk)
        changing = re.compile(
            rb'"now":"[^"]*"|csrfmiddlewaretoken" value="\w+"|data-csrf-token="\w+"'
        )
        for route, method in tries(routes):
            answers = []
            for key in (HERS, NOBODYS):
                # Shows what the last answer had left to say, so that the next doesn't.
                client.get(reverse("themis:list"))
                answers.append(ask(client, route, method, key))
            hers, nobodys = answers
            assert hers.status_code == nobodys.status_code
            assert hers.get("Location") == nobodys.get("Location")
            said = [changing.sub(b"", answer.content) for answer in (hers, nobodys)]
            if route.name != "themis:api-preferences":  # each write is a revision
                assert said[0] == said[1], (route, method)

    @each(ADMIN)
    @pytest.mark.parametrize("permission", ["", "view_"])
    def test_of_staff_who_may_not(self, routes: list[Route], permission: str) -> None:
        """Without any permission they read nothing, and with that to read they change
        nothing.
        """
        staff = User.objects.create_user("staff", is_staff=True)
        if permission:
            reading = Permission.objects.filter(codename__startswith=permission)
            staff.user_permissions.set(reading)
        before = belongings()
        for route in routes:
            client = signed_in(staff)
            for _, method in tries([route]):
                response = ask(client, route, method)
                assert response.status_code < 500
                assert leads_home(response)
                if not permission:
                    assert SECRET.encode() not in response.content
        assert belongings() == before


class TestForgedWrites:
    @each(ROUTES)
    def test_without_the_token_nothing_is_done(
        self, routes: list[Route], root: User, settings: Settings
    ) -> None:
        """Another site's page makes ada's browser send it."""
        settings.DEBUG = True  # so that there are all
        before = belongings()
        client = signed_in(root, enforce_csrf_checks=True)
        for route, method in tries(routes):
            if method in UNSAFE:
                response = ask(client, route, method)
                assert response.status_code in {403, 404, 405}, (route, method)
        assert belongings() == before
        assert client.session["_auth_user_id"] == str(root.pk)

    @pytest.mark.parametrize(
        ("name", "method"),
        [
            ("themis:list", "POST"),
            ("themis:preferences", "POST"),
            ("themis:read", "POST"),
            ("themis:dismiss", "POST"),
            ("themis:api-preferences", "PATCH"),
            ("admin:themis_usernotification_changelist", "POST"),
            ("admin:themis_usernotification_delete", "POST"),
            ("admin:auth_user_delete", "POST"),
            ("task-delete", "POST"),
            ("event-cancel", "POST"),
        ],
    )
    def test_with_the_token_it_is(self, name: str, method: str, root: User) -> None:
        """So it was the token that was missing."""
        (route,) = [route for route in ROUTES if route.name == name]
        client = signed_in(root, enforce_csrf_checks=True)
        before = belongings()
        response = ask(client, route, method, headers=token_of(client))
        assert response.status_code in {200, 302}
        assert belongings() != before


class TestWhereItLeads:
    @each(ROUTES)
    def test_no_address_leads_away(self, routes: list[Route], root: User) -> None:
        for route in routes:
            for person, evil in ((None, EVIL[0]), (root, EVIL[1])):
                with undone():
                    self.expect_home(route, person, evil)

    @staticmethod
    def expect_home(route: Route, person: User | None, evil: str) -> None:
        client = Client() if person is None else signed_in(person)
        sent = dict.fromkeys(WAYS_BACK, evil)
        headers = {"Referer": evil}
        for response in (
            client.get(route.path(), sent, headers=headers),
            client.get(route.path().rstrip("/") or "/", sent, headers=headers),
            client.post(route.path(), sent, headers=headers),
        ):
            assert leads_home(response), (route, response["Location"])

    @pytest.mark.parametrize("path", ["/accounts/login/", "/admin/login/"])
    @pytest.mark.parametrize("evil", EVIL)
    def test_signing_in_does_not(self, root: User, path: str, evil: str) -> None:
        who = {"username": root.username, "password": PASSWORD, "next": evil}
        for where in (path, f"{path}?next={evil}"):
            response: Any = Client().post(where, who)
            assert response.status_code == 302
            assert leads_home(response)

    @each(MAILBOX + ADMIN[:3])
    def test_two_slashes_do_not(self, routes: list[Route]) -> None:
        """A path that begins so is another host, if a redirect repeats it."""
        for route in routes:
            path = f"//evil.example{route.path().rstrip('/')}"
            response = Client().get("/", PATH_INFO=path)
            assert leads_home(response)
            assert response.status_code in {301, 404}


class TestWhoKeepsIt:
    @each(MAILBOX + ADMIN)
    def test_nobody_keeps_what_is_personal(
        self, routes: list[Route], root: User
    ) -> None:
        """Neither a cache on the way nor the browser, whatever the answer is."""
        for route, person in itertools.product(routes, (root, None)):
            client = Client() if person is None else signed_in(person)
            for _, method in tries([route]):
                with undone():
                    response = ask(client, route, method)
                nothing = {301, 404, 405, 403 if route in ADMIN else 404}
                if route.name in KEPT_BY_BROWSERS or response.status_code in nothing:
                    # About nobody.
                    assert SECRET.encode() not in response.content
                    continue
                assert "no-store" in response["Cache-Control"], (route, method)

    def test_what_anybody_may_keep_is_nobodys(self, root: User) -> None:
        (route,) = [route for route in ROUTES if route.name == "themis:openapi"]
        answers = [c.get(route.path()).content for c in (Client(), signed_in(root))]
        assert answers[0] == answers[1]
