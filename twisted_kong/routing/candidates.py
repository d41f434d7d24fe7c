"""What a route is made into before requests come: its criteria as bytes, and its candidates with their ranks.

A route is one candidate for each of its hosts and paths, because the host and the path that matched have a say
in who wins. All there is to precedence is in this file; how candidates are found again is not.

Regular expressions run as the operator wrote them. One that backtracks for ages does so on every request it is
tried on, and the gateway waits: Python's engine has no limit to set.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from twisted_kong.model.entities import Api, Route, Service
from twisted_kong.model.paths import compiled
from twisted_kong.routing.names import split_port
from twisted_kong.routing.paths import escape

Rank = tuple[Any, ...]
"""The smaller wins. Only ranks of one flavor compare."""


class HeaderRule(NamedTuple):
    """One header a request must have: with one of ``values`` (lower case), or where ``regex`` finds something."""

    name: bytes
    values: frozenset[bytes]
    regex: re.Pattern[bytes] | None

    def fits(self, values: Sequence[bytes]) -> bool:
        """Whether one of the header's values will do."""
        if self.regex is not None:
            return any(self.regex.search(value) for value in values)
        return any(value.lower() in self.values for value in values)


class NameRule(NamedTuple):
    """The names a TLS handshake may ask for: some of them whole, some by their end or by their beginning."""

    names: frozenset[bytes]
    ends: tuple[bytes, ...]
    beginnings: tuple[bytes, ...]

    def fits(self, sni: bytes | None) -> bool:
        """Whether ``sni`` is one of them; a client that asks for none does not fit."""
        if not sni:
            return False
        name = sni.lower().removesuffix(b".")
        return name in self.names or name.endswith(self.ends) or name.startswith(self.beginnings)


class Destination(NamedTuple):
    """Where the requests of a route go: to a service, if it has one; ``base`` is the path that theirs are joined to."""

    service: Service | None
    base: bytes

    @classmethod
    def of(cls, service: Service | None) -> Destination:
        """The one that is ``service``."""
        return cls(service, escape(((service.path if service else None) or "/").encode()))


@dataclass(frozen=True, slots=True, eq=False)
class CompiledRoute:
    """A route as requests need it, whatever its service is: that may change, and have thousands of routes.

    ``https_only``: a plain request that matches is to be answered with `HttpsRequired` and the route's
    ``https_redirect_status_code``. ``concatenate``: ``path_handling`` v1. ``methods`` and ``headers`` are empty, and
    ``snis`` is None, where the route asks for none in particular. ``api`` is the one that the route was made of, if it
    was, and then ``destination`` is the other half of it.
    """

    route: Route
    strip_path: bool
    preserve_host: bool
    concatenate: bool
    https_only: bool
    grpc: bool
    methods: frozenset[bytes]
    headers: tuple[HeaderRule, ...]
    snis: NameRule | None
    api: Api | None = None
    destination: Destination | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """One way for a request to match a route; compared by identity.

    ``host`` is a host, with its port where the route names one, or a wildcard pattern; None is any.
    ``prefix`` is a plain path; without one, ``regex`` must match at the path's start, or any path will do.
    """

    rank: Rank
    route: CompiledRoute
    host: bytes | None
    prefix: bytes | None
    regex: re.Pattern[bytes] | None


class _Traits(NamedTuple):
    """What precedence looks at. The larger wins, except for ``created_at`` and ``id``.

    ``kinds`` counts the kinds of criteria and ``weight`` tells which; ``plain_hosts`` says that no host has a
    wildcard, ``wild_port`` that one with a wildcard has a port. The rest is of one candidate: ``port`` says that
    its host has one, ``literal`` counts the characters of its host, the star not; ``length`` is that of a plain
    path, ``priority`` only that of a regular one.
    """

    kinds: int
    weight: int
    plain_hosts: bool
    wild_port: bool
    headers: int
    created_at: float
    id: str
    port: bool = False
    literal: int = 0
    regex: bool = False
    priority: int = 0
    length: int = 0


def _traditional(traits: _Traits) -> Rank:
    """Kong's order for ``router_flavor = traditional``; only the place of ``port`` and ``literal`` is our choice."""
    return (
        -traits.kinds,
        -traits.weight,
        -traits.wild_port,
        -traits.plain_hosts,
        -traits.port,
        -traits.regex,
        -traits.headers,
        -traits.priority,
        -traits.length,
        -traits.literal,
        traits.created_at,
        traits.id,
    )


