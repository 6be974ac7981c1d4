"""A process apart from any server that does what a test tells it, a step at a time.

It takes commands as lines of JSON and answers each.
"""

import json
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self

from tests import prefork


class PuppetError(Exception):
    """What a command raised, with the traceback in the process."""


class Puppet:
    """The process, from outside."""

    module = ""

    def __init__(self, environment: Mapping[str, str]) -> None:
        command = [sys.executable, "-m", self.module]
        self._process = prefork.start_talking(command, env=environment)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with self._process:
            assert self._process.stdin is not None
            self._process.stdin.close()
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                # A process that has notified must be able to end; this shows where it
                # hangs.
                self._process.send_signal(signal.SIGABRT)
                raise

    def wait(self) -> int:
        """Wait until the process has ended; the exit status."""
        return self._process.wait(30)

    def start(self, verb: str, /, **arguments: Any) -> Callable[[], Any]:
        """Let it begin, and go on; call what is returned for what came of it."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([verb, arguments]) + "\n")
        self._process.stdin.flush()
        return self._answer

    def ask(self, verb: str, /, **arguments: Any) -> Any:
        """Let it do something; what came of it."""
        return self.start(verb, **arguments)()

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        answer = self._process.stdout.readline()
        assert answer, "The process has died; its error is above."
        kind, value = json.loads(answer)
        if kind == "error":
            raise PuppetError(value)
        return value


def obey(verbs: Mapping[str, Callable[..., Any]]) -> None:
    """Do what the lines say until there are no more: the inside of a puppet."""
    for line in sys.stdin:
        verb, arguments = json.loads(line)
        try:
            answer = ["done", verbs[verb](**arguments)]
        except Exception:  # noqa: BLE001 -- whatever it is, it is for the test to see
            answer = ["error", traceback.format_exc()]
        print(json.dumps(answer), flush=True)  # noqa: T201
