"""Health and leases: whom a balancer lends where health is checked."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st
from zope.interface import implementer_only

from twisted_kong.balancing.roundrobin import RoundRobin
from twisted_kong.interfaces import IAlgorithm, IPeer
from twisted_kong.model.entities import Target
from twisted_kong.model.records import HealthChecks
from twisted_kong.runtime.balancer import Balancer
from twisted_kong.runtime.peers import Peer
from twisted_kong.runtime.reports import make_report
from twisted_kong.testing import an_upstream

CHECKED = HealthChecks.model_validate({"passive": {"unhealthy": {"tcp_failures": 1}}})


@dataclass
class PlainTarget:
    """What a target is told of."""

    target: Target
    peers: tuple[Peer, ...]
    dns: str = "A"


def a_target() -> Target:
    _, (target,) = an_upstream("orders", "10.0.0.1:80")
    return target


@implementer_only(IAlgorithm)
class Watched(RoundRobin):
    """Round robin that counts how often it is told, and wants to be told of everybody."""

    updates = 0

    def update(self, peers: Iterable[IPeer]) -> None:
        self.updates += 1
        super().update(peers)


@pytest.mark.parametrize("checked", [True, False])
@given(st.lists(st.tuples(st.integers(0, 3), st.booleans()), max_size=5))
def test_whom_it_lends(checked: bool, members: list[tuple[int, bool]]) -> None:
    """Exactly those are lent who have a weight and, where health is checked, are healthy."""
    peers = [Peer("10.0.0.1", port, weight) for port, (weight, _) in enumerate(members, 1)]
    balancer = Balancer("orders", RoundRobin())
    balancer.update(peers, checked=checked)
    for peer, (_, healthy) in zip(peers, members, strict=True):
        peer.healthy = healthy
    balancer.refresh()
    leases = [balancer.lease() for _ in range(15)]
    expected = {peer for peer in peers if peer.weight and (peer.healthy or not checked)}
    assert {lease.peer for lease in leases if lease} == expected


def test_nothing_changed() -> None:
    """The algorithm is told when somebody falls ill or recovers, and not otherwise."""
    algorithm = Watched()
    balancer = Balancer("orders", algorithm)
    peers = [Peer("10.0.0.1", 80, 1), Peer("10.0.0.2", 80, 0)]
    balancer.update(peers, checked=True)
    for _ in range(2):
        peers[1].healthy = False  # who gets nothing anyway
        balancer.refresh()
    assert algorithm.updates == 1
    for healthy, told in ((False, 2), (False, 2), (True, 3)):
        peers[0].healthy = healthy
        balancer.refresh()
        assert algorithm.updates == told


@given(st.lists(st.tuples(st.integers(0, 65535), st.booleans()), max_size=5))
def test_weights(members: list[tuple[int, bool]]) -> None:
    """The weight of an upstream is the sum of those of its targets, and what is available is with the healthy."""
    peers = [Peer("10.0.0.1", port, weight) for port, (weight, _) in enumerate(members, 1)]
    for peer, (_, healthy) in zip(peers, members, strict=True):
        peer.healthy = healthy
    targets = [PlainTarget(a_target(), (peer,)) for peer in peers]
    found = make_report(CHECKED, targets)
    assert found.weights.total == sum(weight for weight, _ in members)
    assert found.weights.available == sum(weight for weight, healthy in members if healthy)
    assert found.healthy == (found.weights.available > 0)
    assert make_report(HealthChecks(), targets).weights.available == found.weights.total
