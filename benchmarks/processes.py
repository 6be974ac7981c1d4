"""Processes that do as they are told: a question a line, an answer a line, in JSON."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any, Self


class Helper:
    """
    A process that answers questions, one after the other.

    Args:
        command: How it is started.
        environment: Of the process, if not that of this one.
    """

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str] | None = None
    ) -> None:
        self._command = command
        self._environment = os.environ if environment is None else environment
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 -- closed below

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=self._environment,
            text=True,
            bufsize=1,
        )
        return self

    def __exit__(self, *error: object) -> None:
        # A pipe each, so it ends when nobody can ask any more.
        self._process.communicate()
        self._errors.close()

    @property
    def pid(self) -> int:
        """The process."""
        return self._process.pid

    def ask(self, verb: str, **details: Any) -> Any:
        """
        Ask for something, and wait for the answer.

        Raises:
            RuntimeError: the process has ended; the text is what it complained of.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps({"verb": verb, **details}) + "\n")
            self._process.stdin.flush()
            answer = self._process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        if not answer:
            self._errors.seek(0)
            raise RuntimeError(self._errors.read()[-4000:] or "It ended.")
        return json.loads(answer)
