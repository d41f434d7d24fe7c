"""Hosts of services that are no upstreams: an address, or a name whose records are the balancer.

A name is asked when a request wants it; while its record holds, or serves although it is out of date, no request waits.
Where it is known, all attempts of a request walk through the record and nobody is asked. The first of a record's
addresses is drawn by chance; then they take turns, by the weights of SRV records.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import gcd

from twisted.internet.defer import Deferred, fail

from twisted_kong.errors import NameFailure
from twisted_kong.interfaces import IAlgorithm
from twisted_kong.model.traffic import Outcome
from twisted_kong.runtime.balancer import Balancer
from twisted_kong.runtime.names import Name, Names
from twisted_kong.runtime.peers import Peer, Peers, is_address
from twisted_kong.runtime.records import Record

FARTHEST = 256
"""Turns that are skipped at most to begin somewhere by chance."""


def stand_for(
    record: Record, host: str, port: int, weight: int, peers: Peers, owner: str, *, srv_names: bool = False
) -> tuple[Peer, ...]:
    """The peers that ``record`` of the name ``host`` stands for, each with the whole ``weight`` if that is 0 or the
    record has none; with ``srv_names`` they are called by the hosts of the SRV records."""
    return tuple(
        peers.get(
            owner,
            entry.host,
            entry.port or port,
            weight if entry.weight is None or not weight else max(entry.weight, 1),
            target=host,
            name=entry.name if srv_names else None,
        )
        for entry in record.entries
    )


class Direct:
    """One host with one port, for as long as a service names it."""

    def __init__(self, host: str, port: int, algorithm: IAlgorithm, peers: Peers, names: Names) -> None:
        self.balancer = Balancer(host, algorithm)
        self._port = port
        self._peers = peers
        self._names = names
        self._name: Name | None = None
        host = host.removeprefix("[").removesuffix("]")  # an IPv6 address may come in brackets
        self._host = host
        if is_address(host):
            self.balancer.update([peers.get("", host, port, 1)])
        else:
            self._name = names.use(host, self._changed, keep=False)
            self._changed()
            self.balancer.before = self._find

    def close(self) -> None:
        """No service names it any more."""
        if self._name is not None:
            self._name.leave(self._changed)

    def _find(self) -> Deferred[Record] | None:
        """Before a request: what it has to wait for, if anything; a failure where the name has no address."""
        assert self._name is not None
        try:
            found = self._name.get()
        except NameFailure as error:
            return fail(error)
        return found if isinstance(found, Deferred) else None

    def _changed(self) -> None:
        record = None if self._name is None else self._name.record
        if record is None:
            self.balancer.update(())
            return
        before = set(self.balancer.peers)
        peers = stand_for(record, self._host, self._port, 1, self._peers, "")
        self.balancer.update(peers)
        if before.isdisjoint(peers):
            self._start_anywhere(peers)

    def _start_anywhere(self, peers: Sequence[Peer]) -> None:
        """Skip some turns, so that who comes first is drawn by weight and chance."""
        unit = gcd(*(peer.weight for peer in peers))
        turns = sum(peer.weight for peer in peers) // unit
        for _ in range(self._names.below(min(turns, FARTHEST))):
            lease = self.balancer.lease()
            if lease is not None:
                lease.release(Outcome())
