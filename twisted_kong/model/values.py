"""The types of values that fields have: Kong's names for them, its bounds and its texts.

A type is declared once, here; what it consists of is in `twisted_kong.model.checks`. Rules between fields are in
`twisted_kong.model.rules`.
"""

from __future__ import annotations

import re
from ipaddress import ip_network
from math import inf
from typing import Annotated, Any, TypeVar

from twisted_kong.model import hosts, paths
from twisted_kong.model.checks import AtLeast, Between, Kind, OneOf, Spelling, Stamp, StartsWith, Told, Whole, refused

T = TypeVar("T")

_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)

# -- kinds -----------------------------------------------------------------------------------------------------


def _integer(value: object) -> object:
    """JSON has one type of number: 20.0 is an integer."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _number(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value in (inf, -inf) or value != value:
        raise refused("expected a number")
    return _integer(value)


def _whole(value: object) -> object:
    if not isinstance(number := _integer(value), int) or isinstance(value, bool):
        raise refused("expected an integer")
    return number


def _elements(what: str, value: object) -> object:
    """Empty lists and empty objects stand for one another, since Kong's own language cannot tell them apart."""
    if isinstance(value, (list, tuple)):
        return tuple(value)
    if value == {}:
        return ()
    raise refused(f"expected {what}")


def _array(value: object) -> object:
    return _elements("an array", value)


def _set(value: object) -> object:
    return _elements("a set", value)


def _map(value: object) -> object:
    if isinstance(value, dict):
        return value
    if value in ([], ()):
        return {}
    raise refused("expected a map")


