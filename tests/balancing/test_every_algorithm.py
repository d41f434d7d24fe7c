"""What holds for every algorithm that is built in: its contract, changes of single peers, and what those cost."""

from __future__ import annotations

from collections.abc import Callable
from gc import collect
from random import Random
from weakref import ref

import pytest
from hypothesis import given
from hypothesis import strategies as st
from traffic import end_request, events, open_request, request
from zope.interface.verify import verifyObject

from twisted_kong.balancing.hashing import ConsistentHashing, ConsistentHashingFactory
from twisted_kong.balancing.latency import Latency, LatencyFactory
from twisted_kong.balancing.leastconnections import LeastConnections, LeastConnectionsFactory
from twisted_kong.balancing.poweroftwo import PowerOfTwoChoices, PowerOfTwoChoicesFactory
from twisted_kong.balancing.roundrobin import RoundRobin
from twisted_kong.balancing.sticky import StickySessions, StickySessionsFactory
from twisted_kong.interfaces import IIncrementalAlgorithm
from twisted_kong.model.traffic import Outcome
from twisted_kong.testing import PlainPeer, algorithm_contract, some_peers

HashingContract = algorithm_contract(ConsistentHashingFactory, hash_on="ip")
LatencyContract = algorithm_contract(LatencyFactory)
LeastConnectionsContract = algorithm_contract(LeastConnectionsFactory)
PowerOfTwoContract = algorithm_contract(lambda: PowerOfTwoChoicesFactory(Random(1)))
StickyContract = algorithm_contract(StickySessionsFactory, sticky_cookie="session")

MAKERS: dict[str, Callable[[], IIncrementalAlgorithm]] = {
    "round-robin": RoundRobin,
    "consistent-hashing": ConsistentHashing,
    "least-connections": LeastConnections,
    "latency": lambda: Latency(lambda: 0.0),
    "power-of-two-choices": lambda: PowerOfTwoChoices(Random(1)),
    "sticky": lambda: StickySessions("an-upstream"),
}

OPERATIONS = st.lists(
    st.tuples(
        st.sampled_from(["join", "leave", "weigh", "open", "open", "end"]), st.integers(0, 6), st.integers(1, 300)
    ),
    max_size=60,
)


@pytest.mark.parametrize("name", MAKERS)
def test_incremental(name: str) -> None:
    """The algorithm provides the interface for small changes."""
    assert verifyObject(IIncrementalAlgorithm, MAKERS[name]())


@pytest.mark.parametrize("name", MAKERS)
@given(OPERATIONS)
def test_never_a_stranger(name: str, operations: list[tuple[str, int, int]]) -> None:
    """Whatever joins, leaves and changes, who is picked is there and untried, and nobody is only if nobody is."""
    algorithm = MAKERS[name]()
    peers = some_peers(*[1] * 7)
    there: list[PlainPeer] = []
    under_way: list[PlainPeer] = []
    for operation, index, number in operations:
        peer = peers[index]
        if operation == "join" and peer not in there:
            there.append(peer)
            algorithm.add(peer)
        elif operation == "leave" and peer in there:
            there.remove(peer)
            algorithm.remove(peer)
        elif operation == "weigh":
            peer.weight = number
            if peer in there:
                algorithm.changed(peer)
        elif operation == "open":
            tried = there[: number % 4]
            found = open_request(algorithm, None if number % 3 else b"%d" % number, tried)
            assert (found is None) == (len(tried) == len(there))
            assert found is None or (found in there and found not in tried)
            under_way += [] if found is None else [found]
        elif operation == "end" and under_way:
            end_request(algorithm, under_way.pop(number % len(under_way)), Outcome("tcp") if number % 2 else Outcome())


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("change", ["weight", "membership"])
def test_one_of_ten_thousand(name: str, change: str) -> None:
    """What changes of one peer costs as much work among ten thousand as among a thousand, and so does a request."""

    def work(count: int) -> int:
        algorithm = MAKERS[name]()
        peers = some_peers(*[100] * count)
        algorithm.update(peers)
        for number in range(20):
            request(algorithm, b"%d" % number)
        peer = peers[count // 2]

        def there_and_back() -> None:
            for weight in (99, 100):
                if change == "weight":
                    peer.weight = weight
                    algorithm.changed(peer)
                elif weight == 99:
                    algorithm.remove(peer)
                else:
                    algorithm.add(peer)
                request(algorithm, b"key")

        return events(there_and_back)

    assert work(10_000) <= 1.1 * work(1000) + 20


@pytest.mark.parametrize("name", MAKERS)
def test_requests_among_ten_thousand(name: str) -> None:
    """A request is no more than a few hundred steps among ten thousand peers of any weights, and mostly far fewer."""
    random = Random(2)
    algorithm = MAKERS[name]()
    algorithm.update(some_peers(*(random.randint(1, 65535) for _ in range(10_000))))
    for number in range(100):
        request(algorithm, b"%d" % number)

    def hundred() -> None:
        for number in range(100):
            request(algorithm, b"%d" % number)

    assert events(hundred) <= 100 * 250


@pytest.mark.parametrize("name", MAKERS)
def test_who_has_left_is_let_go(name: str) -> None:
    """No algorithm holds on to a peer that was removed: if it comes back it is a new one, that nothing is known of."""
    algorithm = MAKERS[name]()
    algorithm.update(some_peers(1, 1, 1, 1))
    peer = PlainPeer("10.1.1.1:80", 7)
    algorithm.add(peer)
    for _ in range(20):
        request(algorithm)
    gone = ref(peer)
    algorithm.remove(peer)
    del peer
    collect()
    assert gone() is None
