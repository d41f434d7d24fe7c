"""Values of several parts: records, references, and the health-check settings of an upstream.

Records are frozen, and those below have a default for every part. Entities, which are records with an identity, are
in `twisted_kong.model.entities`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, model_validator

from twisted_kong.model.checks import UNKNOWN, Between, Named, OneOf, Told, refused_parts
from twisted_kong.model.values import Array, Headers, Id, Integer, Number, Path, Port, Range, ServerName, Status


class Record(BaseModel):
    """Named parts, each with its own type. An empty list stands for an empty record."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _read(cls, value: object) -> object:
        if isinstance(value, (list, tuple)):
            if value:
                raise refused_parts(dict.fromkeys(range(len(value)), UNKNOWN), value)
            return {}
        return value


class Reference(BaseModel):
    """Another entity, by its id."""

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore")

    id: Id

    @model_validator(mode="before")
    @classmethod
    def _read(cls, value: object) -> object:
        if value is None or isinstance(value, Reference):
            return value
        if isinstance(value, (list, tuple)) and value:
            raise refused_parts(dict.fromkeys(range(len(value)), UNKNOWN), value)
        if not isinstance(value, dict) or "id" not in value:
            raise refused_parts({"id": "missing primary key"}, value)
        return value


@dataclass(frozen=True)
class Foreign:
    """Metadata of a reference: the collection it points into, and what the deletion of its target means."""

    collection: str
    on_delete: Literal["restrict", "cascade"] = "restrict"


@dataclass(frozen=True)
class Mentions:
    """Metadata of a list of ids: the collection they are of. They need not be there, but what is mentioned stays."""

    collection: str


class Timeouts(NamedTuple):
    """How long a connection to where requests go may take, in seconds."""

    connect: float
    write: float
    read: float


class Endpoint(Record):
    """One end of a stream: addresses, a port, or both."""

    ip: Range | None = None
    port: Port | None = None

    @model_validator(mode="after")
    def _something(self) -> Self:
        if self.ip is None and self.port is None:
            text = "at least one of these fields must be non-empty: 'ip', 'port'"
            raise refused_parts({"@entity": text}, self)
        return self


# -- health checks ---------------------------------------------------------------------------------------------

CHECKS = ("tcp", "http", "https", "grpc", "grpcs")
"""Kong's ways to probe, in its order."""
Interval = Annotated[Number, Between(0, 65535)]
"""Seconds, fractions allowed; 0 switches the probes off."""
Count = Annotated[Integer, Between(0, 255)]
"""So many in a row decide; 0 switches the rule off."""
Statuses = Array[Status]


class ActiveHealthy(Record):
    interval: Interval = 0
    successes: Count = 0
    http_statuses: Statuses = (200, 302)


class ActiveUnhealthy(Record):
    interval: Interval = 0
    http_failures: Count = 0
    tcp_failures: Count = 0
    timeouts: Count = 0
    http_statuses: Statuses = (429, 404, 500, 501, 502, 503, 504, 505)


class ActiveChecks(Record):
    """Probes: how they are sent, and what their answers mean. ``timeout`` is seconds."""

    type: Annotated[str, Named("checks")] = "http"
    timeout: Interval = 1
    concurrency: Annotated[Integer, Between(1, 2**31)] = 10
    http_path: Path = "/"
    https_sni: ServerName | None = None
    https_verify_certificate: bool = True
    headers: Headers | None = None
    healthy: ActiveHealthy = ActiveHealthy()
    unhealthy: ActiveUnhealthy = ActiveUnhealthy()


class PassiveHealthy(Record):
    successes: Count = 0
    http_statuses: Statuses = (*range(200, 209), 226, *range(300, 309))


class PassiveUnhealthy(Record):
    http_failures: Count = 0
    tcp_failures: Count = 0
    timeouts: Count = 0
    http_statuses: Statuses = (429, 500, 503)


OURS = Told("ours")
"""Kong has no such field; it is told only where it is set."""


class Recovery(Record):
    """How a peer that the traffic has taken out comes back by itself.

    ``interval`` seconds after it has fallen ill it gets one request on trial; each trial that fails doubles the time to
    the next, up to ``limit`` seconds.
    """

    interval: Annotated[Number, Between(1, 65535)] = 5
    limit: Annotated[Number, Between(1, 65535)] = 300


class RetryBudget(Record):
    """How many retries there may be: ``percent`` of the requests of the last ten seconds, but ``minimum`` at least."""

    percent: Annotated[Number, Between(0, 100)] = 20
    minimum: Annotated[Integer, Between(0, 65535)] = 10


class Queue(Record):
    """Where requests wait while every peer carries ``max_connections``: ``size`` of them, for ``timeout`` seconds."""

    size: Annotated[Integer, Between(0, 65535)] = 100
    timeout: Annotated[Number, Between(0, 65535)] = 1


class PassiveChecks(Record):
    """What the traffic itself teaches."""

    type: Annotated[str, OneOf(*CHECKS)] = "http"
    healthy: PassiveHealthy = PassiveHealthy()
    unhealthy: PassiveUnhealthy = PassiveUnhealthy()
    recovery: Annotated[Recovery | None, OURS] = None


class HealthChecks(Record):
    """``threshold`` is the percentage of available weight up to which the upstream as a whole is unhealthy."""

    active: ActiveChecks = ActiveChecks()
    passive: PassiveChecks = PassiveChecks()
    threshold: Annotated[Number, Between(0, 100)] = 0
