"""The health of targets as Prometheus reads it."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, generate_latest

from twisted_kong.telemetry.health import TargetHealth


def test_series() -> None:
    """Every address has a series for each state, 1 for its own; so has a target without any."""
    registry = CollectorRegistry()
    states = [
        ("u", "a.test:80", "10.0.0.1:80", "healthy"),
        ("u", "a.test:80", "10.0.0.2:80", "unhealthy"),
        ("v", "b.test:80", "", "dns_error"),
        ("w", "10.0.0.3:80", "10.0.0.3:80", "healthchecks_off"),
    ]
    registry.register(TargetHealth(lambda: states))
    lines = [line for line in generate_latest(registry).decode().splitlines() if not line.startswith("#")]
    assert len(lines) == len(set(lines)) == 4 * 4
    ones = {line.split("{")[1].split("}")[0] for line in lines if line.endswith(" 1.0")}
    assert ones == {
        'address="10.0.0.1:80",state="healthy",subsystem="http",target="a.test:80",upstream="u"',
        'address="10.0.0.2:80",state="unhealthy",subsystem="http",target="a.test:80",upstream="u"',
        'address="",state="dns_error",subsystem="http",target="b.test:80",upstream="v"',
        'address="10.0.0.3:80",state="healthchecks_off",subsystem="http",target="10.0.0.3:80",upstream="w"',
    }
