"""Sticky sessions: who has a session stays, whoever drains gets no new ones."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from twisted_kong.balancing.sticky import StickySessions, session
from twisted_kong.model.traffic import Pick
from twisted_kong.testing import PlainPeer, some_peers

UPSTREAM = "f0e5d4c3-0000-4000-8000-000000000000"


def spread(*weights: int) -> tuple[StickySessions, list[PlainPeer]]:
    algorithm, peers = StickySessions(UPSTREAM), some_peers(*weights)
    algorithm.update(peers)
    return algorithm, peers


@given(st.lists(st.integers(0, 9), min_size=1, max_size=6))
def test_a_session_stays(weights: list[int]) -> None:
    """Whoever brings the cookie of a peer gets that peer, whatever it weighs."""
    algorithm, peers = spread(*weights)
    for peer in [*peers, *peers]:
        assert algorithm.pick(Pick(session(UPSTREAM, peer))) is peer


def test_new_sessions_take_turns() -> None:
    """Those without one, or with one of nobody, are spread by weight; who weighs nothing gets none."""
    algorithm, peers = spread(2, 1, 0)
    keys = [None, b"nobody's"]
    assert Counter(algorithm.pick(Pick(keys[number % 2])) for number in range(30)) == {peers[0]: 20, peers[1]: 10}


def test_draining() -> None:
    """A peer whose weight becomes 0 keeps its sessions and gets no new ones; with a weight again, it does."""
    algorithm, (a, b) = spread(1, 1)
    a.weight = 0
    algorithm.changed(a)
    assert algorithm.pick(Pick(session(UPSTREAM, a))) is a
    assert {algorithm.pick(Pick()) for _ in range(4)} == {b}
    a.weight = 1
    algorithm.changed(a)
    assert {algorithm.pick(Pick()) for _ in range(4)} == {a, b}


def test_all_drain() -> None:
    """When all drain there is nobody for new sessions."""
    algorithm, peers = spread(0, 0)
    assert algorithm.pick(Pick()) is None
    assert algorithm.pick(Pick(session(UPSTREAM, peers[0]))) is peers[0]


def test_a_peer_that_is_gone() -> None:
    """The session of a peer that has left, or was tried, goes to another; the peer has it again when it is back."""
    algorithm, (a, b) = spread(1, 1)
    key = session(UPSTREAM, a)
    assert algorithm.pick(Pick(key, [a])) is b
    algorithm.remove(a)
    assert algorithm.pick(Pick(key)) is b
    algorithm.add(a)
    assert algorithm.pick(Pick(key)) is a


def test_the_cookie_tells_nothing() -> None:
    """Sessions differ by upstream and by peer, are the same for every process, and do not contain the address."""
    a, b = some_peers(1, 1)
    made = {session(UPSTREAM, a), session(UPSTREAM, b), session("another", a), session("another", b)}
    assert len(made) == 4
    fresh = PlainPeer(a.address)
    assert session(UPSTREAM, fresh) == session(UPSTREAM, a)
    assert all(b"10.0" not in value for value in made)


def test_peers_of_one_address() -> None:
    """Targets of two names may have one address: a session with it stays while either of them is there."""
    algorithm = StickySessions(UPSTREAM)
    one, other, third = PlainPeer("10.0.0.1:80"), PlainPeer("10.0.0.1:80"), PlainPeer("10.0.0.2:80")
    bound = Pick(session(UPSTREAM, one))
    algorithm.update([one, third])
    algorithm.add(other)
    assert [algorithm.pick(bound) for _ in range(4)] == [one] * 4
    algorithm.remove(one)
    assert [algorithm.pick(bound) for _ in range(4)] == [other] * 4
    algorithm.remove(other)
    assert algorithm.pick(bound) is third
