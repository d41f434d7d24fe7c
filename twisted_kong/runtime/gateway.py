"""The configuration come alive: a router over the current snapshot, and a balancer for every destination.

A change is applied in one turn of the reactor: balancers first, then the router in one assignment. What did not
change keeps its objects; what is in flight holds on to its own route, service and lease.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from twisted.logger import Logger

from twisted_kong.interfaces import IAlgorithmFactory
from twisted_kong.model.entities import Api, Service, Target, Upstream
from twisted_kong.model.snapshot import EMPTY, Changed, Snapshot, diff
from twisted_kong.routing.router import Router, compile_router
from twisted_kong.runtime.balancer import Balancer
from twisted_kong.runtime.peers import Peers
from twisted_kong.runtime.reports import Report, checks, make_report

log = Logger()

DIRECT = "round-robin"
"""How requests are spread over the addresses of a service's host that is no upstream."""


class Gateway:
    """What a request needs to know of the configuration."""

    def __init__(self, algorithms: Mapping[str, IAlgorithmFactory], router_flavor: str) -> None:
        self._algorithms = algorithms
        self._flavor = router_flavor
        self._peers = Peers()
        self._upstreams: dict[str, tuple[Upstream, Balancer]] = {}
        self._direct: dict[tuple[str, int], Balancer] = {}
        self.snapshot = EMPTY
        """The configuration in force."""
        self.router: Router = compile_router(EMPTY, router_flavor)

    def balancer(self, service: Service) -> tuple[Balancer, bytes | None]:
        """Who lends the peers of ``service``, and the Host its upstream prescribes, if any.

        A host that is the name of an upstream means that upstream, whatever else it might be; the service's port
        counts only without one.
        """
        found = self._upstreams.get(service.host)
        if found is not None:
            host_header = found[0].host_header
            return found[1], None if host_header is None else host_header.encode()
        key = (service.host, service.port)
        balancer = self._direct.get(key)
        if balancer is None:
            balancer = self._direct[key] = Balancer(service.host, self._algorithms[DIRECT].build(_DIRECT_UPSTREAM))
            host = service.host.removeprefix("[").removesuffix("]")  # an IPv6 address may come in brackets
            balancer.update([self._peers.get("", host, service.port, 1)])
        return balancer, None

    def report(self, upstream: Upstream) -> Report | None:
        """How an upstream and its targets are; None where nothing is known of it."""
        found = self._upstreams.get(upstream.name)
        return None if found is None else make_report(upstream.healthchecks, found[1].peers)

    def set_health(self, target: Target, upstream: Upstream, healthy: bool, address: tuple[str, int] | None) -> None:
        """Somebody says that a target of ``upstream`` is ``healthy`` or not: one address of it, or all where None.

        What is said of an address that the target does not have is not remembered.
        """
        _, balancer = self._upstreams[upstream.name]
        for peer in balancer.peers:
            if (peer.host, peer.port) == (target.host, target.port) and address in (None, peer.key):
                peer.healthy = healthy
        balancer.refresh()

    def apply(self, old: Snapshot, new: Snapshot) -> None:
        """Make ``new`` the configuration in force."""
        difference = diff(old, new)
        self._apply_upstreams(old, new, difference["upstreams"])
        targets = difference["targets"]
        touched = {cast(Target, one).upstream.id for one in (*targets.added, *targets.removed, *targets.changed)}
        touched.update(old.targets[one.id].upstream.id for one in targets.changed)  # it may have been another's
        touched.update(upstream.id for upstream in difference["upstreams"].changed)
        for id in touched:
            self._update_peers(id, new)
        self.router = compile_router(new, self._flavor, self.router)
        self.snapshot = new
        if any(difference[collection] for collection in ("services", "routes", "apis")):
            self._forget_direct(new)

    def _apply_upstreams(self, old: Snapshot, new: Snapshot, changes: Changed) -> None:
        """Balancers come and go; one whose upstream changes stays, unless its algorithm is another."""
        was = {entity.id: self._upstreams.pop(old.upstreams[entity.id].name) for entity in changes.changed}
        for entity in changes.removed:
            self._upstreams.pop(old.upstreams[entity.id].name)
        for entity in (*changes.changed, *changes.added):
            upstream = new.upstreams[entity.id]
            before, balancer = was.get(upstream.id, (None, None))
            if before is None or balancer is None:
                balancer = self._build(upstream)
            elif before.algorithm != upstream.algorithm:
                peers, balancer = balancer.peers, self._build(upstream)
                balancer.update(peers)  # nobody else holds them, and they must not forget what they know
            balancer.name = upstream.name
            self._upstreams[upstream.name] = (upstream, balancer)

    def _build(self, upstream: Upstream) -> Balancer:
        """A balancer without peers; round-robin where the upstream's algorithm is not there or cannot be made."""
        name, algorithm = upstream.name, upstream.algorithm
        factory = self._algorithms.get(algorithm)
        if factory is None:
            log.warn("{name} has no algorithm {algorithm}: it is round-robin", name=name, algorithm=algorithm)
        else:
            with log.failuresHandled(
                "making {algorithm} for {name}, which is round-robin", name=name, algorithm=algorithm
            ):
                return Balancer(name, factory.build(upstream))
        return Balancer(name, self._algorithms[DIRECT].build(upstream))

    def _update_peers(self, upstream_id: str, snapshot: Snapshot) -> None:
        upstream = snapshot.upstreams.get(upstream_id)
        if upstream is not None:
            targets = cast(tuple[Target, ...], snapshot.children("targets", "upstream", upstream_id))
            self._upstreams[upstream.name][1].update(
                [self._peers.get(upstream_id, target.host, target.port, target.weight) for target in targets],
                checked=checks(upstream.healthchecks),
            )

    def _forget_direct(self, snapshot: Snapshot) -> None:
        """Destinations no service and no api names any more."""
        if self._direct:
            named = {(service.host, service.port) for service in snapshot.services.values()}
            apis = cast(Mapping[str, Api], snapshot.all("apis"))
            named.update((api.upstream.host, api.upstream.port) for api in apis.values())
            self._direct = {key: balancer for key, balancer in self._direct.items() if key in named}


_DIRECT_UPSTREAM = Upstream(id="00000000-0000-4000-8000-000000000000", name="direct", created_at=1, updated_at=1)
