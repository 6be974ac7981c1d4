"""
Logs for machines: a line of JSON for each record (LOG_FORMAT=json).

What belongs to people stays out: of the code of others only the message is taken, not
the objects that it attaches, and of a database's error not the row that it quotes.
"""

from __future__ import annotations

import re
from logging import LogRecord
from typing import Any

from pythonjsonlogger.json import JsonFormatter

# Whose `extra` is known to hold numbers and names of events, and nothing of a person.
KNOWN = ("realtime", "server", "themis")
FIELDS = {"asctime": "time", "levelname": "level", "name": "logger"}

# PostgreSQL's "Failing row contains (...)", up to the next part of the traceback.
_DETAIL = re.compile(r"\n(?:DETAIL|CONTEXT|HINT):.*?(?=\n\n|\Z)", re.DOTALL)


class JsonLines(JsonFormatter):
    """Time, level, logger, message, what the event is about, and the traceback."""

    default_msec_format = "%s.%03d"

    def __init__(self) -> None:
        names = " ".join(f"%({name})s" for name in (*FIELDS, "message"))
        super().__init__(names, "%Y-%m-%dT%H:%M:%S%z", rename_fields=FIELDS)

    def add_fields(
        self,
        log_data: dict[str, Any],
        record: LogRecord,
        message_dict: dict[str, Any],
    ) -> None:
        """Take what `extra` says, if it comes from code that is known."""
        super().add_fields(log_data, record, message_dict)
        if record.name.partition(".")[0] in KNOWN:
            return
        known = {*FIELDS.values(), "message", "exc_info", "stack_info"}
        for name in set(log_data) - known:
            del log_data[name]

    def formatException(self, ei: Any) -> str:  # noqa: N802 -- logging's name
        """Return the traceback, without what a database quotes of its rows."""
        text = super().formatException(ei)
        return _DETAIL.sub("", text if isinstance(text, str) else "\n".join(text))
