"""What Prometheus is told of the node itself, by Kong's names."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

_CONNECTIONS = "connections_"


class NodeMetrics(Collector):
    """``counters`` answers those of ``GET /status``."""

    def __init__(self, id: str, version: str, counters: Callable[[], Mapping[str, int]]) -> None:
        self._id = id
        self._version = version
        self._counters = counters

    def collect(self) -> Iterator[Metric]:
        """The counters as they are now."""
        counters = self._counters()
        info = GaugeMetricFamily("kong_node_info", "Which node this is.", labels=["node_id", "version"])
        info.add_metric([self._id, self._version], 1)
        yield info
        connections = GaugeMetricFamily(
            "kong_nginx_connections_total",
            "Connections of clients, by what they do.",
            labels=["node_id", "subsystem", "state"],
        )
        for name, count in counters.items():
            if name.startswith(_CONNECTIONS):
                connections.add_metric([self._id, "http", name.removeprefix(_CONNECTIONS)], count)
        yield connections
        requests = CounterMetricFamily(
            "kong_nginx_requests", "Requests of all listeners.", labels=["node_id", "subsystem"]
        )
        requests.add_metric([self._id, "http"], counters["total_requests"])
        yield requests
