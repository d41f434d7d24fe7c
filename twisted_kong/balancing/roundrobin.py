"""Weighted round robin: exact and smooth.

The promise: with the same peers, any window of Σ(weight/gcd) picks hits every peer exactly weight/gcd times, and
a peer's picks are spread over the window as evenly as its share allows. Memory is one entry for each peer,
whatever the weights.

The method is earliest deadline first with releases, as periodic tasks are scheduled on one processor. In a cycle
of W picks a peer of share w owns w windows of W/w picks each; it may be picked once in every window, not before
the window opens, and whoever's window closes first goes first. The windows of all peers fill the cycle exactly,
so every deadline is met and each cycle repeats the one before.
"""

from __future__ import annotations

from collections.abc import Iterable
from heapq import heapify, heappop, heappush
from math import gcd

from zope.interface import implementer

from twisted_kong.interfaces import IAlgorithm, IAlgorithmFactory, IPeer
from twisted_kong.model.entities import Upstream
from twisted_kong.model.traffic import Outcome, Pick


class _Turn:
    """A peer's place in the cycle.

    ``share`` windows a cycle; ``cycle`` and ``window`` say which one is its current; ``deadline`` and ``release``
    are computed from them afresh, so that rounding never adds up and every cycle is the same.
    """

    __slots__ = ("cycle", "last", "length", "order", "peer", "share", "window")

    def __init__(self, peer: IPeer, share: int, length: int, order: int, last: int) -> None:
        self.peer = peer
        self.share = share
        self.length = length
        self.order = order
        self.last = last
        self.cycle = 0
        self.window = 0

    def pass_on(self) -> None:
        """This window has been used: on to the next."""
        self.window += 1
        if self.window == self.share:
            self.window = 0
            self.cycle += 1

    def release(self) -> int:
        """The number of the first pick that its current window takes part in."""
        return self.cycle * self.length + -(-self.window * self.length // self.share)

    def deadline(self) -> tuple[int, float, int, _Turn]:
        """What turns are compared by; ``order`` is unique, so the turn itself never is."""
        return (self.cycle, (self.window + 1) / self.share, self.order, self)


@implementer(IAlgorithm)
class RoundRobin:
    """The picks of one upstream. A pick costs O(log peers), a change of the peers O(peers · log peers)."""

    def __init__(self) -> None:
        self._turns: list[_Turn] = []
        self._open: list[tuple[int, float, int, _Turn]] = []
        self._waiting: list[tuple[int, int, _Turn]] = []
        self._now = 0
        self._picks = 0

    def update(self, peers: Iterable[IPeer]) -> None:
        """Start a new cycle over ``peers``; among equals who has waited longest comes first."""
        last = {turn.peer: turn.last for turn in self._turns}
        everyone = sorted(enumerate(peers), key=lambda item: (last.get(item[1], 0), item[0]))
        unit = gcd(*(peer.weight for _, peer in everyone)) or 1
        length = sum(peer.weight for _, peer in everyone) // unit
        self._turns = [
            _Turn(peer, peer.weight // unit, length, order, last.get(peer, 0))
            for order, (_, peer) in enumerate(everyone)
        ]
        self._open = [turn.deadline() for turn in self._turns]
        heapify(self._open)
        self._waiting = []
        self._now = 0

    def pick(self, pick: Pick) -> IPeer | None:
        tried = pick.tried
        skipped: list[_Turn] = []
        try:
            while (turn := self._next()) is not None:
                if turn.peer not in tried:
                    self._use(turn)
                    return turn.peer
                skipped.append(turn)
            return None
        finally:
            for turn in skipped:
                heappush(self._open, turn.deadline())

    def _next(self) -> _Turn | None:
        """Take the most urgent turn off the heaps; None when there is no turn left."""
        waiting = self._waiting
        now = self._now
        while waiting and waiting[0][0] <= now:
            heappush(self._open, heappop(waiting)[2].deadline())
        if self._open:
            return heappop(self._open)[3]
        return heappop(waiting)[2] if waiting else None

    def _use(self, turn: _Turn) -> None:
        self._now += 1
        self._picks += 1
        turn.last = self._picks
        turn.pass_on()
        heappush(self._waiting, (turn.release(), turn.order, turn))

    def done(self, peer: IPeer, outcome: Outcome) -> None:
        """Round robin learns nothing from outcomes."""


@implementer(IAlgorithmFactory)
class RoundRobinFactory:
    """Makes ``algorithm=round-robin``, the default."""

    name = "round-robin"

    def build(self, upstream: Upstream) -> IAlgorithm:
        return RoundRobin()
