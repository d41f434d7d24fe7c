"""Peers whose name every request asks anew: where this request may dial them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import cycle

from twisted.internet.defer import Deferred, TimeoutError, fail, succeed
from twisted.python.failure import Failure

from twisted_kong.errors import NameFailure, NameNotResolved, ProxyError
from twisted_kong.runtime.names import Names
from twisted_kong.runtime.peers import Peer
from twisted_kong.runtime.records import Record


def told(reason: Failure, host: str) -> ProxyError:
    """What a client of ``host`` is told of a name that has no address."""
    if isinstance(reason.value, ProxyError):
        return reason.value
    why = "no answer in time" if reason.check(TimeoutError) else reason.getErrorMessage()
    return NameNotResolved(host, why)


class Lookups:
    """What one request has found out. It asks once for each name, whatever the number of its attempts."""

    def __init__(self, names: Names) -> None:
        self._names = names
        self._walks: dict[Peer, Iterator[Peer]] = {}

    def next(self, peer: Peer) -> Deferred[Peer]:
        """The first address of ``peer``, and at further attempts the next, round and round.

        :raise NameFailure: there is none.
        """
        if peer in self._walks:
            return succeed(next(self._walks[peer]))
        try:
            found = self._names.get(peer.host)
        except NameFailure as error:
            return fail(error)
        if isinstance(found, Deferred):
            return found.addCallback(self._first, peer)
        return succeed(self._first(found, peer))

    def _first(self, record: Record, peer: Peer) -> Peer:
        walk = [Peer(entry.host, entry.port or peer.port, peer.weight, peer.name) for entry in self._names.walk(record)]
        self._walks[peer] = cycle(walk)
        return next(self._walks[peer])
