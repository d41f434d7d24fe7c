"""The syntax of single values: each parser turns one text into one typed value, or raises `MalformedError`.

Kong's kinds (booleans, comma-separated lists, plain numbers) and nginx's (sizes ``8m``, times ``60s``). A parser does
not know whose value it reads; where the text stands is the business of `loading`.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar

from twisted_kong.settings.conf import shown

T = TypeVar("T")
Parser = Callable[[str], T]

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")  # RFC 9110 §5.6.2
_INTEGER = re.compile(r"[0-9]{1,15}")
_NUMBER = re.compile(r"[0-9]{1,15}(\.[0-9]{1,15})?")
_SIZE = re.compile(r"([0-9]{1,15})([kmg]?)", re.IGNORECASE)
_TIME = re.compile(r"([0-9]{1,15})(ms|[smhdwMy]?)")
_PORT_MAP = re.compile(r"([0-9]{1,5}):([0-9]{1,5})")
_NAME_SERVER = re.compile(r"((?P<v4>[0-9.]+)|\[(?P<v6>[0-9a-fA-F.]*:[0-9a-fA-F:.]*)\])(:(?P<port>[0-9]{1,5}))?")

_BYTES = {"": 1, "k": 1024, "m": 1024**2, "g": 1024**3}
_SECONDS = {"ms": 0.001, "": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_SECONDS |= {"M": 30 * 86400.0, "y": 365 * 86400.0}


class MalformedError(ValueError):
    """A text that is no such value: what was expected and, where that tells more than the whole text, what came."""

    def __init__(self, expected: str, got: str | None = None, reason: str = "") -> None:
        super().__init__(expected)
        self.expected = expected
        self.got = got
        self.reason = reason

    def describe(self, text: str) -> str:
        """The clause for an error message about ``text``."""
        clause = f"expected {self.expected}, got {shown(text if self.got is None else self.got)}"
        return f"{clause}: {self.reason}" if self.reason else clause


@dataclass(frozen=True, slots=True)
class TrustedPeers:
    """Whose ``X-Forwarded-*`` are believed: addresses in ``networks``, and with ``unix`` every Unix-domain socket."""

    networks: tuple[Network, ...] = ()
    unix: bool = False


@dataclass(frozen=True, slots=True)
class LogFile:
    """A file to log to, from the prefix where it is relative, and the name of the format of its lines."""

    path: Path
    format: str

    def __str__(self) -> str:
        return f"{self.path} {self.format}"


LOG_FORMATS = ("combined", "json")


# -- Kong's ----------------------------------------------------------------------------------------------------


def boolean(text: str) -> bool:
    """``on`` or ``true``, ``off`` or ``false``."""
    known = {"on": True, "true": True, "off": False, "false": False}
    if text.lower() not in known:
        raise MalformedError("on or off")
    return known[text.lower()]


def integer(text: str) -> int:
    """A whole number, 0 or more."""
    if not _INTEGER.fullmatch(text):
        raise MalformedError("a whole number, 0 or more")
    return int(text)


def processes(text: str) -> int:
    """A number of processes, at least one; ``auto`` is as many as there are cores that we may use."""
    if text == "auto":
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if re.fullmatch("[1-9][0-9]{0,2}", text):
        return int(text)
    raise MalformedError("auto or a number from 1 to 999")


def seconds(text: str) -> float:
    """A plain number of seconds, 0 or more, as Kong's own settings have it."""
    if not _NUMBER.fullmatch(text):
        raise MalformedError("a number of seconds, 0 or more")
    return float(text)


def path(text: str) -> Path:
    """A path; a relative one is meant from the working directory."""
    if not text or "\0" in text:
        raise MalformedError("a path")
    return Path(text).absolute()


