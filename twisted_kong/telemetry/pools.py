"""What Prometheus is told of connections to origins; these metrics are ours, Kong has none of the kind."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Protocol

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector


class Counted(Protocol):
    """A pool of connections."""

    @property
    def connections(self) -> int:
        """How many there are."""

    @property
    def idle(self) -> int:
        """How many of them have nothing to do."""

    @property
    def dialled(self) -> int:
        """How many were asked for so far."""

    @property
    def reused(self) -> int:
        """How often a request went over one that was there already."""


class PoolMetrics(Collector):
    """``pools`` are those of each protocol."""

    def __init__(self, pools: Mapping[str, Counted]) -> None:
        self._pools = pools

    def collect(self) -> Iterator[Metric]:
        """The counts as they are now."""
        now = GaugeMetricFamily(
            "kong_upstream_connections",
            "Connections to origins: all, or idle ones.",
            labels=["protocol", "state"],
        )
        dialled = CounterMetricFamily(
            "kong_upstream_connections_dialled", "Connections to origins that were asked for.", labels=["protocol"]
        )
        reused = CounterMetricFamily(
            "kong_upstream_connections_reused",
            "How often a request went over a connection that was there already.",
            labels=["protocol"],
        )
        for protocol, pool in self._pools.items():
            now.add_metric([protocol, "open"], pool.connections)
            now.add_metric([protocol, "idle"], pool.idle)
            dialled.add_metric([protocol], pool.dialled)
            reused.add_metric([protocol], pool.reused)
        yield from (now, dialled, reused)
