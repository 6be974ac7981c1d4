"""The hooks of git: they run the locked tools, and mend or refuse what is not right."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.processes import ROOT

CONFIG = ROOT / ".pre-commit-config.yaml"
HOOKS = [
    hook
    for repo in yaml.safe_load(CONFIG.read_text())["repos"]
    for hook in repo["hooks"]
]
# They read the whole project.
WHOLE = {hook["id"] for hook in HOOKS if hook.get("pass_filenames") is False}


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A repository with the hooks, and with nothing else but their tools."""
    for name in (CONFIG.name, "pyproject.toml"):
        (tmp_path / name).write_text((ROOT / name).read_text())
    (tmp_path / ".venv").symlink_to(sys.prefix)
    (tmp_path / ".gitignore").write_text("/.venv\n/.cache/\n/.ruff_cache/\n")
    _run(tmp_path, "git", "init", "--quiet")
    return tmp_path


def _run(checkout: Path, *command: str) -> subprocess.CompletedProcess[str]:
    env = {
        **os.environ,
        "SKIP": ",".join(WHOLE),
        "PRE_COMMIT_HOME": str(checkout / ".cache"),
        # Of the commit that these tests may be run from.
        "GIT_DIR": str(checkout / ".git"),
        "GIT_WORK_TREE": str(checkout),
        "GIT_INDEX_FILE": str(checkout / ".git/index"),
    }
    return subprocess.run(
        command, cwd=checkout, env=env, capture_output=True, text=True, check=False
    )


def _hooks(checkout: Path) -> subprocess.CompletedProcess[str]:
    assert _run(checkout, "git", "add", "--all").returncode == 0
    return _run(checkout, sys.executable, "-m", "pre_commit", "run")


def test_nothing_is_downloaded() -> None:
    assert {hook["language"] for hook in HOOKS} == {"system"}


def test_they_are_the_tools_of_make() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for hook in HOOKS:
        program, first, *_ = [*shlex.split(hook["entry"]), ""]
        if program == "make":
            assert re.search(r"^js: ", makefile, re.MULTILINE)
            continue
        tool = program.removeprefix(".venv/bin/")
        assert tool != program
        words = f"$(BIN)/{tool} {first}" if tool == "ruff" else f"$(BIN)/{tool}"
        assert words in makefile


def test_they_mend_what_is_staged(checkout: Path) -> None:
    untidy = checkout / "untidy.py"
    untidy.write_text(
        '"""A module."""\n\nimport sys\nimport os\n\nFOUND = [ os,sys ]\n'
    )
    page = checkout / "page.html"
    page.write_text("{%load themis%}\n{% themis_bell  %}\n")

    refused = _hooks(checkout)
    assert refused.returncode == 1, refused.stdout + refused.stderr
    assert "import os\nimport sys\n\nFOUND = [os, sys]\n" in untidy.read_text()
    assert page.read_text() == "{% load themis %}\n{% themis_bell %}\n"

    passed = _hooks(checkout)
    assert passed.returncode == 0, passed.stdout + passed.stderr


def test_they_refuse_what_they_cannot_mend(checkout: Path) -> None:
    (checkout / "wrong.py").write_text('"""A module."""\n\nprint(undefined)\n')
    refused = _hooks(checkout)
    assert refused.returncode == 1
    assert "F821" in refused.stdout
