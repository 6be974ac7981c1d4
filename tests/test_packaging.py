"""What a wheel holds, and that Django finds it after an installation."""

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.processes import ROOT

pytestmark = pytest.mark.once

_PACKED = ("themis", "realtime", "static", "templates")
_LINKS = {"themis/static", "themis/templates"}

_LOOK_UP = """
import sys
import django
from django.conf import settings
settings.configure(
    INSTALLED_APPS=[
        "django.contrib.admin",
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "django.contrib.staticfiles",
        "themis",
        "realtime",
    ],
    TEMPLATES=[
        {"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}
    ],
    STATIC_URL="/static/",
)
django.setup()
import themis, realtime
from django.contrib.staticfiles import finders
from django.template.loader import get_template
print(themis.__file__)
print(realtime.__file__)
for name in sys.argv[1:]:
    kind, _, path = name.partition("/")
    print(finders.find(path) if kind == "static" else get_template(path).origin.name)
"""


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files that git tracks or would track, as a fresh checkout has them."""
    tree = tmp_path_factory.mktemp("tree")
    for name in _tracked(*_PACKED, "LICENSE", "README.md", "pyproject.toml"):
        target = tree / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, target, follow_symlinks=False)
    return tree


@pytest.fixture(scope="module")
def wheel(tree: Path) -> Path:
    return _build(tree, "wheel")


@pytest.fixture(scope="module")
def sdist(tree: Path) -> Path:
    return _build(tree, "sdist")


def test_the_wheel_holds_the_packages_and_nothing_else(wheel: Path) -> None:
    assert _members(wheel) == _expected_members()


def test_a_wheel_built_from_the_sdist_is_the_same(
    sdist: Path, wheel: Path, tmp_path: Path
) -> None:
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    (unpacked,) = tmp_path.iterdir()
    assert _members(_build(unpacked, "wheel")) == _members(wheel)


def test_django_finds_every_static_file_and_template_of_an_installed_wheel(
    wheel: Path, tmp_path: Path
) -> None:
    site = tmp_path / "site"
    _run("-m", "pip", "install", "--no-deps", "--no-index", "--target", site, wheel)
    names = _tracked("static", "templates")
    found = _run("-c", _LOOK_UP, *names, cwd=tmp_path, path=site).splitlines()
    assert found == [
        str(site / "themis/__init__.py"),
        str(site / "realtime/__init__.py"),
        *(str(site / "themis" / name) for name in names),
    ]


def test_django_finds_them_in_an_editable_installation(tmp_path: Path) -> None:
    names = _tracked("static", "templates")
    found = _run("-c", _LOOK_UP, *names, cwd=tmp_path).splitlines()
    assert found[2:] == [str(ROOT / "themis" / name) for name in names]


def _tracked(*paths: str) -> list[str]:
    git = shutil.which("git")
    assert git, "git lists the files that belong to the project"
    listed = subprocess.run(
        [git, "ls-files", "-z", "--cached", "--others", "--exclude-standard", *paths],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    names = {name for name in listed.stdout.split("\0") if name}
    return sorted(name for name in names if (ROOT / name).exists())


def _expected_members() -> list[str]:
    sources = set(_tracked(*_PACKED)) - _LINKS
    packed = {
        f"themis/{name}" if name.startswith(("static/", "templates/")) else name
        for name in sources
    }
    information = {"METADATA", "RECORD", "WHEEL", "licenses/LICENSE"}
    return sorted(packed | {f"*.dist-info/{name}" for name in information})


def _members(wheel: Path) -> list[str]:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    return sorted(
        f"*.dist-info/{name.partition('/')[2]}" if ".dist-info/" in name else name
        for name in names
    )


def _build(tree: Path, target: str) -> Path:
    # hatchling itself, not `build`: nothing is downloaded.
    _run("-m", "hatchling", "build", "--target", target, "--directory", "out", cwd=tree)
    (built,) = (tree / "out").glob("*.whl" if target == "wheel" else "*.tar.gz")
    return built


def _run(
    *arguments: str | Path, cwd: Path | None = None, path: Path | None = None
) -> str:
    run = subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env=_environment(path),
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


def _environment(path: Path | None) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if k != "DJANGO_SETTINGS_MODULE"}
    return kept | ({"PYTHONPATH": str(path)} if path else {})
