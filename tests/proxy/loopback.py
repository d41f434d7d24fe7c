"""The whole proxy in memory: clients, origins, the network between them and the time are the test's.

A `Lab` has one service and its peers. ``lab.client()`` is a client's connection, ``lab.dials`` are the connections
the gateway wants to make; whoever accepts one plays the origin on it. Nothing happens by itself but what the gateway
does at once: `Lab.wait` lets time pass.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from random import Random
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.base import BaseConnector
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionRefusedError
from twisted.internet.interfaces import IHalfCloseableProtocol, IPushProducer
from twisted.internet.task import Clock
from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from twisted.python.failure import Failure
from zope.interface import implementer

from twisted_kong.interfaces import IAlgorithm, IAlgorithmFactory, IPeer, IResolver
from twisted_kong.model.changes import Change
from twisted_kong.model.entities import Entity, Route, Service, Target, Upstream
from twisted_kong.model.schema import Schema
from twisted_kong.model.snapshot import EMPTY
from twisted_kong.model.traffic import Address, Answer, Outcome, Pick
from twisted_kong.proxy.core import ProxyCore
from twisted_kong.proxy.listeners import ProxyListener
from twisted_kong.proxy.wire import READ_SIZE
from twisted_kong.runtime.gateway import Gateway
from twisted_kong.runtime.names import Names
from twisted_kong.settings import Settings, load

CLIENT = "192.0.2.7"
"""Where clients come from."""

GET = b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
HALF = ConnectionDone()
"""What is read where the other side says no more."""


_broken: list[LogEvent] = []


@implementer(ILogObserver)
def _notice(event: LogEvent) -> None:
    if "log_failure" in event:
        _broken.append(event)


globalLogPublisher.addObserver(_notice)


def post(body: bytes = b"", *, length: int | None = None, lines: bytes = b"", method: bytes = b"POST") -> bytes:
    """A request with a body of announced length, by default the one it has."""
    size = len(body) if length is None else length
    return b"%b / HTTP/1.1\r\nHost: a.test\r\nContent-Length: %d\r\n%b\r\n%b" % (method, size, lines, body)


class Line:
    """A connection in memory. The gateway's protocol has it as its transport; the test is at the other end.

    ``received`` is all that has arrived at the test's end, which takes in ``room`` more bytes, None for any number.
    ``ended`` says that the gateway will send nothing more, ``lost`` why the gateway's protocol has seen the end,
    ``late`` what it wrote after it had closed.
    """

    def __init__(self, network: Network, host: IPv4Address, peer: IPv4Address) -> None:
        self.received = b""
        self.room: int | None = None
        self.ended = False
        self.lost: Failure | None = None
        self.late = b""
        self.reading = True
        self.no_delay = False
        self.disconnecting = False
        self._network = network
        self._host = host
        self._peer = peer
        self.protocol: Any = None
        self._arriving: list[bytes | Exception] = []
        self._backlog = b""
        self._closing = False
        self._closing_write = False
        self._aborted = False
        self._producer: IPushProducer | None = None
        self._producer_paused = False

    # -- the test's end ----------------------------------------------------------------------------------------

    def send(self, data: bytes) -> None:
        """Bytes for the gateway; while it does not read they wait."""
        self._arriving += [data[at : at + READ_SIZE] for at in range(0, len(data), READ_SIZE)]
        self._arrive()

    def close(self) -> None:
        """Close, once everything sent has been read."""
        self._arriving.append(ConnectionDone())
        self._arrive()

    def half_close(self) -> None:
        """Say no more, once everything sent has been read; to a protocol that knows no such thing, close."""
        if IHalfCloseableProtocol.providedBy(self._protocol):
            self._protocol.readConnectionLost()
        else:
            self.close()

    def say_no_more(self) -> None:
        """The same, but found out by the gateway only when it reads, as with a socket."""
        self._arriving.append(HALF)
        self._arrive()

    def reset(self) -> None:
        """Break the connection, whatever is on its way."""
        self._arriving.clear()
        self._lose(ConnectionAborted())

    def take(self) -> bytes:
        """What has been received since the last time."""
        taken, self.received = self.received, b""
        return taken

    def make_room(self, size: int | None) -> None:
        """Take in ``size`` bytes more, None for any number."""
        self.room = size
        self._flush()

    @property
    def backlog(self) -> int:
        """How many bytes the gateway has written that have not been taken in."""
        return len(self._backlog)

    @property
    def closed(self) -> bool:
        """Whether the connection is no more, in due order."""
        return self.lost is not None and self.lost.check(ConnectionDone) is not None

    @property
    def aborted(self) -> bool:
        """Whether the connection is no more, and the other end has been told so rudely."""
        return self.lost is not None and not self.closed

    @property
    def protocol(self) -> Any:
        """The gateway's protocol."""
        return self._protocol

    @protocol.setter
    def protocol(self, protocol: Any) -> None:
        self._protocol = protocol

    # -- the transport -----------------------------------------------------------------------------------------

    def join(self, protocol: Any) -> None:
        self.protocol = protocol
        protocol.makeConnection(self)

    def write(self, data: bytes) -> None:
        if self._closing or self._closing_write or self._aborted or self.lost is not None:
            self.late += data
            return
        self._backlog += data
        self._flush()
        if self._backlog and self._producer is not None and not self._producer_paused:
            self._producer_paused = True
            self._producer.pauseProducing()

    def writeSequence(self, data: Iterable[bytes]) -> None:
        self.write(b"".join(data))

    def loseConnection(self) -> None:
        self._closing = self.disconnecting = True
        self._flush()

    def loseWriteConnection(self) -> None:
        self._closing_write = True
        self._flush()

    def abortConnection(self) -> None:
        if not self._aborted and self.lost is None:
            self._aborted = self.disconnecting = True
            self._network.callLater(0, self._lose, ConnectionAborted())

    def registerProducer(self, producer: IPushProducer, streaming: bool) -> None:
        assert streaming
        assert self._producer is None
        self._producer = producer

    def unregisterProducer(self) -> None:
        self._producer = None
        self._flush()

    def pauseProducing(self) -> None:
        self.reading = False

    def resumeProducing(self) -> None:
        self.reading = True
        self._network.callLater(0, self._arrive)

    def stopProducing(self) -> None:
        self.loseConnection()

    def setTcpNoDelay(self, enabled: bool) -> None:
        self.no_delay = enabled

    def getHost(self) -> IPv4Address:
        return self._host

    def getPeer(self) -> IPv4Address:
        return self._peer

    def _arrive(self) -> None:
        while self._arriving and self.reading and not (self._closing or self._aborted) and self.lost is None:
            piece = self._arriving.pop(0)
            if piece is HALF and IHalfCloseableProtocol.providedBy(self._protocol):
                self._protocol.readConnectionLost()
            elif isinstance(piece, Exception):
                self._lose(piece)
            else:
                self.protocol.dataReceived(piece)

    def _flush(self) -> None:
        if self._aborted or self.lost is not None:
            return
        size = len(self._backlog) if self.room is None else self.room
        self.received += self._backlog[:size]
        if self.room is not None:
            self.room -= min(size, len(self._backlog))
        self._backlog = self._backlog[size:]
        if self._backlog:
            return
        if self._closing_write:
            self.ended = True
        if self._producer is not None and self._producer_paused:
            self._producer_paused = False
            self._producer.resumeProducing()
        elif self._closing and self._producer is None:
            self._network.callLater(0, self._lose, ConnectionDone())

    def _lose(self, error: Exception) -> None:
        if self.lost is None:
            self.ended = True
            self.lost = Failure(error)
            self.protocol.connectionLost(self.lost)


