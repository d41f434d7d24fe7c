"""Peers: the addresses that can be dialled, alive for as long as anything refers to them.

A peer is known by its upstream, the host name of its target, its address and port, and outlives every change of
configuration and of DNS: the same four give the same object, with whatever it has learnt. A peer taken out of the
configuration finishes what it carries.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from ipaddress import ip_address
from typing import Any
from weakref import WeakValueDictionary

from zope.interface import implementer

from twisted_kong.interfaces import IPeer
from twisted_kong.runtime.health import PeerHealth
from twisted_kong.runtime.remembered import PeerKey, Remembered


def is_address(host: str) -> bool:
    """Whether ``host`` is an IP address rather than a name."""
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


@implementer(IPeer)
class Peer:
    """One address that can be dialled.

    ``weight`` is what it has of its configured weight, ``whole``, at the moment.
    ``host`` is the IP address; or a name, of which every request asks anew, and then the peer is not ``resolved``.
    ``name`` is who it is to its clients, for Host and SNI: the host name of its target, that of its SRV record, or its
    address; ``authority`` is that as a Host, with the port unless that is 80. ``leases`` counts the attempts under way;
    ``memory`` is the algorithms'. Whoever is ``healthy`` no more gets no new ones where its upstream checks health at
    all. ``telling`` are the statuses of answers that could change its health as it stands. Whoever is
    ``on_trial`` gets one request all the same.
    """

    __slots__ = (
        "__weakref__",
        "_part",
        "address",
        "authority",
        "health",
        "host",
        "identity",
        "key",
        "leases",
        "memory",
        "name",
        "on_trial",
        "port",
        "resolved",
        "telling",
        "weight",
        "whole",
    )

    def __init__(self, host: str, port: int, weight: int, name: str | None = None) -> None:
        self.host = host
        self.port = port
        self.weight = self.whole = weight
        self._part = 1.0
        self.address = f"{_bracketed(host)}:{port}"
        self.key = (host, port)
        self.resolved = is_address(host)
        self.leases = 0
        self.identity: PeerKey | None = None
        self.health = PeerHealth()
        self.telling: frozenset[int] = frozenset()
        self.on_trial = False
        self.memory: dict[str, Any] = {}
        self.name = ""
        self.authority = b""
        self.call(host if name is None else name)

    @property
    def healthy(self) -> bool:
        return self.health.counters.healthy

    @healthy.setter
    def healthy(self, healthy: bool) -> None:
        self.health.counters.reset(healthy)

    def weigh(self, weight: int) -> None:
        """Be configured with this weight from now on."""
        self.whole = weight
        self.have(self._part)

    def have(self, part: float) -> None:
        """Have this part of the configured weight from now on, more than 0 and at most 1; but 1 at least, of any."""
        self._part = part
        self.weight = self.whole if part == 1 else min(self.whole, max(round(self.whole * part), 1))

    def call(self, name: str) -> None:
        """Be called ``name`` from now on."""
        if name != self.name:
            self.name = name
            self.authority = (_bracketed(name) if self.port == 80 else f"{_bracketed(name)}:{self.port}").encode()

    def __repr__(self) -> str:
        return f"<Peer {self.address} weight {self.weight}, {self.leases} leases>"


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


class Peers:
    """Every peer there is, by the owner it serves (an upstream's id, or none), its target's host, its own, its port.

    What they learnt of health is ``remembered`` for a while when they have left; ``now`` is seconds since the epoch.
    """

    def __init__(self, now: Callable[[], float] = time.time, remembered: Remembered | None = None) -> None:
        self.remembered = Remembered() if remembered is None else remembered
        self.listens: Callable[[], None] | None = None
        """Called when the health of anybody has changed."""
        self.follows: Callable[[Peer], None] | None = None
        """Called with whoever is new, and when how it stands may have changed, or whether it is on trial."""
        self._now = now
        self._peers: WeakValueDictionary[PeerKey, Peer] = WeakValueDictionary()

    def get(
        self, owner: str, host: str, port: int, weight: int, *, target: str | None = None, name: str | None = None
    ) -> Peer:
        """The peer, new or known, with this weight from now on.

        ``target`` is the host name it stands for, itself where None; ``name`` what it is called, ``target`` where None.
        """
        if target is None:
            target = host
        key = owner, target, host, port
        peer = self._peers.get(key)
        if peer is None:
            peer = self._peers[key] = Peer(host, port, weight, name or target)
            peer.identity = key
            if self.remembered:
                self.remembered.recall(key, peer.health, self._now())
            if self.follows is not None:
                self.follows(peer)
        else:
            peer.call(name or target)
        peer.weigh(weight)
        return peer

    def all(self) -> list[Peer]:
        """All that are there."""
        return list(self._peers.values())

    def known(self, key: PeerKey) -> Peer | None:
        """The peer, if it is there."""
        return self._peers.get(key)

    def left(self, peer: Peer) -> None:
        """``peer`` is in DNS no more; if it comes back soon it is what it was."""
        if peer.identity is not None:
            self.remembered.keep(peer.identity, peer.health, self._now())

    def document(self) -> dict[str, Any]:
        """What is known of the health of all of them, as JSON has it."""
        return self.remembered.document({key: peer.health for key, peer in self._peers.items()}, self._now())

    def load(self, document: object) -> None:
        """Remember what an earlier process knew."""
        self.remembered.load(document, self._now())
