"""How many connections there may be: in all, at one listener, of one client.

Whoever is one too many is closed at once and without a word, as nginx does it at ``worker_connections``: an answer
would take a head, or a handshake, of somebody who is not to cost anything; and nobody waits unseen in the kernel's
queue, so that whoever spreads traffic over gateways can go to another at once.

A connection counts from being accepted until its socket is closed, whatever protocol has it by then: its transport
counts it (`guard`). A client is an IPv4 address, or the first 64 bits of an IPv6 address, which is what one network
has. A peer in ``trusted_ips`` speaks for many and is no client; whom it introduces by a PROXY header is. Peers on UNIX
sockets are none either.
"""

from __future__ import annotations

import resource
from ipaddress import IPv6Address
from typing import Any

from twisted.internet import tcp
from twisted.internet.interfaces import IAddress, IDelayedCall, IListeningPort, IProtocol
from twisted.internet.protocol import ServerFactory
from twisted.logger import Logger
from twisted.python.failure import Failure

from twisted_kong.proxy.forwarding import Trust
from twisted_kong.proxy.introduced import address_of
from twisted_kong.proxy.refusing import Refusals

log = Logger()

MOST = 16384
"""How many connections there may be at most where nobody says (Kong's)."""
OTHERS = 64
"""Descriptors of listeners, files and the database."""
BREATH = 0.5
"""Seconds in which nobody is accepted when there are no descriptors at all (nginx's)."""


class Admission:
    """The connections of one process: there may be ``most``, and of a client ``most_per_client``, 0 for any number."""

    def __init__(self, most: int | None, most_per_client: int, trust: Trust, refusals: Refusals) -> None:
        self.count = 0
        self._refusals = refusals
        self.limit(most, most_per_client, trust)
        self._of_clients: dict[str | int, int] = {}
        self._client_of: dict[object, str | int] = {}  # by connection

    def limit(self, most: int | None, most_per_client: int, trust: Trust) -> None:
        """These are the bounds, and who is trusted, from now on; ``most`` None: what there are descriptors for.

        Nobody who is there has to go. Who came while clients were not counted is not counted as one.
        """
        self.most = most_connections() if most is None else most
        self.most_per_client = most_per_client
        self._trust = trust

    def has_room(self, peer: str, entrance: Entrance) -> bool:
        """Whether another connection, from the address ``peer``, may come in; whoever may not is counted as refused."""
        if self.count >= self.most:
            self._refuse("worker_connections", peer, f"there are {self.most} connections")
        elif 0 < entrance.most <= entrance.count:
            self._refuse("listener_connections", peer, f"its listener has {entrance.most} connections")
        elif self.most_per_client and self._is_client(peer):
            return self._has_room_for(peer)
        else:
            return True
        return False

    def entered(self, connection: object, peer: str) -> None:
        """``connection`` has come in from the address ``peer``."""
        self.count += 1
        if self.most_per_client and self._is_client(peer):
            self._count_for(connection, peer)

    def introduced(self, connection: object, peer: str, source: str) -> bool:
        """A PROXY header on ``connection`` from ``peer`` names ``source``; whether that one may have it."""
        if not (self.most_per_client and self._trust.by_connection and self._trust.trusts(peer)):
            return True
        if connection in self._client_of:  # it was counted when it came in, and is trusted since
            return True
        if not self._has_room_for(source):
            return False
        self._count_for(connection, source)
        return True

    def left(self, connection: object) -> None:
        """The socket of ``connection`` has been closed."""
        self.count -= 1
        client = self._client_of.pop(connection, None)
        if client is not None:
            left = self._of_clients[client] - 1
            if left:
                self._of_clients[client] = left
            else:
                del self._of_clients[client]

    def _is_client(self, peer: str) -> bool:
        return bool(peer) and not self._trust.trusts(peer)

    def _has_room_for(self, address: str) -> bool:
        if self._of_clients.get(client_of(address), 0) < self.most_per_client:
            return True
        self._refuse("client_connections", address, f"it has {self.most_per_client} connections")
        return False

    def _count_for(self, connection: object, address: str) -> None:
        client = self._client_of[connection] = client_of(address)
        self._of_clients[client] = self._of_clients.get(client, 0) + 1

    def _refuse(self, reason: str, peer: str, why: str) -> None:
        self._refusals.connection(reason, peer, f"{why}, which is as many as there may be")


