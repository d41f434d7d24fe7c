"""Sticky sessions: a client stays with the peer it came to, as long as it brings the cookie that says which.

The session is all in its cookie, a digest of the peer's address that only those who know the upstream's id can make. So
it survives a restart and any change of the configuration, counts at every gateway of a cluster, and costs no memory.

A peer of weight 0 keeps its sessions and gets no new ones: it drains. Sessions of a peer that is gone, unhealthy or has
been tried begin anew, and new ones go by round robin. Peers of one address, which targets of several names may have,
share their sessions.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b
from typing import cast

from zope.interface import implementer

from twisted_kong.balancing.roundrobin import RoundRobin
from twisted_kong.interfaces import (
    IAlgorithm,
    IAlgorithmFactory,
    IIncrementalAlgorithm,
    IPeer,
    ISessionAlgorithm,
)
from twisted_kong.model.entities import Upstream
from twisted_kong.model.traffic import Outcome, Pick

ALGORITHM = "sticky"


def session(upstream: str, peer: IPeer) -> bytes:
    """The value of the cookie that binds a client to ``peer`` of the upstream with this id."""
    remembered = peer.memory.get(ALGORITHM)
    if remembered is None or remembered[0] != upstream:
        digest = blake2b(peer.address.encode(), digest_size=16, key=upstream.encode()[:64])
        remembered = peer.memory[ALGORITHM] = (upstream, digest.hexdigest().encode())
    return cast(bytes, remembered[1])


@implementer(IIncrementalAlgorithm, ISessionAlgorithm)
class StickySessions:
    """The picks of one upstream. A pick within a session costs O(1), any other is a pick of round robin."""

    def __init__(self, upstream: str) -> None:
        self._upstream = upstream
        self._sessions: dict[bytes, list[IPeer]] = {}
        self._open = RoundRobin()
        self._weighty: set[IPeer] = set()

    def update(self, peers: Iterable[IPeer]) -> None:
        peers = list(dict.fromkeys(peers))
        self._sessions = {}
        for peer in peers:
            self._sessions.setdefault(session(self._upstream, peer), []).append(peer)
        weighty = [peer for peer in peers if peer.weight]
        self._weighty = set(weighty)
        self._open.update(weighty)

    def add(self, peer: IPeer) -> None:
        self._sessions.setdefault(session(self._upstream, peer), []).append(peer)
        if peer.weight:
            self._weighty.add(peer)
            self._open.add(peer)

    def remove(self, peer: IPeer) -> None:
        key = session(self._upstream, peer)
        alike = self._sessions[key]
        alike.remove(peer)
        if not alike:
            del self._sessions[key]
        if peer in self._weighty:
            self._weighty.remove(peer)
            self._open.remove(peer)

    def changed(self, peer: IPeer) -> None:
        if peer not in self._weighty:
            if peer.weight:
                self._weighty.add(peer)
                self._open.add(peer)
        elif peer.weight:
            self._open.changed(peer)
        else:
            self._weighty.remove(peer)
            self._open.remove(peer)

    def pick(self, pick: Pick) -> IPeer | None:
        if pick.key is not None:
            for peer in self._sessions.get(pick.key, ()):
                if peer not in pick.tried:
                    return peer
        return self._open.pick(pick)

    def done(self, peer: IPeer, outcome: Outcome) -> None:
        """Sessions end when their clients forget the cookie."""


@implementer(IAlgorithmFactory)
class StickySessionsFactory:
    """Makes ``algorithm=sticky``; the upstream names the cookie in ``sticky_cookie``."""

    name = ALGORITHM

    def build(self, upstream: Upstream) -> IAlgorithm:
        return StickySessions(upstream.id)
