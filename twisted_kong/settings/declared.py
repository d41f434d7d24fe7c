"""Every setting that has a value here, once: its type, its parser, its default, its meaning.

A field of `Settings` has exactly the name of its setting. `loading` fills the fields, the tables of docs/supported.md
are printed from them.
"""

# ruff: noqa: RUF009 - `setting` makes a dataclass field, which ruff cannot see
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

from twisted_kong.settings import values
from twisted_kong.settings.listeners import Listener, listeners, served_admin_listeners, served_listeners
from twisted_kong.settings.values import LogFile, Parser, TrustedPeers

T = TypeVar("T")

_HEADER_GROUPS = {
    "server_tokens": frozenset({"Server", "Via"}),
    "latency_tokens": frozenset(
        {"X-Kong-Admin-Latency", "X-Kong-Proxy-Latency", "X-Kong-Response-Latency", "X-Kong-Upstream-Latency"}
    ),
}
_LOG_LEVELS = ("debug", "info", "notice", "warn", "error", "crit", "alert", "emerg")
_MEDIA_TYPES = ("text/plain", "text/html", "application/json", "application/xml")
_NO_DATABASE_YET = dict.fromkeys(
    ("postgres", "cassandra"), "this version keeps its configuration in SQLite or in memory"
)


@dataclass(frozen=True, slots=True)
class Declared:
    """One setting.

    ``default`` is a text as one would write it; ``inert`` says why it has no effect, else is empty; the value of a
    ``secret`` one is told to nobody.
    """

    parse: Parser[Any]
    default: str
    meaning: str
    inert: str = ""
    secret: bool = False


