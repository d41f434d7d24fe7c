"""The proxy in memory, asked one request at a time; whatever it asks an origin is answered at once."""

from __future__ import annotations

from random import Random
from typing import Any, cast

from twisted.internet.address import IPv4Address
from twisted.internet.testing import MemoryReactorClock, StringTransport

from twisted_kong.balancing.roundrobin import RoundRobinFactory
from twisted_kong.model.changes import Change
from twisted_kong.model.entities import Entity
from twisted_kong.model.schema import Schema
from twisted_kong.model.snapshot import EMPTY
from twisted_kong.proxy.core import ProxyCore
from twisted_kong.proxy.listeners import ProxyListener
from twisted_kong.runtime.gateway import Gateway
from twisted_kong.runtime.names import Names
from twisted_kong.settings import load
from twisted_kong.testing import KnownNames

NOW = 1_700_000_000.0


def make(kind: type[Any], **data: object) -> Any:
    """An entity, made now."""
    return Schema().build(kind, data, now=NOW)


class Head:
    """The head of a message as it came: its first line, and the values of its fields by lower-case name."""

    def __init__(self, data: bytes) -> None:
        head, _, self.body = data.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        self.first = first
        self.fields: dict[str, list[str]] = {}
        for line in lines:
            name, value = line.split(": ", 1)
            self.fields.setdefault(name.lower(), []).append(value)

    def __getitem__(self, name: str) -> list[str]:
        return self.fields.get(name, [])


class Proxy:
    """A proxy for a configuration that changes by `put` and `delete`. Hosts are addresses: no name is ever asked."""

    def __init__(self, *entities: Entity, **settings: str) -> None:
        self.clock: Any = MemoryReactorClock()
        self.clock.advance(NOW)
        self.settings = load(None, {}, settings)
        names = Names(KnownNames(), self.clock)
        self.gateway = Gateway({"round-robin": RoundRobinFactory()}, self.settings.router_flavor, names)
        self.snapshot = EMPTY
        core = ProxyCore(self.clock, self.settings, self.gateway, names, Random(7))
        self.listener = ProxyListener(core, self.settings)
        self.put(*entities)

    def put(self, *entities: Entity) -> None:
        self._apply(Change(puts=entities))

    def delete(self, *entities: Entity) -> None:
        self._apply(Change(deletes=tuple((entity.collection, entity.id) for entity in entities)))

    def _apply(self, change: Change) -> None:
        old, self.snapshot = self.snapshot, self.snapshot.with_change(change)
        self.gateway.apply(old, self.snapshot)

    def send(self, target: str = "/", *lines: str, method: str = "GET") -> StringTransport:
        """A request on a connection of its own; what comes back is written there."""
        transport: Any = StringTransport(peerAddress=IPv4Address("TCP", "192.0.2.7", 40000))
        transport.loseWriteConnection = transport.loseConnection
        connection: Any = self.listener.buildProtocol(None)
        connection.makeConnection(transport)
        head = "\r\n".join([f"{method} {target} HTTP/1.1", "Host: a.test", "Connection: close", *lines])
        connection.dataReceived(head.encode() + b"\r\n\r\n")
        return cast(StringTransport, transport)

    def accept(self) -> StringTransport:
        """The connection to an origin that the proxy has asked for last; what it sends is written there."""
        transport = StringTransport()
        connection = self.clock.tcpClients[-1][2].buildProtocol(None)
        connection.makeConnection(transport)
        self.answer = connection.dataReceived
        return transport

    def ask(self, target: str = "/", *lines: str, method: str = "GET") -> tuple[Head, Head | None]:
        """What a request is answered, and what an origin was asked for it, if one was."""
        before = len(self.clock.tcpClients)
        client = self.send(target, *lines, method=method)
        if len(self.clock.tcpClients) == before:
            return Head(client.value()), None
        origin = self.accept()
        asked = Head(origin.value())
        self.answer(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        return Head(client.value()), asked
