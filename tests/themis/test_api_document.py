"""The OpenAPI document: complete, and kept true by requests made from it."""

import copy
import json
import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import schemathesis
from django.contrib.auth.models import User
from django.core.handlers.wsgi import WSGIHandler
from django.core.signals import request_finished, request_started
from django.db import close_old_connections, connection
from django.test import Client, override_settings
from django.test.utils import CaptureQueriesContext
from django.urls import clear_script_prefix, set_script_prefix
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from schemathesis.checks import CheckFunction, not_a_server_error
from schemathesis.config import (
    GenerationConfig,
    ProjectConfig,
    ProjectsConfig,
    SchemathesisConfig,
)
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.themis.conftest import make_user
from tests.themis.requests import assert_problem, notified, signed_in, token_of
from themis import mailbox, urls
from themis.api import openapi, problems
from themis.models import Mailbox

pytestmark = pytest.mark.django_db

DOCUMENT = "/notifications/api/openapi.json"
MOUNT = "/notifications"

# Of each address, besides those that schemathesis makes for every bound it finds.
EXAMPLES = 10
CHECKS: list[CheckFunction] = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]


def strict(document: dict[str, Any]) -> dict[str, Any]:
    """The document, but nothing may be answered that it doesn't describe: clients shall
    ignore what they don't know, this test shall not.
    """
    document = copy.deepcopy(document)
    waiting: list[Any] = [document["components"]["schemas"]]
    while waiting:
        schema = waiting.pop()
        if isinstance(schema, list):
            waiting += schema
        elif isinstance(schema, dict):
            waiting += schema.values()
            if isinstance(schema.get("properties"), dict):
                schema["additionalProperties"] = False
    return document


def load(document: dict[str, Any]) -> Any:
    generation = GenerationConfig(
        max_examples=EXAMPLES,
        deterministic=bool(os.environ.get("CI")),
        database="none",
        with_security_parameters=False,
    )
    project = ProjectConfig(generation=generation)
    config = SchemathesisConfig(projects=ProjectsConfig(default=project))
    return schemathesis.openapi.from_dict(document, config=config)


@pytest.fixture
def ada() -> User:
    ada = make_user("ada")
    # The ids and the epoch that the document gives as examples are hers.
    for pk in (41, 42):
        notified(ada).delete()
        ada.themis_notifications.create(pk=pk, title=f"Number {pk}")
    mailbox.look(ada.pk)
    epoch = "8Jq0c1Xw2a7L"
    Mailbox.objects.filter(pk=ada.pk).update(epoch=epoch)
    return ada


@pytest.fixture
def app(ada: User) -> Iterator[Callable[..., Any]]:
    """The site as ada's browser meets it, in this process."""
    handler = WSGIHandler()
    client = signed_in(ada, enforce_csrf_checks=True)
    token = token_of(client)["X-CSRFToken"]
    cookies = "; ".join(f"{name}={one.value}" for name, one in client.cookies.items())

    def application(environ: dict[str, Any], start_response: Any) -> Any:
        environ |= {"HTTP_COOKIE": cookies, "HTTP_X_CSRFTOKEN": token}
        return handler(environ, start_response)

    # The connection is the test's, as it is under Django's test client.
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    yield application
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)


schema = load(strict(openapi.describe(MOUNT)))


@schema.parametrize()  # type: ignore[untyped-decorator]
@hypothesis_settings(suppress_health_check=[*HealthCheck])
def test_requests_made_from_the_document_get_what_it_says(
    case: Any, app: Callable[..., Any]
) -> None:
    response = case.call(base_url=f"http://testserver{MOUNT}", app=app)
    case.validate_response(response, checks=CHECKS)


def operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in openapi.describe(MOUNT)["paths"].items():
        for method, operation in item.items():
            yield path, method, operation


each_operation = pytest.mark.parametrize(
    ("path", "method", "operation"),
    [pytest.param(*found, id=f"{found[1]} {found[0]}") for found in operations()],
)


