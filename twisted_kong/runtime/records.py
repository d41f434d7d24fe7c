"""What a name stands for, as plain values. Pure."""

from __future__ import annotations

from ipaddress import ip_address
from typing import NamedTuple


class Entry(NamedTuple):
    """One address of a record.

    ``port`` and ``weight`` are None where the record names none; ``name`` is the host of an SRV record that led to it.
    """

    host: str
    port: int | None = None
    weight: int | None = None
    name: str | None = None


class Record(NamedTuple):
    """What a name stands for: the same entries in the same order wherever it is asked. Never without any.

    A ``virtual`` record holds for one request.
    """

    entries: tuple[Entry, ...]
    type: str
    virtual: bool

    def told(self) -> str:
        """The type as Kong tells it where targets are listed."""
        return "ttl=0, virtual SRV" if self.virtual else self.type


def divided(weight: int | None, count: int) -> list[int | None]:
    """The weight of an SRV record, shared by the addresses of its host as evenly as whole numbers allow."""
    if weight is None or not count:
        return [None] * count
    share, rest = divmod(weight, count)
    return [max(share + (index < rest), 1) for index in range(count)]


def canonical(entry: Entry) -> tuple[int, int, int]:
    """The key by which the entries of a record are in the same order wherever it is asked."""
    address = ip_address(entry.host)
    return address.version, int(address), entry.port or 0


def type_of(entry: Entry) -> str:
    """The type of the records that led to an entry."""
    if entry.name is not None or entry.port is not None:
        return "SRV"
    return "AAAA" if ":" in entry.host else "A"
