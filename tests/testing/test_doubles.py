"""What is published for authors holds itself: every double passes the suite of its interface."""

from __future__ import annotations

from twisted.internet.protocol import Protocol
from zope.interface.verify import verifyObject

from twisted_kong import testing
from twisted_kong.interfaces import IPeer, IProbe
from twisted_kong.model.traffic import Outcome, Pick
from twisted_kong.testing import (
    InOrder,
    InOrderFactory,
    KnownNamesFactory,
    ProbeInMemory,
    SaidHealthFactory,
    algorithm_contract,
    health_checker_contract,
    resolver_contract,
    some_peers,
)

InOrderTests = algorithm_contract(InOrderFactory)
SaidHealthTests = health_checker_contract(
    lambda: SaidHealthFactory({"ill.test": Outcome("tcp")}), well=lambda probe: None, ill=lambda probe: None
)
KnownNamesTests = resolver_contract(lambda: KnownNamesFactory({"a.test": ["10.0.0.1", "::1"]}), "a.test", "b.test")


def test_peers() -> None:
    """The peers that are handed out are peers, each with an address of its own."""
    peers = some_peers(*range(1, 300))
    assert len({peer.address for peer in peers}) == len(peers)
    assert [peer.weight for peer in peers] == [*range(1, 300)]
    for peer in peers:
        verifyObject(IPeer, peer)


def test_in_order() -> None:
    """The algorithm in memory picks in order, and keeps what it hears."""
    first, second = some_peers(1, 1)
    algorithm = InOrder()
    algorithm.update([first, second])
    assert [algorithm.pick(Pick()), algorithm.pick(Pick(tried=[first]))] == [first, second]
    algorithm.done(second, Outcome("tcp"))
    assert (algorithm.updates, algorithm.outcomes) == ([[first, second]], [(second, Outcome("tcp"))])


def test_published() -> None:
    """Everything that is published can be imported from the one place."""
    assert all(hasattr(testing, name) for name in testing.__all__)
    assert testing.__all__ == sorted(testing.__all__)


def test_probe() -> None:
    """The probe in memory is one, and keeps what was asked of it."""
    probe = ProbeInMemory()
    verifyObject(IProbe, probe)
    protocol = Protocol()
    probe.connect_tls(protocol, "orders.test", True, [b"h2"])
    assert protocol.transport is not None
    protocol.transport.write(b"PING")
    assert (probe.sent, probe.tls) == (b"PING", ("orders.test", True, (b"h2",)))
