"""All that is measured, written aside of the traffic."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred

from twisted_kong.telemetry.measurements import Measurements
from twisted_kong.telemetry.node import NodeMetrics
from twisted_kong.telemetry.traffic import Traffic


class Later:
    """Work that is done when the test says so."""

    def __init__(self) -> None:
        self._work: Callable[[], Any]
        self._done: Deferred[Any] = Deferred()

    def __call__(self, work: Callable[[], Any]) -> Deferred[Any]:
        self._work = work
        return self._done

    def go_on(self) -> None:
        self._done.callback(self._work())


def values(text: str) -> dict[str, float]:
    """By series, with its labels."""
    lines = [line.rpartition(" ") for line in text.splitlines() if not line.startswith("#")]
    return {series: float(value) for series, _, value in lines}


def test_as_it_was_when_asked() -> None:
    """What is counted while the text is being written does not get into it, not even in part."""
    traffic, later, connections = Traffic(), Later(), {"connections_active": 1, "total_requests": 2}
    traffic.of("orders", "all").record(200, 0.25, 0.5, 0.75, 7, 100)
    measurements = Measurements(traffic, [NodeMetrics("id", "3.9", lambda: connections)], later)
    told: list[str] = []
    _ = Deferred.fromCoroutine(measurements.text(reachable=True)).addCallback(told.append)
    assert told == []
    connections["total_requests"] = 3
    traffic.of("orders", "all").record(200, 0.25, 0.5, 0.75, 7, 100)
    traffic.of("bills", "all").record(404, 0.25, None, 0.25, 0, 0)
    later.go_on()
    found = values(told[0])
    assert {value for series, value in found.items() if series.startswith("kong_http_requests_total")} == {1}
    assert {value for series, value in found.items() if "latency_ms_count" in series} == {1}
    assert found['kong_nginx_requests_total{node_id="id",subsystem="http"}'] == 2
    assert not any("bills" in series for series in found)


def test_everything_is_told() -> None:
    """Noted and written, the traffic is what it was: by status, bytes and latencies."""
    traffic = Traffic()
    traffic.of("orders", "all").record(200, 0.25, 0.5, 0.75, 7, 100)
    told: list[str] = []
    _ = Deferred.fromCoroutine(Measurements(traffic).text(reachable=True)).addCallback(told.append)
    labels = 'route="all",service="orders",workspace="default"'
    found = values(told[0])
    assert [found[f"kong_{kind}_latency_ms_sum{{{labels}}}"] for kind in ("kong", "upstream", "request")] == [
        250,
        500,
        750,
    ]
    assert sorted(value for series, value in found.items() if "bandwidth" in series) == [7, 100]
