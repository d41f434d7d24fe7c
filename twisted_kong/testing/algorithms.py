"""Peers in memory, an algorithm that can be watched, and the contract of `IAlgorithm`."""

# mypy: allow-untyped-calls
# Trial's assertions carry no types.

from __future__ import annotations

import contextlib  # by its name: trial takes a `suppress` of the module for its own
from collections.abc import Callable, Iterable, Sequence
from random import Random
from typing import Any

from twisted.trial.unittest import TestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from twisted_kong.interfaces import IAlgorithm, IAlgorithmFactory, IIncrementalAlgorithm, IPeer, ISessionAlgorithm
from twisted_kong.model.entities import Upstream
from twisted_kong.model.schema import Schema
from twisted_kong.model.traffic import Outcome, Pick
from twisted_kong.testing.entities import an_upstream


@implementer(IPeer)
class PlainPeer:
    """A peer that is an address and a weight, and nobody's to dial."""

    def __init__(self, address: str, weight: int = 1) -> None:
        self.address = address
        self.weight = weight
        self.leases = 0
        self.memory: dict[str, Any] = {}

    def __repr__(self) -> str:
        return f"<PlainPeer {self.address} weight {self.weight}>"


def some_peers(*weights: int) -> list[PlainPeer]:
    """A peer for each weight, at 10.0.0.1:8000 and the addresses after it."""
    return [PlainPeer(f"10.0.{number >> 8}.{number & 255}:8000", weight) for number, weight in enumerate(weights, 1)]


@implementer(IAlgorithm)
class InOrder:
    """An algorithm that picks the first of its peers that may be picked, and keeps what it hears.

    ``updates`` are the peers of every update, ``outcomes`` whose attempts have ended and how.
    """

    def __init__(self) -> None:
        self.updates: list[list[IPeer]] = []
        self.outcomes: list[tuple[IPeer, Outcome]] = []

    def update(self, peers: Iterable[IPeer]) -> None:
        self.updates.append(list(peers))

    def pick(self, pick: Pick) -> IPeer | None:
        peers = self.updates[-1] if self.updates else ()
        return next((peer for peer in peers if peer not in pick.tried), None)

    def done(self, peer: IPeer, outcome: Outcome) -> None:
        self.outcomes.append((peer, outcome))


@implementer(IAlgorithmFactory)
class InOrderFactory:
    """Makes `InOrder` ones, and keeps them in ``made``."""

    name = "in-order"

    def __init__(self) -> None:
        self.made: list[InOrder] = []

    def build(self, upstream: Upstream) -> IAlgorithm:
        self.made.append(InOrder())
        return self.made[-1]


