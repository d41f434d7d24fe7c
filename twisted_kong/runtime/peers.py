"""Peers: the addresses that can be dialled, alive for as long as anything refers to them.

A peer is known by its upstream, the host name of its target, its address and port, and outlives every change of
configuration and of DNS: the same four give the same object, with whatever it has learnt. A peer taken out of the
configuration finishes what it carries.
"""

from __future__ import annotations

from ipaddress import ip_address
from weakref import WeakValueDictionary

from zope.interface import implementer

from twisted_kong.interfaces import IPeer


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

    ``host`` is the IP address; or a name, of which every request asks anew, and then the peer is not ``resolved``.
    ``name`` is who it is to its clients, for Host and SNI: the host name of its target, that of its SRV record, or its
    address; ``authority`` is that as a Host, with the port unless that is 80. ``leases`` counts the attempts under way.
    Whoever is ``healthy`` no more gets no new ones where its upstream checks health at all.
    """

    __slots__ = (
        "__weakref__",
        "address",
        "authority",
        "healthy",
        "host",
        "key",
        "leases",
        "name",
        "port",
        "resolved",
        "weight",
    )

    def __init__(self, host: str, port: int, weight: int, name: str | None = None) -> None:
        self.host = host
        self.port = port
        self.weight = weight
        self.address = f"{_bracketed(host)}:{port}"
        self.key = (host, port)
        self.resolved = is_address(host)
        self.leases = 0
        self.healthy = True
        self.name = ""
        self.authority = b""
        self.call(host if name is None else name)

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
    """Every peer there is, by the owner it serves (an upstream's id, or none), its target's host, its own, its port."""

    def __init__(self) -> None:
        self._peers: WeakValueDictionary[tuple[str, str, str, int], Peer] = WeakValueDictionary()

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
        else:
            peer.call(name or target)
        peer.weight = weight
        return peer
