"""How late the reactor is: a timer that should fire four times a second, and how long after its time it did.

Whatever keeps the reactor from its timers keeps it from all traffic. `Beat.last` may be read from other threads.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Callable, Iterator

from prometheus_client.core import HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from twisted.internet.interfaces import IDelayedCall, IReactorTime

PERIOD = 0.25
"""Seconds from one beat to the next."""

BOUNDS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds in seconds of how late a beat was."""


class Beat(Collector):
    """Beats through ``reactor`` from `start` to `close`; ``seconds`` is a clock that is never set.

    ``on_beat`` is called at every beat with how many seconds late it was.
    """

    def __init__(self, reactor: IReactorTime, seconds: Callable[[], float] = time.monotonic) -> None:
        self._reactor = reactor
        self._seconds = seconds
        self._timer: IDelayedCall | None = None
        self._counts = [0] * (len(BOUNDS) + 1)
        self._sum = 0.0
        self.last = 0.0
        """When it beat last."""
        self.on_beat: Callable[[float], object] = lambda late: None

    def start(self) -> None:
        """Begin to beat."""
        self.last = self._seconds()
        self._timer = self._reactor.callLater(PERIOD, self._beat)

    def close(self) -> None:
        """Beat no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _beat(self) -> None:
        now = self._seconds()
        late = max(now - self.last - PERIOD, 0.0)
        self.last = now
        self._counts[bisect_left(BOUNDS, late)] += 1
        self._sum += late
        self._timer = self._reactor.callLater(PERIOD, self._beat)
        self.on_beat(late)

    def collect(self) -> Iterator[Metric]:
        """How late it was so far."""
        total = 0
        buckets: list[tuple[str, float]] = []
        for bound, count in zip((*map(str, BOUNDS), "+Inf"), self._counts, strict=True):
            total += count
            buckets.append((bound, total))
        yield HistogramMetricFamily(
            "kong_reactor_lag_seconds",
            "How late the reactor came to a timer that is due four times a second.",
            buckets=buckets,
            sum_value=self._sum,
        )
