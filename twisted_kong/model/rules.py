"""What must hold between the fields of an entity, and which fields decide others.

A rule sees the values as the client sent them, with defaults in place of what was not sent: some may be of the wrong
type, since rules are told beside the faults of single fields (Kong's behaviour). It yields pairs of a field and a
text; the field `ENTITY` stands for the entity as a whole.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from twisted_kong.model.checks import REQUIRED, one_of
from twisted_kong.model.values import PROTOCOLS

ENTITY = "@entity"

Values = Mapping[str, Any]
Faults = Iterable[tuple[str, str]]
Rule = Callable[[Values], Faults]


class Declared:
    """A rule that says of itself what Kong's schema documents say of it."""

    def __call__(self, values: Values) -> Faults:
        raise NotImplementedError

    def described(self) -> dict[str, Any]:
        """Kong's name of the rule, and its terms."""
        raise NotImplementedError


@dataclass(frozen=True)
class Check:
    """Something a value is or is not: ``against`` tells what speaks against a value, or None; ``terms`` are Kong's."""

    against: Callable[[Any], str | None]
    terms: Mapping[str, Any]

    def holds(self, value: object) -> bool:
        return self.against(value) is None


@dataclass(frozen=True)
class When(Declared):
    """If ``field`` is ``so``, then the value of another field must be ``right``."""

    field: str
    so: Check
    then: str
    right: Check

    def __call__(self, values: Values) -> Faults:
        if self.so.holds(values[self.field]) and (text := self.right.against(values[self.then])):
            yield ENTITY, f"failed conditional validation given value of field '{self.field}'"
            yield self.then, text

    def described(self) -> dict[str, Any]:
        terms = {"if_field": self.field, "if_match": self.so.terms}
        return {"conditional": {**terms, "then_field": self.then, "then_match": self.right.terms}}


class Distinct(Declared):
    """Two fields, where both are set, differ."""

    def __init__(self, *names: str) -> None:
        self.names = names

    def __call__(self, values: Values) -> Faults:
        first, second = (values[name] for name in self.names)
        if first is not None and first == second:
            yield ENTITY, f"values of these fields must be distinct: {_quoted(self.names)}"

    def described(self) -> dict[str, Any]:
        return {"distinct": [*self.names]}


class Some(Declared):
    """At least one of a few fields is set."""

    def __init__(self, *names: str) -> None:
        self.names = names

    def __call__(self, values: Values) -> Faults:
        if all(values[name] is None for name in self.names):
            yield ENTITY, f"at least one of these fields must be non-empty: {_quoted(self.names)}"

    def described(self) -> dict[str, Any]:
        return {"at_least_one_of": [*self.names]}


class Together(Declared):
    """All of a few fields are set, or none."""

    def __init__(self, *names: str) -> None:
        self.names = names

    def __call__(self, values: Values) -> Faults:
        if len({values[name] is None for name in self.names}) > 1:
            yield ENTITY, f"all or none of these fields must be set: {_quoted(self.names)}"

    def described(self) -> dict[str, Any]:
        return {"mutually_required": [*self.names]}


def among(*choices: str) -> Check:
    return Check(lambda value: None if value in choices else one_of(choices), {"one_of": [*choices]})


def beyond(*choices: str) -> Check:
    against = f"expected none of: {', '.join(choices)}"
    return Check(lambda value: against if value in choices else None, {"not_one_of": [*choices]})


GIVEN = Check(lambda value: REQUIRED if value is None else None, {"required": True})
NULL = Check(lambda value: None if value is None else "value must be null", {"eq": None})


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)


# -- services --------------------------------------------------------------------------------------------------

SERVICE_RULES: tuple[Rule, ...] = (
    When("protocol", among("tcp", "tls", "udp", "grpc", "grpcs"), "path", NULL),
    *(
        When("protocol", beyond("https", "tls"), field, NULL)
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
    host, port = _as_written(authority)
    if port is None:
        port = 443 if scheme == "https" else 80
    whole.update(
        protocol=scheme or ("https" if port == 443 else "http"), host=host or None, port=port, path=path or None
    )


def _as_written(authority: str | None) -> tuple[str | None, int | str | None]:
    """Host and port as they stand in a URL. Neither need be sound: what is not is refused as the field it became."""
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


def known_protocol(values: Values) -> Faults:
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


def fit_protocols(values: Values) -> Faults:
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


def match_something(values: Values) -> Faults:
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
        yield When(field, among(hash_input), f"{field}_{hash_input}", GIVEN)


def each_slot_once(values: Values) -> Faults:
    """The order of 0.10: every slot from the first to the last, once."""
    order, slots = values["orderlist"], values["slots"]
    if not isinstance(order, (list, tuple)) or not isinstance(slots, int):
        return
    if len(order) != slots:
        yield "orderlist", "size mismatch between 'slots' and 'orderlist'"
    elif not all(type(slot) in (int, float) for slot in order) or set(order) != set(range(1, slots + 1)):
        yield "orderlist", "invalid orderlist"


def _other_inputs(hash_on: str, *fallbacks: str) -> Rule:
    return When("hash_on", among(hash_on), "hash_fallback", among(*fallbacks))


def wait_for_something(values: Values) -> Faults:
    """Nobody waits in line where there is no bound."""
    if values["queue"] is not None and values["max_connections"] is None:
        yield "queue", "cannot set 'queue' without 'max_connections'"


UPSTREAM_RULES: tuple[Rule, ...] = (
    *_named_input("header"),
    When("hash_on", among("cookie"), "hash_on_cookie", GIVEN),
    When("hash_fallback", among("cookie"), "hash_on_cookie", GIVEN),
    _other_inputs("none", "none"),
    _other_inputs("cookie", "none"),
    _other_inputs("consumer", "none", "ip", "header", "cookie", "path", "query_arg", "uri_capture"),
    _other_inputs("ip", "none", "consumer", "header", "cookie", "path", "query_arg", "uri_capture"),
    _other_inputs("path", "none", "consumer", "header", "cookie", "query_arg", "ip", "uri_capture"),
    *_named_input("query_arg"),
    *_named_input("uri_capture"),
    Distinct("hash_on_header", "hash_fallback_header"),
    Distinct("hash_on_query_arg", "hash_fallback_query_arg"),
    Distinct("hash_on_uri_capture", "hash_fallback_uri_capture"),
    each_slot_once,
    wait_for_something,
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
