"""What a name stands for: its addresses, always in the same order, whatever the order they came in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from ipaddress import ip_address
from typing import NamedTuple

from twisted.logger import Logger

from twisted_kong.model.traffic import Answer
from twisted_kong.runtime.peers import is_address

log = Logger()

MOST = 4096
"""Entries of one record; what goes beyond is left out, and logged."""


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


def make_record(text: str, answer: Answer, hosts: Mapping[str, Record | None], *, virtual: bool) -> Record | None:
    """What the name ``text`` stands for by ``answer`` and the records of its ``hosts``; None where that is nothing."""
    found: dict[tuple[str, int | None], Entry] = {}
    for address in answer.addresses:
        if is_address(address.host):
            entries: Sequence[Entry] = (Entry(address.host, address.port, address.weight),)
        else:
            host = hosts.get(address.host.lower())
            inner = () if host is None else host.entries
            shares = _shares(address.weight, len(inner))
            name = address.host.rstrip(".")
            entries = [Entry(entry.host, address.port, share, name) for entry, share in zip(inner, shares, strict=True)]
        for entry in entries:
            same = found.get(entry[:2])
            if same is None:
                found[entry[:2]] = entry
            elif same.weight is not None and entry.weight is not None:
                found[entry[:2]] = same._replace(weight=same.weight + entry.weight)
    ordered = sorted(found.values(), key=_canonical)
    if len(ordered) > MOST:
        log.warn("{name} has {count} addresses: the first {most} serve", name=text, count=len(ordered), most=MOST)
        del ordered[MOST:]
    return Record(tuple(ordered), answer.type or _type(ordered[0]), virtual) if ordered else None


def _shares(weight: int | None, count: int) -> list[int | None]:
    """The weight of an SRV record, shared by the addresses of its host as evenly as whole numbers allow."""
    if weight is None or not count:
        return [None] * count
    share, rest = divmod(weight, count)
    return [max(share + (index < rest), 1) for index in range(count)]


def _canonical(entry: Entry) -> tuple[int, int, int]:
    address = ip_address(entry.host)
    return address.version, int(address), entry.port or 0


def _type(entry: Entry) -> str:
    if entry.name is not None or entry.port is not None:
        return "SRV"
    return "AAAA" if ":" in entry.host else "A"
