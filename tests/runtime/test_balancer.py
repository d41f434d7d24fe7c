"""Leases: what a balancer lends, and what it hears of it afterwards."""

# mypy: allow-untyped-calls
# Trial's assertions carry no types.

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from weakref import ref

from twisted.logger import LogLevel, capturedLogs
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer, implementer_only
from zope.interface.verify import verifyObject

from twisted_kong.balancing.roundrobin import RoundRobin
from twisted_kong.interfaces import IAlgorithm, IPeer
from twisted_kong.model.traffic import Outcome, Pick
from twisted_kong.runtime.balancer import Balancer
from twisted_kong.runtime.guard import ComponentFailed
from twisted_kong.runtime.peers import Peer, Peers
from twisted_kong.testing import PlainPeer

OK = Outcome(None, 200, 0.1)


@implementer_only(IAlgorithm)
class Watched(RoundRobin):
    """Round robin that keeps what it is told, and wants to be told all of it."""

    def __init__(self) -> None:
        super().__init__()
        self.updates: list[list[str]] = []
        self.keys: list[bytes | None] = []
        self.outcomes: list[tuple[str, Outcome]] = []

    def update(self, peers: Iterable[IPeer]) -> None:
        peers = list(peers)
        self.updates.append([f"{peer.address} {peer.weight}" for peer in peers])
        super().update(peers)

    def pick(self, pick: Pick) -> IPeer | None:
        self.keys.append(pick.key)
        return super().pick(pick)

    def done(self, peer: IPeer, outcome: Outcome) -> None:
        self.outcomes.append((peer.address, outcome))


@implementer(IAlgorithm)
class Broken:
    """An algorithm that answers a stranger, or fails where there is none."""

    def __init__(self, stranger: Any = None) -> None:
        self._stranger = stranger

    def update(self, peers: Iterable[IPeer]) -> None:
        pass

    def pick(self, pick: Pick) -> IPeer | None:
        if self._stranger is None:
            raise ZeroDivisionError
        found: IPeer = self._stranger
        return found

    def done(self, peer: IPeer, outcome: Outcome) -> None:
        raise ZeroDivisionError


@implementer(IAlgorithm)
class Ungrateful(Watched):
    """An algorithm that fails when it is told how it went."""

    def done(self, peer: IPeer, outcome: Outcome) -> None:
        raise ZeroDivisionError


def some(*weights: int) -> list[Peer]:
    return [Peer(f"10.0.0.{number}", 80, weight) for number, weight in enumerate(weights, 1)]


class LeaseTests(SynchronousTestCase):
    """What is lent comes back, once."""

    def setUp(self) -> None:
        self.algorithm = Watched()
        self.balancer = Balancer("orders", self.algorithm)

    def lend(self, *tried: Peer) -> Peer:
        """The peer of a lease that comes back at once."""
        lease = self.balancer.lease(tried)
        assert lease is not None
        lease.release(OK)
        return lease.peer

    def test_doubles(self) -> None:
        """The algorithms used here are algorithms, and the peers are peers."""
        for algorithm in (self.algorithm, Broken(), Ungrateful()):
            verifyObject(IAlgorithm, algorithm)
        verifyObject(IPeer, some(1)[0])

    def test_nobody(self) -> None:
        """Without peers nobody is lent."""
        self.assertIsNone(self.balancer.lease())
        self.balancer.update(some(0, 0))
        self.assertIsNone(self.balancer.lease())

    def test_released_once(self) -> None:
        """A lease counts until it is released; to release it again does nothing."""
        (peer,) = some(1)
        self.balancer.update([peer])
        first, second = self.balancer.lease(), self.balancer.lease()
        assert first is not None
        assert second is not None
        self.assertEqual(peer.leases, 2)
        first.release(OK)
        first.release(Outcome("tcp"))
        self.assertEqual(peer.leases, 1)
        second.release(Outcome("timeout"))
        self.assertEqual(peer.leases, 0)
        self.assertEqual(self.algorithm.outcomes, [(peer.address, OK), (peer.address, Outcome("timeout"))])

    def test_released_after_the_peer_has_left(self) -> None:
        """A peer that is lent no more is given back all the same."""
        peers = some(1, 1)
        self.balancer.update(peers)
        lease = self.balancer.lease()
        assert lease is not None
        self.balancer.update(peers[1:])
        lease.release(OK)
        self.assertEqual(peers[0].leases, 0)
        self.assertEqual(self.algorithm.outcomes, [(peers[0].address, OK)])

    def test_tried(self) -> None:
        """Who was tried is lent again only where nobody else is left."""
        a, b, c = some(1, 1, 1)
        self.balancer.update([a, b, c])
        for _ in range(6):
            self.assertIs(self.lend(a, c), b)
            self.assertIn(self.lend(a), {b, c})
        self.assertEqual({self.lend(a, b, c) for _ in range(40)}, {a, b, c})

    def test_key(self) -> None:
        """The key of a request comes to the algorithm, in the second pick as well."""
        peers = some(1)
        self.balancer.update(peers)
        self.balancer.lease(key=b"one")
        self.balancer.lease(peers, b"two")
        self.balancer.lease()
        self.assertEqual(self.algorithm.keys, [b"one", b"two", b"two", None])

    def test_weights(self) -> None:
        """The algorithm is told of peers that have a weight, whenever one joins, leaves or is re-weighted."""
        a, b, c = some(1, 2, 0)
        self.balancer.update([a, b, c])
        c.weight = 3
        self.balancer.update([a, b, c])
        b.weight = 0
        self.balancer.update([a, b, c])
        self.balancer.update([c])
        self.assertEqual(
            self.algorithm.updates,
            [
                ["10.0.0.1:80 1", "10.0.0.2:80 2"],
                ["10.0.0.1:80 1", "10.0.0.2:80 2", "10.0.0.3:80 3"],
                ["10.0.0.1:80 1", "10.0.0.3:80 3"],
                ["10.0.0.3:80 3"],
            ],
        )

    def test_nothing_changed(self) -> None:
        """An update that changes nothing is not the algorithm's concern."""
        peers = some(1, 2)
        self.balancer.update(peers)
        self.balancer.update(list(peers))
        self.assertEqual(len(self.algorithm.updates), 1)


