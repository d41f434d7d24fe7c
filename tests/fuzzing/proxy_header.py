"""The PROXY protocol, in which somebody in front tells of a client.

What must hold: how the bytes are cut makes no difference; a header is of one of the two forms and of a bounded length,
and what follows it is the rest, to the byte; addresses are such, in their usual spelling, and the same when they are
told anew, in either version.

The first byte says how the bytes are cut; bit 5 that the signature of version 2 goes before the others, bit 6 that
``PROXY `` does.
"""

from __future__ import annotations

from ipaddress import ip_address

from pieces import cut

from twisted_kong.proxy.proxy_header import (
    LONGEST,
    LONGEST_TEXT,
    SIGNATURE,
    Endpoint,
    Introduction,
    MalformedProxyHeader,
    ProxyHeaderReader,
)


def read(pieces: list[bytes]) -> Introduction | str:
    """What ``pieces`` tell; or why they tell nothing."""
    reader = ProxyHeaderReader()
    told: Introduction | None = None
    rest = b""
    for piece in pieces:
        if told is not None:
            rest += piece
            continue
        try:
            told = reader.feed(piece)
        except MalformedProxyHeader:
            return "malformed"
    return "incomplete" if told is None else told._replace(rest=told.rest + rest)


def check_form(header: bytes) -> None:
    """It is of the length that it says, and no longer than any may be."""
    if header.startswith(SIGNATURE):
        assert len(header) == 16 + int.from_bytes(header[14:16], "big") <= LONGEST
        assert header[12] >> 4 == 2
    else:
        assert header.startswith(b"PROXY ")
        assert header.endswith(b"\r\n")
        assert header.count(b"\n") == 1
        assert len(header) <= LONGEST_TEXT


def text(source: Endpoint, destination: Endpoint) -> bytes:
    """Both in version 1."""
    family = "TCP4" if {ip_address(source[0]).version, ip_address(destination[0]).version} == {4} else "TCP6"
    hosts = [_host(host, six=family == "TCP6") for host, _ in (source, destination)]
    return f"PROXY {family} {hosts[0]} {hosts[1]} {source[1]} {destination[1]}\r\n".encode()


def binary(source: Endpoint, destination: Endpoint) -> bytes:
    """Both in version 2."""
    six = 6 in {ip_address(source[0]).version, ip_address(destination[0]).version}
    hosts = b"".join(ip_address(_host(host, six=six)).packed for host, _ in (source, destination))
    block = hosts + source[1].to_bytes(2, "big") + destination[1].to_bytes(2, "big")
    return SIGNATURE + bytes([0x21, 0x21 if six else 0x11]) + len(block).to_bytes(2, "big") + block


def _host(host: str, *, six: bool) -> str:
    return f"::ffff:{host}" if six and "." in host else host


class Target:
    """`__call__` is one execution."""

    def __call__(self, data: bytes) -> None:
        if not data:
            return
        plan, sent = data[0], data[1:]
        if plan & 32:
            sent = SIGNATURE + sent
        elif plan & 64:
            sent = b"PROXY " + sent
        told = read([sent])
        assert read(cut(sent, plan & 31)) == told
        if isinstance(told, str):
            return
        assert sent.endswith(told.rest)
        check_form(sent[: len(sent) - len(told.rest)])
        assert (told.source is None) == (told.destination is None)
        if told.source is None or told.destination is None:
            return
        for host, port in (told.source, told.destination):
            assert str(ip_address(host)) == host
            assert 0 <= port < 65536
        for written in (text, binary):
            assert read([written(told.source, told.destination)]) == told._replace(rest=b"")