def _traditional_compatible(traits: _Traits) -> Rank:
    """Kong's default order: which kinds of criteria there are does not matter, nor does a route's age."""
    return (
        -traits.kinds,
        -traits.plain_hosts,
        -traits.port,
        -traits.headers,
        -traits.regex,
        -traits.priority,
        -traits.length,
        -traits.literal,
        traits.id,
    )


PRECEDENCES: Mapping[str, Callable[[_Traits], Rank]] = {
    "traditional": _traditional,
    "traditional_compatible": _traditional_compatible,
}
"""Flavor -> how its candidates are ranked."""


_OVER_HTTP = frozenset(["http", "https", "grpc", "grpcs"])


def candidates(route: Route, flavor: str) -> tuple[Candidate, ...]:
    """All candidates of ``route``: none if it is not for HTTP."""
    if not _OVER_HTTP & set(route.protocols):
        return ()
    ready = _compile(route, flavor)
    precedence = PRECEDENCES[flavor]
    hosts = [host.lower().encode() for host in route.hosts or ()]
    common = _common_traits(route, hosts)
    found = []
    for path in dict.fromkeys(route.paths or (None,)):
        prefix, regex = _read_path(path)
        own = common._replace(
            regex=regex is not None,
            priority=(route.regex_priority or 0) if regex is not None else 0,
            length=len(prefix or b""),
        )
        for host in dict.fromkeys(hosts or (None,)):
            traits = own if host is None else own._replace(port=_has_port(host), literal=len(host.replace(b"*", b"")))
            found.append(Candidate(precedence(traits), ready, host, prefix, regex))
    return tuple(found)


def _compile(route: Route, flavor: str) -> CompiledRoute:
    return CompiledRoute(
        route=route,
        strip_path=route.strip_path,
        preserve_host=route.preserve_host,
        concatenate=route.path_handling == "v1" and flavor == "traditional",
        https_only=not {"http", "grpc"} & set(route.protocols),
        grpc=bool({"grpc", "grpcs"} & set(route.protocols)),
        methods=frozenset(method.encode() for method in route.methods or ()),
        headers=tuple(_read_header(name, values) for name, values in (route.headers or {}).items()),
        snis=_read_names(route.snis) if route.snis else None,
    )


def _common_traits(route: Route, hosts: list[bytes]) -> _Traits:
    """What all candidates of a route share."""
    kinds = [bool(kind) for kind in (route.hosts, route.headers, route.paths, route.methods, route.snis)]
    wild = [host for host in hosts if b"*" in host]
    return _Traits(
        kinds=sum(kinds),
        weight=sum(16 >> place for place, asked in enumerate(kinds) if asked),
        plain_hosts=bool(hosts) and not wild,
        wild_port=any(map(_has_port, wild)),
        headers=len(route.headers or ()),
        created_at=route.created_at,
        id=route.id,
    )


def _has_port(host: bytes) -> bool:
    return bool(split_port(host)[1])


def _read_path(path: str | None) -> tuple[bytes | None, re.Pattern[bytes] | None]:
    """A configured path as the prefix or the regular expression it is."""
    if path is None:
        return None, None
    if path.startswith("~"):
        return None, compiled(path[1:])
    return escape(path.encode()), None


def _read_header(name: str, values: tuple[str, ...]) -> HeaderRule:
    """A single value that begins with ``~*`` is a regular expression, blind to case like the plain values.

    Such an expression is configured unchecked; one that turns out to be none finds nothing.
    """
    regex = None
    if len(values) == 1 and values[0].startswith("~*"):
        try:
            regex = re.compile(compiled(values[0].removeprefix("~*")).pattern, re.IGNORECASE)
        except ValueError:
            values = ()
    return HeaderRule(name.lower().encode(), frozenset(value.lower().encode() for value in values), regex)


def _read_names(snis: tuple[str, ...]) -> NameRule:
    """Names with at most one star, first or last."""
    names = [sni.lower().removesuffix(".").encode() for sni in snis]
    return NameRule(
        frozenset(name for name in names if b"*" not in name),
        tuple(name[1:] for name in names if name.startswith(b"*")),
        tuple(name[:-1] for name in names if name.endswith(b"*")),
    )
