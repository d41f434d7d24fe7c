"""What Prometheus is told of the node itself, by Kong's names."""

from __future__ import annotations

import gc
import resource
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

_CONNECTIONS = "connections_"


class Garbage(Collector):
    """What Python's collector of garbage does, by the names that `prometheus_client` has for it."""

    def collect(self) -> Iterator[Metric]:
        """The counters of each generation as they are now; the oldest ones are those that stop all else."""
        told = {
            "python_gc_collections": ("collections", "Collections of garbage."),
            "python_gc_objects_collected": ("collected", "Objects that were garbage."),
            "python_gc_objects_uncollectable": ("uncollectable", "Objects that were garbage and could not be freed."),
        }
        for name, (field, meaning) in told.items():
            family = CounterMetricFamily(name, meaning, labels=["generation"])
            for generation, counted in enumerate(gc.get_stats()):
                family.add_metric([str(generation)], counted[field])
            yield family


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


def resident_memory() -> int:
    """Bytes of memory this process occupies; the most it ever did where the system tells no more."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