class Dial(BaseConnector):
    """A connection the gateway wants to make. It waits until the test decides, or the gateway's timeout passes."""

    def __init__(self, network: Network, host: str, port: int, factory: Any, timeout: float) -> None:
        super().__init__(factory, timeout, network)  # type: ignore[arg-type]  # of a reactor it needs the time alone
        self.address = IPv4Address("TCP", host, port)
        self.line: Line | None = None

    def accept(self, room: int | None = None) -> Line:
        """The connection, established; its test's end takes in ``room`` bytes for now."""
        assert self.state == "connecting"
        self.line = line = Line(self.reactor, IPv4Address("TCP", "127.0.0.1", 50000), self.address)  # type: ignore[arg-type]
        line.room = room
        line.join(self.buildProtocol(self.address))
        return line

    def refuse(self) -> None:
        """There is nobody at the address."""
        self.failIfNotConnected(ConnectionRefusedError())

    def failIfNotConnected(self, error: Exception) -> None:
        if self.state == "connecting" or self.line is None:
            self.connectionFailed(Failure(error))

    def _makeTransport(self) -> Any:
        return self

    def loseConnection(self) -> None:
        assert self.line is not None
        self.line.loseConnection()

    def getDestination(self) -> IPv4Address:
        return self.address

    @property
    def waiting(self) -> bool:
        """Whether the gateway still wants it and nobody has decided."""
        return self.state == "connecting"


class Network(Clock):
    """A reactor without sockets."""

    def __init__(self) -> None:
        super().__init__()
        self.dials: list[Dial] = []

    def connectTCP(self, host: str, port: int, factory: Any, timeout: float = 30) -> Dial:
        dial = Dial(self, host, port, factory, timeout)
        self.dials.append(dial)
        dial.connect()
        return dial


@implementer(IAlgorithm, IAlgorithmFactory)
class InOrder:
    """Picks the first peer that has not been tried, and keeps what it is told of each."""

    name = "round-robin"

    def __init__(self) -> None:
        self.outcomes: list[tuple[str, Outcome]] = []
        self.errors: list[str | None] = []
        self._peers: list[IPeer] = []

    def build(self, upstream: Upstream) -> IAlgorithm:
        return self

    def update(self, peers: Iterable[IPeer]) -> None:
        self._peers = list(peers)

    def pick(self, pick: Pick) -> IPeer | None:
        return next((peer for peer in self._peers if peer not in pick.tried), None)

    def done(self, peer: IPeer, outcome: Outcome) -> None:
        self.outcomes.append((peer.address, outcome._replace(error=None)))
        self.errors.append(outcome.error)

    def leases(self) -> int:
        """The attempts under way."""
        return sum(getattr(peer, "leases") for peer in self._peers)  # noqa: B009  # no part of the interface


