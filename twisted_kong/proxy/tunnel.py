"""What follows a 101: bytes both ways, of a protocol that is none of our business.

What lives here: passing on, no faster than the other side takes it; half-closed connections; the time after which a
tunnel in which nothing moves is closed. What must not: WebSocket's frames, and HTTP, which is over here.

Both connections are given up by whoever spoke HTTP on them (`Wire.hand_over`), and each has an end of the tunnel as its
protocol. A change of the configuration does not concern them. The lease lasts as long as the client's connection.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from twisted_kong.model.entities import Timeouts
from twisted_kong.proxy.wire import Wire
from twisted_kong.tasks import Deadlines, Waiter


@implementer(IHalfCloseableProtocol)
class End(Wire):
    """One of the two connections. ``passed`` counts the bytes that came from it.

    ``ended`` says that it will send nothing more, ``finished`` that nothing more will be sent to it, ``lost`` that it
    is no more.
    """

    other: End

    def __init__(self, tunnel: Tunnel, wire: Wire, deadlines: Deadlines) -> None:
        super().__init__(deadlines)
        self.passed = 0
        self.ended = False
        self.finished = False
        self.lost = False
        self._tunnel = tunnel
        self._before = wire
        wire.hand_over(self)

    def dataReceived(self, data: bytes) -> None:
        self.passed += len(data)
        other = self.other
        if other.lost or other.finished:
            return
        other.send(data)
        if other.congested:
            self.pause()
        self._tunnel.moved()

    def drained(self) -> None:
        self._tunnel.moved()
        if self.finished:
            self.transport.loseWriteConnection()
        else:
            self.other.resume()

    def readConnectionLost(self) -> None:
        """This side says no more; the other may go on."""
        self.ended = True
        if self.other.ended:
            self._tunnel.close()
        else:
            self.other.finish()

    def writeConnectionLost(self) -> None:
        """What we asked for, or its consequence."""

    def finish(self) -> None:
        """Say no more to this side, once it has taken what has been said."""
        self.finished = True
        if not self.congested and not self.lost:
            self.transport.loseWriteConnection()

    def connectionLost(self, reason: Failure | None = None) -> None:
        super().connectionLost(reason)
        self.lost = True
        self._tunnel.lost(self)
        self._before.connectionLost(reason)


class Tunnel(Waiter):
    """Both ends. ``over`` is told, once the client's is no more, how many bytes came from the client and the peer."""

    def __init__(
        self, client: Wire, peer: Wire, timeouts: Timeouts, deadlines: Deadlines, over: Callable[[int, int], None]
    ) -> None:
        super().__init__(deadlines)
        self._timeouts = timeouts
        self._over = over
        self._closing = False
        self._client = End(self, client, deadlines)
        self._peer = End(self, peer, deadlines)
        self._client.other, self._peer.other = self._peer, self._client

    def start(self, from_client: bytes, from_peer: bytes) -> None:
        """Pass on what had already come from either side, and all that will."""
        self.moved()
        for end, data in ((self._client, from_client), (self._peer, from_peer)):
            if data:
                end.dataReceived(data)
            if not end.other.congested:
                end.resume()

    def moved(self) -> None:
        """Something was passed on, or taken."""
        congested = self._client.congested or self._peer.congested
        self.arm(self._timeouts.write if congested else self._timeouts.read)

    def close(self) -> None:
        """Close both connections, once they have taken everything; they have not for ever."""
        self._closing = True
        self.arm(self._timeouts.write)
        for end in (self._client, self._peer):
            if not end.lost:
                end.close()

    def timed_out(self) -> None:
        """Nothing has moved for too long, unless a side has taken a part of what it was sent."""
        slow = [end for end in (self._client, self._peer) if end.congested and not end.lost]
        moved = [end for end in slow if end.has_progressed()]
        if moved:
            self.arm(self._timeouts.write)
        elif self._closing or self._client.congested or self._peer.congested:
            for end in (self._client, self._peer):
                if not end.lost:
                    end.abort()
        else:
            self.close()

    def lost(self, end: End) -> None:
        """``end`` is no more: the other has nobody to talk to."""
        if end is self._client:
            self._over(self._client.passed, self._peer.passed)
        if end.other.lost:
            self._deadlines.forget(self)
        else:
            self.close()
