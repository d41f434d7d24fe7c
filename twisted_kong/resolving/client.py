"""Asks name servers: a datagram, and a connection where the reply did not fit into one.

A question goes out under a random id from one of a few ports of which the operating system chose the numbers, each of
them used for a while only. These sockets are connected, so that the operating system lets nothing through but what
comes from the address and the port asked; what has no id under way, or repeats another question, is dropped without a
word. So whoever wants to forge a reply has to guess port and id, while a reply is under way.
"""

from __future__ import annotations

from random import Random
from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IConnector
from twisted.internet.protocol import ClientFactory, DatagramProtocol, Protocol, connectionDone
from twisted.python.failure import Failure

from twisted_kong.resolving.messages import Malformed, Question, Reply
from twisted_kong.resolving.resolvconf import Server
from twisted_kong.tasks import Deadlines, Waiter

PORTS = 4
"""Ports from which one server is asked at a time."""

NOISE = 1024
"""Random bytes fetched at once."""

USES = 250
"""Questions asked from one port, before it makes way for another."""

AGE = 30.0
"""Seconds after which a port makes way for another at its next use."""


class Unanswered(Exception):
    """A server did not answer; the text says how. One that is ``gone`` need not be asked again at once."""

    def __init__(self, text: str, *, gone: bool = False) -> None:
        super().__init__(text)
        self.gone = gone


class _Query(Waiter):
    """One question under way to one server; its ``way`` is told when it is over, whatever came of it."""

    def __init__(self, question: Question, id: bytes, server: Server, seconds: float, deadlines: Deadlines) -> None:
        super().__init__(deadlines)
        self.question = question
        self.id = id
        self.server = server
        self.seconds = seconds
        self.reply: Deferred[Reply] = Deferred(lambda _: self.fail("is asked no more"))
        self.way: _Port | _Streams
        self.arm(seconds)

    def received(self, wire: bytes) -> None:
        """A message with its id has come: it ends here, unless it is a reply to something else."""
        if not self.question.answered_by(wire):
            return
        try:
            reply = self.question.read(wire)
        except Malformed as error:
            self.fail(f"sent what cannot be read ({error})")
            return
        self._over()
        self.reply.callback(reply)

    def fail(self, why: str, *, gone: bool = False) -> None:
        if not self.reply.called:
            self._over()
            self.reply.errback(Unanswered(f"{told(self.server)} {why}", gone=gone))

    def _over(self) -> None:
        self._deadlines.forget(self)
        self.way.forget(self)

    def timed_out(self) -> None:
        self.fail(f"did not answer within {self.seconds:g} s")


class _Port(DatagramProtocol):
    """One port from which one server is asked."""

    noisy = False
    transport: Any

    def __init__(self, server: Server, born: float) -> None:
        self.server = server
        self.born = born
        self.uses = 0
        self._retired = False
        self._under_way: dict[bytes, _Query] = {}

    def startProtocol(self) -> None:
        self.transport.connect(*self.server)

    def free(self, id: bytes) -> bool:
        """Whether nobody else uses this id here."""
        return id not in self._under_way

    def send(self, query: _Query) -> None:
        self.uses += 1
        self._under_way[query.id] = query
        query.way = self
        try:
            self.transport.write(query.question.query(query.id))
        except OSError as error:
            query.fail(f"cannot be asked: {error.strerror}", gone=True)

    def forget(self, query: _Query) -> None:
        """It is over."""
        del self._under_way[query.id]
        self._close_if_idle()

    def datagramReceived(self, datagram: bytes, address: object) -> None:
        query = self._under_way.get(datagram[:2])
        if query is not None:
            query.received(datagram)

    def connectionRefused(self) -> None:
        """Nobody is there, says the operating system; and so it is for all that are under way."""
        for query in list(self._under_way.values()):
            query.fail("is not there: connection refused", gone=True)

    def stopProtocol(self) -> None:
        """The socket is closed. If not by us, then by the reactor, to which such a refusal may look like its end."""
        self.connectionRefused()

    @property
    def usable(self) -> bool:
        """Whether it may be asked from here once more."""
        return self.transport is not None and self.uses < USES

    def retire(self) -> None:
        """Be closed as soon as nothing is under way."""
        self._retired = True
        self._close_if_idle()

    def close(self) -> None:
        """Be closed now."""
        for query in list(self._under_way.values()):
            query.fail("is asked no more", gone=True)
        self.retire()

    def _close_if_idle(self) -> None:
        if self._retired and not self._under_way and self.transport is not None:
            self.transport.stopListening()


