"""Who may import whom. The rules for Python stand in pyproject.toml."""

import re
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from tests.processes import ROOT

pytestmark = pytest.mark.once

# One static import of a neighbour on one line: what Django's manifest storage can
# rewrite to hashed names.
_JS_IMPORT = re.compile(r'^(?:import|export) (?:.* from )?"\./([a-z-]+)\.js";$')


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


def test_js_modules_import_towards_the_protocol() -> None:
    """define -> bell -> everything else -> protocol, and no cycle."""
    imports = {path.stem: _js_imports(path) for path in _js_modules()}
    assert [*TopologicalSorter(imports).static_order()]
    assert not imports["protocol"]
    for name, imported in imports.items():
        assert "define" not in imported, name
        assert "bell" not in imported or name == "define", name


def _js_modules() -> list[Path]:
    return sorted((ROOT / "static/themis").glob("**/*.js"))


def _js_imports(path: Path) -> list[str]:
    imported = []
    for line in path.read_text().splitlines():
        # Comments may say `import(...)` for the type checker.
        code = line.strip()
        if code.startswith(("*", "//", "/*")):
            continue
        assert not re.search(r"\bimport\(", code), f"dynamic import: {code}"
        if re.match(r"import\b|export\b.*\bfrom\b", code):
            matched = _JS_IMPORT.match(code)
            assert matched, f"not one static import of a neighbour: {code}"
            imported.append(matched[1])
    return imported
