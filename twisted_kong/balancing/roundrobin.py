"""Weighted round robin: exact and smooth.

The promise: while the peers stay the same, any window of Σ(weight/gcd) picks hits every peer exactly weight/gcd times,
and a peer's picks are spread over the window as evenly as its share allows. Memory is one entry for each peer,
whatever the weights, and at most `LONGEST` more.

The method is earliest deadline first with releases, as periodic tasks are scheduled on one processor. Time goes on by
1/Σweight with every pick, so that a peer of weight w is due once in 1/w. It owns one *window* after the other of that
length; it may be picked once in every window, not before that opens, and whoever's window closes first goes first. A
cycle of Σ(weight/gcd) picks takes 1/gcd and is filled exactly by the windows of all peers, so each cycle uses every one
of them and is the same as the cycle before.

When a peer comes, leaves or gets another weight, a new cycle begins there and then, and nothing is done to the others:
whatever window each of them is in is its first of the new cycle, and closes when it would have. How long a cycle is and
how many windows of it each one owns are worked out when a window has been used. So light peers are neither starved nor
favoured by frequent changes.

Times are integers, `SECOND` to the unit, so that cycles are the same to the last bit however long it has been running.
Therefore a cycle of up to `LONGEST` picks is worked out once and then repeated, until peers change or some were tried;
then whoever has repeated it catches up with the time that has gone by.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from heapq import heapify, heappop, heappush
from math import gcd

from zope.interface import implementer

from twisted_kong.interfaces import IAlgorithm, IAlgorithmFactory, IIncrementalAlgorithm, IPeer
from twisted_kong.model.entities import Upstream
from twisted_kong.model.traffic import Outcome, Pick

SECOND = 1 << 60
"""A unit of time: that in which a peer of weight 1 is due once."""

LONGEST = 1024
"""Picks in a cycle that is remembered: so many may have to be gone through again at once."""


class _Turns:
    """A peer and the window it is in.

    ``opens`` and ``closes`` are of the window, which is number ``window`` of its share of cycle ``cycle``; both count
    from the beginning of ``epoch``, the change of the peers that it has noticed last. ``first_opens`` and
    ``first_closes`` are where in every cycle of the epoch its first window is. ``entry`` is the one in a heap that is
    its; others that name it are out of date.
    """

    __slots__ = (
        "closes",
        "cycle",
        "entry",
        "epoch",
        "first_closes",
        "first_opens",
        "index",
        "opens",
        "peer",
        "weight",
        "window",
    )

    def __init__(self, peer: IPeer, index: int, now: int) -> None:
        self.peer = peer
        self.weight = peer.weight
        self.index = index
        self.opens = now
        self.closes = now + SECOND // self.weight
        self.epoch = -1
        self.first_opens = self.first_closes = self.window = self.cycle = 0
        self.entry: _Entry | None = None

    def leave(self) -> None:
        """It is there no more, though a heap may hold on to it for a while: not to the peer."""
        self.entry = None
        del self.peer

    def __lt__(self, other: object) -> bool:
        return False  # of two entries that are otherwise alike, one is out of date


class _Weights:
    """The weights of all peers: their sum and their greatest common divisor, 0 without any. An entry for each value."""

    __slots__ = ("_counts", "total", "unit")

    def __init__(self) -> None:
        self._counts: dict[int, int] = {}
        self.total = 0
        self.unit = 0

    def add(self, weight: int) -> None:
        self.total += weight
        self.unit = gcd(self.unit, weight)
        self._counts[weight] = self._counts.get(weight, 0) + 1

    def remove(self, weight: int) -> None:
        self.total -= weight
        self._counts[weight] -= 1
        if not self._counts[weight]:
            del self._counts[weight]
            self._find_unit()

    def _find_unit(self) -> None:
        """What is left may have more in common."""
        found = 0
        for weight in self._counts:
            found = gcd(found, weight)
            if found == self.unit:
                return
        self.unit = found


_Entry = tuple[int, int, int, _Turns]
"""In a heap: of an open window (closes, index, opens, turns), of one that is not (opens, closes, index, turns)."""


@implementer(IIncrementalAlgorithm)
class RoundRobin:
    """The picks of one upstream. A pick and a change of one peer cost O(log peers), counted over a few of them: the
    first that comes when a cycle has been repeated may cost as much as that cycle."""

    def __init__(self) -> None:
        self._turns: dict[IPeer, _Turns] = {}
        self._opened: list[_Entry] = []
        self._waiting: list[_Entry] = []
        self._joined = 0
        self._early: set[_Turns] = set()  # picked before their window had opened, in this epoch
        self._epoch = 0
        self._begin = 0  # when the epoch began
        self._start = 0  # when the cycle began
        self._picks = 0  # in the cycle
        self._weights = _Weights()
        self._length = 0  # of the cycle, in picks
        self._span = 0  # of the cycle, in time
        self._order: list[IPeer] | None = None  # of a whole cycle, where it is known: the next pick is its first
        self._repeated = 0  # picks by it
        self._noted: list[IPeer] | None = None  # the beginning of a cycle that may get known

    # -- changes -------------------------------------------------------------------------------------------------

    def update(self, peers: Iterable[IPeer]) -> None:
        """Have these; those that were there stay where they are. Newcomers of one weight take turns as listed."""
        peers = dict.fromkeys(peers)
        turns = self._turns
        gone = [peer for peer in turns if peer not in peers]
        changed = [peer for peer in peers if peer not in turns or turns[peer].weight != peer.weight]
        self._change(changed, gone)

    def add(self, peer: IPeer) -> None:
        self._change((peer,), ())

    def remove(self, peer: IPeer) -> None:
        self._change((), (peer,))

    def changed(self, peer: IPeer) -> None:
        if self._turns[peer].weight != peer.weight:
            self._change((peer,), ())

    def _change(self, changed: Iterable[IPeer], gone: Iterable[IPeer]) -> None:
        """A cycle begins, with some that are new or of another weight and without some that were there."""
        if not changed and not gone:
            return
        self._catch_up()
        self._noted = None
        now = self._begin_epoch()
        for peer in gone:
            turns = self._turns.pop(peer)
            self._weights.remove(turns.weight)
            turns.leave()
        for peer in changed:
            self._place(peer, now)
        unit = self._weights.unit
        if unit:
            self._length = self._weights.total // unit
            self._span = SECOND // unit
        for heap in (self._opened, self._waiting):
            if len(heap) > 2 * len(self._turns):
                heap[:] = [entry for entry in heap if entry[3].entry is entry]
                heapify(heap)

    def _begin_epoch(self) -> int:
        """The time, from which everything counts anew."""
        total = self._weights.total
        now = self._start + self._picks * SECOND // total if total else self._start
        self._begin = self._start = now
        self._picks = 0
        self._epoch += 1
        for turns in self._early:
            if turns.entry is not None and turns.opens >= now + SECOND // turns.weight:
                self._enter(turns, now)  # or its first window would open after its second
        self._early.clear()
        return now

    def _place(self, peer: IPeer, now: int) -> None:
        """A peer comes, or has another weight."""
        turns = self._turns.get(peer)
        if turns is None:
            turns = self._turns[peer] = _Turns(peer, self._joined, now)
            self._joined += 1
        else:
            self._weights.remove(turns.weight)
            turns.weight = peer.weight
        self._weights.add(turns.weight)
        self._enter(turns, now)

    def _enter(self, turns: _Turns, now: int) -> None:
        """Put it where its weight wants it, in a window that opens within its length from now at the latest."""
        length = SECOND // turns.weight
        turns.opens = min(turns.opens, now + length - 1)
        turns.closes = turns.opens + length
        turns.entry = entry = (turns.opens, turns.closes, turns.index, turns)
        heappush(self._waiting, entry)

    # -- picks ---------------------------------------------------------------------------------------------------

    def pick(self, pick: Pick) -> IPeer | None:
        order = self._order
        if order is not None and not pick.tried:
            self._repeated = repeated = self._repeated + 1
            return order[(repeated - 1) % self._length]
        if not self._turns:
            return None
        if order is not None:
            self._catch_up()
        if pick.tried:
            self._noted = None
            return self._next(pick.tried)
        if not self._picks and self._length <= LONGEST and self._is_in_step():
            self._noted = []
        peer = self._next(())
        if self._noted is not None and peer is not None:
            self._noted.append(peer)
            if not self._picks:
                self._order, self._noted = self._noted, None
        return peer

    def _is_in_step(self) -> bool:
        """Whether everybody is in the first window of the cycle that begins: then all cycles from here on are alike."""
        cycle = (self._start - self._begin) // self._span
        return all(
            turns.epoch == self._epoch and turns.cycle == cycle and not turns.window for turns in self._turns.values()
        )

    def _catch_up(self) -> None:
        """Be where the repeated picks have led to, and repeat no more."""
        if self._order is None:
            return
        cycles, rest = divmod(self._repeated, self._length)
        self._order, self._repeated = None, 0
        gone_by = cycles * self._span
        self._start += gone_by
        self._opened.clear()
        self._waiting.clear()
        for turns in self._turns.values():
            turns.cycle += cycles
            turns.opens += gone_by
            turns.closes += gone_by
            turns.entry = entry = (turns.opens, turns.closes, turns.index, turns)
            self._waiting.append(entry)
        heapify(self._waiting)
        for _ in range(rest):
            self._next(())

    def _next(self, tried: Collection[IPeer]) -> IPeer | None:
        """Who is next of those not in ``tried``."""
        now = self._start + self._picks * SECOND // self._weights.total
        opened, waiting = self._opened, self._waiting
        while waiting and waiting[0][0] <= now:
            opens, closes, index, turns = entry = heappop(waiting)
            if turns.entry is entry:
                turns.entry = entry = (closes, index, opens, turns)
                heappush(opened, entry)
        found = None
        if not tried:
            while opened:
                entry = heappop(opened)
                if entry[3].entry is entry:
                    found = entry[3]
                    break
        if found is None:
            found = self._search(tried)
            if found is None:
                return None
        turns = found
        if turns.epoch != self._epoch:
            # Nothing was done to it when the epoch began; the window it was in then is its first.
            turns.epoch = self._epoch
            turns.window = turns.cycle = 0
            turns.first_opens = turns.opens - self._begin if turns.opens > self._begin else 0
            turns.first_closes = turns.closes - self._begin
        turns.window += 1
        if turns.window * self._weights.unit == turns.weight:
            turns.window = 0
            turns.cycle += 1
            begin = self._begin + turns.cycle * self._span
            turns.opens = begin + turns.first_opens
            turns.closes = begin + turns.first_closes
        else:
            begin = self._begin + turns.cycle * self._span
            turns.opens = begin + turns.window * SECOND // turns.weight
            turns.closes = begin + (turns.window + 1) * SECOND // turns.weight
        turns.entry = entry = (turns.opens, turns.closes, turns.index, turns)
        heappush(waiting, entry)
        self._picks += 1
        if self._picks == self._length:
            self._picks = 0
            self._start += self._span
        return turns.peer

    def _search(self, tried: Collection[IPeer]) -> _Turns | None:
        """Who is next of those not in ``tried``, taken out of its heap: before its window has opened, if need be."""
        found = self._take(self._opened, tried)
        if found is None:
            found = self._take(self._waiting, tried)
            if found is not None:
                self._early.add(found)
        return found

    def _take(self, heap: list[_Entry], tried: Collection[IPeer]) -> _Turns | None:
        """The first of a heap that is not in ``tried``, taken out; the others stay."""
        skipped = []
        found = None
        while heap and found is None:
            entry = heappop(heap)
            turns = entry[3]
            if turns.entry is not entry:
                continue
            if turns.peer in tried:
                skipped.append(entry)
            else:
                found = turns
        for entry in skipped:
            heappush(heap, entry)
        return found

    def done(self, peer: IPeer, outcome: Outcome) -> None:
        """Round robin learns nothing from outcomes."""


@implementer(IAlgorithmFactory)
class RoundRobinFactory:
    """Makes ``algorithm=round-robin``, the default."""

    name = "round-robin"

    def build(self, upstream: Upstream) -> IAlgorithm:
        return RoundRobin()
