"""Questions and replies, as bytes and as values; dnspython is the codec. Pure.

A reply is read with suspicion: whatever it is, reading it either gives a `Reply` or raises `Malformed`, and a reply to
another question is nobody's.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rdataclass
import dns.rdatatype
import dns.rdtypes.IN.SRV
import dns.rrset

from twisted_kong.model.traffic import Address, Answer

MOST_ALIASES = 20
"""Aliases followed from one name."""

MOST_KNOWN = 4
"""Different replies to one question that are remembered, so that the same one is not read again and again."""

_HEADER = 12  # bytes (RFC 1035 §4.1.1)


class Malformed(Exception):
    """Bytes that are no reply to the question."""


class BadName(Exception):
    """A name that cannot be asked for: too long, or with a label that is too long or empty (RFC 1035 §2.3.4)."""


@dataclass(frozen=True, slots=True)
class Service:
    """An SRV record; ``target`` is absolute."""

    priority: int
    weight: int
    port: int
    target: str


@dataclass(slots=True)
class Reply:
    """What a name server says.

    ``names`` are the name asked for and the aliases that led from it, the last of which has the records; ``ttl`` is the
    least of all of them, in seconds. ``answers`` is for whoever makes answers of it.
    """

    rcode: int
    truncated: bool = False
    names: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    services: tuple[Service, ...] = ()
    ttl: int = 0
    answers: dict[object, Answer] = field(default_factory=dict)


class Question:
    """One question: the records of ``type`` (``A``) of the absolute ``name``.

    :raise BadName: nobody can be asked this.
    """

    __slots__ = ("_known", "_name", "_section", "_type", "_wire", "name", "type")

    def __init__(self, name: str, type: str) -> None:
        try:
            self._name = dns.name.from_text(name)
        except dns.exception.DNSException as error:
            raise BadName(f"{name[:300]!r}: {error}") from None
        self.name = name
        self.type = type
        self._type = dns.rdatatype.from_text(type)
        self._wire = dns.message.make_query(self._name, self._type).to_wire()[2:]
        self._section = self._wire[_HEADER - 2 :].lower()
        self._known: dict[bytes, Reply] = {}

    def query(self, id: bytes) -> bytes:
        """The message that asks, under the two bytes ``id``."""
        return id + self._wire

    def answered_by(self, wire: bytes) -> bool:
        """Whether a message is a reply to this very question; its id was looked at already.

        Letters may come back in another case. No byte of the section but those of letters is changed by lower().
        """
        return (
            len(wire) >= _HEADER
            and wire[2] & 0x80 != 0  # a response
            and wire[4:6] == b"\0\1"  # to one question
            and wire[_HEADER : _HEADER + len(self._section)].lower() == self._section
        )

    def read(self, wire: bytes) -> Reply:
        """The reply that is in a message `answered_by`.

        :raise Malformed: there is none.
        """
        known = self._known
        rest = wire[2:]
        reply = known.get(rest)
        if reply is None:
            reply = self._read(wire)
            if len(known) >= MOST_KNOWN:
                del known[next(iter(known))]
            known[rest] = reply
        return reply

    def _read(self, wire: bytes) -> Reply:
        if wire[2] & 0x02:  # what of it did not fit may have been cut anywhere
            return Reply(0, truncated=True)
        try:
            message = dns.message.from_wire(wire, ignore_trailing=True)
            return self._reply(message)
        except Exception as error:  # dnspython's own, and whatever else bytes from anywhere make it raise
            raise Malformed(f"{type(error).__name__}: {error}") from None

    def _reply(self, message: dns.message.Message) -> Reply:
        """Follow the aliases from the name asked for; what else there is does not matter."""
        sets: dict[tuple[dns.name.Name, int], dns.rrset.RRset] = {
            (each.name, each.rdtype): each for each in message.answer if each.rdclass == dns.rdataclass.IN
        }
        name = self._name
        names = [name]
        ttls = []
        while (name, self._type) not in sets or self._type == dns.rdatatype.CNAME:
            alias = sets.get((name, dns.rdatatype.CNAME))
            if alias is None or len(names) > MOST_ALIASES:
                break
            ttls.append(alias.ttl)
            name = alias[0].target
            names.append(name)
        found = sets.get((name, self._type))
        reply = Reply(message.rcode(), names=tuple(each.to_text().lower() for each in names))
        if found is not None and self._type != dns.rdatatype.CNAME:
            ttls.append(found.ttl)
            if self._type == dns.rdatatype.SRV:
                reply.services = tuple(_service(record) for record in found)
            else:
                reply.addresses = tuple(record.address for record in found)
        reply.ttl = min(ttls, default=0)
        return reply


def _service(record: dns.rdtypes.IN.SRV.SRV) -> Service:
    return Service(record.priority, record.weight, record.port, record.target.to_text().lower())


def address_of(service: Service) -> Address:
    """Where an SRV record leads: a port of 0 is none, and a weight of 0 counts as 1 (Kong)."""
    host = service.target.rstrip(".")
    literal = host.replace(".", "").isdecimal()  # an address where a name belongs
    return Address(host if literal else service.target, service.port or None, service.weight or 1)
