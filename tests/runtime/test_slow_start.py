"""Slow start: the weight of who is new, or well again, grows to the whole."""

from __future__ import annotations

from typing import Any

import pytest
from health_world import HealthWorld
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock

from twisted_kong.model.traffic import Outcome
from twisted_kong.runtime.peers import Peer
from twisted_kong.runtime.slowstart import STEPS, SlowStart

A, B, C = "10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"
PASSIVE = {"passive": {"unhealthy": {"tcp_failures": 1}}}


def world_of(*addresses: str, slow_start: float | None = 20, **fields: Any) -> tuple[HealthWorld, Any]:
    """An upstream with these targets, who have been there for long."""
    world = HealthWorld()
    upstream = world.upstream(slow_start=slow_start, **fields)
    for address in addresses:
        world.target(upstream, address)
    world.run(60, step=1)
    return world, upstream


def weights(world: HealthWorld) -> dict[str, int]:
    return {address: peer.weight for address, peer in world.peers().items()}


def test_a_new_one() -> None:
    """A target that joins begins with a twentieth of its weight and has all of it after the time, evenly."""
    world, upstream = world_of(A)
    world.target(upstream, B)
    assert weights(world) == {A: 100, B: 100 // STEPS}
    assert world.lent(105) == {A: 100, B: 5}
    world.run(10, step=0.5)
    assert weights(world)[B] == 50
    assert world.lent(150) == {A: 100, B: 50}
    world.run(10, step=0.5)
    assert weights(world)[B] == 100
    assert not world.clock.getDelayedCalls()


def test_together() -> None:
    """Targets that come together have nobody to spare them, and begin whole."""
    world = HealthWorld()
    upstream = world.upstream(slow_start=20)
    for address in (A, B, C):
        world.target(upstream, address)
        world.run(1)
    assert set(weights(world).values()) == {100}


def test_well_again() -> None:
    """Who recovers begins with little, too."""
    world, upstream = world_of(A, B, healthchecks=PASSIVE)
    while world.attempt(Outcome("tcp")) != B:
        world.gateway.set_health(*by_hand(world, upstream, A))
    world.gateway.set_health(*by_hand(world, upstream, A))
    world.run(60, step=1)
    world.gateway.set_health(*by_hand(world, upstream, B))
    assert weights(world)[B] == 5
    world.run(20, step=0.5)
    assert weights(world) == {A: 100, B: 100}


def by_hand(world: HealthWorld, upstream: Any, address: str) -> tuple[Any, Any, bool, None]:
    (target,) = (one for one in world.snapshot.targets.values() if one.target == address)
    return target, upstream, True, None


def test_changes_meanwhile() -> None:
    """A new weight is had in the part that is had already; the report tells what was configured."""
    world, upstream = world_of(A)
    world.target(upstream, B)
    world.run(10, step=0.5)
    world.target(upstream, B, weight=1000)
    assert weights(world)[B] == 500
    report = world.gateway.report(upstream)
    assert report is not None
    assert [target.addresses[0].weight for target in report.targets] == [100, 1000]
    world.upstream()
    assert weights(world)[B] == 1000
    assert not world.clock.getDelayedCalls()


@pytest.mark.parametrize("slow_start", [None, 0])
def test_without(slow_start: float | None) -> None:
    """Without the field, or with 0, a new target has its whole weight at once."""
    world, upstream = world_of(A, slow_start=slow_start)
    world.target(upstream, B)
    assert weights(world) == {A: 100, B: 100}


@settings(derandomize=True, deadline=None)
@given(st.integers(0, 65535), st.floats(0.5, 600))
def test_never_nothing(weight: int, seconds: float) -> None:
    """The weight only grows, is never nothing unless it is configured so, and ends whole with no timer left."""
    clock = Clock()
    peer = Peer("10.0.0.1", 80, weight)
    told: list[int] = []
    slow = SlowStart(clock, lambda peer: told.append(peer.weight))
    slow.seconds = seconds
    slow.begin(peer)
    seen = [peer.weight]
    for _ in range(STEPS + 2):
        clock.advance(seconds / STEPS)
        seen.append(peer.weight)
    assert seen == sorted(seen)
    assert seen[-1] == weight
    assert seen[0] >= min(weight, 1)
    assert told == sorted(set(seen[1:]) - {seen[0]})
    assert clock.getDelayedCalls() == []


def test_who_leaves() -> None:
    """Who leaves is forgotten, and is whole when it comes back alone."""
    clock = Clock()
    peer = Peer("10.0.0.1", 80, 100)
    slow = SlowStart(clock, lambda peer: None)
    slow.seconds = 10
    slow.begin(peer)
    slow.keep(())
    assert peer.weight == 100
    assert clock.getDelayedCalls() == []