def access_log(text: str) -> LogFile | None:
    """A file and perhaps a format; None for ``off``."""
    if text == "off":
        return None
    expected = f"off, or a file and perhaps one of the formats {' and '.join(LOG_FORMATS)}"
    file, *formats = text.split() or [""]
    if "\0" in text or len(formats) > 1 or any(name not in LOG_FORMATS for name in formats):
        raise MalformedError(expected)
    if file.startswith("syslog:"):
        raise MalformedError(expected, reason="nothing is sent to syslog by this version")
    return LogFile(Path(file), formats[0] if formats else LOG_FORMATS[0])


def origin(text: str) -> str:
    """Scheme, host and port of a URL, as browsers write an ``Origin`` (RFC 6454 §6.2); the rest is dropped."""
    found = _ORIGIN.match(text)
    if not found:
        raise MalformedError("http:// or https:// and a host, perhaps with a port and a path")
    scheme, host, port = found[1].lower(), found[2].lower(), found[3] or ""
    return f"{scheme}://{host}" + ("" if (scheme, port) in (("http", ":80"), ("https", ":443")) else port)


_ORIGIN = re.compile(r"(https?)://([a-z0-9._-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?(?:[/?#]\S*)?\Z", re.IGNORECASE)


def token(text: str) -> str:
    """One word: a header's name, a component's, a character set's."""
    if not _TOKEN.fullmatch(text):
        raise MalformedError("one word of letters, digits and -._")
    return text


def optional(parse: Parser[T]) -> Parser[T | None]:
    """None for the empty text."""
    return lambda text: parse(text) if text else None


def one_of(*choices: str, refused: Mapping[str, str] = MappingProxyType({})) -> Parser[str]:
    """One of ``choices``; of those in ``refused``, which Kong knows, the reason is told."""
    expected = ", ".join(choices[:-1]) + " or " + choices[-1] if len(choices) > 1 else choices[0]

    def parse(text: str) -> str:
        if text not in choices:
            raise MalformedError(expected, reason=refused.get(text, ""))
        return text

    return parse


def listed(parse: Parser[T]) -> Parser[tuple[T, ...]]:
    """Comma-separated values; the empty text is the empty list."""

    def parse_all(text: str) -> tuple[T, ...]:
        return tuple(parse_one(item.strip()) for item in text.split(",")) if text else ()

    def parse_one(item: str) -> T:
        try:
            return parse(item)
        except MalformedError as malformed:
            raise MalformedError(malformed.expected, item, malformed.reason) from None

    return parse_all


def header_tokens(groups: Mapping[str, frozenset[str]], *single: str) -> Parser[frozenset[str]]:
    """Header names, in any case and spelt as ours in the result, or groups of them; ``off`` alone for none."""
    known = {name.lower(): frozenset({name}) for name in single}
    for name, members in groups.items():
        known |= {member.lower(): frozenset({member}) for member in members}
        known[name] = members
    expected = "off alone, or some of " + ", ".join([*groups, *sorted(frozenset().union(*known.values()))])

    def parse(text: str) -> frozenset[str]:
        if text.lower() == "off":
            return frozenset()
        names: frozenset[str] = frozenset()
        for item in text.split(","):
            if item.strip().lower() not in known:
                raise MalformedError(expected, item.strip())
            names |= known[item.strip().lower()]
        return names

    return parse


def protocols(text: str) -> frozenset[str]:
    """Versions of TLS, as nginx names them, separated by blanks; none for the empty text."""
    known = ("TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3")
    for word in text.split():
        if word not in known:
            raise MalformedError("some of " + ", ".join(known), word)
    return frozenset(text.split())


def real_ip_header(text: str) -> str:
    """The name of a header; or nginx's ``proxy_protocol``, which no header has, since there it is no header's name."""
    return token(text)


def trusted_peers(text: str) -> TrustedPeers:
    """Comma-separated addresses, CIDR blocks and ``unix:``."""
    found = listed(_network_or_unix)(text)
    return TrustedPeers(tuple(network for network in found if network is not None), unix=None in found)


def port_maps(text: str) -> Mapping[int, int]:
    """Comma-separated ``external:internal``; the result leads from the internal port to the external one."""
    return MappingProxyType(dict(listed(_port_map)(text)))


