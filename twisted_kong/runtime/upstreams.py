"""Upstreams come alive: each with its balancer, its targets, and the peers that these stand for.

Which peers a target stands for is decided in `LiveUpstream.set_targets`, who is healthy in `LiveUpstream.set_health`;
whatever changes either goes through here, so that the balancer hears of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from twisted_kong.interfaces import IAlgorithm
from twisted_kong.model.entities import Target, Upstream
from twisted_kong.runtime.balancer import Balancer
from twisted_kong.runtime.peers import Peer, Peers
from twisted_kong.runtime.reports import Report, checks, make_report

MakeAlgorithm = Callable[[Upstream], IAlgorithm]
"""The algorithm of an upstream, new and without peers."""


@dataclass(frozen=True, slots=True)
class LiveTarget:
    """A target and the peers it stands for: one where its host is an address."""

    target: Target
    peers: tuple[Peer, ...]


class LiveUpstream:
    """An upstream, alive for as long as it is configured, whatever changes of it."""

    def __init__(self, entity: Upstream, make_algorithm: MakeAlgorithm, peers: Peers) -> None:
        self.entity = entity
        self.targets: Sequence[LiveTarget] = ()
        self.balancer = Balancer(entity.name, make_algorithm(entity))
        self.host_header = _encoded(entity.host_header)
        """The Host that its targets are to be asked with, None for their own."""
        self._make_algorithm = make_algorithm
        self._peers = peers

    def change(self, entity: Upstream) -> None:
        """Be ``entity`` from now on. A new algorithm gets the peers of the old one, which keep what they know."""
        before, self.entity = self.entity, entity
        self.host_header = _encoded(entity.host_header)
        if before.algorithm != entity.algorithm:
            self.balancer = Balancer(entity.name, self._make_algorithm(entity))
        self.balancer.name = entity.name
        self._tell()

    def set_targets(self, targets: Iterable[Target]) -> None:
        """Have exactly these targets from now on."""
        owner = self.entity.id
        self.targets = [
            LiveTarget(target, (self._peers.get(owner, target.host, target.port, target.weight),)) for target in targets
        ]
        self._tell()

    def set_health(self, target: Target, healthy: bool, address: tuple[str, int] | None) -> None:
        """Somebody says that a target is ``healthy`` or not: one address of it, or all where None.

        What is said of an address that the target does not have is not remembered.
        """
        for live in self.targets:
            if live.target.id == target.id:
                for peer in live.peers:
                    if address in (None, peer.key):
                        peer.healthy = healthy
        self.balancer.refresh()

    def report(self) -> Report:
        """How it and its targets are."""
        return make_report(self.entity.healthchecks, [peer for live in self.targets for peer in live.peers])

    def _tell(self) -> None:
        """Let the balancer know whom it may lend."""
        peers = [peer for live in self.targets for peer in live.peers]
        self.balancer.update(peers, checked=checks(self.entity.healthchecks))


def _encoded(host: str | None) -> bytes | None:
    return None if host is None else host.encode()