@implementer(IResolver)
class Questions:
    """A resolver that answers when the test does."""

    def __init__(self) -> None:
        self.asked: dict[str, Deferred[Answer]] = {}

    def resolve(self, name: str) -> Deferred[Answer]:
        answer: Deferred[Answer] = Deferred()
        self.asked[name] = answer
        return answer

    def answer(self, name: str, address: str) -> None:
        self.asked.pop(name).callback(Answer((Address(address),), 60.0))

    def fail(self, name: str, error: Exception) -> None:
        self.asked.pop(name).errback(Failure(error))


class Lab:
    """One gateway with the service ``s`` on ``targets``, and one route to it.

    ``service``, ``route`` and ``upstream`` are fields of these entities, ``settings`` texts as in kong.conf.
    """

    def __init__(
        self,
        targets: Sequence[str] = ("10.0.0.1:80",),
        *,
        service: Mapping[str, object] | None = None,
        route: Mapping[str, object] | None = None,
        upstream: Mapping[str, object] | None = None,
        settings: Mapping[str, str] | None = None,
        scheme: bytes = b"http",
        weight: int = 100,
        http2: bool = False,
    ) -> None:
        _broken.clear()
        self.network = Network()
        self.names = Questions()
        self.algorithm = InOrder()
        self.settings: Settings = load(None, {}, settings or {})
        names = Names(self.names, self.network)
        gateway = Gateway({"round-robin": self.algorithm}, self.settings.router_flavor, names)
        snapshot = EMPTY.with_change(
            Change(puts=tuple(entities(targets, service or {}, route or {}, upstream or {}, weight)))
        )
        gateway.apply(EMPTY, snapshot)
        self.random = Random(7)
        self.core = ProxyCore(self.network, self.settings, gateway, names, self.random)
        self.listener = ProxyListener(self.core, self.settings, scheme, http2=http2)
        self.lines: list[Line] = []

    def client(self, data: bytes = b"", *, address: str = CLIENT, room: int | None = None) -> Line:
        """A client's connection, on which ``data`` has been sent."""
        line = Line(self.network, IPv4Address("TCP", "127.0.0.1", 8000), IPv4Address("TCP", address, 40000))
        line.room = room
        line.join(self.listener.buildProtocol(None))
        self.lines.append(line)
        if data:
            line.send(data)
        return line

    @property
    def dials(self) -> list[Dial]:
        """Every connection the gateway has wanted to make so far."""
        return self.network.dials

    def origin(self, number: int = -1) -> Line:
        """The newest connection the gateway wants to make, or another, accepted."""
        return self.dials[number].accept()

    def origins(self) -> list[Line]:
        """The connections that were accepted."""
        return [dial.line for dial in self.dials if dial.line is not None]

    def wait(self, seconds: float = 0.0) -> None:
        """Let time pass; whoever waits for the next turn of the reactor has it."""
        self.network.advance(0)
        while seconds > 0:
            step = min(seconds, 1.0)  # what begins meanwhile must not begin at the end of it all
            self.network.advance(step)
            self.network.advance(0)
            seconds -= step

    def turns(self) -> None:
        """Let the reactor turn until nobody waits for the next turn of it."""
        while any(call.getTime() <= self.network.seconds() for call in self.network.getDelayedCalls()):
            self.network.advance(0)

    @property
    def outcomes(self) -> list[tuple[str, Outcome]]:
        """What the peers' leases ended in."""
        return self.algorithm.outcomes

    def assert_idle(self) -> None:
        """Nothing is under way: every lease is back, no exchange is left, nothing was written behind an end.

        And nothing has gone wrong that only the log knows of.
        """
        self.wait()
        assert _broken == []
        assert self.core.exchanges == 0
        assert self.algorithm.leases() == 0
        assert [line.late for line in (*self.lines, *self.origins()) if line.late] == []
        assert [dial.address for dial in self.dials if dial.waiting] == []

    def forget(self) -> None:
        """Nothing is under way (`assert_idle`): let go of all that there was."""
        self.assert_idle()
        self.lines.clear()
        self.dials.clear()
        self.algorithm.outcomes.clear()
        self.algorithm.errors.clear()


def entities(
    targets: Sequence[str],
    service: Mapping[str, object],
    route: Mapping[str, object],
    upstream: Mapping[str, object],
    weight: int = 100,
) -> Iterator[Entity]:
    """The service ``s`` on ``targets``, and a route to it."""
    schema = Schema()

    def build(kind: type[Any], **data: object) -> Any:
        return schema.build(kind, data, now=1)

    pool = build(Upstream, name="u.test", **upstream)
    yield pool
    for target in targets:
        yield build(Target, target=target, weight=weight, upstream={"id": pool.id})
    it = build(Service, **{"name": "s", "host": "u.test", **service})
    yield it
    yield build(Route, **{"name": "r", "paths": ["/"], "service": {"id": it.id}, **route})
