"""Consistent hashing: one key, one peer, and as few keys as possible move when peers do.

The promise: who gets a key depends on the key and on each peer's own address and weight. So only the keys of a peer
that has left, is unhealthy or was tried move, and they come back; a peer that joins or gains weight takes keys from the
others, and nobody else's move. Shares follow weights, the mapping is the same in every process and after a restart, and
there is no limit to peers or weights.

The method is a race. Every peer has one point on each of `CIRCLES` circles. A key is a place on `PROBES` of them; from
there it is so far to a peer's point, going round. That distance, seen as a probability, is turned into the waiting time
of an exponential distribution and divided by the weight: the peer that would come first has the key. Of such waiting
times the first is one of weight w among W with the probability w/W, whoever else there is.

Looking at everybody is not necessary. Peers whose weights are within a factor of `SPAN` share a *band*, with circles of
its own. In a band one walks from the key's place to the next point, and on only while the heaviest of the band could
still come first: one step where all weigh the same. Keyless requests are round-robined.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Collection, Iterable, Sequence
from hashlib import blake2b, shake_128
from math import inf, log1p
from struct import Struct

from zope.interface import implementer

from twisted_kong.balancing.roundrobin import RoundRobin
from twisted_kong.interfaces import IAlgorithm, IAlgorithmFactory, IIncrementalAlgorithm, IPeer
from twisted_kong.model.entities import Upstream
from twisted_kong.model.traffic import Outcome, Pick

CIRCLES = 128
"""A power of two. The points that a peer has, whatever its weight: more of them even out the shares."""

PROBES = 5
"""The circles that a key is on. It is as if there were PROBES × CIRCLES points of every peer on one circle."""

SPAN_BITS = 4
"""Weights of which the binary digits are as many, in groups of so many, share a band."""

_ROUND = 1 << 64
_CIRCLE = CIRCLES - 1
_points = Struct(f"<{CIRCLES}Q").unpack
_places = Struct(f"<{PROBES}Q").unpack
_SCALE = 2.0**-53


def points(address: str) -> Sequence[int]:
    """Where the peer of this address has its point on each circle."""
    return _points(shake_128(address.encode()).digest(8 * CIRCLES))


class _Band:
    """Peers of similar weight on their circles: where the points are, in order, and whose they are."""

    def __init__(self) -> None:
        self.at = [array("Q") for _ in range(CIRCLES)]
        self.whose: list[list[IPeer]] = [[] for _ in range(CIRCLES)]
        self.weights: dict[int, int] = {}  # how many have each
        self.heaviest = 0

    def fill(self, peers: Sequence[IPeer]) -> None:
        """Have these, of whom none was there."""
        self.whose.clear()
        columns = zip(*(points(peer.address) for peer in peers), strict=True)
        for circle, column in enumerate(columns):
            order = sorted(range(len(column)), key=column.__getitem__)
            self.at[circle] = array("Q", [column[index] for index in order])
            self.whose.append([peers[index] for index in order])
        for peer in peers:
            self.weigh(peer.weight, 1)

    def add(self, peer: IPeer) -> None:
        for at, whose, point in zip(self.at, self.whose, points(peer.address), strict=True):
            index = bisect_left(at, point)
            at.insert(index, point)
            whose.insert(index, peer)

    def remove(self, peer: IPeer) -> None:
        for at, whose, point in zip(self.at, self.whose, points(peer.address), strict=True):
            index = bisect_left(at, point)
            while whose[index] is not peer:
                index += 1
            del at[index], whose[index]

    def weigh(self, weight: int, count: int) -> None:
        """One more has this weight, or, with -1, one less."""
        left = self.weights.get(weight, 0) + count
        if left:
            self.weights[weight] = left
        else:
            del self.weights[weight]
        self.heaviest = max(self.weights, default=0)

    def first(self, places: Sequence[int], tried: Collection[IPeer], best: float) -> tuple[IPeer | None, float]:
        """Who comes first of those not in ``tried``, and when; nobody if that is not before ``best``."""
        found = None
        heaviest = self.heaviest
        for place in places:
            at, whose = self.at[place & _CIRCLE], self.whose[place & _CIRCLE]
            index = bisect_left(at, place) - len(at)  # from here to the end, then from 0 on: all of them, once
            for index in range(index, index + len(at)):  # noqa: B020  # the same walk
                waited = -log1p((((at[index] - place) % _ROUND) >> 11) * -_SCALE)
                if waited >= best * heaviest:
                    break
                peer = whose[index]
                if peer not in tried and waited < best * peer.weight:
                    best, found = waited / peer.weight, peer
        return found, best


@implementer(IIncrementalAlgorithm)
class ConsistentHashing:
    """The picks of one upstream: O(log peers) where weights are equal, and little more where they are not."""

    def __init__(self) -> None:
        self._bands: dict[int, _Band] = {}
        self._weights: dict[IPeer, int] = {}
        self._only: _Band | None = None  # where there is one band and all its weights are equal
        self._keyless = RoundRobin()

    # -- changes -------------------------------------------------------------------------------------------------

    def update(self, peers: Iterable[IPeer]) -> None:
        peers = list(dict.fromkeys(peers))
        self._weights = {peer: peer.weight for peer in peers}
        banded: dict[int, list[IPeer]] = {}
        for peer in peers:
            banded.setdefault(_band(peer.weight), []).append(peer)
        self._bands = {}
        for number, members in sorted(banded.items(), reverse=True):
            band = self._bands[number] = _Band()
            band.fill(members)
        self._settle()
        self._keyless.update(peers)

    def add(self, peer: IPeer) -> None:
        self._put(peer)
        self._settle()
        self._keyless.add(peer)

    def remove(self, peer: IPeer) -> None:
        self._take(peer)
        self._settle()
        self._keyless.remove(peer)

    def changed(self, peer: IPeer) -> None:
        before = self._weights[peer]
        if before == peer.weight:
            return
        if _band(before) == _band(peer.weight):
            band = self._bands[_band(before)]
            band.weigh(peer.weight, 1)
            band.weigh(before, -1)
            self._weights[peer] = peer.weight
        else:
            self._take(peer)
            self._put(peer)
        self._settle()
        self._keyless.changed(peer)

    def _put(self, peer: IPeer) -> None:
        self._weights[peer] = peer.weight
        number = _band(peer.weight)
        if number not in self._bands:
            self._bands[number] = _Band()
            self._bands = dict(sorted(self._bands.items(), reverse=True))
        self._bands[number].add(peer)
        self._bands[number].weigh(peer.weight, 1)

    def _take(self, peer: IPeer) -> None:
        weight = self._weights.pop(peer)
        band = self._bands[_band(weight)]
        band.remove(peer)
        band.weigh(weight, -1)
        if not band.weights:
            del self._bands[_band(weight)]

    def _settle(self) -> None:
        self._only = None
        if len(self._bands) == 1:
            (band,) = self._bands.values()
            if len(band.weights) == 1:
                self._only = band

    # -- picks ---------------------------------------------------------------------------------------------------

    def pick(self, pick: Pick) -> IPeer | None:
        if pick.key is None:
            return self._keyless.pick(pick)
        places = _places(blake2b(pick.key, digest_size=8 * PROBES).digest())
        only = self._only
        if only is not None and not pick.tried:
            return _nearest(only, places)
        found, best = None, inf
        for band in self._bands.values():
            first, best = band.first(places, pick.tried, best)
            found = found if first is None else first
        return found

    def done(self, peer: IPeer, outcome: Outcome) -> None:
        """Keys do not move for what happened, only for who is there."""


def _nearest(band: _Band, places: Sequence[int]) -> IPeer:
    """`_Band.first` where all weigh the same and nobody was tried."""
    least = _ROUND
    circles, size = band.at, len(band.at[0])
    for place in places:
        at = circles[place & _CIRCLE]
        index = bisect_left(at, place)
        if index < size:
            distance = at[index] - place
        else:  # going round
            index, distance = 0, at[0] - place + _ROUND
        if distance < least:
            least, nearest, where = distance, index, place
    return band.whose[where & _CIRCLE][nearest]


def _band(weight: int) -> int:
    return (weight.bit_length() - 1) // SPAN_BITS


@implementer(IAlgorithmFactory)
class ConsistentHashingFactory:
    """Makes ``algorithm=consistent-hashing``."""

    name = "consistent-hashing"

    def build(self, upstream: Upstream) -> IAlgorithm:
        return ConsistentHashing()
