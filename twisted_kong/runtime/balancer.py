"""A balancer lends the peers of one destination, one lease for each attempt."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

from twisted.internet.defer import Deferred

from twisted_kong.errors import Nobody, NoPeer, NoPeerLeft
from twisted_kong.interfaces import IAlgorithm
from twisted_kong.model.traffic import Outcome, Pick
from twisted_kong.runtime.algorithms import guarded
from twisted_kong.runtime.budget import Budget
from twisted_kong.runtime.crowd import Crowd
from twisted_kong.runtime.peers import Peer

_FIRST_PICK = Pick()

Before = Callable[[], Deferred[Any] | None]
"""What a request calls before its first lease: it may have to wait."""


class Lease:
    """A peer borrowed for one attempt; it is given back by `release`, exactly once."""

    __slots__ = ("_balancer", "peer")

    def __init__(self, balancer: Balancer, peer: Peer) -> None:
        self._balancer: Balancer | None = balancer
        self.peer = peer

    def release(self, outcome: Outcome) -> None:
        """The attempt has ended in ``outcome``."""
        balancer = self._balancer
        if balancer is not None:
            self._balancer = None
            balancer.done(self.peer, outcome)


class Balancer:
    """The peers of one destination under one algorithm. Outlives every change of its peers."""

    def __init__(self, name: str, algorithm: IAlgorithm) -> None:
        self._algorithm = guarded(algorithm)
        self.name = name
        self.peers: Sequence[Peer] = ()
        self.checked = False
        """Whether the health of a peer counts."""
        self.before: Callable[[], Deferred[Any] | None] | None = None
        """What a request calls before its first lease, if anything: it may have to wait until peers are known, or
        learn that there can be none. It raises nothing."""
        self.open = True
        """Whether anybody is lent at all."""
        self.why: Callable[[], str] | None = None
        """Where nobody is lent, who knows the reason: a word or two with dashes."""
        self.observe: Callable[[Peer, Outcome], None] | None = None
        """Who hears of outcomes that could change the health of a peer: failures, and statuses that are `telling`."""
        self.budget: Budget | None = None
        """How many retries there may be, None for any number."""
        self.trials: Callable[[Peer], None] | None = None
        """Who hears that a peer was lent that is `on_trial`."""
        self.crowd: Crowd | None = None
        """What bounds the requests of a peer, if anything does."""
        self._unknown: Before | None = None
        self._crowded: Before | None = None
        self._weights: Sequence[tuple[Peer, int]] = ()

    @property
    def name(self) -> str:
        """That of the upstream, or of the destination itself."""
        return self._algorithm.name

    @name.setter
    def name(self, name: str) -> None:
        self._algorithm.name = name

    def update(self, peers: Sequence[Peer], *, checked: bool = False) -> None:
        """Lend these from now on: none of weight 0 and, where health is ``checked``, none that is not healthy."""
        self.peers = peers
        self.checked = checked
        self.refresh()

    def refresh(self) -> None:
        """Look again at the weight and the health of every peer. Nothing happens where nothing changed."""
        weights = [(peer, peer.weight) for peer in self.peers if peer.weight and self._may_be_lent(peer)]
        if weights != self._weights:
            self._weights = weights
            self._algorithm.update([peer for peer, _ in weights])

    def _may_be_lent(self, peer: Peer) -> bool:
        well = peer.healthy or peer.on_trial or not self.checked
        return well and (self.crowd is None or peer.leases < self.crowd.limit)

    @property
    def lends(self) -> bool:
        """Whether anybody could be lent right now."""
        return bool(self._weights)

    def unknown(self, wait: Before | None) -> None:
        """Requests wait until peers are known, as ``wait`` says; None, and they need not."""
        self._unknown = wait
        self.before = wait or self._crowded

    def crowded(self, wait: Before | None) -> None:
        """Requests wait until there is room, as ``wait`` says; None, and they need not."""
        self._crowded = wait
        self.before = self._unknown or wait

    def changed(self, peer: Peer) -> None:
        """Look again at the weight and the health of one peer."""
        self.refresh()

    def may_retry(self) -> bool:
        """Whether a request whose attempt has failed may have another one."""
        return self.budget is None or self.budget.allows()

    def lease(self, tried: Collection[Peer] = (), key: bytes | None = None, *, again: bool = True) -> Lease | None:
        """A peer for the next attempt: one not in ``tried`` while there is any; None when there is no peer at all.

        Without ``again`` a peer in ``tried`` is as good as none.

        :raise ComponentFailed: the algorithm failed, and there is no other in its place.
        """
        if not self.open:
            return None
        peer = self._algorithm.pick(Pick(key, tried) if tried or key is not None else _FIRST_PICK)
        if peer is None and tried and again:
            peer = self._algorithm.pick(Pick(key))
        if peer is None:
            return None
        if not tried and self.budget is not None:
            self.budget.request()
        if self.trials is not None and peer.on_trial:  # type: ignore[attr-defined]  # as below
            self.trials(peer)  # type: ignore[arg-type]
        peer.leases += 1  # type: ignore[attr-defined]  # what came out is what we put in: a Peer
        if self.crowd is not None:
            self.crowd.leased(peer)  # type: ignore[arg-type]
        return Lease(self, peer)  # type: ignore[arg-type]

    def nobody(self, *, retry: bool) -> Nobody:
        """What a client is told where nobody is lent, to begin with or for another attempt."""
        return (NoPeerLeft if retry else NoPeer)(None if self.why is None else self.why())

    def done(self, peer: Peer, outcome: Outcome) -> None:
        """A lease of ``peer`` has ended."""
        peer.leases -= 1
        self._algorithm.done(peer, outcome)
        observe = self.observe
        if observe is not None and (outcome.failure is not None or outcome.status in peer.telling):
            observe(peer, outcome)
        if self.crowd is not None:
            self.crowd.released(peer)
