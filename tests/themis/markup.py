"""What a page's HTML holds, as a parser sees it."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser

_VOID = {"br", "hr", "img", "input", "link", "meta"}


@dataclass
class Element:
    tag: str
    attributes: dict[str, str]
    children: list["Element"] = field(default_factory=list)
    strings: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """Its text and that of all within, with single spaces."""
        return " ".join(" ".join(self._texts()).split())

    def _texts(self) -> Iterator[str]:
        yield from self.strings
        for child in self.children:
            yield from child._texts()

    def walk(self) -> Iterator["Element"]:
        """Itself and all within, in the order of the document."""
        yield self
        for child in self.children:
            yield from child.walk()

    def find(self, tag: str, **attributes: str) -> list["Element"]:
        """The elements within, by tag and attributes; class_ is one of its classes."""
        return [
            element
            for element in self.walk()
            if element.tag == tag and element._has(attributes)
        ]

    def _has(self, attributes: dict[str, str]) -> bool:
        return all(
            value in self.attributes.get("class", "").split()
            if name == "class_"
            else self.attributes.get(name) == value
            for name, value in attributes.items()
        )


class _Builder(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.root = Element("", {})
        self._open = [self.root]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, {name: value or "" for name, value in attrs})
        assert len(element.attributes) == len(attrs), f"attribute twice in {attrs}"
        self._open[-1].children.append(element)
        if tag not in _VOID:
            self._open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self._open = self._open[:-1] if tag not in _VOID else self._open

    def handle_endtag(self, tag: str) -> None:
        assert self._open[-1].tag == tag, f"</{tag}> closes <{self._open[-1].tag}>"
        self._open.pop()

    def handle_data(self, data: str) -> None:
        self._open[-1].strings.append(data)


def parse(html: str) -> Element:
    """The document as a tree; every element must be closed where it ought to be."""
    builder = _Builder()
    builder.feed(html)
    builder.close()
    assert builder._open == [builder.root], builder._open[-1].tag
    return builder.root


def assert_allowed_by_strict_csp(root: Element) -> None:
    """No inline script, style or handler, and no link that runs a script."""
    for element in root.walk():
        assert element.tag not in {"style", "base", "iframe", "object", "embed"}
        assert element.tag != "script" or (
            element.attributes.get("src") and not element.text
        )
        for name, value in element.attributes.items():
            assert name != "style", element
            assert not name.startswith("on"), element
            assert (
                not value.strip()
                .lower()
                .startswith(("javascript:", "data:", "vbscript:"))
            ), element
