"""Where the programs are that tests start: servers, Chromium, gettext, curl, openssl.

`python -m tests.programs redis-server` prints the path, or fails.
"""

import functools
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

import pytest

_CHROMIUM_NAMES = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
)
_CHROMIUM_ON_MACOS = (
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
)


@functools.cache
def find(program: str) -> Path | None:
    """The path of `program`, or None. PostgreSQL is also looked for outside the PATH,
    where Debian and Homebrew keep it, the newest version first. Where there is no
    chromium-headless-shell, chromium does its work.
    """
    if program == "chromium":
        found = next(filter(None, map(shutil.which, _CHROMIUM_NAMES)), None)
        candidates = [Path(found)] if found else [Path(p) for p in _CHROMIUM_ON_MACOS]
    elif program == "chromium-headless-shell":
        found = shutil.which(program)
        return Path(found) if found else find("chromium")
    elif program in {"postgres", "initdb"}:
        candidates = [directory / program for directory in _postgres_directories()]
    else:
        # Debian keeps servers where only root's PATH leads.
        places = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin"])
        found = shutil.which(program, path=places)
        candidates = [Path(found)] if found else []
    return next((path for path in candidates if path.exists()), None)


def require(program: str) -> Path:
    """The path of `program`; without it the test is skipped, or fails under CI."""
    path = find(program)
    if path is None:
        _give_up(f"{program} is not installed; `make test` installs it where it may.")
    return path


def _give_up(message: str) -> NoReturn:
    if os.environ.get("CI"):
        pytest.fail(message, pytrace=False)
    pytest.skip(message)


def _postgres_directories() -> list[Path]:
    directories = [
        *Path("/usr/lib/postgresql").glob("*/bin"),
        *Path("/opt/homebrew/opt").glob("postgresql*/bin"),
        *Path("/usr/local/opt").glob("postgresql*/bin"),
    ]
    directories.sort(key=lambda directory: directory.as_posix(), reverse=True)
    if pg_config := shutil.which("pg_config"):
        printed = subprocess.run(
            [pg_config, "--bindir"], capture_output=True, text=True, check=True
        )
        directories.append(Path(printed.stdout.strip()))
    if postgres := shutil.which("postgres"):
        directories.append(Path(postgres).resolve().parent)
    return directories


if __name__ == "__main__":
    path = find(sys.argv[1])
    if path is None:
        sys.exit(f"{sys.argv[1]} is not installed.")
    print(path)  # noqa: T201 - the answer
