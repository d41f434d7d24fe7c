"""The hosts file. Pure: it is given as text."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Literal

Family = Literal["A", "AAAA"]
"""A family of addresses, by the type of its records."""

LOCALHOST: Mapping[str, Mapping[Family, str]] = {"localhost": {"A": "127.0.0.1", "AAAA": "::1"}}
"""What is known of ``localhost`` where the file does not mention it."""


def parse_hosts(text: str) -> Mapping[str, Mapping[Family, str]]:
    """The addresses by name in lower case, one of each family: the first. What cannot be read is passed over (Kong).

    An address with a zone, ``fe80::1%eth0``, is none that could be dialled from anywhere else, and is passed over too.
    """
    found: dict[str, dict[Family, str]] = {}
    for line in text.splitlines():
        fields = line.replace(";", "#").partition("#")[0].split()
        if len(fields) < 2:
            continue
        try:
            address: IPv4Address | IPv6Address = ip_address(fields[0])
        except ValueError:
            continue
        if isinstance(address, IPv6Address) and address.scope_id is not None:
            continue
        family: Family = "A" if address.version == 4 else "AAAA"
        for name in fields[1:]:
            found.setdefault(name.rstrip(".").lower(), {}).setdefault(family, str(address))
    return {**LOCALHOST, **found}
