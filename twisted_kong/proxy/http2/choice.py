"""What a client of a listener with ``http2`` speaks: what it has agreed to in TLS, or in the clear what it begins with.

In the clear that is prior knowledge (RFC 9113 §3.3): the client's preface begins as no request of HTTP/1 does. The
upgrade from HTTP/1.1, which nobody uses, is gone from the standard, and is not offered.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from twisted.internet.interfaces import ITransport
from twisted.python.failure import Failure

from twisted_kong.proxy.http2.server import Http2Connection
from twisted_kong.proxy.wire import Wire

if TYPE_CHECKING:
    from twisted_kong.proxy.listeners import ProxyListener

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


class Undecided(Wire):
    """A connection whose first bytes are to come; what they decide on takes its place. ``http1`` makes the one for
    clients that speak HTTP/1."""

    def __init__(self, listener: ProxyListener, http1: Callable[[], Wire]) -> None:
        super().__init__(listener.core.deadlines)
        self._listener = listener
        self._http1 = http1
        self._begun = b""

    def makeConnection(self, transport: ITransport) -> None:
        agreed = getattr(transport, "alpn", None)  # of our own TLS
        if agreed is None:
            super().makeConnection(transport)  # type: ignore[no-untyped-call]  # Twisted's
        else:
            self.transport = transport
            self._decide(agreed == b"h2")

    def connectionMade(self) -> None:
        self._listener.connections.add(self)
        self.arm(self._listener.patience.head)

    def dataReceived(self, data: bytes) -> None:
        self._begun += data
        if len(self._begun) >= len(PREFACE) or not PREFACE.startswith(self._begun):
            self.disarm()
            self._listener.left(self)
            self._decide(self._begun.startswith(PREFACE)).dataReceived(self._begun)

    def _decide(self, http2: bool) -> Wire:
        listener = self._listener
        connection: Wire = Http2Connection(listener) if http2 else self._http1()
        self.transport.protocol = connection
        connection.makeConnection(self.transport)  # type: ignore[no-untyped-call]  # Twisted's
        return connection

    def close_idle(self) -> None:
        """Close: nothing has been asked for."""
        self.transport.loseConnection()

    def timed_out(self) -> None:
        self._listener.core.refusals.cut_off("head_timeout")
        self.transport.loseConnection()

    def connectionLost(self, reason: Failure | None = None) -> None:
        super().connectionLost(reason)
        self._listener.left(self)
