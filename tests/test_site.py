"""The site of the documentation: `make docs` builds it, and all its links hold."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.processes import ROOT

pytestmark = pytest.mark.once


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the command of the Makefile writes, elsewhere."""
    (command,) = re.findall(
        r"^docs: .*\n\t\$\(BIN\)/sphinx-build (.*)$",
        (ROOT / "Makefile").read_text(),
        re.MULTILINE,
    )
    target = tmp_path_factory.mktemp("site")
    *options, source, written = command.split()
    assert written == "build/docs"
    ran = subprocess.run(
        [sys.executable, "-m", "sphinx", *options, source, str(target)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert {"-W", "-n"} <= {*options}
    return target


def test_every_page_is_in_the_menu(site: Path) -> None:
    menu = (site / "index.html").read_text()
    for page in ROOT.glob("docs/**/*.md"):
        name = page.relative_to(ROOT / "docs").with_suffix(".html")
        assert (site / name).exists(), name
        assert name.name == "index.html" or f'href="{name}"' in menu, name


def test_headings_have_the_anchors_that_links_name(site: Path) -> None:
    tutorial = (site / "tutorial.html").read_text()
    (where,) = {*re.findall(r'href="(how-to/scaling-out\.html)#', tutorial)}
    assert 'id="postgresql-and-redis"' in (site / where).read_text()


def test_pages_from_the_root_are_part_of_it(site: Path) -> None:
    security = (site / "security.html").read_text()
    assert 'href="threat-model.html"' in security
