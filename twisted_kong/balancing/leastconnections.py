"""Least connections: whoever has the fewest requests open for its weight is next.

The score of a peer is (open requests + 1) / weight, as Kong has it, so that an idle pool prefers the heaviest. Equals
take turns. What is open is counted by the peer itself (`IPeer.leases`) and nowhere else: nothing can drift, and nothing
is forgotten when the configuration changes.
"""

from __future__ import annotations

from collections.abc import Iterable

from zope.interface import implementer

from twisted_kong.balancing.ranking import Ranking
from twisted_kong.interfaces import IAlgorithm, IAlgorithmFactory, IIncrementalAlgorithm, IPeer
from twisted_kong.model.entities import Upstream
from twisted_kong.model.traffic import Outcome, Pick


@implementer(IIncrementalAlgorithm)
class LeastConnections:
    """The picks of one upstream, each in O(log peers)."""

    def __init__(self) -> None:
        self._ranking = Ranking()

    def update(self, peers: Iterable[IPeer]) -> None:
        peers = dict.fromkeys(peers)
        self._ranking.keep(peers.keys())
        for peer in peers:
            self.add(peer)

    def add(self, peer: IPeer) -> None:
        self._ranking.place(peer, (peer.leases + 1) / peer.weight)

    def remove(self, peer: IPeer) -> None:
        self._ranking.remove(peer)

    def changed(self, peer: IPeer) -> None:
        self.add(peer)

    def pick(self, pick: Pick) -> IPeer | None:
        ranking = self._ranking
        while True:
            found = ranking.best(pick.tried)
            if found is None:
                return None
            peer, score = found
            now = (peer.leases + 1) / peer.weight
            if now <= score:
                break
            ranking.place(peer, now)  # it carries more than was said here
        ranking.place(peer, (peer.leases + 2) / peer.weight)  # as it will be when it carries this one
        return peer

    def done(self, peer: IPeer, outcome: Outcome) -> None:
        if peer in self._ranking:
            self.add(peer)


@implementer(IAlgorithmFactory)
class LeastConnectionsFactory:
    """Makes ``algorithm=least-connections``."""

    name = "least-connections"

    def build(self, upstream: Upstream) -> IAlgorithm:
        return LeastConnections()
