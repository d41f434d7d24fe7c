"""How many failed logins are too many."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twisted_kong.admin.logins import FailedLogins


def test_limit() -> None:
    """As many as the limit at once; then one for each period's share, and what is told to wait for is enough."""
    failed = FailedLogins(10, period=60.0)
    assert [failed.failed("10.0.0.1", 0.0) for _ in range(10)] == [0.0] * 10
    assert failed.failed("10.0.0.1", 0.0) == pytest.approx(6.0)
    assert failed.failed("10.0.0.1", 5.0) == pytest.approx(1.0)
    assert failed.failed("10.0.0.1", 6.0) == 0.0
    assert failed.failed("10.0.0.1", 6.0) == pytest.approx(6.0)


def test_addresses_are_apart() -> None:
    """One address does not count for another, but all of an IPv6 network of 64 bits count for each other."""
    failed = FailedLogins(1)
    assert failed.failed("10.0.0.1", 0.0) == 0.0
    assert failed.failed("10.0.0.2", 0.0) == 0.0
    assert failed.failed("::ffff:10.0.0.2", 0.0) > 0.0
    assert failed.failed("2001:db8::1", 0.0) == 0.0
    assert failed.failed("2001:db8::2:1%eth0", 0.0) > 0.0
    assert failed.failed("2001:db8:0:1::1", 0.0) == 0.0
    assert failed.failed("unix:", 0.0) == 0.0
    assert failed.failed("unix:", 0.0) > 0.0


def test_no_limit() -> None:
    """Without a limit nothing is too much, and nothing is remembered."""
    failed = FailedLogins(0)
    assert {failed.failed("10.0.0.1", 0.0) for _ in range(99)} == {0.0}
    assert len(failed) == 0


def test_memory() -> None:
    """However many addresses fail, a bounded number is remembered: those that failed last."""
    failed = FailedLogins(1, room=16)
    for number in range(1000):
        failed.failed(f"10.0.{number // 256}.{number % 256}", 0.0)
    assert len(failed) == 16
    assert failed.failed("10.0.3.231", 0.0) > 0.0
    assert failed.failed("10.0.0.0", 0.0) == 0.0


@given(st.lists(st.floats(0, 10), max_size=80))
def test_rate(pauses: list[float]) -> None:
    """In no stretch of time more failures go unpunished than the limit and what the time has given back."""
    failed, now, good = FailedLogins(5, period=30.0), 0.0, []
    for pause in pauses:
        now += pause
        if not failed.failed("10.0.0.1", now):
            good.append(now)
    for first in range(len(good)):
        for last in range(first, len(good)):
            assert last - first + 1 <= 5 + (good[last] - good[first]) / 6 + 1e-6
