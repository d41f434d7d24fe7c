"""How many failed logins an address has, and when that is too many. Pure."""

from __future__ import annotations

from collections import OrderedDict
from ipaddress import IPv6Address, ip_address
from typing import NamedTuple

ROOM = 4096
"""Addresses that are remembered; of more, the one that failed longest ago is forgotten."""


class _Failures(NamedTuple):
    """As many as there were at that time; they are forgotten one by one."""

    number: float
    at: float


class FailedLogins:
    """A bucket for each address: ``limit`` failures at once, then as many in ``period`` seconds; without limit for 0.

    Failures beyond do not count, so that who goes on failing is told the truth about when it may again.
    """

    def __init__(self, limit: int, period: float = 60.0, room: int = ROOM) -> None:
        self._limit = limit
        self._rate = limit / period
        self._room = room
        self._known: OrderedDict[str, _Failures] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known)

    def failed(self, address: str, now: float) -> float:
        """One more, at ``now`` seconds. 0, or the seconds after which the next one would not be too many."""
        if not self._limit:
            return 0.0
        key = _network(address)
        number, at = self._known.pop(key, _Failures(0.0, now))
        number = max(0.0, number - (now - at) * self._rate)
        over = number + 1 > self._limit
        self._known[key] = _Failures(number if over else number + 1, now)
        if len(self._known) > self._room:
            self._known.popitem(last=False)
        return (number + 1 - self._limit) / self._rate if over else 0.0


def _network(address: str) -> str:
    """Whom an address counts for: of IPv6, everybody in its /64, which one host has to itself."""
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, IPv6Address):
        return str(parsed.ipv4_mapped or parsed.packed[:8].hex())
    return address
