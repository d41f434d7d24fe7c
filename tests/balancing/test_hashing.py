"""Consistent hashing: who gets a key, whose keys move, and how even the shares are. All exact: nothing is random."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twisted_kong.balancing.hashing import ConsistentHashing
from twisted_kong.interfaces import IPeer
from twisted_kong.model.traffic import Pick
from twisted_kong.testing import PlainPeer, some_peers

KEYS = [b"key-%d" % number for number in range(500)]
MANY_KEYS = [b"key-%d" % number for number in range(100_000)]

WEIGHTS = st.lists(st.integers(1, 65535) | st.sampled_from([1, 100]), min_size=2, max_size=12)


def spread(peers: Iterable[IPeer]) -> ConsistentHashing:
    algorithm = ConsistentHashing()
    algorithm.update(peers)
    return algorithm


def mapping(
    algorithm: ConsistentHashing, keys: Sequence[bytes] = KEYS, tried: Sequence[IPeer] = ()
) -> list[IPeer | None]:
    return [algorithm.pick(Pick(key, tried)) for key in keys]


def moved(before: Sequence[object], after: Sequence[object]) -> float:
    """The part of the keys that another peer has."""
    return sum(old is not new for old, new in zip(before, after, strict=True)) / len(before)


# -- whose keys move -------------------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(WEIGHTS, st.data())
def test_only_keys_of_who_leaves_move(weights: list[int], data: st.DataObject) -> None:
    """When a peer leaves or falls ill only its keys move, and they come back when it does."""
    peers = some_peers(*weights)
    algorithm = spread(peers)
    before = mapping(algorithm)
    victim = data.draw(st.sampled_from(peers))
    algorithm.remove(victim)
    without = mapping(algorithm)
    assert all(new is old or old is victim for old, new in zip(before, without, strict=True))
    assert victim not in without
    algorithm.add(victim)
    assert mapping(algorithm) == before


@settings(max_examples=30, deadline=None)
@given(WEIGHTS, st.data())
def test_tried_is_as_good_as_gone(weights: list[int], data: st.DataObject) -> None:
    """A retry goes where all requests with its key would go without the peers that were tried."""
    peers = some_peers(*weights)
    tried = data.draw(st.lists(st.sampled_from(peers), unique=True, max_size=len(peers) - 1))
    left = [peer for peer in peers if peer not in tried]
    assert mapping(spread(peers), tried=tried) == mapping(spread(left))


@settings(max_examples=30, deadline=None)
@given(WEIGHTS, st.integers(1, 65535), st.data())
def test_weight_takes_from_others_alone(weights: list[int], weight: int, data: st.DataObject) -> None:
    """A peer that gains weight takes keys from the others, one that loses gives some away; no other key moves."""
    peers = some_peers(*weights)
    algorithm = spread(peers)
    before = mapping(algorithm)
    peer = data.draw(st.sampled_from(peers))
    gains = weight > peer.weight
    peer.weight = weight
    algorithm.changed(peer)
    after = mapping(algorithm)
    for old, new in zip(before, after, strict=True):
        assert old is new or peer is (new if gains else old)
    assert after == mapping(spread(peers))


@settings(max_examples=30, deadline=None)
@given(WEIGHTS, st.randoms(use_true_random=False))
def test_order_of_creation(weights: list[int], random: Random) -> None:
    """The mapping depends on addresses and weights: not on the order of peers, not on how they came to be there."""
    peers = some_peers(*weights)
    algorithm = ConsistentHashing()
    for peer in random.sample(peers, len(peers)):
        final, peer.weight = peer.weight, random.randint(1, 65535)
        algorithm.add(peer)
        peer.weight = final
        algorithm.changed(peer)
    assert mapping(algorithm) == mapping(spread(peers))


def test_same_in_every_process() -> None:
    """Another process, with another seed for hashes of Python's own, maps the same; so will every later version."""
    program = (
        "from twisted_kong.balancing.hashing import ConsistentHashing as C;"
        "from twisted_kong.model.traffic import Pick;"
        "from twisted_kong.testing import some_peers; c = C(); c.update(some_peers(100, 100, 50, 1, 65535));"
        "print(*(c.pick(Pick(b'key-%d' % n)).address for n in range(200)))"
    )
    told = {
        subprocess.run(
            [sys.executable, "-c", program], env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        ).stdout
        for seed in ("1", "2")
    }
    here = mapping(spread(some_peers(100, 100, 50, 1, 65535)), KEYS[:200])
    assert told == {" ".join(peer.address for peer in here if peer is not None) + "\n"}
    equals = mapping(spread(some_peers(*[100] * 10)), KEYS[:12])
    assert [peer.address.split(".")[3] for peer in equals if peer is not None] == [
        f"{number}:8000" for number in (8, 10, 1, 9, 8, 6, 10, 9, 6, 10, 4, 10)
    ]