def algorithm_contract(make_factory: Callable[[], IAlgorithmFactory], **fields: object) -> type[TestCase]:
    """What every `IAlgorithmFactory` and the algorithms it builds must do; ``make_factory()`` makes one.

    ``fields`` are what an upstream has to say besides ``algorithm`` to have one of them.

    Nothing here asks how the traffic is spread: that is the algorithm's own business.
    """

    class AlgorithmContract(TestCase):
        """The behaviour that the gateway relies on."""

        algorithm: IAlgorithm
        KEYS = (None, b"", b"one", b"another")

        def setUp(self) -> None:
            self.factory = make_factory()
            self.algorithm = self.build()

        def build(self) -> IAlgorithm:
            upstream, _ = an_upstream("orders")
            return self.factory.build(upstream.model_copy(update={"algorithm": self.factory.name}))

        def picks(self, count: int, tried: Sequence[IPeer] = ()) -> list[IPeer | None]:
            """What ``count`` requests get, with and without keys; each of them ends before the next."""
            found: list[IPeer | None] = []
            for number in range(count):
                peer = self.pick(Pick(self.KEYS[number % len(self.KEYS)], tried))
                found.append(peer)
                if peer is not None:
                    self.end(peer, Outcome(None, 200, 0.01))
            return found

        def pick(self, pick: Pick) -> PlainPeer | None:
            """A pick, counted as the gateway counts."""
            peer = self.algorithm.pick(pick)
            if peer is None:
                return None
            assert isinstance(peer, PlainPeer), f"{peer!r} is none of the peers it was given"
            peer.leases += 1
            return peer

        def end(self, peer: PlainPeer, outcome: Outcome) -> None:
            """The end of an attempt, counted as the gateway counts."""
            peer.leases -= 1
            self.algorithm.done(peer, outcome)

        def test_interface(self) -> None:
            """Factory and algorithm provide their interfaces, and the name can be said in ``algorithm``."""
            verifyObject(IAlgorithmFactory, self.factory)
            verifyObject(IAlgorithm, self.algorithm)
            schema = Schema([self.factory.name])
            data = {"name": "orders", "algorithm": self.factory.name, **fields}
            upstream = schema.build(Upstream, data, now=1500000000.0)
            self.assertEqual(upstream.algorithm, self.factory.name)

        def test_nobody(self) -> None:
            """Without peers nobody is picked: neither before the first update nor after all have left."""
            self.assertEqual(self.picks(4), [None] * 4)
            self.algorithm.update(some_peers(1, 2))
            self.algorithm.update([])
            self.assertEqual(self.picks(4), [None] * 4)

        def test_the_only_one(self) -> None:
            """A peer that is alone gets everything."""
            peers = some_peers(7)
            self.algorithm.update(peers)
            self.assertEqual(self.picks(8), peers * 8)

        def test_any_iterable(self) -> None:
            """The peers come as any iterable, which can be read once."""
            peers = some_peers(3)
            self.algorithm.update(iter(peers))
            self.assertEqual(self.picks(4), peers * 4)

        def test_only_the_latest(self) -> None:
            """Whoever an update does not list is not picked after it, whoever it lists may be."""
            before, after = some_peers(1, 50, 3), some_peers(2, 1, 9)
            kept = before[2]
            self.algorithm.update(before)
            self.assertLessEqual(set(self.picks(200)), set(before))
            self.algorithm.update([kept, *after])
            self.assertLessEqual(set(self.picks(200)), {kept, *after})

        def test_never_a_tried_one(self) -> None:
            """Peers that were tried are left out, down to the last one; when all were, nobody is picked."""
            peers = some_peers(1, 100, 10, 1)
            self.algorithm.update(peers)
            for count in range(len(peers)):
                found = self.picks(40, peers[:count])
                self.assertLessEqual(set(found), set(peers[count:]))
            self.assertEqual(self.picks(4, peers), [None] * 4)
            self.assertLessEqual(set(self.picks(40)), set(peers))

        def test_tried_strangers(self) -> None:
            """Peers that were tried and are there no longer change nothing."""
            peers = some_peers(1, 2)
            self.algorithm.update(peers)
            self.assertLessEqual(set(self.picks(40, some_peers(1, 1))), set(peers))

        def test_two_are_strangers(self) -> None:
            """Two algorithms of a factory share nothing, in whatever order they are used."""
            other = self.build()
            mine, others = some_peers(1, 2), some_peers(3)
            self.algorithm.update(mine)
            self.assertIsNone(other.pick(Pick()))
            other.update(others)
            for _ in range(20):
                self.assertIn(self.picks(1)[0], mine)
                self.assertIs(other.pick(Pick()), others[0])

        def test_same_again(self) -> None:
            """An update to the same peers does no harm, even before every pick."""
            peers = some_peers(1, 2, 3)
            found: list[IPeer | None] = []
            for _ in range(60):
                self.algorithm.update(peers)
                found += self.picks(1)
            self.assertLessEqual(set(found), set(peers))

        def test_new_weights(self) -> None:
            """A peer whose weight has changed by the next update is still the same peer."""
            peers = some_peers(1, 1)
            self.algorithm.update(peers)
            self.picks(5)
            peers[0].weight = 30
            self.algorithm.update(peers)
            self.assertLessEqual(set(self.picks(62)), set(peers))

        def test_many_at_once(self) -> None:
            """Attempts overlap and end in any order and in any way, after their peer has left as well."""
            peers = some_peers(1, 2, 3)
            self.algorithm.update(peers)
            picked = [self.pick(Pick()) for _ in range(30)]
            self.algorithm.update(peers[1:])
            outcomes = (Outcome(None, 200, 0.1), Outcome(None, 503, 2.0), Outcome("tcp"), Outcome("timeout"), Outcome())
            for number, peer in enumerate(reversed(picked)):
                assert peer is not None
                self.end(peer, outcomes[number % len(outcomes)])
            self.assertLessEqual(set(self.picks(30)), set(peers[1:]))

    built: object = None
    with contextlib.suppress(Exception):  # what is wrong with it is for the suite to tell
        built = make_factory().build(an_upstream("orders")[0])
    contract: type[TestCase] = AlgorithmContract
    if IIncrementalAlgorithm.providedBy(built):
        contract = _incremental(AlgorithmContract)
    return _with_sessions(contract) if ISessionAlgorithm.providedBy(built) else contract


