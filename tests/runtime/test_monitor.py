"""Probes: who is sent one and when, how many are under way, and that nobody is stuck."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from health_world import HANGS, ILL, WELL, HealthWorld
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.logger import capturedLogs

from twisted_kong.model.traffic import Outcome
from twisted_kong.runtime.monitor import GRAIN

A, B, C = "10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"


def active(interval: float = 5, successes: int = 1, failures: int = 1, **fields: Any) -> dict[str, Any]:
    """Healthchecks that probe both groups, where everything counts."""
    unhealthy = dict.fromkeys(("http_failures", "tcp_failures", "timeouts"), failures)
    checks = {
        "healthy": {"interval": interval, "successes": successes},
        "unhealthy": {"interval": interval, **unhealthy},
        **fields,
    }
    return {"active": checks}


def test_interval() -> None:
    """A peer is probed once in each interval, the first time about one interval after it came."""
    world = HealthWorld()
    world.target(world.upstream(healthchecks=active(5)), A)
    world.run(52)
    times = world.probed(A)
    assert 2.5 <= times[0] <= 7.5 + GRAIN + 0.05
    assert len(times) in (9, 10)
    for earlier, later in pairwise(times):
        assert abs(later - earlier - 5) < 0.11


def test_spread() -> None:
    """The probes of many peers are spread over the interval: they do not come in rounds."""
    world = HealthWorld()
    upstream = world.upstream(healthchecks=active(10, concurrency=1000))
    for number in range(200):
        world.target(upstream, f"10.0.1.{number}:80")
    world.run(40)
    by_second = [sum(second <= when < second + 1 for when, _ in world.probes) for second in range(20, 30)]
    assert sum(by_second) == 200
    assert max(by_second) < 50


def test_groups() -> None:
    """The healthy and the unhealthy have intervals of their own; an interval of 0 means no probes."""
    world = HealthWorld()
    checks = active(successes=2)
    checks["active"]["healthy"]["interval"] = 10
    checks["active"]["unhealthy"]["interval"] = 1
    upstream = world.upstream(healthchecks=checks)
    world.target(upstream, A)
    world.says[A] = lambda: ILL
    while world.healths()[A]:
        world.run(0.05)
    assert len(world.probed(A)) == 1
    assert 5 <= world.clock.seconds() <= 15.1
    world.run(10)
    assert 9 <= len(world.probed(A)) - 1 <= 10
    checks["active"]["unhealthy"]["interval"] = 0
    world.upstream(healthchecks=checks)
    seen = len(world.probes)
    world.run(60)
    assert len(world.probes) == seen


def test_nobody_else() -> None:
    """Without a weight, without intervals, or once it is deleted, nobody is probed."""
    world = HealthWorld()
    upstream = world.upstream(healthchecks=active(1))
    world.target(upstream, A, weight=0)
    off = world.upstream("off")
    world.target(off, B)
    gone = world.target(upstream, C)
    world.run(5)
    assert {address for _, address in world.probes} == {C}
    world.delete(gone)
    seen = len(world.probes)
    world.run(10)
    assert len(world.probes) == seen
    world.target(upstream, A, weight=1)
    world.run(5)
    assert world.probed(A)
    world.delete(upstream)
    assert (world.monitor.watched, len(world.monitor.probings)) == (0, 1)


def test_skipped_while_one_runs() -> None:
    """A peer whose probe hangs is not sent another meanwhile; the others are not kept waiting."""
    world = HealthWorld()
    upstream = world.upstream(healthchecks=active(1, timeout=4.5, concurrency=2))
    world.target(upstream, A)
    world.target(upstream, B)
    world.says[A] = lambda: HANGS
    world.run(30)
    assert 5 <= len(world.probed(A)) <= 7
    assert 28 <= len(world.probed(B)) <= 30


@given(st.integers(1, 4), st.integers(1, 6), st.integers(0, 100))
@settings(max_examples=25, deadline=None)
def test_bounds(concurrency: int, sockets: int, seed: int) -> None:
    """No more are under way than ``concurrency`` of an upstream and the sockets of all; yet everybody has a turn."""
    world = HealthWorld(seed, sockets)
    upstreams = [world.upstream(name, healthchecks=active(4, timeout=0.5, concurrency=concurrency)) for name in "uvw"]
    addresses = [f"10.0.{one}.{two}:80" for one in range(3) for two in range(4)]
    for address in addresses:
        world.target(upstreams[int(address.split(".")[2])], address)
        world.says[address] = lambda: HANGS
    for _ in range(600):
        world.clock.advance(0.05)
        assert world.monitor.running <= sockets
        assert all(len(each.running) <= concurrency for each in world.monitor.probings)
    assert {address for _, address in world.probes} == set(addresses)


def test_timeout() -> None:
    """Who does not answer in time has timed out, and is probed again."""
    world = HealthWorld()
    world.target(world.upstream(healthchecks=active(2, failures=2, timeout=1)), A)
    world.says[A] = lambda: HANGS
    world.run(8)
    assert world.healths() == {A: False}
    transitions = world.peers()[A].health.transitions
    assert transitions is not None
    assert [each.outcome.failure for each in transitions[-1].evidence] == ["timeout"] * 2
    world.says[A] = lambda: WELL
    world.run(4)
    assert world.healths() == {A: True}


statuses = st.lists(st.sampled_from([200, 302, 301, 403, 500, 404, None]), max_size=30)


@given(statuses, st.integers(1, 5), st.integers(1, 3), st.integers(0, 1000))
@settings(max_examples=60, deadline=None)
def test_nobody_is_stuck(history: list[int | None], successes: int, failures: int, seed: int) -> None:
    """Whatever was said before, a peer that answers well is healthy within ``successes`` intervals and one.

    Statuses in neither list, hanging and refusals among it.
    """
    world = HealthWorld(seed)
    world.target(world.upstream(healthchecks=active(5, successes, failures, timeout=1)), A)
    answers = iter(history)
    world.says[A] = lambda: Outcome(None, found) if (found := next(answers, 200)) is not None else HANGS
    world.run(5 * len(history) + 2.5)
    world.says[A] = lambda: WELL
    world.run(5 * (successes + 1) + 1)  # the one second is what the last probe that hangs may take
    assert world.healths() == {A: True}


@given(st.lists(st.sampled_from([301, 403]), min_size=1, max_size=5), st.integers(2, 4))
@settings(max_examples=20, deadline=None)
def test_neither_list(neither: list[int], failures: int) -> None:
    """A status in neither list resets no counter either: failures before and after it add up."""
    world = HealthWorld()
    world.target(world.upstream(healthchecks=active(1, 1, failures)), A)
    answers = iter([500] * (failures - 1) + neither)
    world.says[A] = lambda: Outcome(None, next(answers, 500))
    world.run(failures + len(neither) + 2)
    assert world.healths() == {A: False}


def test_immediate_answers() -> None:
    """A checker that knows at once does not exhaust the stack, however many wait in line."""
    world = HealthWorld()
    upstream = world.upstream(healthchecks=active(1, concurrency=1))
    for number in range(1500):
        world.target(upstream, f"10.1.{number // 250}.{number % 250}:80")
    world.run(5, step=1)
    assert len({address for _, address in world.probes}) == 1500


def test_names() -> None:
    """Every address of a target that is a name is probed by itself."""
    world = HealthWorld()
    world.names["a.test"] = "10.0.0.9"
    world.target(world.upstream(healthchecks=active(1)), "a.test:80")
    world.says["10.0.0.9:80"] = lambda: ILL
    world.run(3)
    assert {address for _, address in world.probes} == {"10.0.0.9:80"}
    assert world.healths() == {"10.0.0.9:80": False}


def test_names_that_do_not_hold() -> None:
    """Where a name's addresses hold for one request only it is asked for each probe; no answer says nothing."""
    world = HealthWorld()
    world.names["a.test"] = "10.0.0.9"
    world.ttl = 0
    world.target(world.upstream(healthchecks=active(1)), "a.test:80")
    world.run(3)
    assert {address for _, address in world.probes} == {"10.0.0.9:80"}
    seen = len(world.probes)
    world.names["a.test"] = "10.0.0.8"
    world.run(3)
    assert {address for _, address in world.probes[seen + 1 :]} == {"10.0.0.8:80"}
    assert world.healths() == {"a.test:80": True}
    seen = len(world.probes)
    del world.names["a.test"]
    with capturedLogs():
        world.run(3)
    assert len(world.probes) <= seen + 1
    assert all(world.healths().values())


