"""Configurations and requests for tests of the router, in few words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from twisted_kong.model.changes import Change
from twisted_kong.model.entities import Entity, Route, Service
from twisted_kong.model.snapshot import EMPTY, Snapshot
from twisted_kong.routing.paths import normalise
from twisted_kong.routing.router import Match, Router, compile_router

FLAVORS = ["traditional_compatible", "traditional"]


def make_service(number: int = 0, **fields: Any) -> Service:
    """A service whose id ends in ``number``."""
    return Service.from_document({"id": _id(number), "created_at": 1, "updated_at": 1, "host": "s.example", **fields})


def make_route(number: int = 0, service: Service | None = None, **fields: Any) -> Route:
    """A route whose id ends in ``number`` and that is ``number`` seconds younger than the first."""
    reference = None if service is None else {"id": service.id}
    document = {"id": _id(number), "created_at": 1 + number, "updated_at": 1, "service": reference, **fields}
    return Route.from_document(document)


def _id(number: int) -> str:
    return str(UUID(int=number))


def snapshot(*entities: Entity) -> Snapshot:
    """A configuration of exactly these."""
    return EMPTY.with_change(Change(puts=entities))


def ask(
    router: Router,
    target: str = "/",
    host: str = "any.example",
    method: str = "GET",
    headers: Mapping[str, Sequence[str]] | None = None,
    https: bool = False,
    sni: str | None = None,
) -> Match | None:
    """What the router says to a request; ``headers`` by lower-case name."""

    def values(name: bytes) -> list[bytes]:
        return [value.encode() for value in (headers or {}).get(name.decode(), ())]

    path = normalise(target.encode())
    return router.match(method.encode(), host.encode(), path, values, https, sni.encode() if sni else None)


class Labelled:
    """A router of routes with labels, in order of age. Called with a request it tells the label of its route."""

    def __init__(self, flavor: str, rules: Mapping[str, Mapping[str, Any]]) -> None:
        self.labels = list(rules)
        routes = [make_route(number, **rule) for number, rule in enumerate(rules.values())]
        self.router = compile_router(snapshot(*routes), flavor)

    def __call__(self, target: str = "/", host: str = "any.example", **request: Any) -> str | None:
        match = ask(self.router, target, host, **request)
        return None if match is None else self.labels[int(match.route.route.id[-4:], 16)]
