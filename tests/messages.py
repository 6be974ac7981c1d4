"""The library's texts, extracted and compiled with GNU gettext.

`python -m tests.messages` brings the catalogs in themis/locale up to date; what is new
is left empty or marked fuzzy there, for a person to translate, and compiled on the next
run.
"""

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests import programs
from tests.processes import ROOT

LANGUAGES = ("ar", "de", "fr")
LOCALE = ROOT / "themis" / "locale"

# What people see of the library; the demo is in English.
_SOURCES = ("themis", "realtime", "templates")


def extract(directory: Path) -> dict[str, Path]:
    """
    Merge what the sources say now with copies of the catalogs, below *directory*.

    Returns:
        The path of the catalog of each language.
    """
    for name in ("xgettext", "msgmerge", "msguniq", "msgattrib"):
        programs.require(name)
    leave_out = shutil.ignore_patterns("locale", "static", "migrations", "__pycache__")
    for name in _SOURCES:
        # themis/templates is a link to templates, which would be read twice.
        shutil.copytree(ROOT / name, directory / name, ignore=leave_out, symlinks=True)
    (directory / "themis" / "templates").unlink(missing_ok=True)
    shutil.copytree(LOCALE, directory / "locale")
    languages = [f"--locale={language}" for language in LANGUAGES]
    _django(
        "makemessages",
        "--no-obsolete",
        "--add-location=file",
        *languages,
        cwd=directory,
    )
    catalogs = {
        language: directory / "locale" / language / "LC_MESSAGES" / "django.po"
        for language in LANGUAGES
    }
    for catalog in catalogs.values():
        # Without the date a run that finds nothing new changes nothing.
        text = re.sub(
            r'^"POT-Creation-Date:.*\n', "", catalog.read_text(), flags=re.MULTILINE
        )
        catalog.write_text(text)
    return catalogs


def compile_all() -> None:
    """Write the .mo beside each .po."""
    _django("compilemessages", cwd=LOCALE.parent)


def _django(*arguments: str, cwd: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "django", *arguments, "--verbosity=0"],
        cwd=cwd,
        check=True,
    )


def main() -> None:
    LOCALE.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as directory:
        for language, catalog in extract(Path(directory)).items():
            target = LOCALE / language / "LC_MESSAGES" / "django.po"
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(catalog, target)
    compile_all()


if __name__ == "__main__":
    main()
