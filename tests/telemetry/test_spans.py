"""Spans on their way out: nobody waits for them, and what becomes of them is counted."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from twisted.logger import capturedLogs

from twisted_kong.telemetry.spans import BATCH, QUEUE, Exporter, Span

SPAN = Span("kong", b"1" * 32, b"2" * 16, b"", 1.0, 2.0, "server", {}, None)


class Collector:
    """Takes batches when the test lets it, and answers what the test says."""

    def __init__(self, *, arrives: bool = True) -> None:
        self.batches: list[int] = []
        self.arrives = arrives
        self.go_on = threading.Event()
        self.asked = threading.Event()

    def __call__(self, spans: Sequence[Span]) -> bool:
        self.asked.set()
        self.go_on.wait(20)
        self.batches.append(len(spans))
        return self.arrives


def finish(exporter: Exporter) -> None:
    """Wait until all has been sent."""
    exporter.end()
    exporter._thread.join(20)
    assert exporter.ended


def test_all_arrive() -> None:
    """All that is offered is sent, in batches, also what is there in the end."""
    collector = Collector()
    collector.go_on.set()
    exporter = Exporter(collector)
    exporter.start()
    for _ in range(100):
        exporter.offer([SPAN] * 10)
    finish(exporter)
    assert (sum(collector.batches), exporter.sent, exporter.dropped, exporter.failed) == (1000, 1000, 0, 0)
    assert max(collector.batches) <= BATCH


def test_collector_that_does_not_keep_up() -> None:
    """While the collector takes its time the queue fills; what does not fit is dropped at once, and counted."""
    collector = Collector()
    exporter = Exporter(collector)
    exporter.start()
    exporter.offer([SPAN] * BATCH)
    assert collector.asked.wait(20)
    for _ in range(QUEUE // 8 + 5):
        exporter.offer([SPAN] * 8)
    assert exporter.dropped == 5 * 8
    collector.go_on.set()
    finish(exporter)
    assert exporter.sent == BATCH + QUEUE


def test_collector_that_is_gone() -> None:
    """Spans that cannot be delivered are counted, and told once until others arrive."""
    collector = Collector(arrives=False)
    collector.go_on.set()
    exporter = Exporter(collector)
    exporter.offer([SPAN] * 3 * BATCH)
    with capturedLogs() as events:
        exporter.start()
        finish(exporter)
    assert (exporter.sent, exporter.failed) == (0, 3 * BATCH)
    assert len(events) == 1


def test_giving_up() -> None:
    """Who gives up interrupts what is being sent, and the rest is not sent."""
    collector = Collector(arrives=False)
    exporter = Exporter(collector, collector.go_on.set)
    exporter.offer([SPAN] * 2 * BATCH)
    exporter.start()
    assert collector.asked.wait(20)
    exporter.end()
    exporter.give_up()
    exporter._thread.join(20)
    assert exporter.ended
    assert len(collector.batches) == 1


def test_nothing_after_the_end() -> None:
    """What is offered after the end is dropped."""
    collector = Collector()
    collector.go_on.set()
    exporter = Exporter(collector)
    exporter.start()
    finish(exporter)
    exporter.offer([SPAN])
    assert exporter.dropped == 1
