"""Changes of one peer among many: what an algorithm hears of them, and that a balancer looks at nobody else."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from types import FrameType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.logger import LogLevel, capturedLogs
from zope.interface import implementer

from twisted_kong.balancing.roundrobin import RoundRobin
from twisted_kong.interfaces import IAlgorithm, IIncrementalAlgorithm, IPeer, ISessionAlgorithm
from twisted_kong.model.traffic import Outcome, Pick
from twisted_kong.runtime.balancer import Balancer
from twisted_kong.runtime.peers import Peer

OK = Outcome(None, 200, 0.1)


@implementer(IIncrementalAlgorithm)
class Told(RoundRobin):
    """Round robin that keeps what it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[tuple[str, list[int]]] = []

    def update(self, peers: Iterable[IPeer]) -> None:
        peers = list(peers)
        self.heard.append(("update", [peer.weight for peer in peers]))
        super().update(peers)

    def add(self, peer: IPeer) -> None:
        self.heard.append(("add", [peer.weight]))
        super().add(peer)

    def remove(self, peer: IPeer) -> None:
        self.heard.append(("remove", [peer.weight]))
        super().remove(peer)

    def changed(self, peer: IPeer) -> None:
        self.heard.append(("changed", [peer.weight]))
        super().changed(peer)


def some(*weights: int) -> list[Peer]:
    return [Peer("10.0.0.1", port, weight) for port, weight in enumerate(weights, 1)]


def lines(work: Callable[[], object]) -> int:
    """How many lines of Python ``work`` runs."""
    count = 0

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
    return count


def test_news_of_one() -> None:
    """An incremental algorithm hears of everybody at the beginning, then of what is new and of nothing else."""
    algorithm = Told()
    balancer = Balancer("orders", algorithm)
    a, b, c = some(1, 2, 3)
    balancer.update([a, b], checked=True)
    balancer.add(c)
    b.weight = 7
    balancer.changed(b)
    balancer.changed(b)
    a.healthy = False
    balancer.changed(a)
    a.healthy = True
    balancer.refresh()
    balancer.remove(c)
    balancer.changed(c)
    c.weight = 0
    balancer.add(c)
    assert algorithm.heard == [
        ("update", [1, 2]),
        ("add", [3]),
        ("changed", [7]),
        ("remove", [1]),
        ("add", [1]),
        ("remove", [3]),
    ]


OPERATIONS = st.lists(
    st.tuples(st.sampled_from(["weight", "health", "leave", "join", "pick"]), st.integers(0, 5), st.integers(0, 4)),
    max_size=40,
)


@given(OPERATIONS, st.booleans())
def test_same_as_told_all(operations: list[tuple[str, int, int]], checked: bool) -> None:
    """After any changes of single peers exactly those are lent who would be if it were told of all at once."""
    peers = some(1, 2, 3, 1, 2, 3)
    balancer = Balancer("orders", RoundRobin())
    balancer.update(peers[:3], checked=checked)
    for operation, index, number in operations:
        peer = peers[index]
        if operation == "pick":
            balancer.lease()
        elif operation == "join":
            balancer.add(peer)
        elif operation == "leave":
            balancer.remove(peer)
        else:
            if operation == "weight":
                peer.weight = number
            else:
                peer.healthy = bool(number % 2)
            balancer.changed(peer)
    fresh = Balancer("orders", RoundRobin())
    fresh.update(balancer.peers, checked=checked)
    assert {lease.peer for _ in range(30) if (lease := balancer.lease())} == {
        lease.peer for _ in range(30) if (lease := fresh.lease())
    }


@pytest.mark.parametrize("change", ["health", "weight", "membership"])
def test_one_of_ten_thousand(change: str) -> None:
    """Whatever changes of one peer, the work is the same among ten thousand as among a hundred."""

    def work(count: int) -> int:
        peers = some(*[100] * count)
        balancer = Balancer("orders", RoundRobin())
        balancer.update(peers, checked=True)
        leases = [balancer.lease() for _ in range(50)]
        assert all(leases)
        peer = peers[count // 2]

        def there_and_back() -> None:
            for number in range(2):
                if change == "health":
                    peer.healthy = bool(number)
                    balancer.changed(peer)
                elif change == "weight":
                    peer.weight = 50 + number
                    balancer.changed(peer)
                elif number:
                    balancer.add(peer)
                else:
                    balancer.remove(peer)
                balancer.lease()

        return lines(there_and_back)

    assert work(10_000) <= work(100) + 20


class Clumsy(Told):
    def add(self, peer: IPeer) -> None:
        raise ZeroDivisionError


def test_failing_change() -> None:
    """An algorithm that fails to take a change is logged, and told of everybody instead."""
    algorithm = Clumsy()
    balancer = Balancer("orders", algorithm)
    peers = some(1, 1, 1)
    balancer.update(peers[:2])
    with capturedLogs() as events:
        balancer.add(peers[2])
    assert len([event for event in events if event["log_level"] is LogLevel.critical]) == 1
    assert {lease.peer for _ in range(3) if (lease := balancer.lease())} == set(peers)


@implementer(IAlgorithm)
class Counting:
    """Always the same peer; counts what has not ended."""

    def __init__(self) -> None:
        self.under_way = 0
        self.peer: IPeer | None = None

    def update(self, peers: Iterable[IPeer]) -> None:
        self.peer = next(iter(peers), None)

    def pick(self, pick: Pick) -> IPeer | None:
        self.under_way += 1
        return self.peer

    def done(self, peer: IPeer, outcome: Outcome) -> None:
        self.under_way -= 1


def test_change_of_algorithm() -> None:
    """A lease ends with the algorithm that picked it; the one in its place hears that the peer carries less."""
    before, after = Counting(), Told()
    balancer = Balancer("orders", before)
    (peer,) = some(1)
    balancer.update([peer])
    lease = balancer.lease()
    assert lease is not None
    balancer.use(after)
    assert peer.leases == 1
    lease.release(OK)
    assert (peer.leases, before.under_way) == (0, 0)
    assert after.heard == [("update", [1]), ("changed", [1])]


@implementer(ISessionAlgorithm)
class Sessions(Counting):
    """One that is given everybody."""


def test_without_weight() -> None:
    """Only an algorithm that keeps sessions is given peers of weight 0, if they are well."""
    peers = some(0, 0)
    peers[0].healthy = False
    for algorithm, expected in ((Counting(), None), (Sessions(), peers[1])):
        balancer = Balancer("orders", algorithm)
        balancer.update(peers, checked=True)
        assert algorithm.peer is expected
