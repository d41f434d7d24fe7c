"""Entities for tests: small, sound, the same whenever they are made."""

from __future__ import annotations

import zlib
from typing import TypeVar

from twisted_kong.model.entities import Entity, Route, Service, Target, Upstream
from twisted_kong.model.schema import Schema

E = TypeVar("E", bound=Entity)


def an_id(number: int) -> str:
    """The same id for the same number."""
    return f"{number:08x}-0000-4000-8000-000000000000"


def a_service(name: str) -> Service:
    """A service on ``NAME.test``; its id comes from its name."""
    return _made(Service, name, name=name, host=f"{name}.test")


def a_pair(name: str) -> tuple[Service, Route]:
    """A service and a route to it."""
    service = a_service(name)
    return service, _made(Route, name, name=name, paths=[f"/{name}"], service={"id": service.id})


def an_upstream(name: str, *targets: str) -> tuple[Upstream, tuple[Target, ...]]:
    """An upstream and its targets, each of them ``host:port``."""
    upstream = _made(Upstream, name, name=name)
    here = {"id": upstream.id}
    return upstream, tuple(_made(Target, f"{name} {target}", target=target, upstream=here) for target in targets)


def _made(entity: type[E], identity: str, **data: object) -> E:
    number = zlib.crc32(f"{entity.collection} {identity}".encode())
    return Schema().build(entity, {"id": an_id(number), **data}, now=1500000000.0)
