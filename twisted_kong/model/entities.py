"""What a configuration consists of: services, routes, upstreams, targets; other kinds have modules of their own.

An entity is declared once: its fields with their types and defaults, its keys, its references, the rules between
its fields. Everything else (schema, snapshot, store, Admin API) is written for all of them and reads this. Entities are
frozen and light: the traffic reads their attributes. How a document becomes one is in `twisted_kong.model.schema`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from types import MappingProxyType
from typing import Annotated, Any, ClassVar

from twisted_kong.model import hosts
from twisted_kong.model.access import Consumer, KeyauthCredential, Plugin
from twisted_kong.model.certificates import CaCertificate, Certificate, Sni
from twisted_kong.model.checks import AtLeast, Between, Named, OneOf, Spelling
from twisted_kong.model.entity import Entity
from twisted_kong.model.legacy import Api
from twisted_kong.model.records import (
    OURS,
    Endpoint,
    Foreign,
    HealthChecks,
    Mentions,
    Queue,
    Reference,
    RetryBudget,
    Timeouts,
)
from twisted_kong.model.rules import (
    ROUTE_RULES,
    SERVICE_RULES,
    UPSTREAM_RULES,
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
    Number,
    Path,
    Port,
    Protocol,
    RoutePath,
    Set,
    String,
    Timeout,
    UpstreamName,
    WildcardHost,
    WildcardName,
    exclusive,
)

__all__ = [
    "COLLECTIONS",
    "Api",
    "CaCertificate",
    "Certificate",
    "Consumer",
    "Entity",
    "KeyauthCredential",
    "Plugin",
    "Reference",
    "Route",
    "Service",
    "Sni",
    "Target",
    "TargetEntry",
    "Timeouts",
    "Upstream",
]


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
    ca_certificates: Annotated[Array[Id] | None, Mentions("ca_certificates")] = None
    enabled: bool = True

    @classmethod
    def settle(cls, whole: dict[str, Any], given: Mapping[str, Any], algorithms: tuple[str, ...]) -> None:
        expand_url(whole, given)

    @cached_property
    def attempts(self) -> int:
        """How often a request may be tried: once more than ``retries``, of which null is five, the default."""
        return 6 if self.retries is None else self.retries + 1

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

    ``slots`` and ``orderlist`` are validated and kept for their clients; they never limit how many targets work.
    """

    collection = "upstreams"
    shorthands = ("algorithm", "hash_on")
    rules = UPSTREAM_RULES
    rarities: ClassVar = (
        "orderlist",
        "on_all_unhealthy",
        "retry_budget",
        "max_connections",
        "queue",
        "slow_start",
        "sticky_cookie",
        "sticky_cookie_path",
    )
    """Fields of Kong 0.10 and of our own."""

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
    orderlist: Array[Integer] | None = None
    on_all_unhealthy: Annotated[str, OneOf("fail_closed", "fail_open"), OURS] | None = None
    retry_budget: Annotated[RetryBudget | None, OURS] = None
    max_connections: Annotated[Integer, Between(1, 65535), OURS] | None = None
    queue: Annotated[Queue | None, OURS] = None
    slow_start: Annotated[Number, Between(0, 65535), OURS] | None = None
    sticky_cookie: Annotated[CookieName | None, OURS] = None
    sticky_cookie_path: Annotated[Path | None, OURS] = None

    @classmethod
    def settle(cls, whole: dict[str, Any], given: Mapping[str, Any], algorithms: tuple[str, ...]) -> None:
        couple(whole, given, algorithms)
        if whole.get("orderlist") in ([], {}):
            whole["orderlist"] = None

    def document(self) -> dict[str, Any]:
        """Every field; those that clients of Kong 3.9 do not know only where they are set."""
        document = super().document()
        for name in self.rarities:
            if document[name] is None:
                del document[name]
        if self.healthchecks.passive.recovery is None:
            del document["healthchecks"]["passive"]["recovery"]
        return document


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


class TargetEntry(Entity):
    """What one write made of a target, as Kong 0.10 kept its targets; weight 0 where it was deleted.

    The targets are the present. The entries tell the past and decide nothing; see `twisted_kong.model.history`.
    """

    collection = "target_history"
    endpoint_key = None
    unique = ()

    created_at: Milliseconds
    updated_at: Milliseconds
    upstream: Annotated[Reference, Foreign("upstreams", on_delete="cascade")]
    target: HostAndPort
    weight: Annotated[Integer, Between(0, 65535)]


_KINDS: tuple[type[Entity], ...] = (
    Certificate,
    Sni,
    CaCertificate,
    Service,
    Route,
    Consumer,
    KeyauthCredential,
    Plugin,
    Upstream,
    Target,
    TargetEntry,
    Api,
)
COLLECTIONS: Mapping[str, type[Entity]] = MappingProxyType({entity.collection: entity for entity in _KINDS})
"""All kinds of entities, parents before their children."""