def setting(parse: Parser[T], default: str, meaning: str, inert: str = "", *, secret: bool = False) -> T:
    """The field of a setting."""
    declared = Declared(parse, default, meaning, inert, secret)
    return field(default_factory=lambda: parse(default), metadata={"declared": declared})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All settings of one gateway. Times are float seconds, sizes bytes; ``Settings()`` is all defaults."""

    prefix: Path = setting(
        values.path,
        ".run",
        "Directory of everything the gateway keeps; from the working directory (Kong: `/usr/local/kong`).",
    )
    log_level: str = setting(
        values.one_of(*_LOG_LEVELS),
        "notice",
        f"Least level that is logged: {', '.join(_LOG_LEVELS)}. Ours are fewer: `notice` is as `info`, and from `crit` "
        "on there are failures alone that nobody has dealt with.",
    )

    stall_timeout: float = setting(
        values.seconds,
        "0.5",
        "Seconds for which nothing can be served until the log says where the gateway is stuck, and in whose code; 0 "
        "for never. Ours, not Kong's.",
    )
    proxy_access_log: LogFile | None = setting(
        values.access_log,
        "logs/access.log",
        "File, from `prefix`, that has a line for every request, or `off`; then perhaps `combined` (nginx's format with"
        " Kong's request id, the default) or `json`. SIGUSR1 opens it anew.",
    )

    # -- tracing

    tracing_instrumentations: frozenset[str] = setting(
        values.instrumentations,
        "off",
        "What there are spans of: `request` alone, `balancer` (attempts), `dns_query`, or `all`; other words of Kong's "
        "change nothing. Unless it is `off`, requests carry `traceparent` to upstreams, and the access log has the "
        "trace's id.",
    )
    tracing_sampling_rate: float = setting(
        values.share, "0.01", "Share of the traces begun here that are recorded, from 0 to 1; callers decide on theirs."
    )
    tracing_endpoint: str | None = setting(
        values.optional(values.url),
        "",
        "URL to which spans are sent, OTLP over HTTP such as `http://127.0.0.1:4318/v1/traces`; without, none are. "
        "Needs the extra `opentelemetry`. Ours, not Kong's.",
    )

    # -- listening

    proxy_listen: tuple[Listener, ...] = setting(
        listeners,
        "0.0.0.0:8000, 0.0.0.0:8443 http2 ssl",
        "Where the proxy listens: `addr:port [flags], …`, Twisted endpoints, or `off`. With `http2`, clients may speak "
        "HTTP/2 as well: in the clear by prior knowledge. With `proxy_protocol`, every connection begins with a PROXY "
        "header.",
    )
    admin_listen: tuple[Listener, ...] = setting(
        served_admin_listeners,
        "127.0.0.1:8001, 127.0.0.1:8444 ssl",
        "Where the Admin API listens. An address that others can reach needs `admin_tokens` or client certificates.",
    )
    admin_tokens: Path | None = setting(
        values.optional(values.path),
        "",
        "File that tells who may use the Admin API: a line for each token or certificate, read anew at SIGHUP;"
        " `kong-gateway token` makes tokens. Without, nobody is asked. Ours, not Kong's.",
    )
    admin_failed_logins: int = setting(
        values.integer,
        "10",
        "Wrong tokens that one address may send to the Admin API in a minute before it is answered 429; 0 for no"
        " limit. Ours, not Kong's.",
    )
    admin_open_to_everyone: bool = setting(
        values.boolean,
        "off",
        "Whether the Admin API may listen where others can reach it and ask nobody who he is. Ours, not Kong's.",
    )
    admin_gui_url: tuple[str, ...] = setting(
        values.listed(values.origin),
        "",
        "URLs of Kong Manager: pages from elsewhere may not read what the Admin API answers. Without, all may, as in"
        " Kong.",
    )
    status_listen: tuple[Listener, ...] = setting(
        served_listeners,
        "off",
        "Where the Status API listens: `/status`, `/status/ready` and `/metrics`, for reading alone (Kong:"
        " `127.0.0.1:8007`).",
    )
    port_maps: Mapping[int, int] = setting(
        values.port_maps, "", "`external:internal, …`: the ports clients see, where they are not those we listen on."
    )

    # -- TLS of listeners

    ssl_cert: tuple[str, ...] = setting(
        values.listed(str),
        "",
        "Certificates (files, PEM or PEM in base64) for clients whose server name has none of its own; several are of "
        "different types. Without any, one that nobody vouches for is made below `prefix`.",
    )
    ssl_cert_key: tuple[str, ...] = setting(values.listed(str), "", "Their keys, in the same order.", secret=True)
    admin_ssl_cert: tuple[str, ...] = setting(values.listed(str), "", "The same for the Admin API.")
    admin_ssl_cert_key: tuple[str, ...] = setting(values.listed(str), "", "Their keys.", secret=True)
    nginx_admin_ssl_client_certificate: tuple[str, ...] = setting(
        values.listed(str), "", "Authorities (files, PEM or base64) of the certificates of the Admin API's clients."
    )
    nginx_admin_ssl_verify_client: str = setting(
        values.one_of(
            "off", "on", "optional", refused={"optional_no_ca": "a certificate that nobody has verified says nothing"}
        ),
        "off",
        "Whether listeners of the Admin API with `ssl` want a certificate of theirs: `on`, `off`, or `optional`: it may"
        " take the place of a token.",
    )
    nginx_admin_ssl_verify_depth: int = setting(
        values.integer, "1", "Certificates between a client's and an authority's."
    )
    ssl_cipher_suite: str = setting(
        values.one_of("modern", "intermediate", "old", "fips", "custom"),
        "intermediate",
        "Versions and ciphers as Mozilla recommends them: `modern`, `intermediate`, `old`; `fips`; or `custom`: what "
        "`ssl_protocols`, `ssl_ciphers` and `ssl_prefer_server_ciphers` say.",
    )
    ssl_protocols: frozenset[str] = setting(
        values.protocols,
        "",
        "Versions of TLS, such as `TLSv1.2 TLSv1.3`; where a suite is named, they can only leave out some of its own "
        "(Kong ignores them there).",
    )
    ssl_ciphers: str | None = setting(
        values.optional(str), "", "Ciphers before TLS 1.3 in OpenSSL's notation, for `custom`."
    )
    ssl_prefer_server_ciphers: bool = setting(
        values.boolean, "on", "Whether their order is ours or the client's, for `custom`."
    )
    ssl_session_tickets: bool = setting(
        values.boolean, "on", "Whether clients keep their sessions themselves; else those before TLS 1.3 are kept here."
    )
    ssl_session_timeout: float = setting(values.time, "1d", "Time for which a session may be resumed.")

    # -- TLS to upstreams

    client_ssl: bool = setting(
        values.boolean, "off", "Whether a certificate is shown to upstreams whose service and upstream name none."
    )
    client_ssl_cert: str | None = setting(values.optional(str), "", "That certificate (a file, PEM or base64).")
    client_ssl_cert_key: str | None = setting(values.optional(str), "", "Its key.", secret=True)
    lua_ssl_trusted_certificate: tuple[str, ...] = setting(
        values.listed(str),
        "system",
        "Authorities (`system`, files, PEM or base64) believed where a service verifies and names none, and by probes.",
    )
    lua_ssl_verify_depth: int = setting(
        values.integer, "1", "Certificates between theirs and an authority's, where `tls_verify_depth` says nothing."
    )

    # -- the configuration's home

    database: str = setting(
        values.one_of("sqlite", "off", refused=_NO_DATABASE_YET),
        "sqlite",
        "`sqlite`: a database of our own below `prefix`; `off`: a declarative document. Kong's `postgres` is refused.",
    )
    declarative_config: Path | None = setting(
        values.optional(values.path),
        "",
        "JSON or YAML file that the configuration is read from, at the start and at SIGHUP. Needs `database = off`.",
    )
    declarative_config_string: str | None = setting(
        values.optional(str),
        "",
        "The configuration itself, as JSON or YAML, in the place of such a file. Needs `database = off`.",
        secret=True,
    )

    # -- routing and what is said

    router_flavor: str = setting(
        values.one_of(
            "traditional_compatible",
            "traditional",
            refused={"expressions": "routes by expression are not supported by this version"},
        ),
        "traditional_compatible",
        "How routes are compared: `traditional_compatible` or `traditional`; `expressions` is refused.",
    )
    headers: frozenset[str] = setting(
        values.header_tokens(_HEADER_GROUPS, "X-Kong-Upstream-Status", "X-Kong-Request-Id"),
        "server_tokens, latency_tokens, X-Kong-Request-Id",
        "Headers of our own on answers: names, `server_tokens` (Server, Via), `latency_tokens` (X-Kong-*-Latency), "
        "or `off`.",
    )
    headers_upstream: frozenset[str] = setting(
        values.header_tokens({}, "X-Kong-Request-Id"),
        "X-Kong-Request-Id",
        "Headers of our own on requests sent upstream: `X-Kong-Request-Id`, or `off`.",
    )
    allow_debug_header: bool = setting(
        values.boolean, "off", "Whether `Kong-Debug: 1` makes answers name the route and service."
    )
    gateway_reason_header: bool = setting(
        values.boolean,
        "off",
        "Whether a 503 without a peer tells in `X-Gateway-Reason` why there is none. Ours, not Kong's.",
    )
    upstream_health_metrics: bool = setting(
        values.boolean,
        "on",
        "Whether `/metrics` tells the health of every target (Kong: an option of its plugin).",
    )
    error_default_type: str = setting(
        values.one_of(*_MEDIA_TYPES),
        "text/plain",
        f"Media type of error pages nobody asked for: {', '.join(_MEDIA_TYPES)}.",
    )

    # -- whom to believe

    trusted_ips: TrustedPeers = setting(
        values.trusted_peers,
        "",
        "Addresses and CIDR blocks whose `X-Forwarded-*` are believed; `unix:` for Unix sockets.",
    )
    real_ip_header: str = setting(
        values.real_ip_header,
        "X-Real-IP",
        "Header in which a trusted peer tells the client's address; `proxy_protocol` for that of the connection.",
    )
    real_ip_recursive: bool = setting(
        values.boolean,
        "off",
        "Whether the client is the last address in that header that is not trusted, or simply the last.",
    )

    # -- connections to upstreams

    upstream_keepalive_pool_size: int = setting(
        values.integer, "512", "Idle connections kept for each destination; 0 keeps none."
    )
    upstream_keepalive_max_requests: int = setting(
        values.integer, "10000", "Requests on one connection before it is closed; 0 for no end."
    )
    upstream_keepalive_idle_timeout: float = setting(
        values.seconds, "60", "Seconds an idle connection is kept; 0 for no end."
    )

    # -- connections from clients (nginx's directives and units)

    nginx_worker_processes: int = setting(
        values.processes,
        "1",
        "Processes that serve clients, or `auto` for one on each core. With more than one, a further process is in"
        " charge of them (Kong: `auto`).",
    )
    nginx_main_worker_shutdown_timeout: float = setting(
        values.time, "10s", "Time that requests under way have to be answered when the gateway stops."
    )
    drain_delay: float = setting(
        values.seconds,
        "0",
        "Seconds between `/status/ready` turning 503 and the end of listening when the gateway stops: as long as who"
        " spreads traffic takes to notice. Not one of Kong's.",
    )
    nginx_http_client_max_body_size: int = setting(
        values.size, "0", "Size of a request body above which the answer is 413; 0 for no limit."
    )
    nginx_admin_client_max_body_size: int = setting(values.size, "10m", "The same for the Admin API.")
    nginx_http_client_body_buffer_size: int = setting(
        values.size, "128k", "Size of a request body up to which it is kept in memory to be sent again (Kong: 8k)."
    )
    nginx_http_large_client_header_buffers: tuple[int, int] = setting(
        values.buffers,
        "4 8k",
        "Number and size of buffers for a request's head: no line exceeds one, no head all of them.",
    )
    nginx_events_worker_connections: int | None = setting(
        values.automatic,
        "auto",
        "Connections of clients at a time in one process, of all its listeners; whoever is one too many is closed at "
        "once. `auto`: 16384, or half the descriptors there are if that is less, since a request takes two.",
    )
    max_connections_per_client: int = setting(
        values.integer,
        "0",
        "Connections at a time of one IPv4 address or one /64 of IPv6, whoever is one too many is closed at once; 0 "
        "for any number. Peers in `trusted_ips` are not counted, whom their PROXY headers name is. "
        "Each worker counts by itself. Ours, not Kong's.",
    )
    max_tls_handshakes: int = setting(
        values.integer,
        "0",
        "TLS handshakes at a time on one listener, whoever is one too many is closed at once; 0 for any number. Each "
        "worker counts by itself. Ours, not Kong's.",
    )
    max_header_fields: int = setting(
        values.integer, "1000", "Fields of a request's head; above that the answer is 431. Ours, not Kong's."
    )
    nginx_http_client_header_timeout: float = setting(values.time, "60s", "Time for a request's head to arrive.")
    nginx_http_client_body_timeout: float = setting(values.time, "60s", "Time between two reads of a request body.")
    client_body_min_rate: int = setting(
        values.size,
        "0",
        "Bytes of a request body that have to come in a second, on average and after `client_body_timeout` for a "
        "start; 0 for any number. Calls of gRPC may be slower. Ours, not Kong's.",
    )
    nginx_http_send_timeout: float = setting(values.time, "60s", "Time between two writes of an answer.")
    nginx_http_keepalive_timeout: float = setting(
        values.time, "75s", "Time an idle connection of a client stays open; 0 closes it after each answer."
    )
    nginx_http_keepalive_requests: int = setting(values.integer, "10000", "Requests on one connection of a client.")
    nginx_http_proxy_ignore_client_abort: bool = setting(
        values.boolean,
        "off",
        "Whether a client of HTTP/1 that ends its side of the connection is answered all the same; it may have gone.",
    )
    nginx_http_http2_max_concurrent_streams: int = setting(
        values.integer, "128", "Requests at a time on one HTTP/2 connection of a client; at least one."
    )
    max_http2_resets: int = setting(
        values.integer,
        "1000",
        "Requests on one HTTP/2 connection that a client may take back, or spoil, at once; as many in 30 seconds, and "
        "one more for every answer. Ours, not Kong's.",
    )
    max_http2_idle_frames: int = setting(
        values.integer,
        "1000",
        "Frames on one HTTP/2 connection that may carry nothing, at once; as many in 20 seconds, and more with every "
        "message. Ours, not Kong's.",
    )
    nginx_http_charset: str | None = setting(
        values.charset, "UTF-8", "Character set added to textual answers that name none, or `off`."
    )

    # -- components (ours, not Kong's)

    plugin_dirs: tuple[Path, ...] = setting(
        values.listed(values.path), "", "Directories of drop-in components, modules of Python. Ours, not Kong's."
    )
    algorithm_fallback: str | None = setting(
        values.optional(values.token),
        "",
        "Name of the algorithm that picks where an upstream's own fails; without one the answer is 500. "
        "Ours, not Kong's.",
    )
    dns_resolver_plugin: str = setting(
        values.token,
        "dns",
        "Name of the component that resolves names: `dns` asks name servers, `system` the operating system. Ours, not"
        " Kong's.",
    )
    # -- names: the first three are for the resolver `dns`, the others for any

    dns_resolver: tuple[tuple[str, int], ...] = setting(
        values.listed(values.name_server), "", "Name servers, as `ip[:port], …`, instead of those of resolv.conf."
    )
    dns_hostsfile: Path = setting(values.path, "/etc/hosts", "The hosts file; read again when it changes.")
    dns_order: tuple[str, ...] = setting(
        values.listed(values.record_type),
        "LAST, SRV, A, AAAA, CNAME",
        "Record types, in the order they are tried; `LAST` is the one found last.",
    )
    dns_valid_ttl: float | None = setting(values.optional(values.seconds), "", "Seconds that replace every TTL.")
    dns_stale_ttl: float = setting(
        values.seconds, "3600", "Seconds an answer serves past its TTL while nobody knows better."
    )
    dns_cache_size: int = setting(values.integer, "10000", "Names remembered that no target or service has.")
    dns_not_found_ttl: float = setting(values.seconds, "30", "Seconds for which there is no such name.")
    dns_error_ttl: float = setting(values.seconds, "1", "Seconds for which a failure is believed.")
    dns_no_sync: bool = setting(values.boolean, "off", "Whether equal questions are all asked.")

    # -- what was given in vain; `load` fills them

    inert: tuple[str, ...] = ()
    """Names that were given a value and have no effect, sorted."""
    ignored_environment: tuple[str, ...] = ()
    """``KONG_*`` variables that are no settings, sorted."""
    given: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)
    """The texts that these settings were read from, by name, to be read once more elsewhere."""


def _declared() -> Mapping[str, Declared]:
    return MappingProxyType({item.name: item.metadata["declared"] for item in fields(Settings) if item.metadata})


DECLARED = _declared()

PROXY_OVERRIDES: Mapping[str, str] = MappingProxyType(
    {name.replace("nginx_http_", "nginx_proxy_"): name for name in DECLARED if name.startswith("nginx_http_")}
)
"""``nginx_proxy_<directive>`` to ``nginx_http_<directive>``: nginx's server block wins over the http block around."""
