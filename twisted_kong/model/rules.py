"""What must hold between the fields of an entity, and which fields decide others.

A rule sees the values as the client sent them, with defaults in place of what was not sent: some may be of the wrong
type, since rules are told beside the faults of single fields (Kong's behaviour). It yields pairs of a field and a
text; the field `ENTITY` stands for the entity as a whole.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from twisted_kong.model.checks import REQUIRED, one_of
from twisted_kong.model.values import PROTOCOLS

ENTITY = "@entity"

Values = Mapping[str, Any]
Rule = Callable[[Values], Iterable[tuple[str, str]]]
Check = Callable[[Any], str | None]


def when(field: str, holds: Callable[[Any], bool], then: str, check: Check) -> Rule:
    """If ``field`` is so, ``check`` must have nothing against the value of ``then``."""

    def rule(values: Values) -> Iterator[tuple[str, str]]:
        if holds(values[field]) and (text := check(values[then])):
            yield ENTITY, f"failed conditional validation given value of field '{field}'"
            yield then, text

    return rule


def distinct(*names: str) -> Rule:
    """Two fields, where both are set, differ."""

    def rule(values: Values) -> Iterator[tuple[str, str]]:
        first, second = (values[name] for name in names)
        if first is not None and first == second:
            yield ENTITY, f"values of these fields must be distinct: {_quoted(names)}"

    return rule


def among(*choices: str) -> Callable[[Any], bool]:
    return lambda value: value in choices


def beyond(*choices: str) -> Callable[[Any], bool]:
    return lambda value: value not in choices


def required(value: object) -> str | None:
    return REQUIRED if value is None else None


def null(value: object) -> str | None:
    return None if value is None else "value must be null"


def only(*choices: str) -> Check:
    return lambda value: None if value in choices else one_of(choices)


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)


# -- services --------------------------------------------------------------------------------------------------

SERVICE_RULES: tuple[Rule, ...] = (
    when("protocol", among("tcp", "tls", "udp", "grpc", "grpcs"), "path", null),
    *(
        when("protocol", beyond("https", "tls"), field, null)
        for field in ("client_certificate", "tls_verify", "tls_verify_depth", "ca_certificates")
    ),
)

_URL = re.compile(r"(?:([A-Za-z0-9][A-Za-z0-9+.-]*):)?(?://([^/?#]*))?([^?#]*)")
_AUTHORITY = re.compile(r"(?:.*@)?(\[[^\]]*\]|[^:[]*)(?::(.*))?", re.DOTALL)


def expand_url(whole: dict[str, Any], given: Values) -> None:
    """``url`` stands for protocol, host, port and path, and overrides them all. Null sets them all to null."""
    whole.pop("url", None)
    if "url" not in given:
        return
    if given["url"] is None:
        whole.update(protocol=None, host=None, port=None, path=None)
        return
    found = _URL.match(given["url"])
    assert found  # every part is optional
    scheme, authority, path = found.groups()
    host, port = _host_and_port(authority)
    if port is None:
        port = 443 if scheme == "https" else 80
    whole.update(
        protocol=scheme or ("https" if port == 443 else "http"), host=host or None, port=port, path=path or None
    )


def _host_and_port(authority: str | None) -> tuple[str | None, int | str | None]:
    found = _AUTHORITY.fullmatch(authority or "")
    if not found:
        return authority, None
    host, port = found.groups()
    return host.strip("[]"), int(port) if port and re.fullmatch("[0-9]{1,9}", port) else port or None


# -- routes ----------------------------------------------------------------------------------------------------


def _known(protocols: object) -> list[str]:
    return [name for name in protocols if name in PROTOCOLS] if isinstance(protocols, (list, tuple)) else []


def keep_grpc_paths(whole: dict[str, Any]) -> None:
    """The path of a gRPC request names its method: such routes do not strip it, unless told to and then refused."""
    if "strip_path" not in whole and set(_known(whole.get("protocols"))) & {"grpc", "grpcs"}:
        whole["strip_path"] = False


def known_protocol(values: Values) -> Iterator[tuple[str, str]]:
    """What a route may say depends on its protocols: at least one must be known."""
    protocols = values["protocols"]
    if isinstance(protocols, (list, tuple)) and not _known(protocols):
        yield "protocols", f"unknown type: {protocols[0] if protocols else 'nil'}"
    elif protocols == {}:
        yield "protocols", "unknown type: nil"


_STREAM = ("tcp", "tls", "tls_passthrough", "udp")
_FAMILIES = (
    # protocols, the protocols in the text, what they cannot have
    (("http", "https"), "'http' or 'https'", ("sources", "destinations")),
    (("grpc", "grpcs"), "'grpc' or 'grpcs'", ("methods", "sources", "destinations")),
    (_STREAM, "'tcp', 'tls', 'tls_passthrough' or 'udp'", ("methods", "hosts", "headers", "paths")),
)
_MATCHERS = (
    # the first protocol met decides which of these must be set
    (("https",), ("methods", "hosts", "headers", "paths", "snis"), "'https'"),
    (("http",), ("methods", "hosts", "headers", "paths"), "'http'"),
    (("grpcs",), ("hosts", "headers", "paths", "snis"), "'grpcs'"),
    (("grpc",), ("hosts", "headers", "paths"), "'grpc'"),
    (("tcp", "tls", "udp"), ("sources", "destinations", "snis"), "'tcp', 'tls' or 'udp'"),
)
_WITH_SNI = ("grpcs", "https", "tls", "tls_passthrough")


def fit_protocols(values: Values) -> Iterator[tuple[str, str]]:
    """Fields that make no sense for the protocols are not set."""
    protocols = set(_known(values["protocols"]))
    for family, told, foreign in _FAMILIES:
        if protocols & set(family):
            for field in foreign:
                if values[field] is not None:
                    yield field, f"cannot set '{field}' when 'protocols' is {told}"
    if protocols & {"grpc", "grpcs"} and values["strip_path"] is True:
        yield "strip_path", "cannot set 'strip_path' when 'protocols' is 'grpc' or 'grpcs'"
    if protocols and values["snis"] and not protocols & set(_WITH_SNI):
        yield ENTITY, "'snis' can only be set when 'protocols' is 'grpcs', 'https', 'tls' or 'tls_passthrough'"
        yield "snis", "length must be 0"


def match_something(values: Values) -> Iterator[tuple[str, str]]:
    """A route without a matcher would take every request; empty lists match nothing."""
    protocols = set(_known(values["protocols"]))
    if "tls_passthrough" in protocols:
        if not values["snis"]:
            yield ENTITY, "must set snis when 'protocols' is 'tls_passthrough'"
        return
    for family, matchers, told in _MATCHERS:
        if protocols & set(family):
            if not any(values[field] for field in matchers):
                yield ENTITY, f"must set one of {_quoted(matchers)} when 'protocols' is {told}"
            return


ROUTE_RULES: tuple[Rule, ...] = (known_protocol, fit_protocols, match_something)

# -- upstreams -------------------------------------------------------------------------------------------------


def _named_input(hash_input: str) -> Iterator[Rule]:
    for field in ("hash_on", "hash_fallback"):
        yield when(field, among(hash_input), f"{field}_{hash_input}", required)


def _other_inputs(hash_on: str, *fallbacks: str) -> Rule:
    return when("hash_on", among(hash_on), "hash_fallback", only(*fallbacks))


UPSTREAM_RULES: tuple[Rule, ...] = (
    *_named_input("header"),
    when("hash_on", among("cookie"), "hash_on_cookie", required),
    when("hash_fallback", among("cookie"), "hash_on_cookie", required),
    _other_inputs("none", "none"),
    _other_inputs("cookie", "none"),
    _other_inputs("consumer", "none", "ip", "header", "cookie", "path", "query_arg", "uri_capture"),
    _other_inputs("ip", "none", "consumer", "header", "cookie", "path", "query_arg", "uri_capture"),
    _other_inputs("path", "none", "consumer", "header", "cookie", "query_arg", "ip", "uri_capture"),
    *_named_input("query_arg"),
    *_named_input("uri_capture"),
    distinct("hash_on_header", "hash_fallback_header"),
    distinct("hash_on_query_arg", "hash_fallback_query_arg"),
    distinct("hash_on_uri_capture", "hash_fallback_uri_capture"),
)

ALGORITHMS = ("consistent-hashing", "least-connections", "round-robin", "latency")
"""Kong's, in its order."""


def couple(whole: dict[str, Any], given: Values, algorithms: tuple[str, ...]) -> None:
    """Kong's four algorithms and the hash input follow one another.

    Least connections and latency do not hash. Otherwise the hash input decides: none means round robin, any other
    consistent hashing, whatever algorithm was asked for. An algorithm of somebody else, among ``algorithms``, is
    left alone: only it knows whether it hashes.
    """
    algorithm, hash_on = whole.get("algorithm") or "round-robin", whole.get("hash_on") or "none"
    foreign = algorithm in algorithms and algorithm not in ALGORITHMS
    if "hash_on" in given and "algorithm" not in given and not foreign:
        algorithm = "round-robin"  # the stored one has no say against a hash input that was sent
    if algorithm in ("least-connections", "latency"):
        hash_on = "none"
    elif not foreign and (algorithm in ALGORITHMS or "hash_on" in given):
        algorithm = "round-robin" if hash_on == "none" else "consistent-hashing"
    whole.update(algorithm=algorithm, hash_on=hash_on)
