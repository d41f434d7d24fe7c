"""A gateway with a large configuration, written into its database before it starts, as if clients had sent it.

What is in it and how it gets there lives here; what is asked of the gateway and what that costs does not.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from http.client import HTTPConnection
from itertools import count, islice
from pathlib import Path
from typing import Any, TypeVar

from benchmarks.servers import Gateway
from twisted_kong.model import history
from twisted_kong.model.changes import Change
from twisted_kong.model.entities import Entity, Route, Service, Target, Upstream
from twisted_kong.model.schema import Schema
from twisted_kong.model.snapshot import EMPTY
from twisted_kong.store import rows
from twisted_kong.store.migrations import migrate
from twisted_kong.store.sql import make_engine

E = TypeVar("E", bound=Entity)

TAGGED = 100
"""Every so many routes one bears the tag ``rare``."""


@dataclass(frozen=True)
class Size:
    """How much there is. Upstreams share the targets evenly, services the routes, and upstreams the services."""

    targets: int = 10_000
    routes: int = 10_000
    services: int = 1
    upstreams: int = 1


@dataclass(frozen=True)
class Configuration:
    """What was made, in the order in which it was made."""

    upstreams: Sequence[Upstream]
    targets: Sequence[Target]
    services: Sequence[Service]
    routes: Sequence[Route]

    @property
    def upstream(self) -> Upstream:
        """The first of them."""
        return self.upstreams[0]

    def entities(self) -> tuple[Entity, ...]:
        """All of it, parents first."""
        return (*self.upstreams, *self.targets, *self.services, *self.routes)


def make(size: Size, port: int) -> Configuration:
    """A configuration whose requests reach ``port`` of the loopback: every target is one of its many addresses."""
    schema, moments = Schema(), count(int(time.time()) - 86_400)  # one entity a second, from yesterday on

    def build(kind: type[E], **data: Any) -> E:
        return schema.build(kind, data, now=next(moments))

    upstreams = [build(Upstream, name=f"large-{n}") for n in range(size.upstreams)]
    targets = [
        build(Target, target=f"{one}:{port}", weight=1 + n % 100, upstream={"id": upstreams[n % size.upstreams].id})
        for n, one in enumerate(islice(_loopback(), size.targets))
    ]
    services = [
        build(Service, name=f"service-{n}", host=upstreams[n % size.upstreams].name) for n in range(size.services)
    ]
    routes = [build(Route, **_route(n, services[n % size.services])) for n in range(size.routes)]
    return Configuration(upstreams, targets, services, routes)


def write(configuration: Configuration, file: Path) -> None:
    """Make the database ``file`` with this configuration, and with the history that its targets would have left."""
    entries = [history.record(EMPTY, target, now=target.created_at).puts[0] for target in configuration.targets]
    change = Change((*configuration.entities(), *entries))
    engine = make_engine(file)
    try:
        with engine.begin() as connection:
            migrate(connection)
            rows.write(connection, change, EMPTY, EMPTY.with_change(change), time.time())
    finally:
        engine.dispose()


def _loopback() -> Iterator[str]:
    """Addresses of 127.0.0.0/8, all of them this machine's."""
    return (f"127.{high}.{middle}.{low}" for high in range(1, 255) for middle in range(256) for low in range(1, 255))


def _route(number: int, service: Service) -> Mapping[str, Any]:
    """One route in three has a host, one in seven asks for a method: as mixed as people's."""
    return {
        "name": f"route-{number}",
        "paths": [f"/route/{number}"],
        "hosts": [f"host-{number % 50}.test"] if number % 3 == 1 else None,
        "methods": ["GET", "PATCH"] if number % 7 == 1 else None,
        "tags": ["rare"] if number % TAGGED == 0 else ["common"],
        "service": {"id": service.id},
    }


class LargeGateway(Gateway):
    """The gateway, with a configuration that is there before it starts; ``startup`` seconds later it has answered."""

    startup: float
    admin_port: int

    def __init__(self, directory: Path, core: int, configuration: Configuration) -> None:
        super().__init__(directory, core, ())
        self._configuration = configuration
        self._began = 0.0

    def command(self) -> list[str]:
        command = super().command()
        self.admin_port = self._admin
        prefix = self._directory / "prefix"
        prefix.mkdir()
        write(self._configuration, prefix / "kong.sqlite")
        self._began = time.monotonic()
        return command

    def configure(self) -> None:
        self.program.wait_for_port(self.admin_port)
        with closing(HTTPConnection("127.0.0.1", self.admin_port, timeout=60)) as connection:
            connection.request("GET", "/status")
            connection.getresponse().read()
        self.startup = time.monotonic() - self._began
