"""Whatever a name server, or somebody who forges its replies, sends.

What must hold: a question ends with a `Reply` or as `Unanswered`, or goes on; a reply is made of addresses of the kind
asked for, of names and numbers that are such; letters in another case make no difference, and neither does whether it
came in a datagram or, cut anyhow, over a connection.

The first byte says what is asked and how bytes are cut, bit 6 that letters change their case instead, bit 7 that the
others are less the id, and less the question, which is put in.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from random import Random
from typing import Any

from pieces import cut
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from twisted_kong.resolving.client import Client, Unanswered
from twisted_kong.resolving.messages import MOST_ALIASES, Question, Reply

NAME = "a.example."
TYPES = ("A", "AAAA", "SRV", "CNAME")
SERVER = ("192.0.2.1", 53)
ID = b"id"
LONGEST = 2048
"""Bytes of an input that are looked at."""


class Socket:
    """Takes whatever is sent; of a connection or of datagrams."""

    def __init__(self) -> None:
        self.sent = b""

    def write(self, data: bytes) -> None:
        self.sent = data

    def connect(self, *address: object) -> None: ...
    def stopListening(self) -> None: ...
    def disconnect(self) -> None: ...


class Reactor(Clock):
    """Remembers the last protocol that asked for a way out."""

    protocol: Any

    def listenUDP(self, port: int, protocol: Any, interface: str, maxPacketSize: int) -> None:
        self.protocol = protocol
        protocol.transport = Socket()

    def connectTCP(self, host: str, port: int, factory: Any, timeout: float) -> Socket:
        self.protocol = factory.buildProtocol(None)
        self.protocol.transport = Socket()
        return self.protocol.transport  # type: ignore[no-any-return]  # it is what was just made


class Certain(Random):
    """Every question has the same id: a name in a reply may be made of it (RFC 1035 §4.1.4), and make a difference."""

    def getrandbits(self, k: int, /) -> int:
        return int.from_bytes(ID * (k // 16), "big")


class Asked:
    """Asks one question at a time."""

    def __init__(self) -> None:
        self._reactor = Reactor()
        self._client = Client(self._reactor, Certain())
        self._questions = {type: Question(NAME, type) for type in TYPES}

    def by_datagram(self, type: str, rest: bytes) -> Reply | None:
        """What a datagram with these bytes behind its id is taken for; None for nothing that answers."""
        outcome = self._ask(type, by_stream=False)
        for port in self._client._ports[SERVER]:
            port.datagramReceived(ID + rest, SERVER)
        return self._end(outcome)

    def by_stream(self, type: str, rest: bytes, plan: int) -> Reply | None:
        """The same over a connection."""
        outcome = self._ask(type, by_stream=True)
        stream = self._reactor.protocol
        stream.connectionMade()
        wire = ID + rest
        for piece in cut(len(wire).to_bytes(2, "big") + wire, plan):
            if not outcome:
                stream.dataReceived(piece)
        return self._end(outcome)

    def _ask(self, type: str, *, by_stream: bool) -> list[Reply | Failure]:
        outcome: list[Reply | Failure] = []
        question = self._questions[type]
        question._known.clear()  # each is to be read
        _ = self._client.ask(question, SERVER, 1.0, by_stream=by_stream).addBoth(outcome.append)
        return outcome

    def _end(self, outcome: list[Reply | Failure]) -> Reply | None:
        self._reactor.advance(2)
        (found,) = outcome
        if isinstance(found, Failure):
            found.trap(Unanswered)
            return None
        return found


def check(reply: Reply, type: str) -> None:
    """It is made of what it should be made of."""
    assert reply.rcode >= 0
    assert 0 <= reply.ttl < 2**32
    if not reply.truncated:
        assert reply.names[0] == NAME
        assert len(reply.names) <= MOST_ALIASES + 2
    kinds: dict[str, Any] = {"A": IPv4Address, "AAAA": IPv6Address}
    assert not reply.addresses or type in kinds
    for address in reply.addresses:
        kinds[type](address)
    assert not reply.services or type == "SRV"
    for service in reply.services:
        assert all(0 <= number < 65536 for number in (service.priority, service.weight, service.port))
        assert service.target.endswith(".")


class Target:
    """`__call__` is one execution."""

    def __init__(self) -> None:
        self._asked = Asked()
        self._sections = {type: Question(NAME, type).query(b"")[10:] for type in TYPES}

    def __call__(self, data: bytes) -> None:
        if not data:
            return
        plan, rest = data[0], data[1:LONGEST]
        type = TYPES[plan & 3]
        section = self._sections[type]
        if plan & 128:
            flags, counts = rest[:2].ljust(2, b"\0"), rest[2:8].ljust(6, b"\0")
            rest = flags + b"\0\1" + counts + section + rest[8:]
        reply = self._asked.by_datagram(type, rest)
        if not plan & 64:
            assert self._asked.by_stream(type, rest, plan >> 2 & 15) == reply
        if reply is None:
            return
        check(reply, type)
        if plan & 64:
            end = 10 + len(section)
            shouted = rest[:10] + rest[10:end].upper() + rest[end:]
            assert self._asked.by_datagram(type, shouted) == reply
