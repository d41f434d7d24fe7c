"""What is counted of connections to origins."""

from __future__ import annotations

import re

from loopback import GET, OK, Lab
from prometheus_client import CollectorRegistry, generate_latest

from twisted_kong.telemetry.pools import PoolMetrics


def counts(lab: Lab) -> tuple[int, ...]:
    """Those of HTTP/1.1: open, idle, dialled, reused."""
    registry = CollectorRegistry()
    registry.register(PoolMetrics({"http/1.1": lab.core.pool, "h2": lab.core.streams}))
    told = re.findall(r'^kong_\w+\{protocol="http/1\.1".*\} (\S+)$', generate_latest(registry).decode(), re.MULTILINE)
    return tuple(int(float(value)) for value in told)


def test_counts() -> None:
    """Connections are counted while they are there, how often one was made, and how often one was used again."""
    lab = Lab()
    client = lab.client(GET)
    assert counts(lab) == (0, 0, 1, 0)
    origin = lab.origin()
    assert counts(lab) == (1, 0, 1, 0)
    origin.send(OK)
    assert counts(lab) == (1, 1, 1, 0)
    client.send(GET)
    assert counts(lab) == (1, 0, 1, 1)
    origin.send(OK)
    origin.close()
    assert counts(lab) == (0, 0, 1, 1)


def test_one_that_is_refused() -> None:
    """A connection that was asked for and refused has never been there."""
    lab = Lab(("10.0.0.1:80", "10.0.0.2:80"))
    lab.client(GET)
    lab.dials[0].refuse()
    lab.origin().send(OK)
    assert counts(lab) == (1, 1, 2, 0)
