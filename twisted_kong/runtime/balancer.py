"""A balancer lends the peers of one destination, one lease for each attempt.

Who may be lent follows from what a peer is (its weight, its health) and is worked out here alone; whoever changes a
peer says so: `Balancer.changed` of one, `Balancer.refresh` of many. An `IIncrementalAlgorithm` hears of what is new and
of nothing else, so that one peer among ten thousand costs what one among ten does.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from twisted.internet.defer import Deferred

from twisted_kong.errors import Nobody, NoPeer, NoPeerLeft
from twisted_kong.interfaces import IAlgorithm
from twisted_kong.model.traffic import Outcome, Pick
from twisted_kong.runtime.algorithms import GuardedAlgorithm, guarded
from twisted_kong.runtime.budget import Budget
from twisted_kong.runtime.crowd import Crowd
from twisted_kong.runtime.hashkeys import HashKeys
from twisted_kong.runtime.peers import Peer

_FIRST_PICK = Pick()

Before = Callable[[], Deferred[Any] | None]
"""What a request calls before its first lease: it may have to wait."""

FEW = 16
"""Changes that an incremental algorithm is told one by one, whatever part of its peers that is."""


class Lease:
    """A peer borrowed for one attempt; it is given back by `release`, exactly once."""

    __slots__ = ("_algorithm", "_balancer", "peer")

    def __init__(self, balancer: Balancer, algorithm: GuardedAlgorithm, peer: Peer) -> None:
        self._balancer: Balancer | None = balancer
        self._algorithm = algorithm
        self.peer = peer

    def release(self, outcome: Outcome) -> None:
        """The attempt has ended in ``outcome``."""
        balancer = self._balancer
        if balancer is None:
            return
        self._balancer = None
        peer, algorithm = self.peer, self._algorithm
        peer.leases -= 1
        algorithm.done(peer, outcome)
        if algorithm is not balancer.algorithm:
            balancer.released_by_another(peer)
        observe = balancer.observe
        if observe is not None and (outcome.failure is not None or outcome.status in peer.telling):
            observe(peer, outcome)
        if balancer.crowd is not None:
            balancer.crowd.released(peer)


class Balancer:
    """The peers of one destination under one algorithm. Outlives every change of either."""

    def __init__(self, name: str, algorithm: IAlgorithm) -> None:
        self.algorithm = guarded(algorithm)
        self.name = name
        self.keys: HashKeys | None = None
        """What requests are hashed by; None where they are not."""
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
        self._members: dict[Peer, None] = {}
        self.peers: Collection[Peer] = self._members.keys()
        """All that were given, lent or not."""
        self._lent: dict[Peer, int] = {}  # whom the algorithm was told of, with their weights

    @property
    def name(self) -> str:
        """That of the upstream, or of the destination itself."""
        return self.algorithm.name

    @name.setter
    def name(self, name: str) -> None:
        self.algorithm.name = name

    # -- who may be lent -----------------------------------------------------------------------------------------

    def use(self, algorithm: IAlgorithm) -> None:
        """Let ``algorithm`` pick from now on. Leases under way end with the one that picked them."""
        name = self.name
        self.algorithm = guarded(algorithm)
        self.name = name
        self._lent = self._lendable()
        self.algorithm.update(self._lent)

    def update(self, peers: Iterable[Peer], *, checked: bool = False) -> None:
        """Lend these from now on: none of weight 0 and, where health is ``checked``, none that is not healthy."""
        self._members = dict.fromkeys(peers)
        self.peers = self._members.keys()
        self.checked = checked
        self.refresh()

    def add(self, peer: Peer) -> None:
        """Lend this one as well."""
        self._members[peer] = None
        self.changed(peer)

    def remove(self, peer: Peer) -> None:
        """Lend this one no more."""
        self._members.pop(peer, None)
        self.changed(peer)

    @property
    def lends(self) -> bool:
        """Whether anybody could be lent right now."""
        return bool(self._lent)

    def unknown(self, wait: Before | None) -> None:
        """Requests wait until peers are known, as ``wait`` says; None, and they need not."""
        self._unknown = wait
        self.before = wait or self._crowded

    def crowded(self, wait: Before | None) -> None:
        """Requests wait until there is room, as ``wait`` says; None, and they need not."""
        self._crowded = wait
        self.before = self._unknown or wait

    def changed(self, peer: Peer) -> None:
        """Look again at the weight and the health of one peer, whether it is lent here or not."""
        if peer in self._members and self._may_be_lent(peer):
            if self._lent.get(peer) != peer.weight:
                self._tell({peer: peer.weight}, ())
        elif peer in self._lent:
            self._tell({}, (peer,))

    def refresh(self) -> None:
        """Look again at the weight and the health of every peer. Nothing happens where nothing changed."""
        lendable, lent = self._lendable(), self._lent
        if lendable != lent:
            new = {peer: weight for peer, weight in lendable.items() if lent.get(peer) != weight}
            gone = [peer for peer in lent if peer not in lendable]
            if lent and self.algorithm.incremental and len(new) + len(gone) <= max(FEW, len(lent) // 16):
                self._tell(new, gone)
            else:
                self._lent = lendable
                self.algorithm.update(lendable)

    def _may_be_lent(self, peer: Peer) -> bool:
        well = peer.healthy or peer.on_trial or not self.checked
        room = self.crowd is None or peer.leases < self.crowd.limit
        return well and room and (peer.weight > 0 or self.algorithm.sessions)

    def _lendable(self) -> dict[Peer, int]:
        return {peer: peer.weight for peer in self._members if self._may_be_lent(peer)}

    def _tell(self, new: Mapping[Peer, int], gone: Collection[Peer]) -> None:
        """A few peers are new or have a new weight, a few are ``gone``."""
        lent, algorithm = self._lent, self.algorithm
        for peer in gone:
            del lent[peer]
            algorithm.remove(peer)
        for peer, weight in new.items():
            known = peer in lent
            lent[peer] = weight
            if known:
                algorithm.changed(peer)
            else:
                algorithm.add(peer)

    # -- leases --------------------------------------------------------------------------------------------------

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
        algorithm = self.algorithm
        peer = algorithm.pick(Pick(key, tried) if tried or key is not None else _FIRST_PICK)
        if peer is None and tried and again:
            peer = algorithm.pick(Pick(key))
        if peer is None:
            return None
        if not tried and self.budget is not None:
            self.budget.request()
        if self.trials is not None and peer.on_trial:  # type: ignore[attr-defined]  # as below
            self.trials(peer)  # type: ignore[arg-type]
        peer.leases += 1
        if self.crowd is not None:
            self.crowd.leased(peer)  # type: ignore[arg-type]
        return Lease(self, algorithm, peer)  # type: ignore[arg-type]  # what came out is what we put in: a Peer

    def nobody(self, *, retry: bool) -> Nobody:
        """What a client is told where nobody is lent, to begin with or for another attempt."""
        return (NoPeerLeft if retry else NoPeer)(None if self.why is None else self.why())

    def released_by_another(self, peer: Peer) -> None:
        """A lease of ``peer`` has ended that an earlier algorithm had picked: the present one may count leases too."""
        if peer in self._lent and self.algorithm.incremental:
            self.algorithm.changed(peer)
