"""What the tests of the pages look at, and do as a browser without JavaScript does."""

from typing import Any

from django.contrib.auth.models import User
from django.test import Client

from tests.themis.markup import Element, assert_allowed_by_strict_csp, parse
from themis import mailbox
from themis.models import Mailbox, UserNotification, UserProfile
from themis.notifications import notify_user

LIST = "/notifications/"

# What tries to leave the text or the attribute that it stands in.
HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    '" onfocus="alert(1)" autofocus="',
    "</title></style><svg/onload=alert(1)>",
    "{{ 7|add:7 }}{% load i18n %}%(title)s {title}",
    "&lt;b&gt; &amp;lt;",
    "javascript:alert(1)",
    "\u202egnp.exe\u2066",
]
UNSAFE = [
    "javascript:alert(1)",
    "JaVaScRiPt:alert(1)",
    "\tjava\nscript:alert(1)",
    " javascript:alert(1)",
    "data:text/html,<script>alert(1)</script>",
    "vbscript:msgbox(1)",
    "//evil.example/",
    "/\\evil.example/",
    "\\\\evil.example/",
    "https:evil.example",
    "https:///evil.example/",
    "https://ada@evil.example/",
    "https://site.example\\@evil.example/",
    "ftp://evil.example/",
    "evil.example",
    "/ok\r\nSet-Cookie: a=b",
    "/nul\x01",
]


def notified(
    user: User, title: str = "Deploy v2", message: str = "", **fields: Any
) -> UserNotification:
    row = notify_user(user, title, message, **fields)
    assert row is not None
    return row


def stored(user: User, count: int, **fields: Any) -> list[UserNotification]:
    """Notifications as a host's bulk_create() leaves them: all of one revision."""
    rows = [
        UserNotification(user=user, title=f"Number {number}", **fields)
        for number in range(count)
    ]
    UserNotification.objects.bulk_create(rows)
    mailbox.look(user.pk)
    return list(UserNotification.objects.filter(user=user).order_by("pk"))


def get(client: Client, url: str = LIST) -> Element:
    """The page, which is valid, private and allowed by a strict policy."""
    response: Any = client.get(url)
    assert response.status_code == 200
    assert "no-store" in response["Cache-Control"]
    page = parse(response.content.decode())
    assert_allowed_by_strict_csp(page)
    return page


def rows_of(page: Element) -> list[Element]:
    return page.find("li", class_="themis-row")


def keys(page: Element) -> list[int]:
    return [int(row.attributes["id"].removeprefix("n-")) for row in rows_of(page)]


def titles(page: Element) -> list[str]:
    return [row.find("bdi")[0].text for row in rows_of(page)]


def unread_count(page: Element) -> str:
    """What the heading says, if anything."""
    return " ".join(count.text for count in page.find("p", class_="themis-inbox-count"))


def notices(page: Element) -> list[str]:
    return [notice.text for notice in page.find("li", role="status")]


def buttons(element: Element) -> list[str]:
    """The names of the buttons within, as a screen reader tells them."""
    return [_name(button) for button in _offered(element)]


def _offered(element: Element) -> list[Element]:
    """The buttons that can be pressed; the script shows others in their turn."""
    found = element.find("button", type="submit")
    return [button for button in found if "hidden" not in button.attributes]


def _name(button: Element) -> str:
    return button.attributes.get("aria-label") or button.text


def form_with(where: Element, name: str) -> tuple[Element, Element]:
    """The one button of this name within, and its form."""
    ((form, button),) = [
        (form, button)
        for form in where.find("form")
        for button in _offered(form)
        if _name(button) == name
    ]
    return form, button


def press(client: Client, where: Element, name: str, **changed: str) -> Any:
    """Press a button, with fields that somebody has changed."""
    form, button = form_with(where, name)
    assert form.attributes["method"] == "post"
    fields = {
        field.attributes["name"]: field.attributes.get("value", "")
        for field in form.find("input")
    }
    if "name" in button.attributes:
        fields[button.attributes["name"]] = button.attributes["value"]
    return client.post(form.attributes["action"], fields | changed)


def row_of(page: Element, row: UserNotification) -> Element:
    """The row of a notification on the page."""
    (shown,) = page.find("li", id=f"n-{row.pk}")
    return shown


def done(page: Element) -> list[str]:
    """What the page says that the person has done, and offers to undo."""
    return [form.find("p")[0].text for form in page.find("form", class_="themis-done")]


def everything() -> list[Any]:
    """All that a request could have changed."""
    return [
        *UserNotification.objects.order_by("pk").values(),
        *Mailbox.objects.order_by("pk").values(),
        *UserProfile.objects.order_by("pk").values(),
    ]
