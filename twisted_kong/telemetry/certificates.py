"""What Prometheus is told of certificates; the metric is ours, Kong has none of the kind."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector


class CertificateMetrics(Collector):
    """``found`` answers the source of each certificate, its name there, and when it ceases to hold.

    All labels come from the settings and the configuration.
    """

    def __init__(self, found: Callable[[], Iterable[tuple[str, str, float]]]) -> None:
        self._found = found

    def collect(self) -> Iterator[Metric]:
        """Those in force now."""
        family = GaugeMetricFamily(
            "kong_certificate_not_after_seconds",
            "When a certificate in force, or the first of its chain to do so, ceases to hold: seconds since 1970.",
            labels=["source", "name"],
        )
        for source, name, ends in self._found():
            family.add_metric([source, name], ends)
        yield family
