"""Hosts as configuration spells them: a name, an IPv4 or an IPv6 address, perhaps with a port.

Kong's grammar, which is neither RFC 1123 (underscores and leading dashes pass) nor the one of URLs (an IPv6
address needs no brackets). Only spelling is judged here; nothing is resolved.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv6Address
from typing import Literal

_IPV4 = re.compile(r"([0-9]{1,3})\.([0-9]{1,3})\.([0-9]{1,3})\.([0-9]{1,3})(?::([0-9]+))?")
_IPV6 = re.compile(r"(?:\[([0-9A-Fa-f:]+)\](?::([0-9]+))?|([0-9A-Fa-f:]+))")
_NAME = re.compile(r"([A-Za-z0-9._-]+)(?::([0-9]+))?")

LAST_PORT = 65535
DEFAULT_PORT = 8000
"""The port of a target that names none."""


@dataclass(frozen=True, slots=True)
class Host:
    """``host`` is canonical for addresses: no leading zeros in IPv4, IPv6 in eight groups of four, no brackets."""

    kind: Literal["name", "ipv4", "ipv6"]
    host: str
    port: int | None = None

    def with_port(self, default: int) -> str:
        """``host:port``, IPv6 in brackets."""
        host = f"[{self.host}]" if self.kind == "ipv6" else self.host
        return f"{host}:{default if self.port is None else self.port}"


def parse(text: str) -> Host:
    """Read a host with an optional port.

    :raise ValueError: with Kong's text: ``invalid hostname: …``, ``invalid ipv4 address: …``,
        ``invalid ipv6 address: …`` or ``invalid port number``.
    """
    if text.count(":") > 1:
        return _ipv6(text)
    if re.fullmatch(r"[0-9.]+", text.replace(":", "")):
        return _ipv4(text)
    return _name(text)


def split(text: str) -> tuple[str, int]:
    """Host (without brackets) and port of a text that `Host.with_port` wrote, or of a host alone (port 8000)."""
    found = parse(text)
    return found.host, DEFAULT_PORT if found.port is None else found.port


def _ipv4(text: str) -> Host:
    found = _IPV4.fullmatch(text)
    if not found or any(int(group) > 255 for group in found.groups()[:4]):
        raise ValueError(f"invalid ipv4 address: {text}")
    return Host("ipv4", ".".join(str(int(group)) for group in found.groups()[:4]), _port(found[5]))


def _ipv6(text: str) -> Host:
    found = _IPV6.fullmatch(text)
    try:
        address = IPv6Address(found[1] or found[3]) if found else None
    except AddressValueError:
        address = None
    if not found or address is None:
        raise ValueError(f"invalid ipv6 address: {text}")
    groups = address.packed.hex(":", 2)  # not `exploded`: since Python 3.13 it has dots where it holds an IPv4 address
    return Host("ipv6", groups, _port(found[2]))


def _name(text: str) -> Host:
    found = _NAME.fullmatch(text)
    labels = found[1].removesuffix(".").split(".") if found else [""]
    if not found or any(not label or label.endswith("-") for label in labels):
        raise ValueError(f"invalid hostname: {text}")
    return Host("name", found[1], _port(found[2]))


def _port(digits: str | None) -> int | None:
    if digits is None:
        return None
    if len(digits) > len("65535") or int(digits) > LAST_PORT:
        raise ValueError("invalid port number")
    return int(digits)