class BrokenAlgorithmTests(SynchronousTestCase):
    """What a component does wrong is logged, costs one request, and nothing else."""

    def test_failing_pick(self) -> None:
        """An algorithm that fails to pick is logged, and the client is told nothing of it."""
        balancer = Balancer("orders", Broken())
        balancer.update(some(1))
        with self.assertRaises(ComponentFailed) as failed:
            balancer.lease()
        self.assertEqual(failed.exception.status, 500)
        self.assertNotIn("orders", failed.exception.message)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_stranger(self) -> None:
        """An algorithm that answers what is no peer of its own is logged, and nothing is lent."""
        (ours,) = some(1)
        for stranger in (PlainPeer("10.0.0.9:80"), "10.0.0.1:80", object(), Peer("10.0.0.1", 80, 1)):
            balancer = Balancer("orders", Broken(stranger))
            balancer.update([ours])
            with capturedLogs() as events:
                self.assertRaises(ComponentFailed, balancer.lease)
            self.assertEqual(getattr(stranger, "leases", 0), 0)
            self.assertIn(events[-1]["log_level"], (LogLevel.error, LogLevel.critical))
            self.flushLoggedErrors()

    def test_failing_done(self) -> None:
        """An algorithm that fails to take an outcome is logged; the peer is back."""
        (peer,) = some(1)
        balancer = Balancer("orders", Ungrateful())
        balancer.update([peer])
        lease = balancer.lease()
        assert lease is not None
        lease.release(OK)
        self.assertEqual(peer.leases, 0)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)


class PeersTests(SynchronousTestCase):
    """Peers are known by whom they serve, host and port."""

    def test_identity(self) -> None:
        """The same three are the same peer, with the newest weight; others are others."""
        peers = Peers()
        one = peers.get("orders", "10.0.0.1", 80, 1)
        self.assertIs(peers.get("orders", "10.0.0.1", 80, 7), one)
        self.assertEqual(one.weight, 7)
        others = [
            peers.get("bills", "10.0.0.1", 80, 1),
            peers.get("orders", "10.0.0.2", 80, 1),
            peers.get("orders", "10.0.0.1", 81, 1),
        ]
        self.assertEqual(len({one, *others}), 4)

    def test_forgotten(self) -> None:
        """A peer nobody refers to is forgotten."""
        peers = Peers()
        forgotten = ref(peers.get("orders", "10.0.0.1", 80, 1))
        kept = peers.get("orders", "10.0.0.2", 80, 1)
        self.assertIsNone(forgotten())
        self.assertIs(peers.get("orders", "10.0.0.2", 80, 1), kept)

    def test_addresses(self) -> None:
        """A peer tells its address as one would write it, and whether its host has to be resolved."""
        told = [
            (peer.address, peer.resolved) for peer in (Peer("10.0.0.1", 80, 1), Peer("::1", 8080, 1), Peer("a", 1, 1))
        ]
        self.assertEqual(told, [("10.0.0.1:80", True), ("[::1]:8080", True), ("a:1", False)])
