"""What a configuration consists of: services, routes, upstreams, targets.

An entity is declared once: its fields with their types and defaults, its keys, its references, the rules between
its fields. Everything else (schema, snapshot, store, Admin API) is written for all of them and reads this. Entities are
frozen and light: the traffic reads their attributes. How a document becomes one is in `twisted_kong.model.schema`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, NamedTuple, Self

from twisted_kong.model import fields, hosts
from twisted_kong.model.checks import AtLeast, Between, Named, OneOf, Spelling
from twisted_kong.model.records import Endpoint, Foreign, HealthChecks, Record, Reference
from twisted_kong.model.rules import (
    ROUTE_RULES,
    SERVICE_RULES,
    UPSTREAM_RULES,
    Rule,
    couple,
    expand_url,
    keep_grpc_paths,
)
from twisted_kong.model.values import (
    Array,
    CookieName,
    HeaderName,
    HostAndPort,
    HostName,
    HostPort,
    Id,
    Integer,
    MatchedHeaders,
    Method,
    Milliseconds,
    Name,
    Path,
    Port,
    Protocol,
    RoutePath,
    Seconds,
    Set,
    String,
    Tag,
    Timeout,
    UpstreamName,
    WildcardHost,
    WildcardName,
    exclusive,
)

__all__ = ["COLLECTIONS", "Entity", "Reference", "Route", "Service", "Target", "Timeouts", "Upstream"]


class Entity(Record):
    """What all entities share. Times are seconds since the epoch, whole ones except for targets."""

    collection: ClassVar[str]
    """Kong's plural: the segment of the URL, the key in declarative documents."""
    endpoint_key: ClassVar[str | None] = "name"
    """The field by which a URL may name one, beside ``id``."""
    unique: ClassVar[tuple[tuple[str, ...], ...]] = (("name",),)
    """Fields whose values no two entities share; nulls are never the same."""
    references: ClassVar[Mapping[str, Foreign]] = MappingProxyType({})
    """The fields that hold a `Reference`, read off their annotations."""
    shorthands: ClassVar[tuple[str, ...]] = ()
    """Texts in the input that decide other fields, by `settle`."""
    rules: ClassVar[tuple[Rule, ...]] = ()
    """What must hold between fields, in the order in which it is told."""

    id: Id
    created_at: Seconds
    updated_at: Seconds
    tags: Set[Tag] | None = None

    @classmethod
    def __pydantic_init_subclass__(cls, **_: Any) -> None:
        cls.references = MappingProxyType(
            {
                name: brick
                for name, shape in fields.shapes(cls).items()
                for brick in shape.bricks
                if isinstance(brick, Foreign)
            }
        )

    @classmethod
    def settle(cls, whole: dict[str, Any], given: Mapping[str, Any], algorithms: tuple[str, ...]) -> None:
        """Let fields of ``given``, what the client sent, decide others in ``whole``, what it would come to."""

    def document(self) -> dict[str, Any]:
        """Every field as JSON has it, null where unset: what the Admin API prints and the store keeps."""
        return self.model_dump(mode="json")

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Self:
        """The entity that `document` wrote, taken at its word; nothing is checked again."""
        return fields.revive(cls, document)


class Timeouts(NamedTuple):
    """Seconds."""

    connect: float
    write: float
    read: float


class Service(Entity):
    """Where requests go: the name of an upstream, or a host."""

    collection = "services"
    shorthands = ("url",)
    rules = SERVICE_RULES

    name: Name | None = None
    protocol: Protocol = "http"
    host: HostName
    port: Port = 80
    path: Path | None = None
    retries: Annotated[Integer, Between(0, 32767)] | None = 5
    connect_timeout: Timeout | None = 60000
    write_timeout: Timeout | None = 60000
    read_timeout: Timeout | None = 60000
    client_certificate: Annotated[Reference | None, Foreign("certificates")] = None
    tls_verify: bool | None = None
    tls_verify_depth: Annotated[Integer, Between(0, 64)] | None = None
    ca_certificates: Array[Id] | None = None
    enabled: bool = True

    @classmethod
    def settle(cls, whole: dict[str, Any], given: Mapping[str, Any], algorithms: tuple[str, ...]) -> None:
        expand_url(whole, given)

    @cached_property
    def timeouts(self) -> Timeouts:
        """The three timeouts in seconds; null is a minute, the default."""
        return Timeouts(*((ms or 60000) / 1000 for ms in (self.connect_timeout, self.write_timeout, self.read_timeout)))


