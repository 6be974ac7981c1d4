"""How the server's process collects garbage, and nobody else's."""

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from server.garbage import THRESHOLDS
from tests.processes import ROOT

pytestmark = pytest.mark.once

TELL = """
import gc, json

print(json.dumps([gc.get_threshold(), gc.get_freeze_count()]))
"""

TURN_OVER = """
import asgi, json
from collections import deque

class Connection:
    count = 0

    def __init__(self):
        Connection.count += 1
        self.parts = [[self] for _part in range(100)]

    def __del__(self):
        Connection.count -= 1

most, connections = 0, deque(maxlen=2_000)
for _connection in range(16_000):
    connections.append(Connection())
    most = max(most, Connection.count)
print(json.dumps(most))
"""


def collector_after(program: str) -> tuple[tuple[int, ...], int]:
    """The thresholds, and how many objects are left alone, after *program*."""
    thresholds, frozen = output_of(f"{program}\n{TELL}")
    return tuple(thresholds), frozen


def output_of(program: str) -> Any:
    """What *program*, a process of its own, prints as JSON."""
    run = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"DJANGO_DEBUG": "1"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(run.stdout)


def test_who_serves_looks_rarely_and_never_at_what_is_loaded() -> None:
    thresholds, frozen = collector_after("import asgi")
    assert thresholds == THRESHOLDS
    assert frozen > 10_000


def test_connections_that_are_gone_do_not_pile_up() -> None:
    """Each is as large a cycle as daphne's, and lives until 2,000 others have come."""
    most = output_of(TURN_OVER)
    assert most < 2_000 + 6_000


def test_the_libraries_leave_the_collector_alone() -> None:
    untouched = collector_after("")
    settings = "import os; os.environ['DJANGO_SETTINGS_MODULE'] = 'server.settings'"
    loaded = collector_after(
        f"{settings}; import django; django.setup()\n"
        "import realtime.routing, themis.notifications"
    )
    assert loaded == untouched