def request(client: Client, path: str, method: str, body: bytes = b"{}") -> Any:
    options = {} if method == "get" else {"content_type": "application/json"}
    content = {} if method == "get" else {"data": body}
    return getattr(client, method)(MOUNT + path, **content, **options)


class TestCompleteness:
    def test_it_is_a_document_of_openapi_3_1(self) -> None:
        document = openapi.describe(MOUNT)
        load(document).validate()
        del document["info"]["title"]
        with pytest.raises(Exception, match='"title" is a required property'):
            load(document).validate()

    def test_every_address_and_method_of_the_api_is_there(self, ada: User) -> None:
        client = signed_in(ada)
        told: dict[str, set[str]] = {}
        for path, method, _operation in operations():
            told.setdefault(path.removeprefix("/"), set()).add(method.upper())
        actual = {}
        for pattern in urls.urlpatterns:
            where = str(pattern.pattern)
            if where.startswith("api/"):
                response = client.generic("PURGE", f"{MOUNT}/{where}")
                assert_problem(response, 405)
                actual[where] = {*response["Allow"].split(", ")} - {"HEAD"}
        assert told == actual

    @each_operation
    def test_signed_out_is_described(
        self, path: str, method: str, operation: dict[str, Any]
    ) -> None:
        response = request(Client(), path, method)
        if operation.get("security") == []:
            assert response.status_code == 200
            assert "401" not in operation["responses"]
        else:
            assert_problem(response, 401)
            assert "401" in operation["responses"]

    @each_operation
    def test_a_missing_token_is_described(
        self, ada: User, path: str, method: str, operation: dict[str, Any]
    ) -> None:
        client = signed_in(ada, enforce_csrf_checks=True)
        response = request(client, path, method)
        is_refused = response.status_code == 403
        assert is_refused is ("403" in operation["responses"])
        needed = [name for way in operation.get("security", []) for name in way]
        assert is_refused is ("csrf" in needed)

    @each_operation
    def test_too_large_a_body_is_described(
        self, ada: User, path: str, method: str, operation: dict[str, Any]
    ) -> None:
        body = b'{"ids": ["' + b"1" * 10_000_000 + b'"]}'
        response = request(signed_in(ada), path, method, body)
        assert (response.status_code == 413) is ("413" in operation["responses"])

    def test_waiting_too_long_is_described(self) -> None:
        told = openapi.describe(MOUNT)["components"]["responses"]["503"]
        assert told["headers"].keys() == problems.busy().headers.keys()


class TestServing:
    def test_anybody_may_read_and_keep_it(self) -> None:
        with CaptureQueriesContext(connection) as statements:
            response = Client().get(DOCUMENT)
        assert not statements
        assert response.status_code == 200
        assert response["Content-Type"] == "application/json"
        assert response["Cache-Control"] == "public, max-age=300"
        assert "Vary" not in response
        assert response.json() == json.loads(json.dumps(openapi.describe(MOUNT)))
        # A 304 is for those who have signed in.
        assert "ETag" not in response

    def test_it_holds_nothing_personal(self, ada: User) -> None:
        document = Client().get(DOCUMENT).content
        assert signed_in(ada).get(DOCUMENT).content == document

    def test_it_names_the_place_where_the_host_has_put_it(self) -> None:
        set_script_prefix("/shop/")
        try:
            response = Client().get(DOCUMENT, SCRIPT_NAME="/shop")
        finally:
            clear_script_prefix()
        assert response.json()["servers"] == [{"url": "/shop/notifications"}]

    def test_it_names_the_cookie_and_the_header_of_the_host(self) -> None:
        names = {
            "SESSION_COOKIE_NAME": "shop",
            "CSRF_HEADER_NAME": "HTTP_X_XSRF_TOKEN",
        }
        assert _names() == ("sessionid", "X-Csrftoken")
        with override_settings(**names):
            assert _names() == ("shop", "X-Xsrf-Token")


def _names() -> tuple[str, str]:
    schemes = Client().get(DOCUMENT).json()["components"]["securitySchemes"]
    return schemes["session"]["name"], schemes["csrf"]["name"]
