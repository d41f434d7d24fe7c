"""How many were turned away, and why: a part of the traffic. The metrics are ours, Kong has none of the kind."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from prometheus_client.core import CounterMetricFamily, Metric

CONNECTIONS = (
    "worker_connections",
    "listener_connections",
    "client_connections",
    "tls_handshakes",
    "proxy_protocol",
    "proxy_protocol_timeout",
)
"""Why connections are closed before anything is asked on them."""
CUT_OFF = ("handshake_timeout", "head_timeout", "body_timeout", "send_timeout", "http2_frames", "http2_requests")
"""Why connections, or streams of HTTP/2, are cut off: who on it is too slow, or makes work for nothing."""
REQUESTS = ("request_line", "head", "fields", "body")
"""Which bound of a request is exceeded."""


class Refused:
    """``connections`` counts them by reason, ``cut_off`` those whose clients had begun; ``requests`` by limit."""

    def __init__(self) -> None:
        self.connections = dict.fromkeys(CONNECTIONS, 0)
        self.cut_off = dict.fromkeys(CUT_OFF, 0)
        self.requests = dict.fromkeys(REQUESTS, 0)

    def copy(self) -> Refused:
        """The counts as they are now."""
        copy = Refused()
        copy.connections, copy.cut_off, copy.requests = dict(self.connections), dict(self.cut_off), dict(self.requests)
        return copy

    def add(self, more: Mapping[str, Mapping[str, int]]) -> None:
        """So many more, as `document` has them."""
        for kind, counts in more.items():
            ours = getattr(self, kind)
            for reason, count in counts.items():
                ours[reason] = ours.get(reason, 0) + count

    def document(self) -> dict[str, dict[str, int]]:
        """The counts as JSON has them."""
        return {kind: dict(counts) for kind, counts in vars(self).items()}

    def collect(self) -> Iterator[Metric]:
        """The counts, for Prometheus."""
        for name, meaning, counts in (
            ("connections", "Connections closed before anything was asked on them.", self.connections),
            ("requests", "Requests beyond a limit.", self.requests),
        ):
            yield _family(f"kong_refused_{name}", meaning, counts)
        yield _family(
            "kong_cut_off_connections",
            "Connections cut off, and streams of HTTP/2, because their clients were too slow or made work for nothing.",
            self.cut_off,
        )


def _family(name: str, meaning: str, counts: Mapping[str, int]) -> Metric:
    family = CounterMetricFamily(name, meaning, labels=["reason"])
    for reason, count in counts.items():
        family.add_metric([reason], count)
    return family
