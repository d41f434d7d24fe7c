"""Connections to peers, in the clear or over TLS: how they are dialled."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from OpenSSL import SSL
from twisted.internet.interfaces import IConnector
from twisted.internet.protocol import ClientFactory
from twisted.python.failure import Failure

from twisted_kong.proxy.client import Attempt, Dial, UpstreamConnection
from twisted_kong.proxy.http2.pool import StreamDial, Waiting
from twisted_kong.proxy.outgoing import SecureKey
from twisted_kong.proxy.tls_layer import EVERYTHING, Layer
from twisted_kong.tasks import Deadlines

if TYPE_CHECKING:
    from twisted_kong.proxy.core import ProxyCore

Key = tuple[str, int] | SecureKey
"""What tells connections to peers from one another: address and port, and over TLS the name and the terms."""


class ClientLayer(Layer):
    """TLS with an origin, for ``dial``."""

    def __init__(self, connection: SSL.Connection, dial: Secured, deadlines: Deadlines) -> None:
        super().__init__(connection, deadlines)
        self._dial = dial
        self._resumable = False

    def connectionMade(self) -> None:
        super().connectionMade()
        self.arm(self._dial.time_left())
        self.shake()

    def _receive(self, count: int) -> None:
        super()._receive(count)
        if not self._resumable and count < EVERYTHING:
            # Only what comes after the handshake brings what a session of TLS 1.3 can be resumed with.
            self._resumable = True
            self._dial.keep_session(self.tls)

    def shaken(self) -> Any:
        return self._dial.above()

    def not_shaken(self, reason: Failure) -> None:
        self._dial.not_secured(reason)


class Secured(ClientFactory):
    """Opens one connection with TLS. ``key`` is the pool's: address, port, name and terms (`Outgoing`)."""

    noisy = False

    def __init__(self, core: ProxyCore, key: SecureKey, timeout: float) -> None:
        self._deadlines = core.deadlines
        self._outgoing = core.outgoing
        self._key = key
        self._end = core.seconds() + timeout

    def buildProtocol(self, addr: object) -> Any:
        """The layer; the connection above it follows once the handshake is over."""
        return ClientLayer(self._outgoing.connection(self._key), self, self._deadlines)

    def time_left(self) -> float:
        """Seconds for the handshake."""
        return max(self._end - self._deadlines.seconds(), 0.0)

    def above(self) -> Any:
        """The connection that speaks HTTP."""
        raise NotImplementedError

    def keep_session(self, connection: SSL.Connection) -> None:
        """The next connection alike may resume this one."""
        self._outgoing.keep_session(self._key, connection)

    def not_secured(self, reason: Failure) -> None:
        """There will be no connection."""
        self._outgoing.forget_session(self._key)
        self.failed(reason)

    def clientConnectionFailed(self, connector: IConnector, reason: Failure) -> None:
        self.failed(reason)

    def failed(self, reason: Failure) -> None:
        """Tell whoever waits."""
        raise NotImplementedError


class SecureDial(Secured):
    """Opens one for HTTP/1.1."""

    def __init__(self, core: ProxyCore, key: SecureKey, attempt: Attempt, timeout: float) -> None:
        super().__init__(core, key, timeout)
        self._connections = [UpstreamConnection(key, core.pool, core.deadlines, core.response_parser, attempt)]

    def above(self) -> Any:
        return self._connections.pop()

    def failed(self, reason: Failure) -> None:
        self._connections.pop().not_connected(reason)


class SecureStreams(Secured):
    """Opens one for HTTP/2, for whoever waits for ``dial``."""

    def __init__(self, core: ProxyCore, key: SecureKey, dial: StreamDial, timeout: float) -> None:
        super().__init__(core, key, timeout)
        self._dial = dial

    def above(self) -> Any:
        return self._dial.connection()

    def failed(self, reason: Failure) -> None:
        self._dial.failed(reason)


def dial(core: ProxyCore, key: Key, attempt: Attempt, timeout: float) -> IConnector:
    """Open a connection for ``attempt``, within ``timeout`` seconds, the handshake of TLS included."""
    core.pool.dialled += 1
    factory: ClientFactory
    if len(key) == 2:
        factory = Dial(key, core.pool, core.deadlines, core.response_parser, attempt)
    else:
        factory = SecureDial(core, key, attempt, timeout)
    connecting: IConnector = core.reactor.connectTCP(key[0], key[1], factory, timeout)
    return connecting


def dial_stream(core: ProxyCore, key: Key, attempt: Attempt, timeout: float) -> Waiting | None:
    """Get a stream over HTTP/2 for ``attempt``: told at once if a connection has room, else what it waits for."""

    def connect(dial: StreamDial) -> None:
        factory = dial if len(key) == 2 else SecureStreams(core, key, dial, timeout)
        core.reactor.connectTCP(key[0], key[1], factory, timeout)

    return core.streams.open(key, attempt, connect)
