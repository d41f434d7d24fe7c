"""What Prometheus is told of names; these metrics are ours, Kong has none of the kind."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

STATES = ("unknown", "failed", "virtual", "fresh", "stale")


class NameMetrics(Collector):
    """``states`` answers how many names there are by state, ``questions`` how many were asked, and how many in vain."""

    def __init__(self, states: Callable[[], Mapping[str, int]], questions: Callable[[], tuple[int, int]]) -> None:
        self._states = states
        self._questions = questions

    def collect(self) -> Iterator[Metric]:
        """The counters as they are now."""
        states = self._states()
        names = GaugeMetricFamily("kong_dns_names", "Names in use, by what is known of them.", labels=["state"])
        for state in STATES:
            names.add_metric([state], states.get(state, 0))
        yield names
        asked, failed = self._questions()
        yield CounterMetricFamily("kong_dns_questions", "Questions to the resolver.", asked)
        yield CounterMetricFamily("kong_dns_failures", "Questions to the resolver that failed.", failed)
