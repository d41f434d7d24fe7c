"""Spans on their way to a collector, by OpenTelemetry's SDK (the extra ``opentelemetry``), over OTLP and HTTP.

Whoever has spans puts them into a queue and goes on; a thread of its own takes them out and sends them. What does not
fit into the queue is dropped and counted, so that a collector that is slow or gone costs nothing but its spans.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from twisted.logger import Logger

from twisted_kong.errors import StartupError

log = Logger()

QUEUE = 8192
"""Spans that may wait."""
BATCH = 512
"""Spans that are sent together."""
INTERVAL = 1.0
"""Seconds that a span may wait before it is sent, while the collector keeps up."""
TIMEOUT = 5.0
"""Seconds for a collector to take a batch, attempts to send it again included."""


class Span(NamedTuple):
    """One span: ids in hexadecimal, ``parent`` empty where nobody called; times in seconds since the epoch; ``kind`` is
    ``server``, ``client`` or ``internal``; ``error`` says in words what went wrong, if anything did."""

    name: str
    trace_id: bytes
    span_id: bytes
    parent: bytes
    began: float
    ended: float
    kind: str
    attributes: Mapping[str, Any]
    error: str | None


Send = Callable[[Sequence[Span]], bool]
"""Sends spans, and answers whether they have arrived. May take as long as it takes."""


class Exporter(Collector):
    """Sends spans by ``send``, in a thread that `start` starts; ``interrupt`` makes that give up what it is at."""

    def __init__(self, send: Send, interrupt: Callable[[], object] = lambda: None) -> None:
        self._send = send
        self._interrupt = interrupt
        self._waiting: deque[Span] = deque()
        self._wake = threading.Event()
        self._ending = False
        self._failing = False
        self._thread = threading.Thread(target=self._work, name="spans", daemon=True)
        self.sent = 0
        """Spans that have arrived."""
        self.dropped = 0
        """Spans for which there was no room."""
        self.failed = 0
        """Spans that could not be delivered."""

    def start(self) -> None:
        """Begin to send."""
        self._thread.start()

    def offer(self, spans: Sequence[Span]) -> None:
        """Have these sent, all of them or, where there is no room for them, none. Never waits."""
        waiting = self._waiting
        if len(waiting) + len(spans) > QUEUE or self._ending:
            self.dropped += len(spans)
            return
        waiting.extend(spans)
        if len(waiting) >= BATCH:
            self._wake.set()

    def end(self) -> None:
        """Send what is there, and then no more; `ended` says when that is done."""
        self._ending = True
        self._wake.set()

    @property
    def ended(self) -> bool:
        """Whether nothing is being sent any more."""
        return not self._thread.is_alive()

    def give_up(self) -> None:
        """Nobody waits any longer for what has not been sent."""
        self._waiting.clear()
        self._interrupt()

    def _work(self) -> None:
        while not self._ending or self._waiting:
            if len(self._waiting) < BATCH:
                self._wake.wait(INTERVAL)
            self._wake.clear()
            while self._waiting:
                self._send_some()
                if len(self._waiting) < BATCH and not self._ending:
                    break

    def _send_some(self) -> None:
        batch: list[Span] = []
        while self._waiting and len(batch) < BATCH:
            try:
                batch.append(self._waiting.popleft())
            except IndexError:  # given up meanwhile
                break
        try:
            arrived = self._send(batch)
        except Exception:
            log.failure("sending spans failed")
            arrived = False
        if arrived:
            self.sent += len(batch)
        else:
            self.failed += len(batch)
            if not self._failing:
                log.warn("spans are not delivered: the collector does not take them")
        self._failing = not arrived

    def collect(self) -> Iterator[Metric]:
        """What became of spans."""
        spans = CounterMetricFamily(
            "kong_tracing_spans", "Spans, by what became of them: sent, dropped or failed.", labels=["outcome"]
        )
        for outcome in ("sent", "dropped", "failed"):
            spans.add_metric([outcome], getattr(self, outcome))
        yield spans
        yield GaugeMetricFamily("kong_tracing_queue", "Spans that wait to be sent.", len(self._waiting))


def make_exporter(endpoint: str, resource: Mapping[str, str]) -> Exporter:
    """An exporter to the collector at the URL ``endpoint``; ``resource`` says whose spans they are.

    :raise StartupError: OpenTelemetry is not installed.
    """
    try:
        from twisted_kong.telemetry.otlp import Otlp
    except ImportError as error:
        raise StartupError(
            f"tracing_endpoint: expected OpenTelemetry beside it, pip install 'twisted-kong[opentelemetry]': {error}"
        ) from None
    # What the SDK has to say of a collector that is gone it says for every batch; we say it once.
    logging.getLogger("opentelemetry").addHandler(logging.NullHandler())
    logging.getLogger("opentelemetry").propagate = False
    otlp = Otlp(endpoint, resource, TIMEOUT)
    return Exporter(otlp.send, otlp.close)