@pytest.mark.parametrize("count", [2, 5, 10, 50])
def test_one_more_of_equals(count: int) -> None:
    """One more of equal targets takes 1/n of the keys, give or take two in a hundred, and all that move go to it."""
    peers = some_peers(*[100] * count)
    algorithm = spread(peers)
    keys = MANY_KEYS[:20_000]
    before = mapping(algorithm, keys)
    (new,) = [PlainPeer("10.9.9.9:8000", 100)]
    algorithm.add(new)
    after = mapping(algorithm, keys)
    assert moved(before, after) <= 1 / count + 0.02
    assert all(old is now or now is new for old, now in zip(before, after, strict=True))


def test_a_canary() -> None:
    """A target of weight 1 beside ten of weight 100 moves less than one key in a hundred."""
    algorithm = spread(some_peers(*[100] * 10))
    keys = MANY_KEYS[:20_000]
    before = mapping(algorithm, keys)
    algorithm.add(PlainPeer("10.9.9.9:8000", 1))
    assert 0 < moved(before, mapping(algorithm, keys)) < 0.01


# -- shares ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("network", range(3))
def test_ten_equals(network: int) -> None:
    """Of 100,000 keys no one of ten equal targets has more than 1.15 times its share."""
    peers = [PlainPeer(f"10.{network}.0.{number}:8000", 100) for number in range(10)]
    had = Counter(mapping(spread(peers), MANY_KEYS))
    assert max(had.values()) <= 1.15 * len(MANY_KEYS) / len(peers)
    assert min(had.values()) >= 0.85 * len(MANY_KEYS) / len(peers)


@pytest.mark.parametrize(
    "weights", [(10, 5), (100, 50, 1), (65535, 65534), (65535, 1), (1, 2, 3, 4, 5), (4096, 4095, 255, 16, 15)], ids=str
)
def test_shares_follow_weights(weights: tuple[int, ...]) -> None:
    """The keys of each target are as many as its weight says, within fifteen in a hundred, or one in a thousand."""
    peers = some_peers(*weights)
    had = Counter(mapping(spread(peers), MANY_KEYS))
    for peer in peers:
        due = len(MANY_KEYS) * peer.weight / sum(weights)
        assert abs(had[peer] - due) <= max(0.15 * due, 0.001 * len(MANY_KEYS))


def test_no_limit() -> None:
    """Among two thousand equal targets none is without keys."""
    had = Counter(mapping(spread(some_peers(*[100] * 2000)), MANY_KEYS[:60_000]))
    assert len(had) == 2000


def test_without_a_key() -> None:
    """Requests without a key take turns, by weight."""
    peers = some_peers(2, 1)
    algorithm = spread(peers)
    had = Counter(algorithm.pick(Pick()) for _ in range(30))
    assert had == {peers[0]: 20, peers[1]: 10}


def test_weights_do_not_cost() -> None:
    """Peers occupy as much whatever they weigh."""

    def held(weights: Sequence[int]) -> int:
        bands = spread(some_peers(*weights))._bands.values()
        return sum(len(at) for band in bands for at in band.at)

    assert held([65535, 65534]) == held([1, 1]) == held([1, 65535])
