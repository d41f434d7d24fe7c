"""Names of hosts: where the port begins, and which wildcard patterns a name fits."""

from __future__ import annotations

from collections.abc import Iterator

LONGEST_NAME = 255
"""Octets in a domain name (RFC 1035 §2.3.4). Longer ones fit no wildcard, so they cannot make one search long."""


def split_port(host: bytes) -> tuple[bytes, bytes]:
    """Name and port of a ``Host``; the port is empty where there is none. IPv6 addresses keep their brackets."""
    name, colon, port = host.rpartition(b":")
    if not colon or (b":" in name and not name.endswith(b"]")):
        return host, b""
    return name, port


def wildcards(name: bytes) -> Iterator[bytes]:
    """Every wildcard pattern that ``name`` fits: for ``a.b.c`` these are ``*.b.c``, ``a.*``, ``*.c`` and ``a.b.*``.

    The star stands for at least one character, dots included (Kong's rule).
    """
    if len(name) > LONGEST_NAME:
        return
    dot = name.find(b".", 1)
    while dot >= 0:
        yield b"*" + name[dot:]
        if dot < len(name) - 1:
            yield name[: dot + 1] + b"*"
        dot = name.find(b".", dot + 1)
