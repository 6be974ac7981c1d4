"""What is written down: a file for each run, with all that it depends on."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psycopg

from benchmarks.cores import OTHER_CORE, SERVER_CORE
from benchmarks.peers.node import FOLDER as NODE_FOLDER
from benchmarks.peers.node import node
from benchmarks.rig import Rig
from benchmarks.sizes import Size

FOLDER = Path(__file__).parent / "results"
_PACKAGES = (
    "django",
    "channels",
    "channels-redis",
    "redis",
    "psycopg",
    "daphne",
    "twisted",
    "uvicorn",
    "websockets",
    "granian",
    "python-socketio",
    "django-eventstream",
)


def describe(rig: Rig, size_name: str, size: Size) -> dict[str, Any]:
    """Return what figures of this run depend on."""
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _git("rev-parse", "HEAD"),
        "changed": bool(_git("status", "--porcelain", "--untracked-files=no")),
        "size": size_name,
        "sizes": asdict(size),
        "machine": {
            "processor": _processor(),
            "cores": os.cpu_count(),
            "kernel": platform.release(),
            "load_before": os.getloadavg()[0],
            "server_core": SERVER_CORE,
            "other_core": OTHER_CORE,
        },
        "versions": _versions(rig),
    }


def write(found: dict[str, Any], path: Path | None = None) -> Path:
    """Write *found* into a file that is called after when it began, or *path*."""
    if path is None:
        began = datetime.fromisoformat(found["started"])
        path = FOLDER / f"{began:%Y-%m-%d-%H%M}-{found['size']}.json"
    path.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")
    return path


def read(path: Path) -> dict[str, Any]:
    """Return what `write` wrote, and where it stands."""
    found: dict[str, Any] = json.loads(path.read_text())
    return found | {"source": path.name}


def full_or_last() -> list[Path]:
    """Return the full runs of the commit that has the last one; else the last file."""
    full = sorted(FOLDER.glob("*-full.json"))
    same = [path for path in full if read(path)["commit"] == read(full[-1])["commit"]]
    return same or sorted(FOLDER.glob("*.json"))[-1:]


def _versions(rig: Rig) -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    with rig.redis.client() as client:
        found["redis-server"] = client.info("server")["redis_version"]
    with psycopg.connect(rig.postgres.url()) as connection:
        (row,) = connection.execute("SHOW server_version").fetchall()
        found["postgresql"] = row[0]
    if (NODE_FOLDER / "node_modules").exists():
        found["node"] = _run(node(), "--version").removeprefix("v")
        lock = json.loads((NODE_FOLDER / "package-lock.json").read_text())
        for name, package in lock["packages"].items():
            if name in {"node_modules/socket.io", "node_modules/pg"}:
                found[name.removeprefix("node_modules/")] = package["version"]
    return found


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _git(*arguments: str) -> str:
    return _run("git", *arguments)


def _run(*command: str) -> str:
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    return answer.stdout.strip()