def _incremental(contract: Any) -> Any:
    """The same with what an `IIncrementalAlgorithm` must do beyond."""

    class IncrementalContract(contract):  # type: ignore[misc]  # made above
        """The behaviour that the gateway relies on, one peer at a time."""

        def test_incremental_interface(self) -> None:
            """What is provided is there."""
            verifyObject(IIncrementalAlgorithm, self.algorithm)

        def test_one_more(self) -> None:
            """Whoever is added may be picked, and is picked where nobody else is left."""
            peers = some_peers(1, 50, 3)
            self.algorithm.update(peers[:2])
            self.algorithm.add(peers[2])
            self.assertLessEqual(set(self.picks(80)), set(peers))
            self.assertEqual(self.picks(8, peers[:2]), peers[2:] * 8)

        def test_from_nothing(self) -> None:
            """The first peer may be an added one, and the last one removed."""
            peers = some_peers(4)
            self.algorithm.update([])
            self.algorithm.add(peers[0])
            self.assertEqual(self.picks(8), peers * 8)
            self.algorithm.remove(peers[0])
            self.assertEqual(self.picks(4), [None] * 4)

        def test_one_less(self) -> None:
            """Whoever is removed is not picked, its attempts may end later, and it may come back."""
            peers = some_peers(1, 50, 3)
            self.algorithm.update(peers)
            under_way = [self.pick(Pick()) for _ in range(60)]
            self.algorithm.remove(peers[1])
            self.assertLessEqual(set(self.picks(40)), {peers[0], peers[2]})
            for peer in under_way:
                self.end(peer, Outcome(None, 200, 0.1))
            self.assertLessEqual(set(self.picks(40)), {peers[0], peers[2]})
            self.algorithm.add(peers[1])
            self.assertEqual(self.picks(8, [peers[0], peers[2]]), [peers[1]] * 8)

        def test_another_weight(self) -> None:
            """A peer that is said to have changed is still the same, however its weight and its leases are now."""
            peers = some_peers(1, 1, 1)
            self.algorithm.update(peers)
            for weight in (30, 1, 65535):
                peers[0].weight = weight
                peers[0].leases += 1
                self.algorithm.changed(peers[0])
                self.assertLessEqual(set(self.picks(62)), set(peers))
                peers[0].leases -= 1
                self.algorithm.changed(peers[0])
            self.assertEqual(self.picks(8, peers[1:]), peers[:1] * 8)

        def test_any_changes(self) -> None:
            """Whatever comes and goes in whatever order, exactly those that are there are picked, down to nobody."""
            random = Random(7)
            peers = some_peers(*range(1, 9))
            here = set(peers[:4])
            self.algorithm.update(peers[:4])
            for _ in range(200):
                peer = random.choice(peers)
                if peer not in here:
                    here.add(peer)
                    self.algorithm.add(peer)
                elif random.random() < 0.7:
                    here.remove(peer)
                    self.algorithm.remove(peer)
                else:
                    peer.weight = random.randint(1, 20)
                    self.algorithm.changed(peer)
                self.assertLessEqual(set(self.picks(4)), here or {None})  # type: ignore[arg-type]  # nobody
                for one in here:
                    self.assertEqual(self.picks(1, [*(here - {one})]), [one])

    return IncrementalContract


def _with_sessions(contract: Any) -> Any:
    """The same with what an `ISessionAlgorithm` must do beyond."""

    class SessionContract(contract):  # type: ignore[misc]  # made above
        """The behaviour that the gateway relies on, peers of weight 0 included."""

        def test_nobody_new(self) -> None:
            """A peer of weight 0 is picked for nobody who does not belong to it."""
            gone, here = some_peers(0, 5)
            self.algorithm.update([gone, here])
            self.assertEqual(self.picks(40), [here] * 40)
            self.algorithm.update([gone])
            self.assertEqual(self.picks(4), [None] * 4)

    return SessionContract
