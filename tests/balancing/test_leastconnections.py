"""Least connections: who is next, that counts never drift, and that equals take turns."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st
from traffic import end_request, open_request, request

from twisted_kong.balancing.leastconnections import LeastConnections
from twisted_kong.testing import PlainPeer, some_peers

WEIGHTS = st.lists(st.integers(1, 100), min_size=1, max_size=6)


def spread(*weights: int) -> tuple[LeastConnections, list[PlainPeer]]:
    algorithm, peers = LeastConnections(), some_peers(*weights)
    algorithm.update(peers)
    return algorithm, peers


def score(peer: PlainPeer) -> float:
    return (peer.leases + 1) / peer.weight


@given(WEIGHTS, st.lists(st.integers(0, 99), max_size=80))
def test_always_the_least(weights: list[int], ends: list[int]) -> None:
    """Whatever ends in between, nobody else would have had a lower score than whoever is picked."""
    algorithm, peers = spread(*weights)
    under_way: list[PlainPeer] = []
    for number in ends:
        before = {peer: score(peer) for peer in peers}
        peer = open_request(algorithm)
        assert peer is not None
        assert before[peer] == min(before.values())
        under_way.append(peer)
        if number % 2:
            end_request(algorithm, under_way.pop(number % len(under_way)))


@given(WEIGHTS)
def test_open_requests_follow_weights(weights: list[int]) -> None:
    """When as many are open as all weigh, everybody has as many as it weighs."""
    algorithm, peers = spread(*weights)
    for _ in range(sum(weights)):
        open_request(algorithm)
    assert [peer.leases for peer in peers] == weights


@given(st.integers(1, 8), st.integers(1, 5))
def test_equals_take_turns(count: int, rounds: int) -> None:
    """One request after the other, equals have as many each: nobody is the favourite of a quiet night."""
    algorithm, peers = spread(*[10] * count)
    assert Counter(request(algorithm) for _ in range(count * rounds)) == dict.fromkeys(peers, rounds)


@given(WEIGHTS, st.lists(st.integers(0, 99), max_size=60), st.integers(0, 5))
def test_counts_survive(weights: list[int], ends: list[int], extra: int) -> None:
    """An algorithm made later, over peers that carry requests already, goes on as the first one would."""
    algorithm, peers = spread(*weights)
    under_way: list[PlainPeer] = []
    for number in ends:
        peer = open_request(algorithm)
        assert peer is not None
        under_way.append(peer)
        if number % 3 == 0:
            end_request(algorithm, under_way.pop())
    later = LeastConnections()
    later.update(peers)
    for _ in range(extra):
        best = min(map(score, peers))
        peer = open_request(later)
        assert peer is not None
        assert (peer.leases) / peer.weight == best
    for peer in under_way:
        end_request(later, peer)
    assert sum(peer.leases for peer in peers) == extra


def test_leases_of_others_count() -> None:
    """What a peer carries for other reasons is noticed when its turn comes."""
    algorithm, (a, b) = spread(100, 99)
    a.leases += 5
    assert open_request(algorithm) is b
