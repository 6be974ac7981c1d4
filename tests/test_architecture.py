"""Who may import whom. Most rules stand in pyproject.toml; JavaScript has its own."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.processes import ROOT

pytestmark = pytest.mark.once


def test_python_modules_obey_the_contracts() -> None:
    lint_imports = Path(sys.executable).with_name("lint-imports")
    run = subprocess.run(
        [lint_imports, "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.parametrize("package", ["demo", "realtime", "server", "themis"])
def test_packages_know_nothing_of_asgi_and_tests(package: str) -> None:
    """import-linter can't say it: asgi is no package, and `tests` is not analysed."""
    for path in (ROOT / package).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                imported = [name.name for name in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                imported = [node.module or ""]
            else:
                continue
            tops = {name.partition(".")[0] for name in imported}
            assert tops.isdisjoint({"asgi", "tests"}), path


def test_realtime_imports_itself_relatively() -> None:
    """Another distribution has a package of this name."""
    for path in (ROOT / "realtime").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                assert not any(n.name.startswith("realtime") for n in node.names), path
            elif isinstance(node, ast.ImportFrom) and not node.level:
                assert not (node.module or "").startswith("realtime"), path
