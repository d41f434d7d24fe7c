"""All requests go to the heaviest peer that is there; the others wait until it is not."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from zope.interface import implementer

from twisted_kong.interfaces import IAlgorithm, IAlgorithmFactory, IPeer
from twisted_kong.model.entities import Upstream
from twisted_kong.model.traffic import Outcome, Pick


@implementer(IAlgorithm)
class FirstAvailable:
    def __init__(self) -> None:
        self._order: Sequence[IPeer] = ()

    def update(self, peers: Iterable[IPeer]) -> None:
        self._order = sorted(peers, key=lambda peer: (-peer.weight, peer.address))

    def pick(self, pick: Pick) -> IPeer | None:
        return next((peer for peer in self._order if peer not in pick.tried), None)

    def done(self, peer: IPeer, outcome: Outcome) -> None:
        pass


@implementer(IAlgorithmFactory)
class FirstAvailableFactory:
    name = "first-available"

    def build(self, upstream: Upstream) -> IAlgorithm:
        return FirstAvailable()


factory = FirstAvailableFactory()
