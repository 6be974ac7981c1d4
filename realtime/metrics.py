"""What an operator counts: numbers of this process, kept by whoever makes them happen.

Plain numbers, without a lock: a push costs well under a microsecond, and a process that
forks in the middle of a count can't leave its child waiting for ever. All but the
publisher's are counted in event loops. `operations` shows them to Prometheus. No label
ever names a person or a text.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable
from itertools import accumulate
from typing import ClassVar

from .protocol import CloseCode

# Seconds; what is slower than the last is in no bucket but +Inf.
BUCKETS = (
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05),
    *(0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0),
)

METRICS: dict[str, Metric] = {}


class Metric:
    """A name, what it means, and the label by which its numbers are told apart."""

    type: ClassVar[str]

    def __init__(self, name: str, meaning: str, label: str = "") -> None:
        self.name = name
        self.meaning = meaning
        self.label = label
        METRICS[name] = self


class Counter(Metric):
    """How often something has happened since the process began."""

    type = "counter"

    def __init__(
        self, name: str, meaning: str, label: str = "", known: Iterable[str] = ()
    ) -> None:
        super().__init__(name, meaning, label)
        # Those that are known from the start are shown as 0 until they happen.
        self.values: dict[str, float] = dict.fromkeys(known if label else [""], 0)

    def add(self, value: str = "", count: float = 1) -> None:
        """Count *count* more of those whose label is *value*."""
        self.values[value] = self.values.get(value, 0) + count


class Gauge(Metric):
    """How much there is now."""

    type = "gauge"

    def __init__(self, name: str, meaning: str) -> None:
        super().__init__(name, meaning)
        self.read: Callable[[], float] = lambda: 0

    def read_by(self, read: Callable[[], float]) -> Callable[[], float]:
        """Ask *read*, a function that any thread may call, whenever it is shown."""
        self.read = read
        return read

    def set(self, value: float) -> None:
        """Remember *value* until it is set again."""
        self.read = lambda: value


class Histogram(Metric):
    """How long something took, in seconds."""

    type = "histogram"

    def __init__(self, name: str, meaning: str) -> None:
        super().__init__(name, meaning)
        self.counts = [0] * (len(BUCKETS) + 1)
        self.sum = 0.0

    def observe(self, seconds: float) -> None:
        """Count one that took *seconds*; less than none, by a clock put back, is 0."""
        if seconds < 0:
            seconds = 0.0
        self.counts[bisect_left(BUCKETS, seconds)] += 1
        self.sum += seconds


def bucket_counts(histogram: Histogram) -> list[tuple[str, float]]:
    """Return how many took at most as long as each of `BUCKETS`, and how many did."""
    bounds = [*map(str, BUCKETS), "+Inf"]
    return list(zip(bounds, accumulate(histogram.counts), strict=True))


SOCKETS = Gauge("themis_sockets", "Open sockets.")
USERS = Gauge("themis_users", "Users with an open socket.")
HANDSHAKES = Counter(
    "themis_handshakes_total",
    "Sockets that came, by what became of them.",
    "outcome",
    [
        *("accepted", "draining", "gone", "malformed", "signed_out", "unavailable"),
        "wrong_origin",
    ],
)
CLOSES = Counter(
    "themis_closes_total",
    "Sockets that ended, by close code; other: a code that Themis does not know.",
    "code",
)
# What the protocol knows, and what RFC 6455 gives a meaning. A page may close with any
# of 3000 to 4999, and must not be able to make a number of each.
CODES = frozenset({*CloseCode, *range(1000, 1016)})


def count_close(code: int | None) -> None:
    """Count a socket that has ended with *code*; None = without one, as 1005."""
    code = 1005 if code is None else int(code)
    CLOSES.add(str(code) if code in CODES else "other")


FRAMES = Counter(
    "themis_frames_total",
    "Frames given to the server to send, by kind: push was forwarded, state was read"
    " from the database.",
    "kind",
    ["error", "ping", "pong", "push", "restart", "state"],
)
PUSHES = Counter("themis_pushes_total", "Pushes that came for users connected here.")
COMMIT_TO_SEND = Histogram(
    "themis_commit_to_send_seconds",
    "From the stamp of a change, just before its commit, to the server's send.",
)
REPAIRS = Counter(
    "themis_repairs_total",
    "Mailboxes whose push was lost and that a check has brought up to date.",
)
CHECKS = Histogram("themis_check_seconds", "Duration of the checks of the database.")
FAILED_CHECKS = Counter("themis_failed_checks_total", "Checks that an error ended.")
WAITING = Gauge(
    "themis_waiting",
    "Committed changes that no one had stamped at the last check; at most 1,000.",
)
CANARY = Histogram(
    "themis_canary_seconds", "Round trip of a message through the broker to itself."
)
LOST_CANARIES = Counter(
    "themis_lost_canaries_total", "Messages to itself that the broker did not bring."
)
BROKER_UP = Gauge(
    "themis_broker_up", "1 while the broker brings messages, 0 while it fails."
)
PUBLISHED = Counter("themis_published_total", "Messages that the broker has taken.")
DROPPED = Counter(
    "themis_dropped_total",
    "Messages that the publisher has given up, by reason.",
    "reason",
    ["circuit_open", "error", "queue_full", "timeout"],
)
QUEUE = Gauge("themis_publisher_queue", "Messages that wait to be published.")