class Route(Entity):
    """Which requests go to a service."""

    collection = "routes"
    rules = ROUTE_RULES

    name: Name | None = None
    protocols: Annotated[Set[Protocol], AtLeast(1), Spelling(exclusive)] = ("http", "https")
    methods: Set[Method] | None = None
    hosts: Array[WildcardHost] | None = None
    paths: Array[RoutePath] | None = None
    headers: MatchedHeaders | None = None
    snis: Set[WildcardName] | None = None
    sources: Set[Endpoint] | None = None
    destinations: Set[Endpoint] | None = None
    https_redirect_status_code: Annotated[Integer, OneOf(426, 301, 302, 307, 308)] = 426
    strip_path: bool = True
    preserve_host: bool = False
    request_buffering: bool = True
    response_buffering: bool = True
    regex_priority: Integer | None = 0
    path_handling: Annotated[str, OneOf("v0", "v1")] | None = "v0"
    service: Annotated[Reference | None, Foreign("services")] = None

    @classmethod
    def settle(cls, whole: dict[str, Any], given: Mapping[str, Any], algorithms: tuple[str, ...]) -> None:
        keep_grpc_paths(whole)


HASH_INPUTS = ("none", "consumer", "ip", "header", "cookie", "path", "query_arg", "uri_capture")
HashInput = Annotated[str, OneOf(*HASH_INPUTS)]


class Upstream(Entity):
    """A virtual host: targets, and how the traffic is spread over them.

    ``slots`` is validated and kept for its clients; it never limits how many targets work.
    """

    collection = "upstreams"
    shorthands = ("algorithm", "hash_on")
    rules = UPSTREAM_RULES

    name: UpstreamName
    algorithm: Annotated[String, Named("algorithms")] = "round-robin"
    hash_on: HashInput = "none"
    hash_fallback: HashInput = "none"
    hash_on_header: HeaderName | None = None
    hash_fallback_header: HeaderName | None = None
    hash_on_cookie: CookieName | None = None
    hash_on_cookie_path: Path | None = "/"
    hash_on_query_arg: String | None = None
    hash_fallback_query_arg: String | None = None
    hash_on_uri_capture: String | None = None
    hash_fallback_uri_capture: String | None = None
    slots: Annotated[Integer, Between(10, 65536)] = 10000
    healthchecks: HealthChecks = HealthChecks()
    host_header: HostPort | None = None
    client_certificate: Annotated[Reference | None, Foreign("certificates")] = None
    use_srv_name: bool | None = False

    @classmethod
    def settle(cls, whole: dict[str, Any], given: Mapping[str, Any], algorithms: tuple[str, ...]) -> None:
        couple(whole, given, algorithms)


class Target(Entity):
    """One ``host:port`` of an upstream, and its share of the traffic; weight 0 gets none."""

    collection = "targets"
    endpoint_key = "target"
    unique = (("target", "upstream"),)

    created_at: Milliseconds
    updated_at: Milliseconds
    upstream: Annotated[Reference, Foreign("upstreams", on_delete="cascade")]
    target: HostAndPort
    weight: Annotated[Integer, Between(0, 65535)] = 100

    @cached_property
    def host(self) -> str:
        """The host alone, IPv6 without brackets."""
        return self._host_port[0]

    @cached_property
    def port(self) -> int:
        return self._host_port[1]

    @cached_property
    def _host_port(self) -> tuple[str, int]:
        return hosts.split(self.target)


COLLECTIONS: Mapping[str, type[Entity]] = MappingProxyType(
    {entity.collection: entity for entity in (Service, Route, Upstream, Target)}
)
"""All kinds of entities, parents before their children."""
