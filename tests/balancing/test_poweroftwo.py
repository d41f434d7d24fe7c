"""Power of two choices: draws follow weights, and the most loaded stays near the mean."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from traffic import open_request

from twisted_kong.balancing.poweroftwo import PowerOfTwoChoices, Urn
from twisted_kong.testing import some_peers


@pytest.mark.parametrize("weights", [(1, 1, 1), (1, 2, 3, 4), (65535, 65534, 1), (100, 50, 25), (7, 8, 9)], ids=str)
def test_draws_follow_weights(weights: tuple[int, ...]) -> None:
    """Over 40,000 draws of a seeded source everybody is within four standard deviations of its share."""
    peers = some_peers(*weights)
    urn = Urn(Random(5))
    for peer in peers:
        urn.add(peer)
    had = Counter(urn.draw() for _ in range(40_000))
    for peer in peers:
        share = peer.weight / sum(weights)
        assert abs(had[peer] - 40_000 * share) <= 4 * (40_000 * share * (1 - share)) ** 0.5


@given(st.lists(st.integers(1, 300), min_size=1, max_size=8), st.randoms(use_true_random=False), st.data())
def test_draws_of_others(weights: list[int], random: Random, data: st.DataObject) -> None:
    """Who was tried is not drawn, and somebody else is as long as there is anybody."""
    peers = some_peers(*weights)
    urn = Urn(random)
    for peer in peers:
        urn.add(peer)
    tried = data.draw(st.lists(st.sampled_from(peers), unique=True))
    other = urn.draw_other(tried)
    assert other not in tried
    assert (other is None) == (len(tried) == len(peers))


def test_most_loaded() -> None:
    """With 100,000 requests open over 1,000 equal peers, the most loaded has 4 above the mean of 100 at most.

    Of as many single draws, which is what a random pick is, it has 25 more at least.
    """
    peers = some_peers(*[100] * 1000)
    algorithm = PowerOfTwoChoices(Random(7))
    algorithm.update(peers)
    for _ in range(100_000):
        open_request(algorithm)
    urn = Urn(Random(7))
    for peer in peers:
        urn.add(peer)
    random = Counter(urn.draw() for _ in range(100_000))
    assert max(peer.leases for peer in peers) <= 104
    assert max(random.values()) >= 125


def test_weights_are_respected() -> None:
    """With many requests open each peer has as many as its weight says, within one in ten."""
    peers = some_peers(10, 20, 70)
    algorithm = PowerOfTwoChoices(Random(7))
    algorithm.update(peers)
    for _ in range(10_000):
        open_request(algorithm)
    for peer in peers:
        assert abs(peer.leases - 100 * peer.weight) <= 10 * peer.weight