class _Stream(Protocol):
    """A connection that asks one question (RFC 7766; a length before each message)."""

    transport: Any

    def __init__(self, query: _Query) -> None:
        self._query = query
        self._received = b""

    def connectionMade(self) -> None:
        wire = self._query.question.query(self._query.id)
        self.transport.write(len(wire).to_bytes(2, "big") + wire)

    def dataReceived(self, data: bytes) -> None:
        self._received += data
        size = int.from_bytes(self._received[:2], "big")
        if len(self._received) >= size + 2 > 3:
            wire = self._received[2 : size + 2]
            if wire[:2] == self._query.id:
                self._query.received(wire)
            self._query.fail("answered another question")

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._query.fail("closed the connection")


class _Streams(ClientFactory):
    noisy = False

    def __init__(self, query: _Query, client: Client) -> None:
        self._query = query
        self._client = client
        self.connector: IConnector

    def forget(self, query: _Query) -> None:
        """It is over."""
        self._client.streams.discard(self.connector)
        self._client.reactor.callLater(0, self.connector.disconnect)  # not while it is told that it cannot connect

    def buildProtocol(self, addr: object) -> _Stream:
        return _Stream(self._query)

    def clientConnectionFailed(self, connector: IConnector, reason: Failure) -> None:
        self._query.fail(f"cannot be connected to: {reason.getErrorMessage()}", gone=True)


class Client:
    """Asks name servers through ``reactor``; ``random`` chooses ids and ports."""

    def __init__(self, reactor: Any, random: Random) -> None:
        self.reactor = reactor
        self._random = random
        self._deadlines = Deadlines(reactor)
        self._ports: dict[Server, list[_Port]] = {}
        self.streams: set[IConnector] = set()
        self._noise: list[bytes] = []
        self._closed = False
        self.sent = 0
        """Questions so far."""

    def ask(self, question: Question, server: Server, seconds: float, *, by_stream: bool = False) -> Deferred[Reply]:
        """The reply of ``server``, within so many seconds.

        :raise Unanswered: there is none.
        """
        if self._closed:
            return fail(Unanswered(f"{told(server)} is asked no more", gone=True))
        self.sent += 1
        if by_stream:
            query = _Query(question, self._id(), server, seconds, self._deadlines)
            self._connect(query)
            return query.reply
        port = self._port(server)
        id = self._id()
        while not port.free(id):
            id = self._id()
        query = _Query(question, id, server, seconds, self._deadlines)
        port.send(query)
        return query.reply

    def close(self) -> None:
        """Ask nobody any more; whoever waits is told so."""
        self._closed = True
        ports, self._ports = self._ports, {}
        for some in ports.values():
            for port in some:
                port.close()
        for connector in list(self.streams):
            connector.disconnect()
        self._deadlines.close()

    def _id(self) -> bytes:
        """Two random bytes, of which many are fetched at once."""
        if not self._noise:
            noise = self._random.getrandbits(8 * NOISE).to_bytes(NOISE, "big")
            self._noise = [noise[index : index + 2] for index in range(0, NOISE, 2)]
        return self._noise.pop()

    def _port(self, server: Server) -> _Port:
        """One of the ports from which ``server`` is asked, by chance."""
        ports = self._ports.setdefault(server, [])
        index = self._id()[0] % PORTS
        if index < len(ports):
            port = ports[index]
            if port.usable and self.reactor.seconds() - port.born < AGE:
                return port
            ports.remove(port)
            port.retire()
        port = _Port(server, self.reactor.seconds())
        self.reactor.listenUDP(0, port, interface="::" if ":" in server[0] else "", maxPacketSize=65535)
        ports.append(port)
        return port

    def _connect(self, query: _Query) -> None:
        host, port = query.server
        query.way = stream = _Streams(query, self)
        stream.connector = self.reactor.connectTCP(host, port, stream, query.seconds)
        self.streams.add(stream.connector)


def told(server: Server) -> str:
    """A server as people write it."""
    host, port = server
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
