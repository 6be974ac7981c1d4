"""Static files come from the process that serves the pages."""

import pytest
from django.contrib.staticfiles import finders
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory
from pytest_django import Settings

from server.static_files import StaticFilesMiddleware

CSS = "/static/demo/demo.css"


def elsewhere(_: HttpRequest) -> HttpResponse:
    return HttpResponse("a page")


@pytest.fixture
def middleware(settings: Settings) -> StaticFilesMiddleware:
    settings.DEBUG = True
    return StaticFilesMiddleware(elsewhere)


def content() -> bytes:
    path = finders.find("demo/demo.css")
    assert path is not None
    with open(path, "rb") as file:  # noqa: PTH123 - finders give strings
        return file.read()


def test_a_file_is_sent_whole(middleware: StaticFilesMiddleware) -> None:
    response = middleware(RequestFactory().get(CSS))
    assert (response.status_code, response.content) == (200, content())
    assert response["Content-Type"].startswith("text/css")
    assert not response.streaming


def test_a_file_that_the_browser_has_is_not_sent(
    middleware: StaticFilesMiddleware,
) -> None:
    etag = middleware(RequestFactory().get(CSS))["ETag"]
    response = middleware(RequestFactory().get(CSS, headers={"If-None-Match": etag}))
    assert (response.status_code, response.content) == (304, b"")


def test_a_part_of_a_file(middleware: StaticFilesMiddleware) -> None:
    request = RequestFactory().get(CSS, headers={"Range": "bytes=3-9"})
    response = middleware(request)
    assert (response.status_code, response.content) == (206, content()[3:10])


def test_head_has_the_length_only(middleware: StaticFilesMiddleware) -> None:
    response = middleware(RequestFactory().head(CSS))
    assert (response.status_code, response.content) == (200, b"")
    assert int(response["Content-Length"]) == len(content())


@pytest.mark.parametrize("path", ["/tasks/", "/static/demo/none.css", "/static/../x"])
def test_everything_else_goes_on(path: str, middleware: StaticFilesMiddleware) -> None:
    assert middleware(RequestFactory().get(path)).content == b"a page"
