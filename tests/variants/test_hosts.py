"""Hosts that are not like the runnable project: each is one, and all goes its way."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.databases import server_key
from tests.processes import ROOT

HOSTS = {
    "inherited": "tests.variants.inherited.settings",
    "local_times": "tests.variants.local_times",
    "own_profile": "tests.variants.own_profile.settings",
    "text_keys": "tests.variants.text_keys.settings",
    "two_databases": "tests.variants.two_databases",
    "uuid_keys": "tests.variants.uuid_keys.settings",
}


@pytest.mark.timeout(180)
@pytest.mark.parametrize("host", HOSTS)
def test_the_host_goes_its_way(
    host: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """On databases of the kind that the run is about."""
    server = request.config.stash.get(server_key, None)

    def make_url(name: str) -> str:
        if server is None:
            return f"sqlite:///{tmp_path}/{name}.sqlite3"
        return server.create_database(name)

    ran = subprocess.run(
        [sys.executable, "-W", "error", "-m", "tests.variants.journey"],
        cwd=tmp_path,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "DATABASE_URL": make_url(host),
            "SECOND_DATABASE_URL": make_url(f"{host}_second"),
            "DJANGO_SETTINGS_MODULE": HOSTS[host],
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    # What is logged looks like trouble: of all this, nothing is.
    assert ran.stderr == ""
