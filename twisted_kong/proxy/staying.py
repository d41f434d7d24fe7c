"""Clients of HTTP/1 that end their side and wait for the rest of their answers, where the settings let them.

To a server it looks the same whether a client has gone or has only said all it has to say. nginx, and so Kong, takes it
for gone, and so does `ServerConnection`; with ``proxy_ignore_client_abort`` nginx goes on, and so does this one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.interfaces import IHalfCloseableProtocol
from zope.interface import implementer

from twisted_kong.proxy.server import ServerConnection
from twisted_kong.proxy.wire import Wire

if TYPE_CHECKING:
    from twisted_kong.proxy.listeners import ProxyListener


@implementer(IHalfCloseableProtocol)
class StayingConnection(ServerConnection):
    """One whose complete requests are answered, whatever has become of the client's side."""

    def __init__(self, listener: ProxyListener) -> None:
        super().__init__(listener)
        self._said_all = False

    def readConnectionLost(self) -> None:
        """The client says no more."""
        self._said_all = True
        if self._body is not None:
            self.abort()  # of a request that will never be complete
        elif self._exchange is None and not self.congested:
            self._leave()

    def writeConnectionLost(self) -> None:
        """What we asked for."""

    def _leave(self) -> None:
        self._closing = True
        self.close()

    def _await_head(self, data: bytes) -> None:
        if self._said_all:
            self._leave()  # it will never be complete
        else:
            super()._await_head(data)

    def _rest(self) -> None:
        if self._said_all:
            self._leave()
        else:
            super()._rest()

    def switch(self, lines: bytes) -> tuple[Wire, bytes]:
        switched = super().switch(lines)
        if self._said_all:
            self._core.reactor.callLater(0, self._tell_successor)
        return switched

    def _tell_successor(self) -> None:
        """Who has the connection now has not heard what we have."""
        successor = self.transport.protocol
        if not self.transport.disconnecting and successor is not self:
            successor.readConnectionLost()