def client_of(address: str) -> str | int:
    """What is one client: an IPv4 address, or the network of an IPv6 address."""
    if ":" not in address:
        return address
    return int(IPv6Address(address.partition("%")[0])) >> 64


def most_connections() -> int:
    """How many connections there may be where nobody says; each may need a descriptor for its origin as well."""
    descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if descriptors == resource.RLIM_INFINITY:
        return MOST
    return min(MOST, max((descriptors - OTHERS) // 2, 1))


class Entrance(ServerFactory):
    """Where the connections of one port come in: ``above`` is their factory, ``count`` how many there are, ``most`` how
    many there may be, 0 for any number."""

    noisy = False

    def __init__(self, above: Any, admission: Admission, most: int) -> None:
        self.above = above
        self.count = 0
        self.most = most
        self._admission = admission

    def doStop(self) -> None:
        self.above.doStop()

    def buildProtocol(self, addr: IAddress | None) -> IProtocol | None:  # type: ignore[override]  # Twisted's allows it
        if not self._admission.has_room(address_of(addr), self):
            return None
        protocol: IProtocol | None = self.above.buildProtocol(addr)
        return protocol

    def entered(self, connection: Any) -> None:
        """``connection``, a transport, has come in."""
        self.count += 1
        self._admission.entered(connection, address_of(connection.getPeer()))

    def left(self, connection: object) -> None:
        """The socket of ``connection`` has been closed."""
        self.count -= 1
        self._admission.left(connection)


class _Counted:
    """Makes a transport of Twisted's one that is counted."""

    entrance: Entrance
    gone = False

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.entrance.entered(self)

    def connectionLost(self, reason: Failure) -> None:
        try:
            super().connectionLost(reason)  # type: ignore[misc]  # the transport's
        finally:  # a protocol that fails is gone all the same
            if not self.gone:
                self.gone = True
                self.entrance.left(self)


def guard(port: IListeningPort, admission: Admission, most: int, reactor: Any) -> None:
    """Have the connections of ``port``, of which there may be ``most``, counted. Ports that are not Twisted's own
    sockets are left alone: nobody knows how they come by their connections."""
    if not isinstance(port, tcp.Port):
        log.info("the connections of {port} are not counted", port=port)
        return
    it: Any = port
    entrance = it.factory = Entrance(it.factory, admission, most)
    it.transport = type("Counted", (_Counted, it.transport), {"entrance": entrance})
    _let_breathe(it, reactor)


def _let_breathe(port: Any, reactor: Any) -> None:
    """Accept nobody for a while when there are no descriptors at all.

    Twisted holds one back, to close those it cannot serve. Where somebody else was quicker to take that one, the port
    would be ready to read without end, and nothing else would have its turn. Whoever tells the port to stop in the
    meantime has the last word: a worker's siblings may have come back for their sockets.
    """
    reserved: Any = getattr(tcp, "_reservedFD", None)
    if reserved is None:
        return
    read, stop = port.doRead, port.stopReading
    resting: IDelayedCall | None = None

    def do_read() -> None:
        nonlocal resting
        read()
        if not reserved.available():
            reserved.reserve()
        if not reserved.available():
            stop_reading()
            resting = reactor.callLater(BREATH, go_on)

    def go_on() -> None:
        nonlocal resting
        resting = None
        if port.connected and not port.disconnecting:
            port.startReading()

    def stop_reading() -> None:
        nonlocal resting
        if resting is not None:
            resting.cancel()
            resting = None
        stop()

    port.doRead = do_read
    port.stopReading = stop_reading
