"""What is counted of the traffic, by service and route, and how Prometheus is told.

The names and labels are those of Kong's Prometheus plugin (3.9). Counting is on the path of every request, so it is
integers in lists; `prometheus_client`, whose own counters cost more than the rest together, only writes them out. All
label values come from the configuration, and what is no longer configured goes on being told until a restart, since a
counter that vanishes looks like one that fell.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from twisted_kong.telemetry.refusals import Refused

GATEWAY_BUCKETS = (1, 2, 5, 7, 10, 15, 20, 30, 50, 75, 100, 200, 500, 750, 1000, 3000, 6000)
"""Upper bounds in milliseconds of the time that the gateway itself took (Kong's)."""
UPSTREAM_BUCKETS = (25, 50, 80, 100, 250, 400, 700, 1000, 2000, 5000, 10000, 30000, 60000)
"""The same of the time that origins took, and of the whole."""


class Histogram:
    """How many times fell below which of the ``bounds``, which are milliseconds, as is the ``sum``.

    Times are given in seconds: to make milliseconds of each takes longer than to put it into its place.
    """

    __slots__ = ("_limits", "bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[int]) -> None:
        self.bounds = bounds
        self._limits = tuple(bound / 1000 for bound in bounds)
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, seconds: float) -> None:
        """It took so long, once more."""
        self.counts[bisect_left(self._limits, seconds)] += 1
        self.sum += seconds * 1000

    def observe_all(self, times: Iterable[float]) -> None:
        """It took each of these ``times``, in seconds."""
        ordered = sorted(times)
        self.sum += sum(ordered) * 1000
        counts, below = self.counts, 0
        for number, limit in enumerate(self._limits):
            up_to = bisect_right(ordered, limit, below)
            counts[number] += up_to - below
            below = up_to
        counts[-1] += len(ordered) - below

    def copy(self) -> Histogram:
        """One that has seen the same, and no more from now on."""
        copy = Histogram(self.bounds)
        copy.counts, copy.sum = self.counts[:], self.sum
        return copy

    def add(self, other: Histogram) -> None:
        """What ``other`` has seen, with the same bounds, has been seen here as well."""
        self.counts = [ours + theirs for ours, theirs in zip(self.counts, other.counts, strict=True)]
        self.sum += other.sum

    def buckets(self) -> list[tuple[str, float]]:
        """Cumulative, as Prometheus has them: (bound, how many up to it)."""
        total = 0
        found: list[tuple[str, float]] = []
        for bound, count in zip((*(f"{bound}.0" for bound in self.bounds), "+Inf"), self.counts, strict=True):
            total += count
            found.append((bound, total))
        return found


HISTOGRAMS = ("gateway", "upstream", "total")
"""Those of a `RouteTraffic`."""


class RouteTraffic:
    """What is counted of one route to one service; both empty for what matched none."""

    __slots__ = ("gateway", "received", "requests", "sent", "total", "upstream")

    def __init__(self) -> None:
        self.requests: dict[tuple[int, bool], int] = {}
        """By status, and whether an origin answered it."""
        self.received = 0
        self.sent = 0
        """Bytes of bodies, from clients and to them."""
        self.gateway = Histogram(GATEWAY_BUCKETS)
        self.upstream = Histogram(UPSTREAM_BUCKETS)
        self.total = Histogram(UPSTREAM_BUCKETS)

    def record(
        self, status: int, gateway: float, upstream: float | None, total: float, received: int, sent: int
    ) -> None:
        """An exchange has ended after ``total`` seconds, ``gateway`` of them before anybody was asked, ``upstream``
        until an origin answered, if one did."""
        key = (status, upstream is not None)
        requests = self.requests
        requests[key] = requests.get(key, 0) + 1
        self.received += received
        self.sent += sent
        self.gateway.observe(gateway)
        self.total.observe(total)
        if upstream is not None:
            self.upstream.observe(upstream)

    def record_all(self, exchanges: Sequence[Ended]) -> None:
        """The same of many exchanges, all of them of this route."""
        _, statuses, gateway, upstream, total, received, sent = zip(*exchanges, strict=True)
        requests = self.requests
        answered = [time for time in upstream if time is not None]
        if len(answered) == len(upstream) and len(set(statuses)) == 1:  # as a rule
            requests[statuses[0], True] = requests.get((statuses[0], True), 0) + len(statuses)
        else:
            for status, time in zip(statuses, upstream, strict=True):
                key = (status, time is not None)
                requests[key] = requests.get(key, 0) + 1
        self.received += sum(received)
        self.sent += sum(sent)
        self.gateway.observe_all(gateway)
        self.total.observe_all(total)
        self.upstream.observe_all(answered)

    def copy(self) -> RouteTraffic:
        """The counts as they are now."""
        copy = RouteTraffic()
        copy.requests, copy.received, copy.sent = dict(self.requests), self.received, self.sent
        copy.gateway, copy.upstream, copy.total = self.gateway.copy(), self.upstream.copy(), self.total.copy()
        return copy

    def add(self, other: RouteTraffic) -> None:
        """What ``other`` has counted counts here as well."""
        for key, count in other.requests.items():
            self.requests[key] = self.requests.get(key, 0) + count
        self.received += other.received
        self.sent += other.sent
        for kind in HISTOGRAMS:
            getattr(self, kind).add(getattr(other, kind))

    def document(self) -> dict[str, Any]:
        """The counts as JSON has them."""
        return {
            "requests": [[*key, count] for key, count in self.requests.items()],
            "received": self.received,
            "sent": self.sent,
            **{kind: [getattr(self, kind).sum, getattr(self, kind).counts] for kind in HISTOGRAMS},
        }

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> RouteTraffic:
        """The counts that `document` wrote."""
        made = cls()
        made.requests = {(status, answered): count for status, answered, count in document["requests"]}
        made.received, made.sent = document["received"], document["sent"]
        for kind in HISTOGRAMS:
            histogram = getattr(made, kind)
            histogram.sum, histogram.counts = document[kind]
        return made


Ended = tuple[RouteTraffic, int, float, "float | None", float, int, int]
"""An exchange that has ended: its route, and what `RouteTraffic.record` is told."""

BATCH = 256
"""Exchanges that are counted together: of what each costs most is the way to its place."""
MANY = 16
"""Exchanges of a route from which on it pays to count them together."""


class Traffic(Collector):
    """The counts of all routes, and ``refused``, those of who did not come as far as that.

    What is ``pending`` has been appended there and is counted when it is looked at, or when there is a `BATCH` of it.
    """

    def __init__(self) -> None:
        self._routes: dict[tuple[str, str], RouteTraffic] = {}
        self.refused = Refused()
        self.pending: list[Ended] = []

    def settle(self) -> None:
        """Count what is pending."""
        routes: dict[RouteTraffic, list[Ended]] = {}
        for route, group in groupby(self.pending, itemgetter(0)):
            if route in routes:
                routes[route] += group
            else:
                routes[route] = list(group)
        self.pending.clear()
        for route, exchanges in routes.items():
            if len(exchanges) >= MANY:
                route.record_all(exchanges)
            else:
                for each in exchanges:
                    route.record(*each[1:])

    def of(self, service: str, route: str) -> RouteTraffic:
        """The counts of a route, by the names (or ids) of its service and its own."""
        self.settle()
        found = self._routes.get((service, route))
        if found is None:
            found = self._routes[service, route] = RouteTraffic()
        return found

    def routes(self) -> Mapping[tuple[str, str], RouteTraffic]:
        """The counts by service and route."""
        self.settle()
        return self._routes

    def add(self, other: Traffic) -> None:
        """What ``other`` has counted counts here as well."""
        for names, counted in other.routes().items():
            self.of(*names).add(counted)
        self.refused.add(other.refused.document())

    def replace(self, names: tuple[str, str], counted: RouteTraffic) -> None:
        """So much was counted of this route by now."""
        self._routes[names] = counted

    def copy(self) -> Traffic:
        """The counts as they are now."""
        self.settle()
        copy = Traffic()
        copy._routes = {names: counted.copy() for names, counted in self._routes.items()}
        copy.refused = self.refused.copy()
        return copy

    def collect(self) -> Iterator[Metric]:
        """Everything counted, for Prometheus."""
        self.settle()
        names = ["service", "route"]
        requests = CounterMetricFamily(
            "kong_http_requests",
            "Requests, by the status that clients were told and who decided it.",
            labels=[*names, "code", "source", "workspace", "consumer"],
        )
        bandwidth = CounterMetricFamily(
            "kong_bandwidth_bytes",
            "Bytes of bodies.",
            labels=[*names, "direction", "workspace", "consumer"],
        )
        for (service, route), counted in self._routes.items():
            for (status, answered), count in counted.requests.items():
                source = "service" if answered else "kong"
                requests.add_metric([service, route, str(status), source, "default", ""], count)
            bandwidth.add_metric([service, route, "ingress", "default", ""], counted.received)
            bandwidth.add_metric([service, route, "egress", "default", ""], counted.sent)
        yield requests
        yield bandwidth
        yield from self.refused.collect()
        yield self._latency(
            "kong_kong_latency_ms", "Milliseconds that the gateway itself took, before it asked an origin.", "gateway"
        )
        yield self._latency("kong_upstream_latency_ms", "Milliseconds until origins answered.", "upstream")
        yield self._latency("kong_request_latency_ms", "Milliseconds from request to end of answer.", "total")

    def _latency(self, name: str, meaning: str, kind: str) -> Metric:
        family = HistogramMetricFamily(name, meaning, labels=["service", "route", "workspace"])
        for labels, histogram in self._histograms(kind):
            family.add_metric([*labels, "default"], histogram.buckets(), histogram.sum)
        return family

    def _histograms(self, kind: str) -> Iterable[tuple[tuple[str, str], Histogram]]:
        for labels, counted in self._routes.items():
            yield labels, getattr(counted, kind)
