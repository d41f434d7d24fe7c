"""Latency: the fast are preferred, failures are not fast, and everybody gets another chance."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from traffic import end_request, open_request

from twisted_kong.balancing.latency import ALGORITHM, FADING, Average, Latency
from twisted_kong.interfaces import IPeer
from twisted_kong.model.traffic import Outcome, Pick
from twisted_kong.testing import PlainPeer, some_peers


class World:
    """Peers with the answers that each gives, and a clock that goes on while they answer, one request at a time."""

    def __init__(self, **answers: Outcome) -> None:
        self.now = 0.0
        self.algorithm = Latency(lambda: self.now)
        self.peers = {name: PlainPeer(f"{name}:80", 100) for name in answers}
        self.answers = answers
        self.algorithm.update(self.peers.values())

    def request(self) -> str:
        peer = open_request(self.algorithm)
        assert peer is not None
        name = peer.address[:-3]
        outcome = self.answers[name]
        self.now += outcome.latency or 0.05
        end_request(self.algorithm, peer, outcome)
        return name

    def requests(self, count: int) -> Counter[str]:
        return Counter(self.request() for _ in range(count))


def ok(latency: float) -> Outcome:
    return Outcome(None, 200, latency)


def test_everybody_is_asked_first() -> None:
    """Whoever was never asked is asked once before anybody is asked again."""
    world = World(a=ok(0.01), b=ok(0.2), c=ok(0.4))
    assert set(world.requests(3)) == {"a", "b", "c"}


def test_the_fast_are_preferred() -> None:
    """After that the fastest has it all, until the others have been silent for long."""
    world = World(a=ok(0.01), b=ok(0.2))
    world.requests(2)
    assert world.requests(200) == {"a": 200}


def test_the_slow_are_asked_again() -> None:
    """Who was slow once is asked again after a while: it may be faster now."""
    world = World(a=ok(0.01), b=ok(0.2))
    world.requests(2)
    world.answers["b"] = ok(0.001)
    assert world.requests(20_000)["b"] > 10_000


@pytest.mark.parametrize(
    "bad", [Outcome("tcp"), Outcome("timeout"), Outcome(None, 503, 0.0001), Outcome(None, 500, 0.0001)], ids=str
)
def test_failures_do_not_attract(bad: Outcome) -> None:
    """A peer that refuses, does not answer, or answers 5xx at once gets no more than two in a hundred requests."""
    world = World(good=ok(0.05), bad=bad)
    assert world.requests(2000)["bad"] <= 40


def test_black_hole() -> None:
    """A peer that takes requests and answers none of them holds few, however many come at the same time."""
    now = 0.0
    algorithm = Latency(lambda: now)
    good, hole = some_peers(100, 100)
    algorithm.update([good, hole])
    for number in range(1000):
        now = number / 100
        peer = open_request(algorithm)
        if peer is good:
            end_request(algorithm, good, ok(0.05))
    assert hole.leases <= 10


def test_a_crowd_does_not_follow() -> None:
    """A peer of which nothing was heard for long gets one request at first, not all that come before its answer."""
    now = 0.0
    algorithm = Latency(lambda: now)
    known, idle = some_peers(100, 100)
    known.memory[ALGORITHM] = Average(0.05, 300.0)
    idle.memory[ALGORITHM] = Average(0.05, 0.0)
    algorithm._typical = 0.05
    now = 300.0
    algorithm.update([known, idle])
    for _ in range(20):
        open_request(algorithm)
    assert abs(known.leases - idle.leases) <= 1


@given(
    st.lists(st.tuples(st.floats(0.001, 10), st.floats(0, 100), st.integers(1, 100)), min_size=2, max_size=6),
    st.floats(0, 1000),
)
def test_order_does_not_depend_on_time(known: list[tuple[float, float, int]], later: float) -> None:
    """Whenever it is asked, who is picked has the lowest faded average for its weight."""
    now = 100.0 + later
    peers = some_peers(*(weight for _, _, weight in known))
    algorithm = Latency(lambda: 100.0)
    for peer, (seconds, at, _) in zip(peers, known, strict=True):
        peer.memory[ALGORITHM] = Average(seconds, at)
    algorithm.update(peers)
    faded: dict[IPeer | None, float] = {one: one.memory[ALGORITHM].faded(now) / one.weight for one in peers}
    assert faded[algorithm.pick(Pick())] <= min(faded.values()) * (1 + 1e-9)


def test_average_as_in_kong() -> None:
    """Faster answers move the average by the share of the time that has passed; slower ones count at once."""
    now = 0.0
    algorithm = Latency(lambda: now)
    (peer,) = some_peers(1)
    algorithm.update([peer])
    algorithm.done(peer, ok(1.0))
    now = FADING
    algorithm.done(peer, ok(0.1))
    assert peer.memory[ALGORITHM].seconds == pytest.approx(1 / 2.718281828 + 0.1 * (1 - 1 / 2.718281828))
    algorithm.done(peer, ok(3.0))
    assert peer.memory[ALGORITHM].seconds == 3.0


def test_nothing_is_forgotten() -> None:
    """Another algorithm of the kind, made later, knows what the first has learnt."""
    world = World(a=ok(0.01), b=ok(0.4))
    world.requests(4)
    world.algorithm = Latency(lambda: world.now)
    world.algorithm.update(world.peers.values())
    assert world.requests(20) == {"a": 20}
