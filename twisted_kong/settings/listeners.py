"""The syntax of ``*_listen``: what to listen on, and how. Nothing here listens.

nginx's and Kong's addresses with flags, and strings that Twisted's ``serverFromString`` understands (``unix:…``,
``systemd:…``, ``tcp:…``), which are only recognised and kept as they are.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from dataclasses import dataclass

from twisted_kong.settings.conf import shown
from twisted_kong.settings.values import MalformedError

DEFAULT_BACKLOG = 511
"""nginx's own, where none is given."""

_EXPECTED = "addr:port with flags, an endpoint such as unix:/run/kong.sock, or off alone"
_FLAGS = ("ssl", "http2", "proxy_protocol", "reuseport")
# Flags that tune the socket beyond what we can pass on; they change nothing a client could tell.
_WITHOUT_EFFECT = re.compile(r"deferred|bind|ipv6only=(on|off)|so_keepalive=(on|off|[0-9smh]*:[0-9smh]*:[0-9]*)")
_NUMBERS = re.compile(r"(backlog|max_connections)=([0-9]{1,9})")
_ADDRESS = re.compile(
    r"(\[(?P<v6>[0-9a-fA-F:.]+)\]|(?P<host>[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?)):(?P<port>[0-9]{1,5})"
)
# Twisted's own words first: `tcp:8000` is no host. Any other word must not look like a host with a port.
_ENDPOINT = re.compile(r"(haproxy|ssl|stdio|systemd|tcp6?|tls|unix):.*|[a-z][a-z0-9+-]*:([^0-9:\[].*|[0-9]+:.*)")


@dataclass(frozen=True, slots=True)
class Listener:
    """One place to listen on: ``host`` (IPv6 without brackets) and ``port``, or else a Twisted ``endpoint``.

    Port 0 is any free one, ``max_connections`` 0 any number. With ``endpoint``, ``host`` is empty and ``port`` 0, and
    the endpoint says it all. ``str()`` gives the text back in its shortest form.
    """

    host: str
    port: int
    ssl: bool = False
    http2: bool = False
    proxy_protocol: bool = False
    reuseport: bool = False
    backlog: int = DEFAULT_BACKLOG
    endpoint: str | None = None
    max_connections: int = 0

    def __str__(self) -> str:
        if self.endpoint is not None:
            return self.endpoint
        host = f"[{self.host}]" if ":" in self.host else self.host
        words = [f"{host}:{self.port}", *(flag for flag in _FLAGS if getattr(self, flag))]
        if self.backlog != DEFAULT_BACKLOG:
            words.append(f"backlog={self.backlog}")
        if self.max_connections:
            words.append(f"max_connections={self.max_connections}")
        return " ".join(words)


def listeners(text: str) -> tuple[Listener, ...]:
    """Comma-separated listeners; none for ``off``."""
    if text == "off":
        return ()
    return tuple(_listener(entry) for entry in _entries(text))


def served_listeners(text: str) -> tuple[Listener, ...]:
    """`listeners` of the Status API, to which nobody is introduced."""
    return _served(text, "proxy_protocol", "max_connections")


def served_admin_listeners(text: str) -> tuple[Listener, ...]:
    """The same for the Admin API, which speaks HTTP/1.1 alone."""
    return _served(text, "http2", "proxy_protocol", "max_connections")


def _served(text: str, *refused: str) -> tuple[Listener, ...]:
    """What is understood and not served is refused: plain HTTP in its place would be a lie."""
    found = listeners(text)
    for listener in found:
        for flag in refused:
            if getattr(listener, flag):
                raise MalformedError(
                    f"a listener without {flag}", str(listener), "it is not supported yet by this version"
                )
    return found


def _entries(text: str) -> Iterator[str]:
    """The entries of a list; one that begins as an endpoint may hold commas, and ends at a comma and a space."""
    rest: str | None = text
    while rest is not None:
        separator = ", " if _is_endpoint(rest.split(",", 1)[0].strip()) else ","
        entry, found, rest_of_it = rest.partition(separator)
        yield entry.strip()
        rest = rest_of_it if found else None


def _is_endpoint(text: str) -> bool:
    return _ENDPOINT.fullmatch(text) is not None


def _listener(text: str) -> Listener:
    if _is_endpoint(text):
        return Listener("", 0, endpoint=text)
    address, *words = text.split() or [""]
    host, port = _address(address, text)
    numbers = {"backlog": DEFAULT_BACKLOG, "max_connections": 0}
    for word in words:
        if match := _NUMBERS.fullmatch(word):
            numbers[match[1]] = int(match[2])
        elif word not in _FLAGS and not _WITHOUT_EFFECT.fullmatch(word):
            raise MalformedError(_EXPECTED, text, f"{shown(word)} is no flag of a listener")
    ssl, http2, proxy_protocol, reuseport = (flag in words for flag in _FLAGS)
    backlog, most = numbers["backlog"], numbers["max_connections"]
    return Listener(host, port, ssl, http2, proxy_protocol, reuseport, backlog, max_connections=most)


def _address(text: str, entry: str) -> tuple[str, int]:
    match = _ADDRESS.fullmatch(text)
    if not match or int(match["port"]) > 65535:
        raise MalformedError(_EXPECTED, entry)
    host = match["v6"] or match["host"]
    try:
        # What is written as an address must be one: 127.0.0.256 is no host name either.
        if match["v6"]:
            ipaddress.IPv6Address(host)
        elif re.fullmatch(r"[0-9.]+", host):
            ipaddress.IPv4Address(host)
    except ValueError:
        raise MalformedError(_EXPECTED, entry) from None
    return host, int(match["port"])
