"""What would be insecure is refused before anything is served."""

import os
import subprocess
import sys

import pytest

from tests.processes import ROOT
from tests.server.test_settings import DEVELOPMENT, PRODUCTION, refusal, settings

pytestmark = pytest.mark.once

BEHIND_TLS = PRODUCTION | {"DJANGO_HTTPS": "1", "REDIS_URL": "redis://127.0.0.1:6379/0"}


@pytest.mark.parametrize(
    "key", ["short", "x" * 60, "django-insecure-" + "0123456789" * 5]
)
def test_a_key_that_can_be_guessed(key: str) -> None:
    weak = {"DJANGO_SECRET_KEY": key}
    complaint = refusal(**PRODUCTION | weak)
    assert "DJANGO_SECRET_KEY can be guessed" in complaint
    assert key not in complaint
    assert settings(**DEVELOPMENT | weak)["SECRET_KEY"] == key


@pytest.mark.parametrize("host", ["*", "*.themis.example"])
def test_a_host_of_everybody(host: str) -> None:
    hosts = {"DJANGO_ALLOWED_HOSTS": f"themis.example,{host}"}
    assert f"DJANGO_ALLOWED_HOSTS has {host!r}: links" in refusal(**PRODUCTION | hosts)
    assert host in settings(**DEVELOPMENT | hosts)["ALLOWED_HOSTS"]


@pytest.mark.parametrize(
    "host",
    ["https://themis.example", "themis.example:443", "themis.example/shop", "::1"],
)
def test_what_is_no_name_of_a_host(host: str) -> None:
    hosts = {"DJANGO_ALLOWED_HOSTS": host}
    assert f"DJANGO_ALLOWED_HOSTS has {host!r}: a name" in refusal(**PRODUCTION | hosts)


def test_names_of_hosts_are_taken() -> None:
    hosts = {"DJANGO_ALLOWED_HOSTS": ".themis.example,127.0.0.1,[::1]"}
    taken = settings(**PRODUCTION | hosts)["ALLOWED_HOSTS"]
    assert taken == [".themis.example", "127.0.0.1", "[::1]"]


@pytest.mark.parametrize(
    "origin",
    ["themis.example", "https://*", "http://*:8000", "https://themis.example/"],
)
def test_what_is_no_origin(origin: str) -> None:
    complaint = refusal(**DEVELOPMENT, DJANGO_CSRF_TRUSTED_ORIGINS=origin)
    assert f"DJANGO_CSRF_TRUSTED_ORIGINS has {origin!r}: write" in complaint


def test_behind_tls_an_origin_without() -> None:
    origins = {"DJANGO_CSRF_TRUSTED_ORIGINS": "https://a.example, http://b.example"}
    complaint = refusal(**BEHIND_TLS, **origins)
    assert "DJANGO_CSRF_TRUSTED_ORIGINS has 'http://b.example': with" in complaint
    assert len(settings(**PRODUCTION, **origins)["CSRF_TRUSTED_ORIGINS"]) == 2
    wider = {"DJANGO_CSRF_TRUSTED_ORIGINS": "https://*.themis.example"}
    assert settings(**BEHIND_TLS, **wider)["CSRF_TRUSTED_ORIGINS"]


def check(env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "manage.py", "check", "--deploy", "--fail-level", "WARNING"],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], **env},
        capture_output=True,
        text=True,
        check=False,
    )


def test_what_is_taken_is_ready_to_be_deployed() -> None:
    """Django's own list for deployment has nothing to add, nor has Themis'."""
    run = check(BEHIND_TLS)
    assert run.returncode == 0, run.stderr
    assert "System check identified no issues (2 silenced)" in run.stdout
    # It can object: here to what is not behind TLS.
    assert "security.W012" in check(PRODUCTION).stderr
