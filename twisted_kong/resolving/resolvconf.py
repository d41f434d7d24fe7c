"""resolv.conf: which name servers to ask, and how. Pure: it is given as text. Sources: resolv.conf(5), Kong (3.9)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from ipaddress import IPv6Address, ip_address

Server = tuple[str, int]
"""The address and the port of a name server."""

PORT = 53
MOST_SERVERS = 3
MOST_SUFFIXES = 6


@dataclass(frozen=True, slots=True)
class Config:
    """How names are asked for.

    ``search`` are the suffixes that names with fewer than ``ndots`` dots are tried with first. A server is given
    ``timeout`` seconds; there are ``attempts`` in all, and no server is left out for want of them. With ``rotate`` the
    first to be asked is drawn by chance.
    """

    servers: Sequence[Server] = ()
    search: Sequence[str] = ()
    ndots: int = 1
    timeout: float = 2.0
    attempts: int = 5
    rotate: bool = False

    def candidates(self, name: str) -> Iterator[str]:
        """The absolute names that ``name`` may mean, in the order in which they are tried."""
        if name.endswith("."):
            yield name
            return
        qualified = name.count(".") >= self.ndots
        if qualified:
            yield f"{name}."
        for suffix in self.search:
            yield f"{name}.{suffix}."
        if not qualified:
            yield f"{name}."


def parse_resolv_conf(text: str, environ: Mapping[str, str]) -> Config:
    """What the file says, and what ``LOCALDOMAIN`` and ``RES_OPTIONS`` say instead. The unreadable is passed over."""
    servers: list[Server] = []
    search: list[str] = []
    config = Config()
    for line in text.splitlines():
        keyword, *values = line.replace(";", "#").partition("#")[0].split() or [""]
        if keyword == "nameserver" and values:
            servers += _server(values[0])
        elif keyword in ("search", "domain"):
            search = values if keyword == "search" else values[:1]
        elif keyword == "options":
            config = _with_options(config, values)
    if "LOCALDOMAIN" in environ:
        search = environ["LOCALDOMAIN"].split()
    config = _with_options(config, environ.get("RES_OPTIONS", "").split())
    suffixes = [] if search == ["."] else [suffix.strip(".").lower() for suffix in search[:MOST_SUFFIXES]]
    return replace(config, servers=tuple(servers[:MOST_SERVERS]), search=tuple(filter(None, suffixes)))


def _server(text: str) -> list[Server]:
    """A name server, if it can be asked from here: one with a zone cannot."""
    try:
        address = ip_address(text)
    except ValueError:
        return []
    return [] if isinstance(address, IPv6Address) and address.scope_id is not None else [(str(address), PORT)]


def _with_options(config: Config, options: Sequence[str]) -> Config:
    for option in options:
        name, _, value = option.partition(":")
        number = int(value) if value.isdecimal() else None
        if name == "rotate":
            config = replace(config, rotate=True)
        elif name == "ndots" and number is not None:
            config = replace(config, ndots=min(number, 15))
        elif name == "timeout":
            config = replace(config, timeout=float(min(number, 30)) if number else Config().timeout)
        elif name == "attempts" and number:
            config = replace(config, attempts=min(number, 10))
    return config
