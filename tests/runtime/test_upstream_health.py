"""What traffic and people say of peers: who is lent afterwards, and what outlives a change."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from health_world import ILL, WELL, HealthWorld
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.logger import capturedLogs, formatEvent

from twisted_kong.health.counters import State
from twisted_kong.model.traffic import Outcome
from twisted_kong.runtime.balancer import Lease
from twisted_kong.runtime.peers import Peer

A, B, C, D = (f"10.0.0.{number}:80" for number in (1, 2, 3, 4))


def passive(successes: int = 0, threshold: float = 0, **limits: int) -> dict[str, Any]:
    return {"threshold": threshold, "passive": {"healthy": {"successes": successes}, "unhealthy": limits}}


def world_of(healthchecks: dict[str, Any], *addresses: str) -> HealthWorld:
    world = HealthWorld()
    upstream = world.upstream(healthchecks=healthchecks)
    for address in addresses:
        world.target(upstream, address)
    return world


@pytest.mark.parametrize("failure", ["tcp", "timeout"])
def test_failed_attempts(failure: str) -> None:
    """Whoever fails so often is out before the next pick."""
    world = world_of(passive(tcp_failures=2, timeouts=2), A)
    assert [world.attempt(Outcome(failure)) for _ in range(4)] == [A, A, None, None]


def test_what_is_not_the_peers() -> None:
    """An attempt that was given up, or whose name has no address, says nothing of the peer."""
    world = world_of(passive(tcp_failures=1, timeouts=1, http_failures=1), A)
    for outcome in (Outcome(), Outcome("dns")) * 5:
        world.attempt(outcome)
    assert world.healths() == {A: True}
    assert not world.peers()[A].health.counters.counts


def test_successes_reset_failures() -> None:
    """Good answers that count forgive failures."""
    world = world_of(passive(1, http_failures=3), A)
    for outcome in (ILL, ILL, WELL, ILL, ILL):
        world.attempt(outcome)
    assert world.healths() == {A: True}
    world.attempt(ILL)
    assert world.healths() == {A: False}


def test_answers_that_tell_nothing() -> None:
    """The good answers of a healthy peer are not reported at all."""
    world = world_of(passive(1, http_failures=3), A)
    heard = []
    balancer = world.balancer()
    observe = balancer.observe
    assert observe is not None

    def listen(peer: Peer, outcome: Outcome) -> None:
        heard.append(outcome)
        observe(peer, outcome)

    balancer.observe = listen
    world.lent(10)
    assert not heard
    for outcome in (ILL, WELL, WELL):
        world.attempt(outcome)
    assert heard == [ILL, WELL]


def test_unchecked() -> None:
    """Without checks nobody listens to what the traffic says."""
    world = world_of(passive(1), A)
    assert world.balancer().observe is None
    world.attempt(ILL)
    assert world.healths() == {A: True}


@given(st.floats(0, 100), st.lists(st.tuples(st.integers(0, 50), st.booleans()), min_size=1, max_size=6), st.randoms())
@settings(max_examples=60, deadline=None)
def test_threshold(threshold: float, members: list[tuple[int, bool]], random: Random) -> None:
    """Anybody is lent exactly while more than ``threshold`` percent of the weight is available, or all of it."""
    world = HealthWorld()
    upstream = world.upstream(healthchecks=passive(threshold=threshold, tcp_failures=1))
    targets = [world.target(upstream, f"10.0.0.{number}:80", weight) for number, (weight, _) in enumerate(members)]
    order = list(zip(targets, members, strict=True))
    random.shuffle(order)
    for target, (_, healthy) in order:
        world.gateway.set_health(target, upstream, healthy, None)
    total = sum(weight for weight, _ in members)
    available = sum(weight for weight, healthy in members if healthy)
    expected = total > 0 and (available == total or available / total * 100 > threshold)
    assert (world.attempt(Outcome()) is not None) == expected
    report = world.gateway.report(upstream)
    assert report is not None
    assert report.healthy == expected


def test_by_hand() -> None:
    """What a person says is in force at once, and nothing counted before counts any more."""
    world = HealthWorld()
    upstream = world.upstream(healthchecks=passive(tcp_failures=2))
    targets = [world.target(upstream, address) for address in (A, B)]
    world.gateway.set_health(targets[0], upstream, False, None)
    assert world.lent(4) == {B: 4}
    world.gateway.set_health(targets[0], upstream, True, ("10.0.0.1", 80))
    assert world.lent(4) == {A: 2, B: 2}
    world.attempt(Outcome("tcp"))
    world.gateway.set_health(targets[0], upstream, True, None)
    world.gateway.set_health(targets[1], upstream, True, None)
    for _ in range(2):
        world.attempt(Outcome("tcp"))
    assert world.healths() == {A: True, B: True}


def test_churn() -> None:
    """A thousand edits of targets and upstream change the health and the counters of nobody."""
    random = Random(6)
    world = HealthWorld()
    upstream = world.upstream(healthchecks=passive(successes=3, tcp_failures=3))
    everybody = [f"10.0.1.{number}:80" for number in range(20)]
    targets = {address: world.target(upstream, address) for address in everybody}
    for address in everybody[:5]:
        world.gateway.set_health(targets[address], upstream, False, None)
    for peer in list(world.peers().values())[5:10]:
        Lease(world.balancer(), world.balancer().algorithm, peer).release(Outcome("tcp"))
        peer.leases = 0

    def known() -> dict[str, Any]:
        found = {address: peer.health for address, peer in world.peers().items() if address in targets}
        return {address: (health.counters.state, dict(health.counters.counts)) for address, health in found.items()}

    before = known()
    assert {state for state, _ in before.values()} == {State.UNHEALTHY, State.MOSTLY_HEALTHY, State.HEALTHY}
    passing = []
    for edit in range(1000):
        match random.randrange(4):
            case 0:
                passing.append(world.target(upstream, f"10.0.2.{edit % 250}:{80 + edit}"))
            case 1 if passing:
                world.delete(passing.pop(random.randrange(len(passing))))
            case 2:
                world.target(upstream, random.choice(everybody), random.randrange(1, 500))
            case _:
                world.upstream(slots=random.randrange(10, 1000), healthchecks=passive(3, tcp_failures=3))
    assert known() == before
    assert {address for address, healthy in world.healths().items() if not healthy} == set(everybody[:5])
    assert not set(world.lent(3000)) & set(everybody[:5])


def test_told_in_the_log() -> None:
    """Everything that counts is a line, and so is whatever it leads to."""
    with capturedLogs() as events:
        world = world_of(passive(1, http_failures=2, tcp_failures=1), A)
        for outcome in (ILL, WELL, Outcome("tcp", error="refused")):
            world.attempt(outcome)
    lines = [formatEvent(event) for event in events]
    assert lines == [
        "unhealthy HTTP increment (1/2) for '10.0.0.1(10.0.0.1:80)'",
        "healthy SUCCESS increment (1/1) for '10.0.0.1(10.0.0.1:80)'",
        "unhealthy TCP increment (1/1) for '10.0.0.1(10.0.0.1:80)': refused",
        "[healthchecks] orders: 10.0.0.1(10.0.0.1:80) is UNHEALTHY now, by traffic",
        "[healthchecks] balancer orders reported health status changed to UNHEALTHY",
    ]
