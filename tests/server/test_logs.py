"""The logs as JSON: what is in a line, and what is not."""

import json
import logging
from typing import Any

import pytest

from server.logs import JsonLines
from tests.server.test_settings import PRODUCTION, refusal, settings

pytestmark = pytest.mark.once


def line(name: str, message: str, *args: object, **record: Any) -> dict[str, Any]:
    """The line of one record."""
    made = logging.LogRecord(name, logging.WARNING, "f.py", 1, message, args, None)
    vars(made).update(record)
    parsed: dict[str, Any] = json.loads(JsonLines().format(made))
    return parsed


def test_a_line_says_when_who_and_what() -> None:
    parsed = line("realtime", "Repaired %d.\nAll.", 3, event="repaired", mailboxes=3)
    assert parsed.pop("time")[:2] == "20"
    assert parsed == {
        "level": "WARNING",
        "logger": "realtime",
        "message": "Repaired 3.\nAll.",
        "event": "repaired",
        "mailboxes": 3,
    }


def test_what_others_attach_is_left_out() -> None:
    """Django attaches the request, with its cookies in reach."""
    parsed = line("django.request", "Not Found: %s", "/x", request="a cookie")
    assert parsed.keys() == {"time", "level", "logger", "message"}


def test_a_traceback_does_not_quote_rows() -> None:
    error = KeyError("what Django raises")
    error.__cause__ = ValueError(
        "new row violates a constraint\n"
        "DETAIL:  Failing row contains (1, a secret title,\nand message)."
    )
    parsed = line("realtime", "It failed.", exc_info=(KeyError, error, None))
    assert "new row violates a constraint" in parsed["exc_info"]
    assert "what Django raises" in parsed["exc_info"]
    assert "secret" not in parsed["exc_info"]
    assert "message)" not in parsed["exc_info"]


def test_the_environment_chooses() -> None:
    assert settings(**PRODUCTION)["LOG_FORMAT"] == "line"
    chosen = settings(**PRODUCTION, LOG_FORMAT="json")["LOGGING"]
    assert chosen["formatters"]["chosen"] == {"()": "server.logs.JsonLines"}
    assert "set it to line, for people, or json" in refusal(
        **PRODUCTION, LOG_FORMAT="xml"
    )
