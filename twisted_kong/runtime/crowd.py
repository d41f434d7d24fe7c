"""How many requests a peer of an upstream carries at a time, and where others wait meanwhile (``max_connections``).

A peer that carries as many as it may is not lent until one of them has ended. While nobody else is lent either,
requests wait in line, in the order they came: so many, for so long. A further attempt of a request does not wait.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IReactorTime

from twisted_kong.errors import NoPeer
from twisted_kong.model.records import Queue
from twisted_kong.runtime.peers import Peer

if TYPE_CHECKING:
    from twisted_kong.runtime.balancer import Balancer


class Crowd:
    """The bound of one balancer: ``limit`` requests for each peer."""

    def __init__(self, balancer: Balancer, clock: IReactorTime, limit: int, queue: Queue) -> None:
        self.limit = limit
        self.queue = queue
        self._balancer = balancer
        self._clock = clock
        self._busy: set[Peer] = set()  # those of the balancer's peers that carry as many as they may
        self._line: deque[Deferred[Any]] = deque()  # some may have been cancelled
        self.waiting = 0
        """How many requests wait."""

    def leased(self, peer: Peer) -> None:
        """``peer`` carries one more."""
        if peer.leases >= self.limit:
            self._busy.add(peer)
            self._balancer.changed(peer)
            self._settle()

    def released(self, peer: Peer) -> None:
        """``peer`` carries one less: whoever waits longest may try."""
        if peer in self._busy and peer.leases < self.limit:
            self._busy.discard(peer)
            self._balancer.changed(peer)
            self._settle()
            self._call_next()

    def refresh(self) -> None:
        """The balancer has other peers, or the bound is new: some of them may carry as many as they may already."""
        self._busy = {peer for peer in self._balancer.peers if peer.leases >= self.limit}
        self.settle()

    def settle(self) -> None:
        """Who is lent may have changed for another reason: whoever waits in vain goes on."""
        self._settle()
        while self._line and not self._full:
            self._call_next()

    def close(self) -> None:
        """There is no bound any more; everybody may try."""
        self._balancer.crowded(None)
        while self._line:
            self._call_next()

    @property
    def _full(self) -> bool:
        """Whether nobody is lent, and that because of the bound."""
        return bool(self._busy) and self._balancer.open and not self._balancer.lends

    def _settle(self) -> None:
        self._balancer.crowded(self._wait if self._full else None)

    def _wait(self) -> Deferred[Any]:
        while self._line and self._line[0].called:
            _ = self._line.popleft()
        if self.waiting >= self.queue.size:
            refused: Deferred[Any] = fail(NoPeer("queue-full"))
            return refused
        waiting: Deferred[Any] = Deferred(self._too_long)  # whoever cancels it does not wait that long
        timer = self._clock.callLater(self.queue.timeout, self._too_long, waiting)

        def over(result: object) -> object:
            self.waiting -= 1
            if timer.active():
                timer.cancel()
            return result

        _ = waiting.addBoth(over)
        self._line.append(waiting)
        self.waiting += 1
        return waiting

    def _too_long(self, waiting: Deferred[Any]) -> None:
        if not waiting.called:
            waiting.errback(NoPeer("waited-too-long"))

    def _call_next(self) -> None:
        while self._line:
            waiting = self._line.popleft()
            if not waiting.called:  # else it was cancelled, or has waited too long
                waiting.callback(None)
                return
