"""Which route a request matches, and what follows from it: the path upstream, the prefix stripped, who asks for a key.

A request that no route wants is offered to the apis of Kong 0.10. A router is compiled from a snapshot and never
changes but for its memory of recent answers; a change of the configuration makes a new one, which takes over what is
still right of the old. Whether the route may be used (TLS, a service, a key) is for the exchange to decide.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from twisted_kong.model.entities import Api, Plugin, Route, Service
from twisted_kong.model.snapshot import EMPTY, Snapshot
from twisted_kong.routing.apis import api_candidates
from twisted_kong.routing.candidates import PRECEDENCES, Candidate, CompiledRoute, Destination, candidates
from twisted_kong.routing.index import NO_CANDIDATES, HostIndex
from twisted_kong.routing.paths import join, join_as_api, normalise

HeaderLookup = Callable[[bytes], Sequence[bytes]]
"""All values of the header with a lower-case name; empty without it."""

CACHED_MATCHES = 5000
"""How many answers a router remembers; Kong remembers as many."""

CACHED_BYTES = 512
"""What is longer than this, method, host, path and SNI together, is not worth remembering."""


@dataclass(frozen=True, slots=True, eq=False)
class Match:
    """The route of a request.

    ``service`` is where it goes, None if nowhere; ``path`` is what the origin is sent, without the query; ``prefix``
    what was stripped off the request's, for ``X-Forwarded-Prefix``; ``captures`` is there when the route's path is a
    regular expression; ``key_auth`` is the plugin that asks for a key, if one does; ``demanding`` says that there is
    something to be done before a request may go to the service: a key, TLS, another protocol, or there is no service.
    Shared by all requests that are alike.
    """

    route: CompiledRoute
    service: Service | None
    path: bytes
    prefix: bytes | None
    captures: re.Match[bytes] | None
    key_auth: Plugin | None
    demanding: bool


@dataclass(frozen=True, slots=True)
class Compiled:
    """The candidates of all routes, or of all apis: by id, and as requests find them."""

    by_id: Mapping[str, tuple[Candidate, ...]]
    index: HostIndex

    def changed(self, candidates: Mapping[str, tuple[Candidate, ...]]) -> Compiled:
        """These with other ``candidates`` of some ids; an id without any is forgotten."""
        if not candidates:
            return self
        removed = [one for id in candidates for one in self.by_id.get(id, ())]
        added = [one for found in candidates.values() for one in found]
        by_id = {**self.by_id, **candidates}
        for id in candidates:
            if not by_id[id]:
                del by_id[id]
        return Compiled(by_id, self.index.changed(removed, added))


_NOTHING = Compiled({}, NO_CANDIDATES)
NOWHERE = Destination.of(None)


class Router:
    """Finds the route of a request. Made by `compile_router`."""

    def __init__(self, flavor: str, snapshot: Snapshot, routes: Compiled, apis: Compiled) -> None:
        self.flavor = flavor
        self.snapshot = snapshot
        """What it was compiled from, or one that is no different to it."""
        self.routes = routes
        self.apis = apis
        self.remembered: dict[tuple[bytes, bytes, bytes, bool, bytes | None], Match] = {}
        """What `match` has answered, by method, host, path, https and SNI."""
        self._destinations: dict[str, Destination] = {}

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

        ``host`` is the Host as it came, perhaps with a port; ``path`` is as it came, without query; ``headers`` is
        asked only if a route that fits otherwise wants to know. The answer is remembered unless they were asked.

        :raise RequestRefused: the path is malformed, or climbs above the root or out of the uri of an api.
        """
        key = (method, host, path, https, sni)
        known = self.remembered.get(key)
        if known is not None:
            return known
        normal = normalise(path)
        best, captures, lasting = _search(self.routes.index, method, host, normal, headers, https, sni)
        if best is None:
            best, captures, _ = _search(self.apis.index, method, host, path, headers, https, sni)
        if best is None:
            return None
        match = self._conclude(best, path if best.route.api else normal, captures)
        if lasting and len(method) + len(host) + len(path) + len(sni or b"") <= CACHED_BYTES:
            if len(self.remembered) >= CACHED_MATCHES:
                self.remembered.clear()
            self.remembered[key] = match
        return match

    def _conclude(self, best: Candidate, path: bytes, captures: re.Match[bytes] | None) -> Match:
        route = best.route
        matched = captures.end() if captures is not None else len(best.prefix or b"")
        service, base = route.destination or self._destination(route.route)
        if route.api is None:
            sent, prefix = join(base, path, matched, strip=route.strip_path, concatenate=route.concatenate)
        else:
            sent, prefix = join_as_api(base, path, matched, strip=route.strip_path)
        key_auth = _key_auth(self.snapshot, route.route.id, service)
        plain = service is not None and service.protocol == "http"
        demanding = not plain or key_auth is not None or route.https_only or route.grpc
        return Match(route, service, sent, prefix, captures, key_auth, demanding)

    def _destination(self, route: Route) -> Destination:
        """Where a route leads. Asked for when a request comes, so that a change of a service concerns no route."""
        if route.service is None:
            return NOWHERE
        id = route.service.id
        found = self._destinations.get(id)
        if found is None:
            found = self._destinations[id] = Destination.of(self.snapshot.services[id])
        return found


