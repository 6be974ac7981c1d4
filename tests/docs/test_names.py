"""Names, wherever they stand, and links."""

import re
from collections.abc import Callable

import pytest

from realtime.protocol import CloseCode
from tests.docs.blocks import FENCE, PAGES, read
from tests.docs.test_pages import stylesheet_properties
from tests.processes import ROOT
from themis import urls

NAMES: dict[str, Callable[[], set[str]]] = {
    # A setting, or a variable of the environment for the tests.
    r"\bTHEMIS_[A-Z_]+\b": lambda: {
        name
        for folder in ("themis", "server", "tests")
        for path in ROOT.glob(f"{folder}/**/*.py")
        for name in re.findall(r'"(THEMIS_[A-Z_]+)"', path.read_text())
    },
    r"\bthemis\.[EW]\d{3}\b": lambda: {
        *re.findall(r"themis\.[EW]\d{3}", read("themis/checks.py"))
    },
    r"\bthemis:[a-z]+\b(?![:@])": lambda: {
        *re.findall(r'"(themis:[a-z]+)"', read("static/themis/events.js")),
        *(f"themis:{pattern.name}" for pattern in urls.urlpatterns),
    },
    r"--themis-[a-z-]+": stylesheet_properties,
    r"\b44\d\d\b|\b4012\b|\b4503\b": lambda: {str(code.value) for code in CloseCode},
}


@pytest.mark.parametrize("shape", NAMES)
def test_a_name_that_a_page_mentions_is_one_of_the_code(shape: str) -> None:
    known = NAMES[shape]()
    assert known
    for page in PAGES:
        assert {*re.findall(shape, read(page))} <= known, page


def test_what_the_log_says_is_what_the_code_says() -> None:
    page = "docs/how-to/troubleshooting.md"
    told = re.findall(r'(?:log|error) says "([^"]+)"', read(page))
    told += re.findall(r'^"([^"]+)"', read(page), re.MULTILINE)
    assert len(told) > 5
    sources = [*ROOT.glob("themis/**/*.py"), *ROOT.glob("realtime/*.py")]
    # Without the seams of a text that is written in several lines.
    said = re.sub(r'"\s*\n\s*f?"', "", "".join(path.read_text() for path in sources))
    assert [text for text in told if text not in said] == []


# Links


def _anchors(page: str) -> set[str]:
    """The anchors that GitHub gives to the headings of a page."""
    text = FENCE.sub("", read(page))
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    kept = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return {heading.replace(" ", "-") for heading in kept}


@pytest.mark.parametrize("page", PAGES)
def test_the_links_lead_somewhere(page: str) -> None:
    text = FENCE.sub("", read(page))
    for target in re.findall(r"\]\(([^)]+)\)", text):
        if target.startswith("https://"):
            continue
        path, _, anchor = target.partition("#")
        goal = ((ROOT / page).parent / path).resolve() if path else ROOT / page
        assert goal.is_relative_to(ROOT), target
        assert goal.exists(), target
        if anchor:
            assert anchor in _anchors(str(goal.relative_to(ROOT))), target


def test_the_files_that_are_named_exist() -> None:
    for page in PAGES:
        text = FENCE.sub("", read(page))
        for name in re.findall(r"`((?:tests|demo|benchmarks|server)/[\w./]+)`", text):
            assert (ROOT / name).exists(), f"{page} names {name}"


def test_the_map_of_the_house_is_true() -> None:
    spans = re.findall(r"`([\w.-]+/[\w./-]*)`", read("CONTRIBUTING.md"))
    assert len(spans) > 30
    assert [one for one in spans if not (ROOT / one).exists()] == []
