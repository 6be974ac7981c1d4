"""Who may open a socket: Django's own rule for the origin of a write."""

from typing import Any

import pytest
from pytest_django import Settings

from realtime.origins import is_allowed


def handshake(*headers: tuple[str, str], **scope: Any) -> dict[str, Any]:
    """The scope of a handshake with these headers, as daphne makes it: no scheme."""
    return {
        "type": "websocket",
        "server": ("10.0.0.7", 8000),
        "headers": [
            (name.lower().encode(), value.encode("latin1")) for name, value in headers
        ],
        **scope,
    }


@pytest.fixture(autouse=True)
def _site(settings: Settings) -> None:
    settings.ALLOWED_HOSTS = ["example.com", ".example.org"]
    settings.CSRF_TRUSTED_ORIGINS = []


def allows(origin: str, *, host: str = "example.com", **scope: Any) -> bool:
    return is_allowed(handshake(("Host", host), ("Origin", origin), **scope))


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("example.com", "http://example.com"),
        ("example.com:8000", "http://example.com:8000"),
        ("chat.example.org", "http://chat.example.org"),
    ],
)
def test_the_page_of_this_site_may(host: str, origin: str) -> None:
    assert allows(origin, host=host)


@pytest.mark.parametrize(
    "origin",
    [
        "http://example.com:8000",
        "http://example.com:80",
        "https://example.com",
        "ws://example.com",
        "http://sub.example.com",
        "http://example.com.evil.example",
        "http://evilexample.com",
        "http://example.com@evil.example",
        "http://example.com/",
        "http://EXAMPLE.com",
        "null",
        "",
        "http://",
        "file://",
        "http://[",
        "http://[::1",
        "*",
        "http://evil.example,http://example.com",
        "http://exämple.com",
    ],
)
def test_another_page_may_not(origin: str) -> None:
    assert not allows(origin)


def test_without_an_origin_nobody_may(settings: Settings) -> None:
    settings.CSRF_TRUSTED_ORIGINS = ["https://example.com"]
    assert not is_allowed(handshake(("Host", "example.com")))
    assert not is_allowed(handshake(("Host", "example.com"), ("Referer", "http://x")))


@pytest.mark.parametrize(
    "headers",
    [
        [
            ("Host", "example.com"),
            ("Origin", "http://evil.example"),
            ("Origin", "http://example.com"),
        ],
        [
            ("Host", "example.com"),
            ("Origin", "http://example.com"),
            ("Origin", "http://evil.example"),
        ],
        [
            ("Host", "evil.example"),
            ("Host", "example.com"),
            ("Origin", "http://evil.example"),
        ],
        [
            ("Host", "example.com"),
            ("Host", "evil.example"),
            ("Origin", "http://evil.example"),
        ],
        [
            ("Host", "example.com"),
            ("Host", "example.com"),
            ("Origin", "http://example.com"),
        ],
    ],
)
def test_a_header_given_twice_opens_nothing(headers: list[tuple[str, str]]) -> None:
    assert not is_allowed(handshake(*headers))


def test_a_host_that_django_refuses_has_no_pages() -> None:
    assert not allows("http://evil.example", host="evil.example")
    assert not allows("http://example.com", host="example.com evil")
    assert not is_allowed(handshake(("Origin", "http://10.0.0.7:8000")))


def test_trusted_origins_may(settings: Settings) -> None:
    settings.CSRF_TRUSTED_ORIGINS = ["https://app.example", "https://*.example.net"]
    assert allows("https://app.example")
    assert allows("https://a.b.example.net")
    assert allows("http://example.com")
    for origin in (
        "http://app.example",
        "https://app.example:8443",
        "https://x.app.example",
        "http://a.example.net",
        "https://evilexample.net",
    ):
        assert not allows(origin), origin


def test_trusted_origins_may_even_where_the_host_is_unknown(
    settings: Settings,
) -> None:
    settings.CSRF_TRUSTED_ORIGINS = ["https://app.example"]
    assert allows("https://app.example", host="10.0.0.7:8000")


def test_trusted_origins_are_read_when_they_are_needed(settings: Settings) -> None:
    settings.CSRF_TRUSTED_ORIGINS = ["https://app.example"]
    assert allows("https://app.example")
    settings.CSRF_TRUSTED_ORIGINS = []
    assert not allows("https://app.example")


@pytest.mark.parametrize("scheme", ["ws", "wss"])
def test_the_scheme_is_that_of_the_server_that_names_one(scheme: str) -> None:
    secure = scheme == "wss"
    assert allows("https://example.com", scheme=scheme) == secure
    assert allows("http://example.com", scheme=scheme) != secure


class TestBehindAProxyThatEndsTls:
    @pytest.fixture(autouse=True)
    def _proxy(self, settings: Settings) -> None:
        settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")

    def is_allowed(self, origin: str, *headers: tuple[str, str]) -> bool:
        own = ("Host", "example.com"), ("Origin", origin)
        return is_allowed(handshake(*own, *headers))

    def test_the_scheme_is_what_the_proxy_says(self) -> None:
        https = ("X-Forwarded-Proto", "https")
        assert self.is_allowed("https://example.com", https)
        assert not self.is_allowed("http://example.com", https)

    def test_without_its_word_it_is_http(self) -> None:
        assert not self.is_allowed("https://example.com")
        http = ("X-Forwarded-Proto", "http")
        assert not self.is_allowed("https://example.com", http)
        assert self.is_allowed("http://example.com", http)

    def test_a_look_alike_of_its_header_says_nothing(self) -> None:
        fake = ("X_Forwarded_Proto", "https")
        http = ("X-Forwarded-Proto", "http")
        for headers in ([fake], [fake, http], [http, fake]):
            assert not self.is_allowed("https://example.com", *headers), headers


def test_without_a_proxy_its_header_says_nothing() -> None:
    headers = [
        ("Host", "example.com"),
        ("Origin", "https://example.com"),
        ("X-Forwarded-Proto", "https"),
    ]
    assert not is_allowed(handshake(*headers))
