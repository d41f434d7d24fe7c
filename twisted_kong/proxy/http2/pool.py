"""HTTP/2 connections to peers, by everything that shapes them.

An attempt gets a stream of the first connection that has room; without one it waits for a connection that is being
made, together with as many others as a peer takes for certain. A connection is closed when it has been idle for long
enough or has carried enough requests, as those of HTTP/1 are.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

from twisted.internet.interfaces import IConnector
from twisted.internet.protocol import ClientFactory
from twisted.python.failure import Failure

from twisted_kong.proxy.client import Attempt
from twisted_kong.proxy.headers import ResponseParser
from twisted_kong.proxy.http2.client import ASSUMED_STREAMS, UpstreamFrames
from twisted_kong.proxy.http2.framed import Shared
from twisted_kong.proxy.http2.heads import ResponseHeads
from twisted_kong.tasks import Deadlines

Connect = Callable[["StreamDial"], object]
"""Begins to open a connection for a factory."""


class Waiting:
    """An attempt that waits for a connection being made."""

    def __init__(self, dial: StreamDial, attempt: Attempt) -> None:
        self.attempt = attempt
        self._dial = dial

    def disconnect(self) -> None:
        """Wait no longer."""
        self._dial.waiting.pop(self, None)


class StreamPool:
    """All connections. ``size``, ``max_requests`` and ``idle`` are as for `twisted_kong.proxy.pool.Pool`."""

    def __init__(
        self,
        shared: Shared,
        deadlines: Deadlines,
        parser: ResponseParser,
        *,
        size: int,
        max_requests: int,
        idle: float | None,
    ) -> None:
        self.shared = shared
        self.deadlines = deadlines
        self.heads = ResponseHeads(parser)
        self.head_limit = parser.head_limit
        self.limit(size, max_requests, idle)
        self._connections: dict[Hashable, dict[UpstreamFrames, None]] = {}
        self._dials: dict[Hashable, dict[StreamDial, None]] = {}
        self.reused = 0
        """How often a stream was had of a connection that was there."""
        self.dialled = 0
        """Connections that were asked for."""

    @property
    def connections(self) -> int:
        """Connections that take streams."""
        return sum(map(len, self._connections.values()))

    @property
    def idle(self) -> int:
        """Those that have none."""
        return sum(each.is_quiet() for connections in self._connections.values() for each in connections)

    def limit(self, size: int, max_requests: int, idle: float | None) -> None:
        """These are the bounds from now on."""
        self._size = size
        self._max_requests = max_requests
        self._idle = idle

    def open(self, key: Hashable, attempt: Attempt, connect: Connect) -> Waiting | None:
        """Get a stream for ``attempt``, which is told at once if there is room, and else what it waits for is answered.

        ``connect`` opens another connection of this key if need be.
        """
        for connection in self._connections.get(key, ()):
            if connection.has_room():
                self.reused += 1
                self._give(connection, attempt)
                return None
        dials = self._dials.setdefault(key, {})
        dial = next((dial for dial in dials if len(dial.waiting) < ASSUMED_STREAMS), None)
        if dial is not None:
            return dial.wait(attempt)
        dial = StreamDial(key, self)
        dials[dial] = None
        self.dialled += 1
        waiting = dial.wait(attempt)
        connect(dial)
        return waiting

    def _give(self, connection: UpstreamFrames, attempt: Attempt) -> None:
        stream = connection.open()
        if connection.requests == self._max_requests:
            connection.leaving = True
            self.forget(connection)
        attempt.connected(stream)

    def made(self, connection: UpstreamFrames, dial: StreamDial) -> None:
        """``connection`` is established."""
        self._dial_is_over(dial)
        self._connections.setdefault(connection.key, {})[connection] = None
        waiting, dial.waiting = list(dial.waiting), {}
        for each in waiting:
            if connection.has_room():
                self._give(connection, each.attempt)
            else:
                each.attempt.connected(connection.open())  # it finds out that there is none, and may try elsewhere
        if not waiting:
            self.freed(connection)

    def not_made(self, dial: StreamDial, reason: Failure) -> None:
        """There will be no connection."""
        self._dial_is_over(dial)
        waiting, dial.waiting = list(dial.waiting), {}
        for each in waiting:
            each.attempt.not_connected(reason)

    def _dial_is_over(self, dial: StreamDial) -> None:
        dials = self._dials.get(dial.key)
        if dials is not None:
            dials.pop(dial, None)
            if not dials:
                del self._dials[dial.key]

    def freed(self, connection: UpstreamFrames) -> None:
        """A stream of ``connection`` is over."""
        if not connection.is_quiet():
            return
        others = self._connections.get(connection.key, ())
        if connection.leaving or sum(each.is_quiet() for each in others) > self._size:
            connection.leave()
        elif self._idle is not None:
            connection.arm(self._idle)

    def forget(self, connection: UpstreamFrames) -> None:
        """``connection`` takes no more streams."""
        connections = self._connections.get(connection.key)
        if connections is not None:
            connections.pop(connection, None)
            if not connections:
                del self._connections[connection.key]

    def close(self) -> None:
        """Let every connection end with what it carries."""
        for connections in list(self._connections.values()):
            for connection in list(connections):
                connection.leave()


class StreamDial(ClientFactory):
    """Opens one connection, for whoever is ``waiting`` by then."""

    noisy = False

    def __init__(self, key: Hashable, pool: StreamPool) -> None:
        self.key = key
        self.waiting: dict[Waiting, None] = {}
        self._pool = pool

    def wait(self, attempt: Attempt) -> Waiting:
        """Put ``attempt`` among those who wait."""
        waiting = Waiting(self, attempt)
        self.waiting[waiting] = None
        return waiting

    def buildProtocol(self, addr: object) -> Any:
        return self.connection()

    def connection(self) -> UpstreamFrames:
        """The connection, as soon as there is a transport for it."""
        pool = self._pool
        return UpstreamFrames(self, pool, pool.shared, pool.deadlines, pool.heads, pool.head_limit)

    def clientConnectionFailed(self, connector: IConnector, reason: Failure) -> None:
        self.failed(reason)

    def failed(self, reason: Failure) -> None:
        """There will be no connection."""
        self._pool.not_made(self, reason)