def _distinct(values: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(dict.fromkeys(values))


def _text(text: str) -> str:
    """JSON can write half a surrogate pair, which is no text and could never be sent again."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        position = len(text[: error.start].encode()) + 1
        raise ValueError(f"invalid utf-8 character sequence detected at position {position}") from None
    return text


String = Annotated[str, AtLeast(1), Spelling(_text)]
Integer = Annotated[int, Kind("integer", _integer)]
Number = Annotated[float, Kind("number", _number, final=True)]
"""Whole numbers stay integers, so that they are printed without a fraction."""
Array = Annotated[tuple[T, ...], Kind("array", _array)]
Set = Annotated[tuple[T, ...], Kind("set", _set), Spelling(_distinct)]
Map = Annotated[dict[str, Array[T]], Kind("map", _map), Whole()]

# -- identity --------------------------------------------------------------------------------------------------


def is_id(text: str) -> bool:
    """Whether a text has the shape of an id: 8-4-4-4-12 hexadecimal digits, any version, either case."""
    return _ID.fullmatch(text) is not None


def _id(text: str) -> str:
    if not is_id(text):
        raise ValueError("expected a valid UUID")
    return text.lower()


def _past(value: float) -> float:
    if value <= 0:
        raise ValueError("expected a valid timestamp")
    return value


def _name(text: str) -> str:
    if re.search(r"[\x00-,/:-@\[-^`{-}\x7f]", text):
        allowed = "the only accepted ascii characters are alphanumerics or ., -, _, and ~"
        raise ValueError(f"invalid value '{text}': {allowed}")
    return text


def _tag(text: str) -> str:
    if re.search(r"[\x00-\x1f,/\x7f]", text):
        raise ValueError(
            f"invalid tag '{text}': expected printable ascii (except `,` and `/`) or valid utf-8 sequences"
        )
    return text


Id = Annotated[str, Told("uuid"), Spelling(_id)]
Seconds = Annotated[float, Kind("integer", _whole, final=True), Stamp(int), Spelling(_past)]
"""Whole seconds since the epoch."""
Milliseconds = Annotated[Number, Stamp(lambda now: round(now, 3)), Spelling(_past)]
"""Seconds since the epoch with a fraction of three digits."""
Name = Annotated[String, Spelling(_name)]
Tag = Annotated[String, Spelling(_tag)]

# -- hosts -----------------------------------------------------------------------------------------------------


def _bare(text: str) -> hosts.Host:
    """A host without a port."""
    try:
        host = hosts.parse(text)
    except ValueError:
        raise ValueError(f"invalid value: {text}") from None
    if host.port is not None:
        raise ValueError("must not have a port")
    return host


def _host(text: str) -> str:
    _bare(text)
    return text


def _host_port(text: str) -> str:
    hosts.parse(text)
    return text


def _server_name(text: str) -> str:
    if _bare(text).kind != "name":
        raise ValueError("must not be an IP")
    return text


def _wildcard_name(text: str) -> str:
    if text.count("*") > 1:
        raise ValueError("only one wildcard must be specified")
    if "*" in text[1:-1]:
        raise ValueError("wildcard must be leftmost or rightmost character")
    _server_name(text.replace("*", "any"))
    return text


def _wildcard_host(text: str) -> str:
    if text.count("*") > 1:
        raise ValueError("invalid wildcard: must have at most one wildcard")
    if "*" in text and not re.fullmatch(r"\*\.[^*]+|[^*]+\.\*(:[0-9]+)?", text):
        raise ValueError("invalid wildcard: must be placed at leftmost or rightmost label")
    hosts.parse(text.replace("*", "any"))
    return text


def _upstream_name(text: str) -> str:
    try:
        host = hosts.parse(text)
    except ValueError:
        raise ValueError(f"Invalid name ('{text}'); must be a valid hostname") from None
    if host.kind != "name":
        raise ValueError(f"Invalid name ('{text}'); no ip addresses allowed")
    if host.port is not None:
        raise ValueError(f"Invalid name ('{text}'); no port allowed")
    return text


def _target(text: str) -> str:
    try:
        return hosts.parse(text).with_port(hosts.DEFAULT_PORT)
    except ValueError:
        raise ValueError(f"Invalid target ('{text}'); not a valid hostname or ip address") from None


def _range(text: str) -> str:
    try:
        ip_network(text, strict=False)
    except ValueError:
        raise ValueError(f"invalid ip or cidr range: '{text}'") from None
    return text


HostName = Annotated[String, Spelling(_host)]
"""A name or an address, without a port; IPv6 with or without brackets."""
HostPort = Annotated[String, Spelling(_host_port)]
ServerName = Annotated[String, Spelling(_server_name)]
WildcardName = Annotated[String, Spelling(_wildcard_name)]
WildcardHost = Annotated[String, Spelling(_wildcard_host)]
UpstreamName = Annotated[String, Spelling(_upstream_name)]
HostAndPort = Annotated[String, Spelling(_target)]
"""Kept as ``host:port``: port 8000 where none is given, IPv6 in brackets and in full."""
Range = Annotated[String, Spelling(_range)]
Port = Annotated[Integer, Between(0, hosts.LAST_PORT)]

# -- HTTP ------------------------------------------------------------------------------------------------------


def _path(text: str) -> str:
    _whole_segments(text)
    if not re.fullmatch(r"[A-Za-z0-9._~!$&'()*+,;=:@/%-]*", text):
        raise ValueError(f"invalid path: '{text}' (characters outside of the reserved list of RFC 3986 found)")
    _whole_escapes(text)
    return text


def _route_path(text: str) -> str:
    if text.startswith("~/"):
        return _regular_path(text)
    if not text.startswith("/"):
        raise ValueError("should start with: / (fixed path) or ~/ (regex path)")
    _whole_segments(text)
    _whole_escapes(text)
    if (normal := paths.normal_form(text)) != text:
        raise ValueError(f"non-normalized path, consider use '{normal}' instead")
    return text


def _regular_path(text: str) -> str:
    try:
        paths.compiled(text[1:])
    except ValueError as error:
        raise ValueError(f"invalid regex: '{text[1:]}' (PCRE returned: {error})") from None
    return text


def _whole_segments(text: str) -> None:
    if "//" in text:
        raise ValueError("must not have empty segments")


def _whole_escapes(text: str) -> None:
    if escape := paths.bad_escape(text):
        raise ValueError(f"invalid url-encoded value: '{escape}'")


def _method(text: str) -> str:
    if not re.fullmatch(r"[A-Z]+", text):
        raise ValueError(f"invalid value: {text}")
    return text


def _header(text: str) -> str:
    if not text:
        raise ValueError("no header name provided")
    if not re.fullmatch(r"[A-Za-z0-9_-]+", text):
        allowed = "allowed characters are A-Z, a-z, 0-9, '_', and '-'"
        raise ValueError(f"bad header name '{text}', {allowed}")
    return text


def _headers(headers: dict[str, Any]) -> dict[str, Any]:
    for name in headers:
        _header(name)
    return headers


def _matched_headers(headers: dict[str, Any]) -> dict[str, Any]:
    if any(name.lower() == "host" for name in headers):
        raise ValueError("cannot contain 'host' header, which must be specified in the 'hosts' attribute")
    return headers


def _cookie(text: str) -> str:
    """RFC 2616 §2.2: a token."""
    if not re.fullmatch(r"[!#$%&'*+.^_`|~A-Za-z0-9-]+", text):
        raise ValueError(
            "contains one or more invalid characters. ASCII control characters (0-31;127), space, tab and the "
            'characters ()<>@,;:\\"/?={}[] are not allowed.'
        )
    return text


Path = Annotated[String, StartsWith("/"), Spelling(_path)]
RoutePath = Annotated[String, Spelling(_route_path)]
Method = Annotated[String, Spelling(_method)]
HeaderName = Annotated[String, Spelling(_header)]
Headers = Annotated[Map[String], Spelling(_headers)]
"""Names and their values; the names of one request are compared without regard to case."""
MatchedHeaders = Annotated[Headers, Spelling(_matched_headers)]
CookieName = Annotated[String, Spelling(_cookie)]
Status = Annotated[Integer, Between(100, 999)]
Timeout = Annotated[Integer, Between(1, 2**31 - 2)]
"""Milliseconds."""

PROTOCOLS = ("grpc", "grpcs", "http", "https", "tcp", "tls", "tls_passthrough", "udp")
Protocol = Annotated[str, OneOf(*PROTOCOLS)]
_FAMILIES = (("http", "https"), ("tcp", "tls", "udp"), ("tls_passthrough",), ("grpc", "grpcs"))


def exclusive(protocols: tuple[str, ...]) -> tuple[str, ...]:
    """Protocols of one family only."""
    met = [family for family in _FAMILIES if set(family) & set(protocols)]
    if len(met) > 1:
        told = ", ".join("(" + ", ".join(f"'{name}'" for name in family) + ")" for family in met)
        raise ValueError(f"these sets are mutually exclusive: {told}")
    return protocols
