"""The Content Security Policy."""

import pytest
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory
from pytest_django import Settings

from server.security import content_security_policy


def policy(path: str, *, status: int = 200) -> str:
    """The policy that goes out with a response."""

    def view(_: HttpRequest) -> HttpResponse:
        return HttpResponse(status=status)

    response = content_security_policy(view)(RequestFactory().get(path))
    return response.get("Content-Security-Policy", "")


@pytest.mark.parametrize("path", ["/", "/notifications/", "/static/demo/demo.css"])
def test_nothing_inline_and_no_html_from_strings(path: str) -> None:
    sent = policy(path)
    assert "default-src 'none'" in sent
    assert "script-src 'self'; style-src 'self'" in sent
    assert "require-trusted-types-for 'script'; trusted-types themis" in sent
    assert "unsafe" not in sent


def test_the_admin_may_make_html_from_strings() -> None:
    assert "trusted-types" not in policy("/admin/demo/task/")
    assert "script-src 'self'" in policy("/admin/demo/task/")


@pytest.mark.parametrize("status", [404, 500])
def test_only_the_technical_error_pages_are_left_out(
    status: int, settings: Settings
) -> None:
    settings.DEBUG = True
    assert not policy("/", status=status)
    settings.DEBUG = False
    assert policy("/", status=status)


def test_a_page_may_send_a_policy_of_its_own() -> None:
    def view(_: HttpRequest) -> HttpResponse:
        return HttpResponse(headers={"Content-Security-Policy": "default-src 'self'"})

    response = content_security_policy(view)(RequestFactory().get("/"))
    assert response["Content-Security-Policy"] == "default-src 'self'"
