"""Peers: the addresses that can be dialled, alive for as long as anything refers to them.

A peer is known by its upstream, host and port, and outlives every change of configuration: the same three give the
same object, with whatever it has learnt. A peer taken out of the configuration finishes what it carries.
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

    ``host`` is an IP address, or a name to be resolved for each connection (``resolved`` tells which); ``authority``
    is its Host, with the port unless that is 80; ``leases`` counts the attempts it carries. Whoever is ``healthy`` no
    more gets no new ones where its upstream checks health at all.
    """

    __slots__ = (
        "__weakref__",
        "address",
        "authority",
        "healthy",
        "host",
        "key",
        "leases",
        "port",
        "resolved",
        "weight",
    )

    def __init__(self, host: str, port: int, weight: int) -> None:
        self.host = host
        self.port = port
        self.weight = weight
        bracketed = f"[{host}]" if ":" in host else host
        self.address = f"{bracketed}:{port}"
        self.authority = (bracketed if port == 80 else self.address).encode()
        self.key = (host, port)
        self.resolved = is_address(host)
        self.leases = 0
        self.healthy = True

    def __repr__(self) -> str:
        return f"<Peer {self.address} weight {self.weight}, {self.leases} leases>"


class Peers:
    """Every peer there is, by the owner it serves (an upstream's id, or empty), its host and its port."""

    def __init__(self) -> None:
        self._peers: WeakValueDictionary[tuple[str, str, int], Peer] = WeakValueDictionary()

    def get(self, owner: str, host: str, port: int, weight: int) -> Peer:
        """The peer, new or known, with this weight from now on."""
        peer = self._peers.get((owner, host, port))
        if peer is None:
            peer = self._peers[owner, host, port] = Peer(host, port, weight)
        peer.weight = weight
        return peer
