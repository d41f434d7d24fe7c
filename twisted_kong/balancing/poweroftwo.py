"""Power of two choices: of two peers picked by weight, the one with fewer requests open for its weight.

Nearly as even as least connections, without its weakness where several gateways share the peers: all of these would
send everything to the one peer that seems idle to each of them, while here nobody is everybody's first choice.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from itertools import accumulate
from random import Random

from zope.interface import implementer

from twisted_kong.interfaces import IAlgorithm, IAlgorithmFactory, IIncrementalAlgorithm, IPeer
from twisted_kong.model.entities import Upstream
from twisted_kong.model.traffic import Outcome, Pick

PATIENCE = 16
"""Draws in which nobody new comes up, before the rest is looked at one by one."""


class Urn:
    """Peers, to be drawn by weight in O(1); who joins or leaves costs O(1), whatever the weights.

    Those whose weights have as many binary digits share a *band*. A band is drawn by what it weighs, then a place in
    it, which is taken with the probability weight/(highest weight of the band), a half or more, and drawn anew
    otherwise.
    """

    def __init__(self, random: Random) -> None:
        self._random = random.random
        self._bands: list[list[IPeer]] = []
        self._totals: list[int] = []
        self._total = 0
        self._places: dict[IPeer, tuple[int, int]] = {}  # the place in its band, and the weight

    def __contains__(self, peer: object) -> bool:
        return peer in self._places

    def __len__(self) -> int:
        return len(self._places)

    def __iter__(self) -> Iterable[IPeer]:
        return iter(self._places)

    def add(self, peer: IPeer) -> None:
        weight = peer.weight
        number = weight.bit_length()
        while len(self._bands) <= number:
            self._bands.append([])
            self._totals.append(0)
        self._places[peer] = len(self._bands[number]), weight
        self._bands[number].append(peer)
        self._totals[number] += weight
        self._total += weight

    def remove(self, peer: IPeer) -> None:
        place, weight = self._places.pop(peer)
        number = weight.bit_length()
        last = self._bands[number].pop()
        if last is not peer:
            self._bands[number][place] = last
            self._places[last] = place, self._places[last][1]
        self._totals[number] -= weight
        self._total -= weight

    def draw(self) -> IPeer:
        """One of them, each with the probability of its share."""
        random = self._random
        point = random() * self._total
        number = len(self._totals) - 1
        while point >= self._totals[number] and number:
            point -= self._totals[number]
            number -= 1
        while not self._bands[number]:
            number += 1  # rounding has led below the lowest band
        band = self._bands[number]
        size, highest = len(band), 1 << number
        while True:
            peer = band[int(random() * size)]
            if random() * highest < self._places[peer][1]:
                return peer

    def draw_other(self, tried: Collection[IPeer]) -> IPeer | None:
        """The same without those in ``tried``; None if there are no others."""
        for _ in range(PATIENCE):
            peer = self.draw()
            if peer not in tried:
                return peer
        left = [peer for peer in self._places if peer not in tried]
        if not left:
            return None
        sums = list(accumulate(self._places[peer][1] for peer in left))
        point = self._random() * sums[-1]
        return next((peer for peer, end in zip(left, sums, strict=True) if point < end), left[-1])


@implementer(IIncrementalAlgorithm)
class PowerOfTwoChoices:
    """The picks of one upstream, each in O(1)."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._urn = Urn(random)

    def update(self, peers: Iterable[IPeer]) -> None:
        self._urn = Urn(self._random)
        for peer in dict.fromkeys(peers):
            self._urn.add(peer)

    def add(self, peer: IPeer) -> None:
        self._urn.add(peer)

    def remove(self, peer: IPeer) -> None:
        self._urn.remove(peer)

    def changed(self, peer: IPeer) -> None:
        self._urn.remove(peer)
        self._urn.add(peer)

    def pick(self, pick: Pick) -> IPeer | None:
        urn = self._urn
        if not urn:
            return None
        tried = pick.tried
        one = urn.draw() if not tried else urn.draw_other(tried)
        if one is None or len(urn) == 1:
            return one
        other = urn.draw()
        for _ in range(3):
            if other is not one and other not in tried:
                # compared as fractions, open requests over weight
                return one if one.leases * other.weight <= other.leases * one.weight else other
            other = urn.draw()
        return one

    def done(self, peer: IPeer, outcome: Outcome) -> None:
        """What is open the peer itself counts."""


@implementer(IAlgorithmFactory)
class PowerOfTwoChoicesFactory:
    """Makes ``algorithm=power-of-two-choices``."""

    name = "power-of-two-choices"

    def __init__(self, random: Random | None = None) -> None:
        self._random = random or Random()

    def build(self, upstream: Upstream) -> IAlgorithm:
        return PowerOfTwoChoices(self._random)
