"""Weighted round robin: exact and smooth.

The promise: with the same peers, any window of Σ(weight/gcd) picks hits every peer exactly weight/gcd times, and
a peer's picks are spread over the window as evenly as its share allows. Memory is one entry for each peer,
whatever the weights.

The method is earliest deadline first with releases, as periodic tasks are scheduled on one processor. In a cycle
of W picks a peer of share w owns w windows of W/w picks each; it may be picked once in every window, not before
the window opens, and whoever's window closes first goes first. The windows of all peers fill the cycle exactly, so
each cycle uses every one of them and is the same as the cycle before.

A change of the peers begins a new cycle, in which everybody keeps its pace: the first window of a peer
opens when its next one would have, and closes the earlier the longer it has been open already. So light peers are
neither starved nor favoured by frequent changes. The cycles after it repeat that one, so how evenly picks are spread
may depend on the change; how many there are does not.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from heapq import heapify, heappop, heappush
from math import gcd

from zope.interface import implementer

from twisted_kong.interfaces import IAlgorithm, IAlgorithmFactory, IPeer
from twisted_kong.model.entities import Upstream
from twisted_kong.model.traffic import Outcome, Pick

_Turn = tuple[int, float, int, int, int]
"""A peer's current window: (when, end, index, window, cycle).

``index`` says whose it is, ``window`` and ``cycle`` which one. Turns are compared by what comes first: ``when`` is the
cycle of a turn that is open, and of one that is not the number of the pick that opens it; ``end`` is where in its cycle
the window closes, computed afresh for each, so that rounding never adds up. No two turns have the same index.
"""


@implementer(IAlgorithm)
class RoundRobin:
    """The picks of one upstream. A pick costs O(log peers), a change of the peers O(peers)."""

    def __init__(self) -> None:
        self._peers: Sequence[IPeer] = ()
        self._shares: Sequence[int] = ()
        self._opens: Sequence[int] = ()  # the pick of every cycle that opens the first window of each
        self._ends: Sequence[float] = ()  # where in every cycle the first window of each closes
        self._last: list[int] = []  # the number of each one's last pick; before it, minus the picks it joined after
        self._picks = 0
        self._begin = 0  # the picks before the first cycle
        self._length = 0
        self._opened: list[_Turn] = []
        self._waiting: list[_Turn] = []

    def update(self, peers: Iterable[IPeer]) -> None:
        """Start a new cycle over ``peers``; among equals who has waited longest comes first."""
        self._begin = begin = self._picks
        known = dict(zip(self._peers, self._last, strict=True))
        self._peers = peers = list(peers)
        self._last = last = [known.get(peer, -begin) for peer in peers]
        weights = [peer.weight for peer in peers]
        unit = gcd(*weights) or 1
        self._shares = shares = [weight // unit for weight in weights]
        self._length = length = sum(shares)
        # the picks until the next window of each would have opened; negative where it has been open for as many
        dues = [
            (was + (length - 1) // share if was > 0 else -was) - begin for share, was in zip(shares, last, strict=True)
        ]
        self._opens = [due if due > 0 else 0 for due in dues]
        self._ends = [
            1 / share if due >= 0 else 1 / share + due / length for share, due in zip(shares, dues, strict=True)
        ]
        turns = list(zip(self._opens, self._ends, range(len(peers)), strict=True))
        self._opened = [(0, end, index, 0, 0) for opens, end, index in turns if not opens]
        self._waiting = [(begin + opens, end, index, 0, 0) for opens, end, index in turns if opens]
        heapify(self._opened)
        heapify(self._waiting)

    def pick(self, pick: Pick) -> IPeer | None:
        now = self._picks
        opened, waiting = self._opened, self._waiting
        while waiting and waiting[0][0] <= now:
            _, end, index, window, cycle = heappop(waiting)
            heappush(opened, (cycle, end, index, window, cycle))
        if opened and not pick.tried:
            turn = heappop(opened)
        else:
            found = self._take(opened, pick.tried) or self._take(waiting, pick.tried)
            if found is None:
                return None
            turn = found
        _, _, index, window, cycle = turn
        self._last[index] = self._picks = now + 1
        share = self._shares[index]
        window += 1
        if window == share:
            window = 0
            cycle += 1
            opens, end = self._opens[index], self._ends[index]
        else:
            opens = -(-window * self._length // share)
            end = (window + 1) / share
        heappush(waiting, (self._begin + cycle * self._length + opens, end, index, window, cycle))
        return self._peers[index]

    def _take(self, turns: list[_Turn], tried: Collection[IPeer]) -> _Turn | None:
        """The first turn of a peer not in ``tried``, taken out; the others stay."""
        skipped = []
        found = None
        while turns and found is None:
            turn = heappop(turns)
            if self._peers[turn[2]] in tried:
                skipped.append(turn)
            else:
                found = turn
        for turn in skipped:
            heappush(turns, turn)
        return found

    def done(self, peer: IPeer, outcome: Outcome) -> None:
        """Round robin learns nothing from outcomes."""


@implementer(IAlgorithmFactory)
class RoundRobinFactory:
    """Makes ``algorithm=round-robin``, the default."""

    name = "round-robin"

    def build(self, upstream: Upstream) -> IAlgorithm:
        return RoundRobin()
