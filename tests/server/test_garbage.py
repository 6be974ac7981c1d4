"""How the server's process collects garbage, and nobody else's."""

import json
import os
import subprocess
import sys

import pytest

from server.garbage import YOUNG
from tests.processes import ROOT

pytestmark = pytest.mark.once

TELL = """
import gc, json

print(json.dumps([gc.get_threshold()[0], gc.get_freeze_count()]))
"""


def collector_after(program: str) -> tuple[int, int]:
    """The first threshold, and how many objects are left alone, after *program*."""
    run = subprocess.run(
        [sys.executable, "-c", f"{program}\n{TELL}"],
        env=os.environ | {"DJANGO_DEBUG": "1"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    threshold, frozen = json.loads(run.stdout)
    return threshold, frozen


def test_who_serves_looks_rarely_and_never_at_what_is_loaded() -> None:
    threshold, frozen = collector_after("import asgi")
    assert threshold == YOUNG
    assert frozen > 10_000


def test_the_libraries_leave_the_collector_alone() -> None:
    untouched = collector_after("")
    settings = "import os; os.environ['DJANGO_SETTINGS_MODULE'] = 'server.settings'"
    loaded = collector_after(
        f"{settings}; import django; django.setup()\n"
        "import realtime.routing, themis.notifications"
    )
    assert loaded == untouched
