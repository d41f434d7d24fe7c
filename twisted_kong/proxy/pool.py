"""Connections to peers that wait for the next request.

A pool's key is everything that shapes a connection; two requests share connections only where their keys are
equal. A connection comes back only when its answer was fully framed and nothing was left over.
"""

from __future__ import annotations

from collections.abc import Hashable

from twisted_kong.proxy.client import UpstreamConnection


class Pool:
    """Idle connections by key.

    ``size`` bounds the idle ones of each key, 0 keeps none; ``max_requests`` how many requests a connection
    carries, 0 for no end; ``idle`` how many seconds one may wait, None for ever.
    """

    def __init__(self, size: int, max_requests: int, idle: float | None) -> None:
        self.limit(size, max_requests, idle)
        self._waiting: dict[Hashable, dict[UpstreamConnection, None]] = {}
        self.reused = 0
        """How often one was taken that had been used before."""
        self.connections = 0
        """Connections there are, at work or idle."""
        self.dialled = 0
        """Connections that were asked for."""

    def limit(self, size: int, max_requests: int, idle: float | None) -> None:
        """These are the bounds from now on, for whoever comes back."""
        self._size = size
        self._max_requests = max_requests
        self._idle = idle

    def take(self, key: Hashable, *, once: bool = False) -> UpstreamConnection | None:
        """The connection of ``key`` that came back last: the most likely to be still alive.

        For what may be sent ``once`` only the system is asked whether it is: its end may have come, and not been read.
        """
        waiting = self._waiting.get(key)
        while waiting:
            connection = waiting.popitem()[0]
            if not once or connection.has_heard_nothing():
                self.reused += 1
                return connection
            connection.abort()
        return None

    @property
    def idle(self) -> int:
        """How many wait."""
        return sum(map(len, self._waiting.values()))

    def put(self, connection: UpstreamConnection) -> None:
        """``connection`` has nothing more to do; it waits here or is closed."""
        if not self._size or connection.requests == self._max_requests:
            connection.close()
            return
        waiting = self._waiting.get(connection.key)
        if waiting is None:
            waiting = self._waiting[connection.key] = {}
        elif len(waiting) >= self._size:
            oldest = next(iter(waiting))
            del waiting[oldest]
            oldest.close()
        waiting[connection] = None
        if self._idle is not None:
            connection.arm(self._idle)
        else:
            connection.disarm()

    def forget(self, connection: UpstreamConnection) -> None:
        """``connection`` is gone."""
        waiting = self._waiting.get(connection.key)
        if waiting is not None:
            waiting.pop(connection, None)
            if not waiting:
                del self._waiting[connection.key]

    def close(self) -> None:
        """Close every idle connection."""
        for waiting in list(self._waiting.values()):
            for connection in list(waiting):
                connection.close()