def name_server(text: str) -> tuple[str, int]:
    """``ip[:port]``, an IPv6 address with a port in brackets; port 53 where none is given."""
    match = _NAME_SERVER.fullmatch(text)
    host, port = (match["v4"] or match["v6"], int(match["port"] or 53)) if match else (text, 53)
    try:
        ipaddress.ip_address(host)
    except ValueError:
        raise MalformedError("ip or ip:port") from None
    if not 0 < port < 65536:
        raise MalformedError("a port from 1 to 65535")
    return host, port


def record_type(text: str) -> str:
    """A record type of ``dns_order``, in any case."""
    return one_of("LAST", "SRV", "A", "AAAA", "CNAME")(text.upper())


def _port_map(text: str) -> tuple[int, int]:
    """``external:internal``, the internal port first."""
    match = _PORT_MAP.fullmatch(text)
    external, internal = (int(match[1]), int(match[2])) if match else (0, 0)
    if not (0 < external < 65536 and 0 < internal < 65536):
        raise MalformedError("pairs of ports, external:internal")
    return internal, external


def _network_or_unix(text: str) -> Network | None:
    if text == "unix:":
        return None
    try:
        # Not strict: nginx takes 10.0.0.1/8 for 10.0.0.0/8.
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise MalformedError("IP addresses, CIDR blocks or unix:") from None


INSTRUMENTATIONS = ("request", "db_query", "router", "http_client", "dns_query", "balancer")
"""Kong's, and those of each phase of plugins: ``plugin_access`` and the like."""


def instrumentations(text: str) -> frozenset[str]:
    """Kinds of spans; none for ``off``, every kind for ``all``."""
    if text == "off":
        return frozenset()
    found = set(listed(_instrumentation)(text))
    return frozenset(found | set(INSTRUMENTATIONS) if "all" in found else found)


def _instrumentation(text: str) -> str:
    if text not in (*INSTRUMENTATIONS, "all") and not text.startswith("plugin_"):
        raise MalformedError("off alone, all, or some of " + ", ".join(INSTRUMENTATIONS))
    return text


def share(text: str) -> float:
    """A number from 0 to 1."""
    if not _NUMBER.fullmatch(text) or float(text) > 1:
        raise MalformedError("a number from 0 to 1")
    return float(text)


def url(text: str) -> str:
    """An absolute URL over HTTP."""
    if not re.fullmatch(r"https?://[^\s/?#]+(/[^\s#]*)?", text):
        raise MalformedError("http:// or https:// and a host, perhaps with a port and a path")
    return text


# -- nginx's ---------------------------------------------------------------------------------------------------


def automatic(text: str) -> int | None:
    """A whole number above 0; None for ``auto``."""
    if text == "auto":
        return None
    try:
        found = integer(text)
    except MalformedError:
        found = 0
    if not found:
        raise MalformedError("auto, or a whole number above 0")
    return found


def size(text: str) -> int:
    """Bytes, or with a suffix KiB, MiB, GiB: ``0``, ``8k``, ``10m``, ``1g``."""
    match = _SIZE.fullmatch(text)
    if not match:
        raise MalformedError("a size such as 512, 8k or 10m")
    return int(match[1]) * _BYTES[match[2].lower()]


def time(text: str) -> float:
    """Seconds, or with a suffix another unit: ``75``, ``60s``, ``1m``, ``500ms``."""
    match = _TIME.fullmatch(text)
    if not match:
        raise MalformedError("a time such as 75, 60s, 1m or 500ms")
    return int(match[1]) * _SECONDS[match[2]]


def buffers(text: str) -> tuple[int, int]:
    """How many buffers, and of how many bytes each: ``4 8k``."""
    number, _, each = text.partition(" ")
    try:
        found = integer(number), size(each.strip())
    except MalformedError:
        found = 0, 0
    if not all(found):
        raise MalformedError("a number and a size such as 4 8k")
    return found


def charset(text: str) -> str | None:
    """A character set; None for ``off``."""
    return None if text == "off" else token(text)