@pytest.mark.parametrize("late", [True, False])
def test_failing_checker(late: bool) -> None:
    """A checker that fails is logged; its peers are as before, and are probed again."""
    world = HealthWorld()
    world.target(world.upstream(healthchecks=active(1)), A)
    waiting: list[Deferred[Outcome]] = []

    def fail() -> Outcome | None:
        if late:
            world.clock.callLater(0.1, lambda: waiting.pop().errback(ZeroDivisionError()))
            return HANGS
        raise ZeroDivisionError

    world.says[A] = fail
    if late:
        catch(world, waiting)
    with capturedLogs() as events:
        world.run(6)
    failures = [event for event in events if event.get("log_failure")]
    assert len(failures) == len(world.probes) >= 4
    assert world.healths() == {A: True}


def catch(world: HealthWorld, waiting: list[Deferred[Outcome]]) -> None:
    """Keep in ``waiting`` what the scripted checkers wait for."""
    (probing,) = world.monitor.probings
    checker = probing.checker
    assert checker is not None
    check = checker.check

    class Caught:
        def check(self, probe: Any) -> Any:
            waiting.append(check(probe))  # type: ignore[arg-type]  # what ours answers
            return waiting[-1]

    probing.checker = Caught()  # type: ignore[assignment]  # a double that provides what is used


def test_closed() -> None:
    """After the end no timer is left, and nobody is told anything."""
    world = HealthWorld()
    world.target(world.upstream(healthchecks=active(1, timeout=10)), A)
    world.says[A] = lambda: HANGS
    world.run(2)
    assert world.monitor.running == 1
    world.monitor.close()
    assert world.monitor.running == 0
    assert not world.clock.getDelayedCalls()


def test_failing_listener() -> None:
    """That an outcome cannot be told does not end the probes, of its peer or of others, and is logged."""
    world = HealthWorld()
    upstream = world.upstream(healthchecks=active(1))
    world.target(upstream, A)
    world.target(upstream, B)

    def fail() -> None:
        raise ZeroDivisionError

    world.gateway.peers.listens = fail
    world.says[A] = lambda: ILL
    with capturedLogs() as logged:
        world.run(20)
    assert min(len(world.probed(A)), len(world.probed(B))) > 15
    assert any("log_failure" in event for event in logged)
