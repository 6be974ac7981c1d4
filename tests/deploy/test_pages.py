"""What docs/how-to tells of the deployment."""

import os
import re
import shutil
import ssl
import subprocess
import sys
from pathlib import Path

import pytest

from server.refusals import refuse_weak_key
from tests import programs
from tests.deploy.test_kubernetes import of_kind
from tests.docs.blocks import (
    CERTIFICATE,
    EXAMPLE,
    EXCERPTS,
    KUBECTL,
    SECRET,
    Block,
    each,
)
from tests.processes import ROOT

pytestmark = pytest.mark.once


def follow(block: Block, directory: Path) -> str:
    """Type a block into a shell; what it printed."""
    places = [str(Path(sys.executable).parent), os.environ["PATH"]]
    run = subprocess.run(
        ["/bin/sh", "-eu", "-c", block.text],
        cwd=directory,
        env={"PATH": os.pathsep.join(places)},
        capture_output=True,
        text=True,
        check=True,
    )
    return run.stdout


def test_what_is_filled_in_stays_out_of_the_repository(tmp_path: Path) -> None:
    shutil.copy(ROOT / ".env.example", tmp_path)
    follow(EXAMPLE, tmp_path)
    assert (tmp_path / ".env").read_text() == (ROOT / ".env.example").read_text()
    ignored = (ROOT / ".gitignore").read_text().splitlines()
    assert {"/.env", "/tls/"} <= {*ignored}
    # Into the image goes only what is named.
    assert "*" in (ROOT / ".dockerignore").read_text().splitlines()


def test_a_secret_is_one_that_the_server_takes(tmp_path: Path) -> None:
    key, password = follow(SECRET, tmp_path).split()
    refuse_weak_key(key)
    assert re.fullmatch(r"[0-9a-f]{64}", password)
    for line in SECRET.text.splitlines():
        assert line in (ROOT / ".env.example").read_text()


def test_a_certificate_has_the_names_that_nginx_knows(tmp_path: Path) -> None:
    programs.require("openssl")
    follow(CERTIFICATE, tmp_path)
    certificate, key = (tmp_path / f"tls/{name}.pem" for name in ("certificate", "key"))
    ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(
        certificate, key
    )
    conf = (ROOT / "deploy/nginx/nginx.conf").read_text()
    for file in (certificate, key):
        assert f"/etc/nginx/tls/{file.name};" in conf


def test_the_cluster_gets_what_the_manifests_name() -> None:
    text = KUBECTL.text
    (secret,) = of_kind("Secret").values()
    assert f"create secret generic {secret['metadata']['name']} " in text
    assert re.findall(r"--from-literal=(\w+)=", text) == [*secret["stringData"]]
    assert re.findall(r"delete job (\S+)", text) == [*of_kind("Job")]
    (folder,) = re.findall(r"apply --filename (\S+)", text)
    assert (ROOT / folder).is_dir()


def lines_of(text: str) -> str:
    """The lines of a configuration, without comments and indentation."""
    lines = (line.strip() for line in text.splitlines())
    return "\n".join(line for line in lines if line and not line.startswith("#"))


@each(EXCERPTS)
def test_an_excerpt_stands_in_the_file(block: Block) -> None:
    whole = lines_of((ROOT / "deploy/nginx/nginx.conf").read_text())
    assert lines_of(block.text) in whole
