"""Peers that begin with a part of their weight, which grows to the whole (``slow_start`` of an upstream).

A process that has just started is slower than its siblings: its caches are cold, its code is not compiled, its
connections are not open. Its share grows evenly over time, whatever the traffic, in steps, and is never nothing.
Weights are whole numbers: a target of weight 1 has nothing to begin with but all of it.
"""

from __future__ import annotations

from collections.abc import Callable, Container

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from twisted_kong.runtime.peers import Peer

STEPS = 20
"""In so many steps a share becomes whole, the first of which is had from the beginning."""


class SlowStart:
    """Those of one upstream that are not whole yet; ``changed`` hears of each whose weight has grown.

    ``seconds`` is how long it takes; 0 for those who begin whole.
    """

    def __init__(self, clock: IReactorTime, changed: Callable[[Peer], None]) -> None:
        self.seconds = 0.0
        self._clock = clock
        self._changed = changed
        self._began: dict[Peer, float] = {}
        self._timer: IDelayedCall | None = None

    def begin(self, peer: Peer) -> None:
        """``peer`` is new, or has just recovered."""
        if self.seconds:
            self._began[peer] = self._clock.seconds()
            peer.have(1 / STEPS)
            self._schedule()

    def keep(self, peers: Container[Peer]) -> None:
        """Nobody but these is of the upstream any more; and where ``seconds`` is 0 by now, all of them are whole."""
        for peer in list(self._began):
            if peer not in peers or not self.seconds:
                self._end(peer)
        if not self._began and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _end(self, peer: Peer) -> None:
        del self._began[peer]
        peer.have(1.0)

    def _schedule(self) -> None:
        if self._timer is None:
            self._timer = self._clock.callLater(self.seconds / STEPS, self._step)

    def _step(self) -> None:
        self._timer = None
        now = self._clock.seconds()
        for peer, began in list(self._began.items()):
            before = peer.weight
            if now - began >= self.seconds:
                self._end(peer)
            else:
                peer.have(max((now - began) / self.seconds, 1 / STEPS))
            if peer.weight != before:
                self._changed(peer)
        if self._began:
            self._schedule()
