"""The configuration come alive: a router over the current snapshot, and a balancer for every destination.

A change is applied in one turn of the reactor: balancers first, then the router in one assignment. What did not
change keeps its objects; what is in flight holds on to its own route, service and lease.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import cast

from twisted_kong.health.counters import checked
from twisted_kong.interfaces import IAlgorithmFactory
from twisted_kong.model.entities import Api, Service, Target, Upstream
from twisted_kong.model.snapshot import EMPTY, Changed, Snapshot, diff
from twisted_kong.model.traffic import Outcome
from twisted_kong.routing.router import Router, compile_router
from twisted_kong.runtime.algorithms import Algorithms
from twisted_kong.runtime.balancer import Balancer
from twisted_kong.runtime.direct import Direct
from twisted_kong.runtime.follower import Elsewhere, Standing
from twisted_kong.runtime.guard import Guards
from twisted_kong.runtime.monitor import Monitor
from twisted_kong.runtime.names import Names
from twisted_kong.runtime.peers import Peer, Peers
from twisted_kong.runtime.remembered import PeerKey
from twisted_kong.runtime.reports import History, Report
from twisted_kong.runtime.upstreams import LiveUpstream


class Gateway:
    """What a request needs to know of the configuration."""

    def __init__(
        self,
        algorithms: Mapping[str, IAlgorithmFactory],
        router_flavor: str,
        names: Names,
        guards: Guards | None = None,
        fallback: str | None = None,
        monitor: Monitor | None = None,
        elsewhere: Elsewhere | None = None,
    ) -> None:
        """``guards`` tell of components that fail, ``fallback`` names the algorithm that picks for one that does.

        Without a ``monitor`` nobody is probed. With ``elsewhere`` it is another process that judges who is well.
        """
        self._algorithms = Algorithms(algorithms, guards, fallback)
        self._names = names
        self._monitor = monitor
        self._elsewhere = elsewhere
        self._flavor = router_flavor
        self.peers = Peers(remembered=elsewhere)
        """Every peer there is."""
        self._upstreams: dict[str, LiveUpstream] = {}
        self._direct: dict[tuple[str, int], Direct] = {}
        self.snapshot = EMPTY
        """The configuration in force."""
        self.router: Router = compile_router(EMPTY, router_flavor)

    def balancer(self, service: Service) -> tuple[Balancer, bytes | None]:
        """Who lends the peers of ``service``, and the Host its upstream prescribes, if any.

        A host that is the name of an upstream means that upstream, whatever else it might be; the service's port
        counts only without one.
        """
        upstream = self._upstreams.get(service.host)
        if upstream is not None:
            return upstream.balancer, upstream.host_header
        key = (service.host, service.port)
        direct = self._direct.get(key)
        if direct is None:
            algorithm = self._algorithms.make(_DIRECT_UPSTREAM)
            direct = self._direct[key] = Direct(service.host, service.port, algorithm, self.peers, self._names)
        return direct.balancer, None

    def report(self, upstream: Upstream) -> Report | None:
        """How an upstream and its targets are; None where nothing is known of it."""
        found = self._upstreams.get(upstream.name)
        return None if found is None else found.report()

    def histories(self, upstream: Upstream) -> Sequence[History]:
        """What is known of the health of an upstream's targets, and how it came about."""
        found = self._upstreams.get(upstream.name)
        return () if found is None else found.histories()

    def target_states(self) -> Iterator[tuple[str, str, str, str]]:
        """Of every target and address: upstream, target, address (none where no record leads to any), state.

        The state is ``healthchecks_off``, ``healthy``, ``unhealthy`` or ``dns_error``, as Kong's metrics have it.
        """
        for name, upstream in self._upstreams.items():
            is_checked = checked(upstream.entity.healthchecks)
            for live in upstream.targets:
                for peer in live.peers:
                    on = "healthy" if peer.healthy else "unhealthy"
                    state = on if is_checked and peer.weight else "healthchecks_off"
                    yield name, live.target.target, peer.address, state
                if not live.peers:
                    yield name, live.target.target, "", "dns_error"

    def set_health(self, target: Target, upstream: Upstream, healthy: bool, address: tuple[str, int] | None) -> None:
        """Somebody says that a target of ``upstream`` is ``healthy`` or not: see `LiveUpstream.set_health`."""
        self._upstreams[upstream.name].set_health(target, healthy, address)

    def seen(self, key: PeerKey, outcome: Outcome | None) -> None:
        """Another process has lent a peer: its trial has begun (None), or an attempt has ended."""
        found = self._of(key)
        if found is not None:
            upstream, peer = found
            upstream.seen(peer, outcome)

    def told(self, standings: Mapping[PeerKey, Standing]) -> None:
        """The process that judges says how these peers stand."""
        if self._elsewhere is not None:
            self._elsewhere.told(standings)
        for key, standing in standings.items():
            found = self._of(key)
            if found is not None:
                upstream, peer = found
                upstream.told(peer, standing)

    def _of(self, key: PeerKey) -> tuple[LiveUpstream, Peer] | None:
        """A peer that is there, and its upstream."""
        entity, peer = self.snapshot.upstreams.get(key[0]), self.peers.known(key)
        return None if entity is None or peer is None else (self._upstreams[entity.name], peer)

    def apply(self, old: Snapshot, new: Snapshot) -> None:
        """Make ``new`` the configuration in force."""
        difference = diff(old, new)
        self._apply_upstreams(old, new, difference["upstreams"])
        targets = difference["targets"]
        touched = {cast(Target, one).upstream.id for one in (*targets.added, *targets.removed, *targets.changed)}
        touched.update(old.targets[one.id].upstream.id for one in targets.changed)  # it may have been another's
        for id in touched:
            upstream = new.upstreams.get(id)
            if upstream is not None:
                live = self._upstreams[upstream.name]
                alone = cast(Target, targets.changed[0]) if _one_changed(targets) else None
                if alone is not None and live.reweigh(new.targets[alone.id]):
                    continue
                found = cast(tuple[Target, ...], new.children("targets", "upstream", id))
                live.set_targets(found)
        self.router = compile_router(new, self._flavor, self.router)
        self.snapshot = new
        if any(difference[collection] for collection in ("services", "routes", "apis")):
            self._forget_direct(new)

    def _apply_upstreams(self, old: Snapshot, new: Snapshot, changes: Changed) -> None:
        """Upstreams come and go; one that changes stays alive, whatever its new name."""
        was = {entity.id: self._upstreams.pop(old.upstreams[entity.id].name) for entity in changes.changed}
        for entity in changes.removed:
            self._upstreams.pop(old.upstreams[entity.id].name).close()
        for entity in (*changes.changed, *changes.added):
            upstream = new.upstreams[entity.id]
            live = was.get(upstream.id)
            if live is None:
                live = LiveUpstream(
                    upstream, self._algorithms.make, self.peers, self._names, self._monitor, self._elsewhere
                )
            else:
                live.change(upstream)
            self._upstreams[upstream.name] = live

    def _forget_direct(self, snapshot: Snapshot) -> None:
        """Destinations no service and no api names any more."""
        if self._direct:
            named = {(service.host, service.port) for service in snapshot.services.values()}
            apis = cast(Mapping[str, Api], snapshot.all("apis"))
            named.update((api.upstream.host, api.upstream.port) for api in apis.values())
            for key in self._direct.keys() - named:
                self._direct.pop(key).close()


_DIRECT_UPSTREAM = Upstream(id="00000000-0000-4000-8000-000000000000", name="direct", created_at=1, updated_at=1)
"""Whose algorithm spreads requests over the addresses of a service's host that is no upstream."""


def _one_changed(changes: Changed) -> bool:
    """Whether one has changed and that is all."""
    return len(changes.changed) == 1 and not changes.added and not changes.removed
