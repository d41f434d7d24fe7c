"""Which route a request matches, and what follows from it: the path upstream, the prefix stripped.

A router is compiled from a snapshot and never changes but for its memory of recent answers; a change of the
configuration makes a new one, which takes over what is still right of the old. Whether the route may be used (TLS,
a service) is for the exchange to decide.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from twisted_kong.model.entities import Entity, Route, Service
from twisted_kong.model.snapshot import Snapshot
from twisted_kong.routing.candidates import PRECEDENCES, Candidate, CompiledRoute, candidates
from twisted_kong.routing.index import NO_CANDIDATES, HostIndex
from twisted_kong.routing.paths import join

HeaderLookup = Callable[[bytes], Sequence[bytes]]
"""All values of the header with a lower-case name; empty without it."""

CACHED_MATCHES = 5000
"""How many answers a router remembers; Kong remembers as many."""

CACHED_BYTES = 512
"""What is longer than this, method, host, path and SNI together, is not worth remembering."""


class Match(NamedTuple):
    """The route of a request.

    ``path`` is what the origin is sent, without the query; ``prefix`` what was stripped off the request's, for
    ``X-Forwarded-Prefix``; ``captures`` is there when the route's path is a regular expression. Shared by all
    requests that are alike.
    """

    route: CompiledRoute
    path: bytes
    prefix: bytes | None
    captures: re.Match[bytes] | None


class Router:
    """Finds the route of a request. Made by `compile_router`."""

    def __init__(
        self,
        flavor: str,
        routes: Mapping[str, Route],
        services: Mapping[str, Service],
        compiled: Mapping[str, tuple[Candidate, ...]],
        index: HostIndex,
    ) -> None:
        self.flavor = flavor
        self.routes = routes
        self.services = services
        self.compiled = compiled
        self.index = index
        self.remembered: dict[tuple[bytes, bytes, bytes, bool, bytes | None], Match] = {}

    def recall(
        self, method: bytes, host: bytes, path: bytes, https: bool = False, sni: bytes | None = None
    ) -> Match | None:
        """What `match` remembers of such a request, or None."""
        return self.remembered.get((method, host, path, https, sni))

    def match(
        self,
        method: bytes,
        host: bytes,
        path: bytes,
        headers: HeaderLookup,
        https: bool = False,
        sni: bytes | None = None,
    ) -> Match | None:
        """The match of a request, or None.

        ``host`` is the Host as it came, perhaps with a port; ``path`` is normalised and without query; ``headers``
        is asked only if a route that fits otherwise wants to know. The answer is remembered unless they were asked.
        """
        key = (method, host, path, https, sni)
        known = self.remembered.get(key)
        if known is not None:
            return known
        match, lasting = self._search(method, host, path, headers, https, sni)
        if match is not None and lasting and len(method) + len(host) + len(path) + len(sni or b"") <= CACHED_BYTES:
            if len(self.remembered) >= CACHED_MATCHES:
                self.remembered.clear()
            self.remembered[key] = match
        return match

    def _search(
        self, method: bytes, host: bytes, path: bytes, headers: HeaderLookup, https: bool, sni: bytes | None
    ) -> tuple[Match | None, bool]:
        """What `match` answers, and whether it would be the same whatever the headers."""
        best: Candidate | None = None
        captures: re.Match[bytes] | None = None
        lasting = True
        for group in self.index.groups(host, path, https):
            for candidate in group:
                if best is not None and best.rank < candidate.rank:
                    break
                route, found = candidate.route, None
                if route.methods and method not in route.methods:
                    continue
                if https and route.snis is not None and not route.snis.fits(sni):
                    continue
                if candidate.regex is not None and (found := candidate.regex.match(path)) is None:
                    continue
                if route.headers:
                    lasting = False
                    if not all(rule.fits(headers(rule.name)) for rule in route.headers):
                        continue
                best, captures = candidate, found
                break
        return None if best is None else _conclude(best, path, captures), lasting


def _conclude(best: Candidate, path: bytes, captures: re.Match[bytes] | None) -> Match:
    route = best.route
    matched = captures.end() if captures is not None else len(best.prefix or b"")
    sent, prefix = join(route.base, path, matched, strip=route.strip_path, concatenate=route.concatenate)
    return Match(route, sent, prefix, captures)


def compile_router(snapshot: Snapshot, flavor: str, previous: Router | None = None) -> Router:
    """The router of ``snapshot``, or ``previous`` itself if no route or service has changed since.

    ``flavor`` is Kong's ``router_flavor``. What ``previous`` has compiled of unchanged routes is used again.
    """
    if flavor not in PRECEDENCES:
        raise ValueError(f"router_flavor: expected one of {', '.join(PRECEDENCES)}; got {flavor!r}")
    old = previous if previous is not None and previous.flavor == flavor else Router(flavor, {}, {}, {}, NO_CANDIDATES)
    routes, services = snapshot.routes, snapshot.services
    if old.routes is routes and old.services is services:
        return old
    stale = _changed(old.routes, routes)
    for id in _changed(old.services, services):
        stale.update(route.id for route in snapshot.children("routes", "service", id))
    compiled = dict(old.compiled)
    removed = [candidate for id in stale for candidate in compiled.pop(id, ())]
    added: list[Candidate] = []
    for id in stale & routes.keys():
        route = routes[id]
        compiled[id] = candidates(route, services[route.service.id] if route.service else None, flavor)
        added += compiled[id]
    return Router(flavor, routes, services, compiled, old.index.changed(removed, added))


def _changed(old: Mapping[str, Entity], new: Mapping[str, Entity]) -> set[str]:
    """The ids of what was added, removed or replaced."""
    if old is new:
        return set()
    return {id for id, entity in new.items() if old.get(id) is not entity} | (old.keys() - new.keys())
