"""What Prometheus is told of the health of targets, by Kong's names: a series for each state an address may have.

A target that stands for none has the same, with an empty address, as Kong tells it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

STATES = ("healthchecks_off", "healthy", "unhealthy", "dns_error")

TargetStates = Callable[[], Iterable[tuple[str, str, str, str]]]
"""Answers upstream, target, address and state, for every address there is, and for targets without any."""


class TargetHealth(Collector):
    """All labels come from the configuration and from DNS, none from what clients send."""

    def __init__(self, states: TargetStates) -> None:
        self._states = states

    def collect(self) -> Iterator[Metric]:
        """The states as they are now: 1 for the one, 0 for the others."""
        health = GaugeMetricFamily(
            "kong_upstream_target_health",
            "Health of the targets of upstreams: 1 for the state each address is in.",
            labels=["upstream", "target", "address", "state", "subsystem"],
        )
        for upstream, target, address, state in self._states():
            for each in STATES:
                health.add_metric([upstream, target, address, each, "http"], float(each == state))
        yield health
