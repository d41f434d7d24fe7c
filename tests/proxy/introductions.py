"""PROXY headers, written from the specification with `struct` and `socket`: nothing of the gateway's is used."""

from __future__ import annotations

import socket
import struct
from typing import NamedTuple

from hypothesis import strategies as st

SIGNATURE = bytes.fromhex("0D0A0D0A000D0A515549540A")


class Sent(NamedTuple):
    """A header, and the addresses and ports it tells, none where it tells none."""

    data: bytes
    source: tuple[str, int] | None = None
    destination: tuple[str, int] | None = None


def text(source: str, destination: str, source_port: int, destination_port: int) -> bytes:
    """A header of version 1."""
    family = "TCP6" if ":" in source else "TCP4"
    return f"PROXY {family} {source} {destination} {source_port} {destination_port}\r\n".encode()


def binary(kind: int, block: bytes, *, command: int = 1, version: int = 2, length: int | None = None) -> bytes:
    """A header of version 2: ``kind`` is family and transport, ``block`` everything behind the length."""
    size = len(block) if length is None else length
    return SIGNATURE + struct.pack("!BBH", version << 4 | command, kind, size) + block


def addresses(source: str, destination: str, source_port: int, destination_port: int) -> bytes:
    """The block of addresses of version 2."""
    family = socket.AF_INET6 if ":" in source else socket.AF_INET
    packed = socket.inet_pton(family, source) + socket.inet_pton(family, destination)
    return packed + struct.pack("!HH", source_port, destination_port)


def attached(type: int, value: bytes) -> bytes:
    """A TLV."""
    return struct.pack("!BH", type, len(value)) + value


@st.composite
def headers(draw: st.DrawFn) -> Sent:
    """Sound headers of both versions, with what they tell."""
    ports = st.integers(0, 65535)
    six = draw(st.booleans())
    if six:
        hosts = st.ip_addresses(v=6).map(str).filter(lambda host: not host.startswith("::ffff:"))
    else:
        hosts = st.ip_addresses(v=4).map(str)
    source, destination = (draw(hosts), draw(ports)), (draw(hosts), draw(ports))
    four = source[0], destination[0], source[1], destination[1]
    more = b"".join(
        attached(type, value) for type, value in draw(st.lists(st.tuples(st.integers(0, 255), st.binary(max_size=40))))
    )
    form = draw(st.sampled_from(["text", "unknown", "binary", "local", "unspecified", "datagram", "unix"]))
    if form == "text":
        return Sent(text(*four), source, destination)
    if form == "unknown":
        rest = draw(st.binary(max_size=90).filter(lambda rest: not set(rest) & {10, 13}))
        return Sent(b"PROXY UNKNOWN" + (b" " + rest if rest else b"") + b"\r\n")
    if form == "binary":
        return Sent(binary(0x21 if six else 0x11, addresses(*four) + more), source, destination)
    if form == "local":
        return Sent(binary(draw(st.integers(0, 255)), draw(st.binary(max_size=60)), command=0))
    if form == "unspecified":
        return Sent(binary(0, draw(st.binary(max_size=60))))
    if form == "datagram":
        return Sent(binary(0x22 if six else 0x12, addresses(*four) + more))
    return Sent(binary(0x31, draw(st.binary(min_size=216, max_size=216)) + more))
