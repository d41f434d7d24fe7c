"""How many were turned away, and why: a part of the traffic. The metrics are ours, Kong has none of the kind."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, Metric

CONNECTIONS = ("proxy_protocol", "proxy_protocol_timeout")
"""Why connections are closed before anything is asked on them."""


class Refused:
    """``connections`` counts them by reason."""

    def __init__(self) -> None:
        self.connections = dict.fromkeys(CONNECTIONS, 0)

    def copy(self) -> Refused:
        """The counts as they are now."""
        copy = Refused()
        copy.connections = dict(self.connections)
        return copy

    def collect(self) -> Iterator[Metric]:
        """The counts, for Prometheus."""
        connections = CounterMetricFamily(
            "kong_refused_connections", "Connections closed before anything was asked on them.", labels=["reason"]
        )
        for reason, count in self.connections.items():
            connections.add_metric([reason], count)
        yield connections
