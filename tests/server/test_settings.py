"""The settings of the runnable project; each environment in a process of its own."""

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from tests.processes import ROOT

pytestmark = pytest.mark.once

KEY = "of this test alone, and long enough for the server"
PRODUCTION = {
    "DJANGO_SECRET_KEY": KEY,
    "DJANGO_ALLOWED_HOSTS": "themis.example, www.themis.example",
}
DEVELOPMENT = {"DJANGO_DEBUG": "1"}


def python(code: str, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run code that knows only these variables."""
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], **env},
        capture_output=True,
        text=True,
        check=False,
    )


def settings(**env: str) -> dict[str, Any]:
    """The settings that follow from these variables."""
    run = python(
        "import json; from server import settings as s; print(json.dumps("
        "{k: v for k, v in vars(s).items() if k.isupper()}, default=str))",
        env,
    )
    assert run.returncode == 0, run.stderr
    values: dict[str, Any] = json.loads(run.stdout)
    return values


def refusal(**env: str) -> str:
    """The last line of the error that these variables lead to."""
    run = python("import server.settings", env)
    assert run.returncode != 0
    return run.stderr.strip().splitlines()[-1]


def test_without_debug_a_key_and_hosts_are_required() -> None:
    without_key = refusal(DJANGO_ALLOWED_HOSTS="themis.example")
    assert "ImproperlyConfigured: DJANGO_SECRET_KEY is not set" in without_key
    assert "DJANGO_DEBUG=1" in without_key

    without_hosts = refusal(DJANGO_SECRET_KEY=KEY)
    assert "ImproperlyConfigured: DJANGO_ALLOWED_HOSTS is not set" in without_hosts
    assert "DJANGO_DEBUG=1" in without_hosts


def test_an_empty_variable_counts_as_unset() -> None:
    assert "DJANGO_SECRET_KEY is not set" in refusal(
        **PRODUCTION | {"DJANGO_SECRET_KEY": " "}
    )
    assert "DJANGO_ALLOWED_HOSTS is not set" in refusal(
        **PRODUCTION | {"DJANGO_ALLOWED_HOSTS": ","}
    )
    assert settings(**PRODUCTION, DJANGO_DEBUG="")["DEBUG"] is False


def test_debug_needs_nothing_else() -> None:
    values = settings(**DEVELOPMENT)
    assert values["DEBUG"] is True
    assert values["SECRET_KEY"].startswith("django-insecure-")
    assert values["ALLOWED_HOSTS"] == []


def test_production() -> None:
    values = settings(**PRODUCTION, DJANGO_CSRF_TRUSTED_ORIGINS="https://a.example")
    assert values["DEBUG"] is False
    assert values["SECRET_KEY"] == KEY
    assert values["ALLOWED_HOSTS"] == ["themis.example", "www.themis.example"]
    assert values["CSRF_TRUSTED_ORIGINS"] == ["https://a.example"]
    assert "SECURE_PROXY_SSL_HEADER" not in values


def test_https_behind_a_proxy() -> None:
    values = settings(**PRODUCTION, DJANGO_HTTPS="1")
    assert values["SECURE_PROXY_SSL_HEADER"] == ["HTTP_X_FORWARDED_PROTO", "https"]
    assert values["SESSION_COOKIE_SECURE"] is True
    assert values["CSRF_COOKIE_SECURE"] is True


def test_static_files_are_collected_where_the_environment_says() -> None:
    assert settings(**DEVELOPMENT)["STATIC_ROOT"] == str(ROOT / "staticfiles")
    values = settings(**PRODUCTION, DJANGO_STATIC_ROOT="/srv/static")
    assert values["STATIC_ROOT"] == "/srv/static"


@pytest.mark.parametrize(
    ("name", "value", "complaint"),
    [
        ("DJANGO_DEBUG", "perhaps", "DJANGO_DEBUG is 'perhaps': set it to 1 (on) or 0"),
        ("DJANGO_HTTPS", "2", "DJANGO_HTTPS is '2': set it to 1 (on) or 0"),
        (
            "THEMIS_NOTIFICATION_POLL_INTERVAL",
            "1m",
            "THEMIS_NOTIFICATION_POLL_INTERVAL is '1m': set it to a whole number",
        ),
        (
            "THEMIS_NOTIFICATION_MAX_AGE_DAYS",
            "-1",
            "THEMIS_NOTIFICATION_MAX_AGE_DAYS is '-1': set it to a whole number",
        ),
        (
            "DATABASE_URL",
            "db.example/themis",
            "DATABASE_URL is not a database's address",
        ),
        (
            "DATABASE_POOL_SIZE",
            "many",
            "DATABASE_POOL_SIZE is 'many': set it to a whole number",
        ),
        ("REDIS_URL", "localhost:6379", "REDIS_URL is not the address of a Redis"),
    ],
)
def test_a_bad_value_names_its_variable(name: str, value: str, complaint: str) -> None:
    assert complaint in refusal(**PRODUCTION, **{name: value})


def test_sqlite_by_default() -> None:
    database = settings(**DEVELOPMENT)["DATABASES"]["default"]
    assert database["ENGINE"] == "django.db.backends.sqlite3"
    assert database["NAME"] == str(ROOT / "db.sqlite3")
    assert database["OPTIONS"]["transaction_mode"] == "IMMEDIATE"
    assert "journal_mode=WAL" in database["OPTIONS"]["init_command"]


def test_another_sqlite_file_is_opened_the_same_way() -> None:
    database = settings(**DEVELOPMENT, DATABASE_URL="sqlite:////tmp/other.sqlite3")
    assert database["DATABASES"]["default"]["NAME"] == "/tmp/other.sqlite3"  # noqa: S108 -- only a name
    options = database["DATABASES"]["default"]["OPTIONS"]
    assert options["transaction_mode"] == "IMMEDIATE"


def test_postgresql() -> None:
    values = settings(
        **PRODUCTION, DATABASE_URL="postgres://ada:secret@db.example:5433/themis"
    )
    database = values["DATABASES"]["default"]
    assert database["ENGINE"] == "django.db.backends.postgresql"
    assert (database["HOST"], database["PORT"]) == ("db.example", 5433)
    assert (database["NAME"], database["USER"]) == ("themis", "ada")
    options = database["OPTIONS"]
    assert (options["server_side_binding"], options["prepare_threshold"]) == (True, 5)


def test_requests_share_connections_that_are_asked_whether_they_live() -> None:
    url = "postgres://ada:secret@db.example/themis"
    database = settings(**PRODUCTION, DATABASE_URL=url)["DATABASES"]["default"]
    assert database["OPTIONS"]["pool"]["max_size"] == 8
    assert database["CONN_HEALTH_CHECKS"]
    assert not database["CONN_MAX_AGE"]  # Django refuses both

    def pool(size: str) -> Any:
        values = settings(**PRODUCTION, DATABASE_URL=url, DATABASE_POOL_SIZE=size)
        return values["DATABASES"]["default"]["OPTIONS"].get("pool")

    assert pool("20")["max_size"] == 20
    assert pool("0") is None


def test_a_pooler_that_knows_no_prepared_statements_is_told_of_in_the_url() -> None:
    url = "postgres://ada:secret@db.example/themis?server_side_binding=false"
    values = settings(**PRODUCTION, DATABASE_URL=url)
    options = values["DATABASES"]["default"]["OPTIONS"]
    assert options["server_side_binding"] is False


def test_the_channel_layer_stays_in_the_process_by_default() -> None:
    layer = settings(**DEVELOPMENT)["CHANNEL_LAYERS"]["default"]
    assert layer == {"BACKEND": "channels.layers.InMemoryChannelLayer"}


def test_redis_is_used_by_pub_sub_and_never_waited_for_long() -> None:
    values = settings(**DEVELOPMENT, REDIS_URL="redis://redis.example:6380/1")
    layer = values["CHANNEL_LAYERS"]["default"]
    assert layer["BACKEND"] == "channels_redis.pubsub.RedisPubSubChannelLayer"
    (host,) = layer["CONFIG"]["hosts"]
    assert host["address"] == "redis://redis.example:6380/1"
    assert host["socket_timeout"] == host["socket_connect_timeout"] == 1


def test_without_redis_a_task_runs_where_it_is_called() -> None:
    values = settings(**DEVELOPMENT)
    assert values["CELERY_TASK_ALWAYS_EAGER"] is True
    assert values["CELERY_BROKER_URL"] == "memory://localhost/"


@pytest.mark.parametrize(
    ("redis_url", "broker"),
    [
        ("redis://redis.example:6380/1", "redis://redis.example:6380/1"),
        ("unix:///run/redis.sock", "redis+socket:///run/redis.sock"),
    ],
)
def test_redis_carries_tasks_to_workers(redis_url: str, broker: str) -> None:
    values = settings(**PRODUCTION, REDIS_URL=redis_url)
    assert values["CELERY_TASK_ALWAYS_EAGER"] is False
    assert values["CELERY_BROKER_URL"] == broker


def test_celery_finds_its_app_in_the_project() -> None:
    run = python(
        "from celery.app.utils import find_app; app = find_app('server'); "
        "app.loader.import_default_modules(); print(*sorted(app.tasks))",
        DEVELOPMENT,
    )
    assert "demo.tasks.notify_report_ready" in run.stdout.split(), run.stderr


def test_a_worker_without_a_broker_says_what_it_needs() -> None:
    run = python("from server import worker; raise SystemExit(worker.main([]))", {})
    assert run.returncode == 1
    assert run.stderr.startswith("REDIS_URL is not set")


def test_settings_of_themis_come_from_the_environment_or_keep_their_default() -> None:
    assert not [name for name in settings(**DEVELOPMENT) if name.startswith("THEMIS_")]
    values = settings(
        **DEVELOPMENT,
        THEMIS_NOTIFICATION_POLL_INTERVAL="0",
        THEMIS_REALTIME_URL="wss://push.example/ws/",
    )
    assert values["THEMIS_NOTIFICATION_POLL_INTERVAL"] == 0
    assert values["THEMIS_REALTIME_URL"] == "wss://push.example/ws/"


@pytest.mark.parametrize(
    ("env", "expected"),
    [
        ({}, "1"),
        ({"DJANGO_DEBUG": "0"}, "0"),
        ({"DJANGO_SECRET_KEY": "secret"}, "None"),
    ],
)
def test_only_an_unconfigured_command_line_is_taken_for_development(
    env: dict[str, str], expected: str
) -> None:
    run = python(
        "import os; from server.environment import assume_development as assume; "
        "assume(); print(os.environ.get('DJANGO_DEBUG'))",
        env,
    )
    assert run.stdout.strip() == expected
