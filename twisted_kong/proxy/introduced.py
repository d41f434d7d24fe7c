"""Connections that begin with the PROXY protocol: nothing else is looked at before its header has come.

The flag ``proxy_protocol`` of a listener says that all of its connections do (nginx). The header is read before TLS.
Whoever comes after has the connection to itself, and costs nothing more for it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IAddress, IProtocol, IProtocolFactory
from twisted.internet.protocol import ServerFactory
from twisted.python.failure import Failure

from twisted_kong.proxy.proxy_header import MalformedProxyHeader, ProxyHeaderReader
from twisted_kong.proxy.refusing import Refusals
from twisted_kong.proxy.wire import Wire
from twisted_kong.tasks import Deadlines


def introduced(transport: Any) -> str | None:
    """The address that a PROXY header on ``transport`` has given the client, None where none did."""
    source: str | None = getattr(transport, "introduced_source", None)
    return source


def peer_address(transport: Any) -> str:
    """The address at the other end of ``transport``, empty for a UNIX socket."""
    return address_of(transport.getPeer())


def address_of(peer: IAddress | None) -> str:
    """The address of ``peer``; that of an IPv4 client of a socket for both families is its IPv4 address."""
    address: str = getattr(peer, "host", "")
    return address[7:] if address.startswith("::ffff:") and "." in address else address


class Introduced(Wire):
    """A connection whose header is to come; what listens behind takes its place."""

    def __init__(self, listener: IntroducedListener) -> None:
        super().__init__(listener.deadlines)
        self._listener = listener
        self._reader = ProxyHeaderReader()

    def connectionMade(self) -> None:
        self._listener.waiting.add(self)
        self.arm(self._listener.patience)

    def dataReceived(self, data: bytes) -> None:
        if self not in self._listener.waiting:
            return
        try:
            told = self._reader.feed(data)
        except MalformedProxyHeader as malformed:
            self._refuse("proxy_protocol", f"{malformed} where the PROXY protocol is spoken")
            return
        if told is None:
            return
        self.disarm()
        self._listener.waiting.discard(self)
        transport = self.transport
        if told.source is not None:
            transport.introduced_source = told.source[0]
            if not self._listener.admits(transport, peer_address(transport), told.source[0]):
                self.abort()
                return
        protocol: IProtocol | None = self._listener.above.buildProtocol(transport.getPeer())
        if protocol is None:
            self.abort()
            return
        transport.protocol = protocol
        protocol.makeConnection(transport)
        if told.rest:
            protocol.dataReceived(told.rest)

    def _refuse(self, reason: str, why: str) -> None:
        listener = self._listener
        listener.waiting.discard(self)
        listener.refusals.connection(reason, peer_address(self.transport), why)
        self.abort()

    def timed_out(self) -> None:
        self._refuse("proxy_protocol_timeout", f"no PROXY header within {self._listener.patience} s")

    def connectionLost(self, reason: Failure | None = None) -> None:
        super().connectionLost(reason)
        self._listener.waiting.discard(self)


class IntroducedListener(ServerFactory):
    """Reads the headers of one listener's connections, within ``patience`` seconds each; ``above`` makes what is
    behind. ``admits`` is asked whether on a transport its peer's may introduce an address; ``waiting`` are those whose
    header is to come."""

    noisy = False

    def __init__(
        self,
        above: IProtocolFactory,
        deadlines: Deadlines,
        patience: float,
        refusals: Refusals,
        admits: Callable[[object, str, str], bool],
    ) -> None:
        self.above = above
        self.deadlines = deadlines
        self.patience = patience
        self.refusals = refusals
        self.admits = admits
        self.waiting: set[Introduced] = set()

    def logPrefix(self) -> str:
        """What listens, as the log has it."""
        return type(self.above).__name__

    def buildProtocol(self, addr: IAddress | None) -> Introduced:
        return Introduced(self)

    def abort(self) -> None:
        """Let go of whoever has not been introduced."""
        for connection in list(self.waiting):
            connection.abort()
