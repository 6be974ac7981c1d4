"""What balancers, orchestrators and Prometheus ask a server process.

Answered in front of Django: no middleware redirects them, refuses their host or reads a
session, and no thread that is busy makes a process look dead.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable, Iterator
from http import HTTPStatus
from typing import Any

from themis import mailbox

from .canary import probe
from .consumers import own_hub
from .hub import Hub
from .metrics import METRICS, Counter, Gauge, Histogram, bucket_counts
from .readers import DatabaseLostError

prometheus: Any = None
with contextlib.suppress(ImportError):  # the extra `metrics`
    import prometheus_client.core

    prometheus = prometheus_client

# How long the database may take to answer.
DATABASE_SECONDS = 2

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Application = Callable[[dict[str, Any], Receive, Send], Awaitable[None]]


class Operations:
    """
    An ASGI application that answers for its process, and hands on all the rest.

    ============ ===================================================================
    ``/healthz`` 200 as long as the event loop runs, whatever else is broken.
    ``/readyz``  200 or 503, and JSON that says which part is not ready: the
                 database, the broker, or this process, which is ending.
    ``/metrics`` The numbers of `metrics`, in Prometheus' text format; 501 without
                 ``prometheus-client``. For the inner network only.
    ============ ===================================================================

    Args:
        application: Takes every other request.
        prefix: What stands before the three paths.
    """

    def __init__(self, application: Any, *, prefix: str = "") -> None:
        self._application = application
        self._answers: dict[str, Callable[[], Awaitable[_Answer]]] = {
            f"{prefix}/healthz": _health,
            f"{prefix}/readyz": self._readiness,
            f"{prefix}/metrics": _metrics,
        }
        self._asking: asyncio.Task[dict[str, str]] | None = None

    async def __call__(
        self, scope: dict[str, Any], receive: Receive, send: Send
    ) -> None:
        """Answer, if it is one of the three paths."""
        answer = self._answers.get(scope.get("path", ""))
        if scope["type"] != "http" or answer is None:
            await self._application(scope, receive, send)
            return
        if scope["method"] not in {"GET", "HEAD"}:
            text = _Answer(HTTPStatus.METHOD_NOT_ALLOWED, b"GET or HEAD only.\n")
            await text.send(scope["method"], send)
            return
        await (await answer()).send(scope["method"], send)

    async def _readiness(self) -> _Answer:
        # However many ask at once, the database and the broker are asked once.
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(_ask(own_hub()))
        parts = await asyncio.shield(self._asking)
        ready = all(part in {"ok", "none"} for part in parts.values())
        status = HTTPStatus.OK if ready else HTTPStatus.SERVICE_UNAVAILABLE
        body = json.dumps({"ready": ready, **parts}).encode() + b"\n"
        return _Answer(status, body, b"application/json")


class _Answer:
    def __init__(
        self,
        status: HTTPStatus,
        body: bytes,
        content_type: bytes = b"text/plain; charset=utf-8",
    ) -> None:
        self.status = status
        self.body = body
        self.content_type = content_type

    async def send(self, method: str, send: Send) -> None:
        headers = [
            (b"content-type", self.content_type),
            (b"content-length", str(len(self.body)).encode()),
            (b"cache-control", b"no-store"),
        ]
        if self.status == HTTPStatus.METHOD_NOT_ALLOWED:
            headers.append((b"allow", b"GET, HEAD"))
        status = int(self.status)
        await send(
            {"type": "http.response.start", "status": status, "headers": headers}
        )
        body = b"" if method == "HEAD" else self.body
        await send({"type": "http.response.body", "body": body})


async def _health() -> _Answer:
    return _Answer(HTTPStatus.OK, b"ok\n")


# The database and the broker


async def _ask(hub: Hub) -> dict[str, str]:
    """Return how each part is: "ok", "none", or what is wrong with it."""
    database, broker = await asyncio.gather(_ask_database(hub), _ask_broker(hub))
    process = "draining" if hub.draining else "ok"
    return {"process": process, "database": database, "broker": broker}


async def _ask_database(hub: Hub) -> str:
    # A thread that hangs can't be ended; the next one who asks waits for the same.
    if hub.probing is None or hub.probing.done():
        hub.probing = asyncio.create_task(hub.read(mailbox.probe))
    done, _ = await asyncio.wait([hub.probing], timeout=DATABASE_SECONDS)
    if not done:
        return "TimeoutError"
    error = hub.probing.exception()
    if isinstance(error, DatabaseLostError):
        error = error.__cause__ or error
    # The text of an error may name hosts and users: not for whoever asks.
    return "ok" if error is None else type(error).__name__


async def _ask_broker(hub: Hub) -> str:
    if hub.broker.is_local:
        return "none"
    try:
        await probe(hub)
    except Exception as error:  # noqa: BLE001 -- layers raise what they like
        return type(error).__name__
    return "ok"


# Prometheus


class _Collector:
    """`METRICS` as prometheus-client wants them, at the moment it asks."""

    def describe(self) -> list[Any]:
        return []

    def collect(self) -> Iterator[Any]:
        for metric in METRICS.values():
            labels = [metric.label] if metric.label else []
            match metric:
                case Counter():
                    counter = prometheus.core.CounterMetricFamily(
                        metric.name, metric.meaning, labels=labels
                    )
                    for value, count in list(metric.values.items()):
                        counter.add_metric([value] if labels else [], count)
                    yield counter
                case Gauge():
                    yield prometheus.core.GaugeMetricFamily(
                        metric.name, metric.meaning, value=metric.read()
                    )
                case Histogram():
                    yield prometheus.core.HistogramMetricFamily(
                        metric.name,
                        metric.meaning,
                        buckets=bucket_counts(metric),
                        sum_value=metric.sum,
                    )


if prometheus is not None:
    prometheus.REGISTRY.register(_Collector())


async def _metrics() -> _Answer:
    if prometheus is None:
        text = b"Not available: install prometheus-client (django-themis[metrics]).\n"
        return _Answer(HTTPStatus.NOT_IMPLEMENTED, text)
    return _Answer(
        HTTPStatus.OK,
        prometheus.generate_latest(),
        prometheus.CONTENT_TYPE_LATEST.encode(),
    )
