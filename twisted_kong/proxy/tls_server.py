"""TLS with clients, and what makes the layers of a listener."""

from __future__ import annotations

from collections.abc import Callable

from OpenSSL import SSL
from twisted.internet.interfaces import IAddress, IProtocol, IProtocolFactory
from twisted.internet.protocol import ServerFactory
from twisted.logger import Logger
from twisted.python.failure import Failure

from twisted_kong.proxy.introduced import address_of
from twisted_kong.proxy.refusing import Refusals
from twisted_kong.proxy.server_names import ServerNames
from twisted_kong.proxy.tls_layer import Layer
from twisted_kong.tasks import Deadlines

log = Logger()


class ServerLayer(Layer):
    """TLS with a client. ``server_name`` is the one it asked for, if it did; `ServerNames` sets it."""

    def __init__(self, connection: SSL.Connection, listener: SecureListener) -> None:
        super().__init__(connection, listener.deadlines)
        self.server_name: bytes | None = None
        self.protocols = listener.protocols
        self._listener = listener
        self._first = True
        connection.set_app_data(self)
        connection.set_accept_state()

    def connectionMade(self) -> None:
        super().connectionMade()
        self._listener.shaking.add(self)
        self.arm(self._listener.patience)

    def dataReceived(self, data: bytes) -> None:
        if self._first:
            self._first = False
            if data[:1].isalpha():
                self._silent = self._told = True
                self.send(self._listener.plain_answer())
                self.close()
                return
        super().dataReceived(data)

    def shaken(self) -> IProtocol | None:
        self.tls.set_app_data(None)  # or it and we would keep each other alive
        self._listener.shaking.discard(self)
        return self._listener.above.buildProtocol(self.getPeer())

    def not_shaken(self, reason: Failure) -> None:
        log.debug("no handshake with {peer}: {error}", peer=self.getPeer(), error=reason.getErrorMessage())

    def connectionLost(self, reason: Failure | None = None) -> None:
        self._listener.shaking.discard(self)
        super().connectionLost(reason)

    def timed_out(self) -> None:
        self._listener.refusals.cut_off("handshake_timeout")
        super().timed_out()


class SecureListener(ServerFactory):
    """Makes the TLS layers of one listener. ``above`` makes what is above them, ``protocols`` are those ALPN offers,
    ``plain_answer`` is what somebody is told in the clear who speaks in the clear; ``shaking`` are those who have not
    done with the handshake, for which they have ``patience`` seconds. There may be ``most`` of them, 0 for any number;
    whoever is one too many is closed at once."""

    noisy = False

    def __init__(
        self,
        names: ServerNames,
        above: IProtocolFactory,
        deadlines: Deadlines,
        patience: float,
        refusals: Refusals,
        plain_answer: Callable[[], bytes],
        most: int = 0,
        protocols: tuple[bytes, ...] = (b"http/1.1",),
    ) -> None:
        self.above = above
        self.deadlines = deadlines
        self.patience = patience
        self.refusals = refusals
        self.plain_answer = plain_answer
        self.protocols = protocols
        self.most = most
        self.shaking: set[ServerLayer] = set()
        self._names = names

    def buildProtocol(self, addr: IAddress | None) -> ServerLayer | None:
        if 0 < self.most <= len(self.shaking):
            self.refusals.connection("tls_handshakes", address_of(addr), f"{self.most} TLS handshakes are under way")
            return None
        return ServerLayer(self._names.connection(), self)

    def abort(self) -> None:
        """Let go of whoever has not done with the handshake."""
        for layer in list(self.shaking):
            layer.abort()
