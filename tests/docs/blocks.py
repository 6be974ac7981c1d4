"""The pages, and their blocks: each is run or checked by whoever claims it.

An HTML comment before a block says how: `<!-- test: run in=signal -->` runs Python in
that one of the contexts, `step` belongs to a project that is made outside the checkout,
`not run:` gives a reason, which the run prints. A block without a comment is an error.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from tests.processes import ROOT

PAGES = sorted(
    str(path.relative_to(ROOT))
    for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]
)


@dataclass(frozen=True)
class Block:
    """A fenced code block, and the comment that says what becomes of it."""

    page: str
    line: int
    language: str
    text: str
    action: str
    argument: str
    options: dict[str, str] = field(hash=False)

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


FENCE = re.compile(
    r"(?:^<!-- test: (?P<comment>[^\n]*) -->\n)?^```(?P<language>\w+)\n"
    r"(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


def read(page: str) -> str:
    return (ROOT / page).read_text()


def _blocks_of(page: str) -> Iterator[Block]:
    text = read(page)
    for match in FENCE.finditer(text):
        comment = match["comment"] or ""
        line = text.count("\n", 0, match.start("language")) + 1
        if comment.startswith("not run: "):
            action, argument, options = "not run", comment.partition(": ")[2], {}
        else:
            words = comment.split()
            named = dict(word.split("=", 1) for word in words if "=" in word)
            plain = [word for word in words if "=" not in word]
            action, argument, *_ = [*plain, "", ""]
            options = named
        yield Block(
            page, line, match["language"], match["text"], action, argument, options
        )


BLOCKS = [block for page in PAGES for block in _blocks_of(page)]
claimed: set[Block] = set()


def claim(action: str, **options: str) -> list[Block]:
    """The blocks of this action and these options; whoever asks for them runs them."""
    found = [
        block
        for block in BLOCKS
        if block.action == action and options.items() <= block.options.items()
    ]
    assert found, (action, options)
    claimed.update(found)
    return found


def each(blocks: list[Block]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("block", blocks, ids=str)


# Run by tests/faults/test_origins.py, with a real nginx.
(PROXY,) = claim("nginx")
# Run by tests/deploy/test_pages.py.
(EXAMPLE,) = claim("example")
(SECRET,) = claim("secret")
(CERTIFICATE,) = claim("certificate")
(KUBECTL,) = claim("kubectl")
EXCERPTS = claim("excerpt")


def table(page: str, *header: str) -> list[list[str]]:
    """The rows of the table whose header begins so."""
    start = "| " + " | ".join(header)
    lines = iter(read(page).splitlines())
    next(line for line in lines if line.startswith(start))
    next(lines)
    rows = []
    for line in lines:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows


def code(cell: str) -> list[str]:
    """What stands between backticks."""
    return re.findall(r"`([^`]*)`", cell)
