"""What is counted of the traffic, and what Prometheus is told of it."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest

from twisted_kong.telemetry.traffic import GATEWAY_BUCKETS, UPSTREAM_BUCKETS, Histogram, Traffic


def lines(traffic: Traffic) -> list[str]:
    registry = CollectorRegistry()
    registry.register(traffic)
    return [line for line in generate_latest(registry).decode().splitlines() if not line.startswith("#")]


def test_requests_by_status() -> None:
    """Requests are counted by service, route, status, and whether an origin or the gateway answered."""
    traffic = Traffic()
    for status, upstream in ((200, 0.01), (200, 0.02), (503, None), (503, 0.01)):
        traffic.of("orders", "all").record(status, 0.001, upstream, 0.05, 0, 10)
    labels = 'consumer="",route="all",service="orders",workspace="default"'
    counted = sorted(line for line in lines(traffic) if line.startswith("kong_http_requests_total"))
    expected = [("200", "service", 2), ("503", "kong", 1), ("503", "service", 1)]
    for line, (code, source, count) in zip(counted, expected, strict=True):
        name, _, value = line.partition("} ")
        assert sorted(name.partition("{")[2].split(",")) == sorted(
            [*labels.split(","), f'code="{code}"', f'source="{source}"']
        )
        assert float(value) == count


def test_bytes() -> None:
    """Bodies are counted in both directions."""
    traffic = Traffic()
    traffic.of("orders", "all").record(200, 0.001, 0.01, 0.02, 7, 100)
    traffic.of("orders", "all").record(200, 0.001, 0.01, 0.02, 0, 1)
    told = {line.partition('direction="')[2].partition('"')[0]: line for line in lines(traffic) if "bandwidth" in line}
    assert float(told["ingress"].rpartition(" ")[2]) == 7
    assert float(told["egress"].rpartition(" ")[2]) == 101


def test_latencies() -> None:
    """The gateway's own time, that of an origin which answered, and the whole are counted apart."""
    counted = Traffic().of("orders", "all")
    counted.record(200, 0.125, 0.5, 0.75, 0, 0)
    counted.record(404, 0.25, None, 0.25, 0, 0)
    assert (counted.total.sum, counted.upstream.sum, counted.gateway.sum) == (1000, 500, 375)


SECONDS = st.floats(0, 100) | st.sampled_from([bound / 1000 for bound in (*GATEWAY_BUCKETS, *UPSTREAM_BUCKETS)])
EXCHANGES = st.lists(
    st.tuples(
        st.integers(0, 3),
        st.sampled_from([200, 404, 503]),
        SECONDS,
        st.none() | SECONDS,
        SECONDS,
        st.integers(0, 9),
        st.integers(0, 9),
    ),
    max_size=100,
)


@given(EXCHANGES)
def test_counted_together(exchanges: list[tuple[int, int, float, float | None, float, int, int]]) -> None:
    """Exchanges that are counted together are counted as they are one by one."""
    together, alone = Traffic(), Traffic()
    for each in exchanges:
        together.pending.append((together.of("s", str(each[0])), *each[1:]))
        alone.of("s", str(each[0])).record(*each[1:])
    mine, yours = lines(together), lines(alone)
    assert together.pending == []
    for one, other in zip(mine, yours, strict=True):
        assert one.rpartition(" ")[0] == other.rpartition(" ")[0]
        assert math.isclose(float(one.rpartition(" ")[2]), float(other.rpartition(" ")[2]))


@given(st.lists(st.floats(0, 10)))
def test_histogram(values: list[float]) -> None:
    """A bucket holds everything up to its bound, the last one everything."""
    histogram = Histogram(GATEWAY_BUCKETS)
    for value in values:
        histogram.observe(value)
    for bound, count in histogram.buckets():
        assert count == sum(value <= float(bound) / 1000 for value in values)
