"""The algorithms of upstreams, made by name and kept from doing harm.

An algorithm may be anybody's. It may raise, on any call; it may answer who is no peer, or one that was tried already.
Nobody but its upstream hears of that: another algorithm picks in its place, or the request is answered 500.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial

from twisted.logger import Logger
from zope.interface import implementer

from twisted_kong.interfaces import (
    IAlgorithm,
    IAlgorithmFactory,
    IIncrementalAlgorithm,
    IPeer,
    ISessionAlgorithm,
)
from twisted_kong.model.components import Component
from twisted_kong.model.entities import Upstream
from twisted_kong.model.traffic import Outcome, Pick
from twisted_kong.runtime.guard import ComponentFailed, Guard, Guards

log = Logger()

DEFAULT = "round-robin"
"""What takes the place of an algorithm that is not installed."""

RETRY = 1.0
"""Seconds until an algorithm that could not be made, or failed to take its peers, is given another chance."""


@implementer(IIncrementalAlgorithm)
class GuardedAlgorithm:
    """An algorithm for the peers of ``name`` that harms nobody, whatever the one that ``build`` makes may do.

    While that one fails, the algorithm of ``fallback`` picks. It is asked again with every request, if it has been made
    and has taken its peers: it may come to itself.

    ``incremental``: a change of one peer is told as that, not as an update of all. ``sessions``: it is to be given
    peers of weight 0 as well.
    """

    def __init__(
        self,
        name: str,
        build: Callable[[], IAlgorithm],
        guard: Guard,
        fallback: Callable[[], GuardedAlgorithm] | None = None,
    ) -> None:
        self.name = name
        self._guard = guard
        self._build = build
        self._algorithm: IAlgorithm | None = None
        self._fallback = fallback
        self._substitute: GuardedAlgorithm | None = None
        self._substituted: dict[IPeer, int] = {}  # how often the substitute has picked whom and not been told of it
        self._peers: dict[IPeer, None] | None = None  # once there was an update
        self.incremental = False
        self.sessions = False
        self._ready = False  # the algorithm is there and has taken the peers
        self._next = 0.0  # when it is given another chance to be
        self._prepare()

    def update(self, peers: Iterable[IPeer]) -> None:
        self._peers = dict.fromkeys(peers)
        self._update_substitute()
        self._prepare()

    def add(self, peer: IPeer) -> None:
        if self._peers is None:
            self._peers = {}
        self._peers[peer] = None
        self._tell(peer, "add")

    def remove(self, peer: IPeer) -> None:
        if self._peers is not None:
            self._peers.pop(peer, None)
        self._tell(peer, "remove")

    def changed(self, peer: IPeer) -> None:
        self._tell(peer, "changed")

    def _tell(self, peer: IPeer, news: str) -> None:
        """Something is new of one peer. Whoever cannot take that is told of all of them."""
        if self.sessions:
            self._update_substitute()
        elif self._substitute is not None:
            getattr(self._substitute, news)(peer)
        if not self._ready or not self.incremental:
            self._prepare()
            return
        try:
            getattr(self._algorithm, news)(peer)
        except Exception:
            self._guard.failed(f"take a change of the peers of {self.name}")
            self._prepare()

    def pick(self, pick: Pick) -> IPeer | None:
        """:raise ComponentFailed: neither the algorithm nor its fallback can."""
        if self._ready or self._prepared():
            try:
                peer = self._algorithm.pick(pick)  # type: ignore[union-attr]  # it is ready
                if peer is None or (peer in self._peers and peer not in pick.tried):  # type: ignore[operator]  # it is ready
                    return peer
                raise ValueError(f"{peer!r} is none that it may pick")
            except Exception:
                self._guard.failed(f"pick a peer of {self.name}")
        return self._pick_instead(pick)

    def done(self, peer: IPeer, outcome: Outcome) -> None:
        if self._substituted and peer in self._substituted:
            self._done_instead(peer, outcome)
            return
        try:
            self._algorithm.done(peer, outcome)  # type: ignore[union-attr]  # it has picked
        except Exception:
            self._guard.failed(f"take the outcome of a request to {self.name}")

    def _prepare(self) -> None:
        """Make the algorithm, if that has not been done yet, and give it the peers, if there was an update."""
        self._ready = False
        self._next = self._guard.seconds() + RETRY
        try:
            if self._algorithm is None:
                made = self._build()
                if not IAlgorithm.providedBy(made):
                    raise TypeError(f"{made!r} is no algorithm")
                self._algorithm = made
                self.incremental = IIncrementalAlgorithm.providedBy(made)
                self.sessions = ISessionAlgorithm.providedBy(made)
        except Exception:
            self._guard.failed(f"make an algorithm for {self.name}")
            return
        try:
            if self._peers is not None:
                self._algorithm.update(tuple(self._peers))
            self._ready = True
        except Exception:
            self._guard.failed(f"take the peers of {self.name}")

    def _prepared(self) -> bool:
        """Try again, once it is time to."""
        if self._guard.seconds() >= self._next:
            self._prepare()
        return self._ready

    def _pick_instead(self, pick: Pick) -> IPeer | None:
        if self._substitute is None:
            if self._fallback is None:
                raise ComponentFailed(f"{self._guard.component} failed for {self.name}")
            self._substitute = self._fallback()
            self._update_substitute()
        peer = self._substitute.pick(pick)
        if peer is not None:
            self._substituted[peer] = self._substituted.get(peer, 0) + 1
        return peer

    def _update_substitute(self) -> None:
        """Give the substitute, if there is one, the peers; those of weight 0 only where it knows of sessions too."""
        substitute = self._substitute
        if substitute is not None:
            substitute.update([peer for peer in self._peers or () if peer.weight or substitute.sessions])

    def _done_instead(self, peer: IPeer, outcome: Outcome) -> None:
        """It may be the algorithm's own pick of the same peer that has ended; in the end both have been told of all."""
        assert self._substitute is not None
        self._substitute.done(peer, outcome)
        self._substituted[peer] -= 1
        if not self._substituted[peer]:
            del self._substituted[peer]


def guarded(algorithm: IAlgorithm) -> GuardedAlgorithm:
    """The algorithm, guarded if it has not been yet."""
    if isinstance(algorithm, GuardedAlgorithm):
        return algorithm
    name = type(algorithm).__name__
    return GuardedAlgorithm(name, lambda: algorithm, Guard(Component("algorithm", name, "origin unknown")))


class Algorithms:
    """The algorithms that are installed; ``fallback`` names the one that picks for any that fails."""

    def __init__(
        self, factories: Mapping[str, IAlgorithmFactory], guards: Guards | None = None, fallback: str | None = None
    ) -> None:
        self._factories = factories
        self._guards = guards or Guards()
        self._fallback = fallback

    def make(self, upstream: Upstream) -> GuardedAlgorithm:
        """A new algorithm for ``upstream``; round-robin where its own is not installed."""
        algorithm, fallback = upstream.algorithm, self._fallback
        if algorithm not in self._factories:
            log.warn("{name} has no algorithm {algorithm}: it is round-robin", name=upstream.name, algorithm=algorithm)
            algorithm = DEFAULT
        if fallback is None or fallback == algorithm:
            return self._made(algorithm, upstream)
        return self._made(algorithm, upstream, lambda: self._made(fallback, upstream))

    def _made(
        self, algorithm: str, upstream: Upstream, fallback: Callable[[], GuardedAlgorithm] | None = None
    ) -> GuardedAlgorithm:
        build = partial(self._factories[algorithm].build, upstream)
        return GuardedAlgorithm(upstream.name, build, self._guards.of("algorithm", algorithm), fallback)
