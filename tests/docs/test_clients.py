"""Clients that are no browsers, as the pages show them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from pytest_django import Settings

from tests import programs
from tests.conftest import Serve
from tests.docs.blocks import Block, claim, each
from tests.processes import DaphneServer
from tests.waiting import wait_until
from themis.models import UserNotification
from themis.notifications import notify_user

CURL = claim("curl")
_SITE_LINE = "https://www.example.com"


def _notify(server: DaphneServer, title: str) -> None:
    notify = (
        "from themis.notifications import notify_user\n"
        f"notify_user(User.objects.get(username='ada'), {title!r})"
    )
    server.manage("shell", "-v0", "-c", notify)


@pytest.mark.once
def test_the_curl_commands_work(serve: Serve, tmp_path: Path) -> None:
    programs.require("curl")
    one = serve()
    _notify(one, "A task")
    sign_in, ask, write = CURL
    assert _SITE_LINE in sign_in.text

    def curl(*blocks: str) -> str:
        script = "set -e\n" + "".join(blocks).replace(_SITE_LINE, one.url)
        ran = subprocess.run(
            ["/bin/sh", "-c", script],
            cwd=tmp_path,
            env={**os.environ, "PASSWORD": "themis-demo"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert ran.returncode == 0, ran.stderr
        return ran.stdout

    assert curl(sign_in.text, ask.text).strip() == "304"
    state = json.loads((tmp_path / "state.json").read_text())
    (item,) = state["items"]
    assert (item["title"], item["read_at"]) == ("A task", None)
    # The functions of the first block, without its requests.
    names = "".join(sign_in.text.splitlines(keepends=True)[:2])
    answer = json.loads(curl(names, write.text.replace("42", item["id"])))
    assert (answer["type"], answer["unread"]) == ("changes", 0)
    assert [item["read_at"] for item in answer["items"]] == [answer["at"]]


_TELLING_STATUSES = """
import http.client, runpy, sys
begin = http.client.HTTPResponse.begin
def tell(response):
    begin(response)
    print(response.status, file=sys.stderr, flush=True)
http.client.HTTPResponse.begin = tell
runpy.run_path(sys.argv[1])
"""


@each(claim("poller"))
@pytest.mark.once
def test_the_polling_program_follows_the_mailbox(
    block: Block,
    test_database_url: str,
    serve: Serve,
    settings: Settings,
    tmp_path: Path,
) -> None:
    # The server checks passwords as Django does by default.
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.PBKDF2PasswordHasher"]
    ada = User.objects.create_user("ada", password="themis-demo")
    one = serve(test_database_url, env={"THEMIS_NOTIFICATION_POLL_INTERVAL": "1"})
    program = tmp_path / "poller.py"
    program.write_text(block.text.replace(_SITE_LINE, one.url))
    with (
        (tmp_path / "said").open("w") as output,
        (tmp_path / "statuses").open("w") as errors,
    ):
        poller = subprocess.Popen(
            [sys.executable, "-c", _TELLING_STATUSES, str(program)],
            env={**os.environ, "PASSWORD": "themis-demo"},
            stdout=output,
            stderr=errors,
        )

    def said() -> list[str]:
        return (tmp_path / "said").read_text().splitlines()

    def statuses() -> list[str]:
        return (tmp_path / "statuses").read_text().splitlines()

    try:
        wait_until(within=30, condition=lambda: said() == ["0 unread of 0"])
        notify_user(ada, "A task")
        wait_until(
            within=30, condition=lambda: said()[1:3] == ["New: A task", "1 unread of 1"]
        )
        asked = len(statuses())
        # While nothing happens every answer but the first is a 304.
        wait_until(
            within=30, condition=lambda: statuses()[asked + 1 :].count("304") >= 2
        )
        assert {*statuses()[asked + 1 :]} == {"304"}
        UserNotification.objects.all().delete()
        wait_until(
            within=30,
            condition=lambda: said()[-1] == "0 unread of 0" and len(said()) > 3,
        )
        assert not [line for line in said()[3:] if line.startswith("New")]
        # A server that is away is asked again.
        one.stop()
        one.start()
        notify_user(ada, "Another")
        wait_until(
            within=30,
            condition=lambda: said()[-2:] == ["New: Another", "1 unread of 1"],
        )
        assert poller.poll() is None
        assert {*statuses()} <= {"200", "302", "304", "503"}
    finally:
        poller.kill()
        poller.wait()
