"""The PROXY protocol: what whoever is in front says of the client before its first byte. Pure.

What lives here: both versions of the header, read from a stream that may be cut anywhere. What must not: whom to
believe (`twisted_kong.proxy.forwarding`), and what becomes of the connection (`twisted_kong.proxy.introduced`).

Source: "The PROXY protocol, versions 1 & 2" by Willy Tarreau (proxy-protocol.txt of HAProxy). As in nginx a header is
at most 4096 bytes, and one that is sound and tells no addresses we know leaves the connection's own. A header that
could be read in two ways is refused.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple

LONGEST_TEXT = 107
"""Bytes of the longest header of version 1, its end of line included (§2.1)."""
LONGEST = 4096
"""Bytes of the longest header that is read, of version 2 with everything that is attached to it."""
SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
"""How version 2 begins; no request of HTTP does, and no TLS."""

_TEXT = b"PROXY "
_FIXED = 16
_PORT = rb"(0|[1-9][0-9]{0,4})"
_TCP4 = re.compile(rb"PROXY TCP4 ([0-9.]{7,15}) ([0-9.]{7,15}) " + _PORT + b" " + _PORT)
_TCP6 = re.compile(rb"PROXY TCP6 ([0-9A-Fa-f:.]{2,45}) ([0-9A-Fa-f:.]{2,45}) " + _PORT + b" " + _PORT)
_UNKNOWN = re.compile(rb"PROXY UNKNOWN(?: [^\r\n]*)?")
_LOCAL, _PROXY = 0, 1
_INET, _INET6, _UNIX = 1, 2, 3
_STREAM = 1
_SIZES = {_INET: 12, _INET6: 36, _UNIX: 216}

Endpoint = tuple[str, int]
"""An IP address and a port."""


class MalformedProxyHeader(ValueError):
    """What came is no header of the PROXY protocol; the text says why."""


class Introduction(NamedTuple):
    """What a header says, and what followed it.

    ``source`` is the client, ``destination`` what it connected to, both None where the header tells no IP addresses;
    ``paths`` are the same of a UNIX socket, as bytes.
    """

    rest: bytes
    source: Endpoint | None = None
    destination: Endpoint | None = None
    paths: tuple[bytes, bytes] | None = None


class ProxyHeaderReader:
    """Reads the one header of a connection. It keeps at most `LONGEST` bytes."""

    def __init__(self) -> None:
        self._begun = b""

    def feed(self, data: bytes) -> Introduction | None:
        """The next bytes of the connection; None while the header is not complete.

        :raise MalformedProxyHeader: there is none, or it is malformed; told as soon as it is certain.
        """
        data = self._begun = self._begun + data
        if SIGNATURE.startswith(data[: len(SIGNATURE)]):
            return _read_binary(data)
        if _TEXT.startswith(data[: len(_TEXT)]):
            return _read_text(data)
        raise MalformedProxyHeader("no PROXY header")


# -- version 1 -------------------------------------------------------------------------------------------------


def _read_text(data: bytes) -> Introduction | None:
    end = data.find(b"\n", 0, LONGEST_TEXT)
    if end < 0:
        if len(data) >= LONGEST_TEXT:
            raise MalformedProxyHeader(f"a line of more than {LONGEST_TEXT} bytes")
        return None
    if data[end - 1] != 0x0D:
        raise MalformedProxyHeader("a line that ends in a line feed alone")
    line, rest = data[: end - 1], data[end + 1 :]
    match = _TCP4.fullmatch(line) or _TCP6.fullmatch(line)
    if match is None:
        if _UNKNOWN.fullmatch(line):
            return Introduction(rest)
        raise MalformedProxyHeader("a malformed line")
    source, destination, *ports = match.groups()
    six = match.re is _TCP6
    from_port, to_port = int(ports[0]), int(ports[1])
    if from_port > 65535 or to_port > 65535:
        raise MalformedProxyHeader("a port above 65535")
    return Introduction(rest, (_address(source, six=six), from_port), (_address(destination, six=six), to_port))


def _spelt(address: IPv4Address | IPv6Address) -> str:
    """An address in its usual spelling; an IPv4 address in the form of an IPv6 address is the IPv4 address."""
    return str((isinstance(address, IPv6Address) and address.ipv4_mapped) or address)


def _address(text: bytes, *, six: bool) -> str:
    try:
        return _spelt(IPv6Address(text.decode()) if six else IPv4Address(text.decode()))
    except ValueError:
        raise MalformedProxyHeader("a malformed address") from None


# -- version 2 -------------------------------------------------------------------------------------------------


def _read_binary(data: bytes) -> Introduction | None:
    if len(data) < _FIXED:
        return None
    version, command = data[12] >> 4, data[12] & 15
    family, transport = data[13] >> 4, data[13] & 15
    length = int.from_bytes(data[14:16], "big")
    if version != 2:
        raise MalformedProxyHeader(f"version {version}")
    if command not in (_LOCAL, _PROXY):
        raise MalformedProxyHeader(f"the unknown command {command}")
    if _FIXED + length > LONGEST:
        raise MalformedProxyHeader(f"a header of more than {LONGEST} bytes")
    if command == _PROXY:
        if family > _UNIX or transport > 2:
            raise MalformedProxyHeader(f"the unknown kind of addresses {data[13]:#04x}")
        if transport and length < _SIZES.get(family, 0):
            raise MalformedProxyHeader("addresses that are cut short")
    if len(data) < _FIXED + length:
        return None
    block, rest = data[_FIXED : _FIXED + length], data[_FIXED + length :]
    if command == _LOCAL or transport != _STREAM:
        return Introduction(rest)  # the sender speaks for itself, or of something that cannot be a client of ours
    return _read_addresses(family, block, rest)


def _read_addresses(family: int, block: bytes, rest: bytes) -> Introduction:
    """What is behind the addresses is said by type and length (§2.2.7), and none of it concerns us."""
    if family == _UNIX:
        source, destination = (path.partition(b"\0")[0] for path in (block[:108], block[108:216]))
        return Introduction(rest, paths=(source, destination))
    if family == _INET:
        return Introduction(
            rest,
            (str(IPv4Address(block[0:4])), int.from_bytes(block[8:10], "big")),
            (str(IPv4Address(block[4:8])), int.from_bytes(block[10:12], "big")),
        )
    if family == _INET6:
        return Introduction(
            rest,
            (_spelt(IPv6Address(block[0:16])), int.from_bytes(block[32:34], "big")),
            (_spelt(IPv6Address(block[16:32])), int.from_bytes(block[34:36], "big")),
        )
    return Introduction(rest)