def _search(
    index: HostIndex, method: bytes, host: bytes, path: bytes, headers: HeaderLookup, https: bool, sni: bytes | None
) -> tuple[Candidate | None, re.Match[bytes] | None, bool]:
    """The best candidate, what its path captured, and whether it would be the best whatever the headers."""
    best: Candidate | None = None
    captures: re.Match[bytes] | None = None
    lasting = True
    for group in index.groups(host, path, https):
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
    return best, captures, lasting


def _key_auth(snapshot: Snapshot, route: str, service: Service | None) -> Plugin | None:
    """The plugin that asks requests of the route with this id for a key: the most specific one that is enabled (Kong's
    order)."""
    if not snapshot.all("plugins"):
        return None
    to = service.id if service else None
    for route_id, service_id in ((route, to), (route, None), (None, to), (None, None)):
        found = snapshot.find_unique("plugins", name="key-auth", route=route_id, service=service_id, consumer=None)
        if found is not None and cast(Plugin, found).enabled:
            return cast(Plugin, found)
    return None


# -- compiling ---------------------------------------------------------------------------------------------------

_CONCERNING = ("routes", "services", "apis", "plugins")
"""The collections a router is made of."""


def compile_router(snapshot: Snapshot, flavor: str, previous: Router | None = None) -> Router:
    """The router of ``snapshot``, or ``previous`` itself if nothing that concerns it has changed since.

    ``flavor`` is Kong's ``router_flavor``. What ``previous`` has compiled of unchanged routes and apis is used again.
    """
    if flavor not in PRECEDENCES:
        raise ValueError(f"router_flavor: expected one of {', '.join(PRECEDENCES)}; got {flavor!r}")
    if previous is None or previous.flavor != flavor:
        previous = Router(flavor, EMPTY, _NOTHING, _NOTHING)
    old = previous.snapshot
    if all(old.all(collection) is snapshot.all(collection) for collection in _CONCERNING):
        previous.snapshot = snapshot  # the old one need not be kept for what it has of other collections
        return previous
    stale = _changed(old, snapshot, "routes")
    for id in _changed(old, snapshot, "services"):
        if _served(old, id) != _served(snapshot, id):
            stale.update(snapshot.below("routes", "service", id))
    routes = previous.routes.changed({id: _candidates(snapshot, id, flavor) for id in stale})
    apis = previous.apis.changed({id: _api_candidates(snapshot, id) for id in _changed(old, snapshot, "apis")})
    return Router(flavor, snapshot, routes, apis)


def _candidates(snapshot: Snapshot, id: str, flavor: str) -> tuple[Candidate, ...]:
    """Those of the route ``id``: none where there is no such route, or its service is disabled."""
    route = snapshot.routes.get(id)
    if route is None or not (route.service is None or _served(snapshot, route.service.id)):
        return ()
    return candidates(route, flavor)


def _served(snapshot: Snapshot, id: str) -> bool:
    """Whether there is such a service and it is enabled: all that a service decides of who matches its routes."""
    service = snapshot.services.get(id)
    return service is not None and service.enabled


def _api_candidates(snapshot: Snapshot, id: str) -> tuple[Candidate, ...]:
    api = snapshot.get("apis", id)
    return () if api is None else api_candidates(cast(Api, api))


def _changed(old: Snapshot, new: Snapshot, collection: str) -> set[str]:
    """The ids of what was added, removed or replaced."""
    before, after = old.all(collection), new.all(collection)
    if before is after:
        return set()
    touched = new.touched_since(old, collection)
    if touched is not None:
        return set(touched)
    return {id for id, entity in after.items() if before.get(id) is not entity} | (before.keys() - after.keys())
