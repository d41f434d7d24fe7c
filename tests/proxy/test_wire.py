"""Wires on real sockets: written at once, in order, and no faster than the other end takes it."""

# mypy: allow-untyped-calls
# Trial's assertions carry no types.

from __future__ import annotations

import socket
import tempfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import spoken
from loopback import GET, Lab, post
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from twisted_kong.proxy.core import ProxyCore
from twisted_kong.proxy.listeners import ProxyListener
from twisted_kong.proxy.wire import READ_SIZE, Wire
from twisted_kong.tasks import Deadlines

PATTERN = bytes(range(256)) * 4096
"""A MiB."""


class Recorder(Wire):
    """A wire that notes what happens to it."""

    def __init__(self, deadlines: Deadlines) -> None:
        super().__init__(deadlines)
        self.made: Deferred[None] = Deferred()
        self.lost: list[Failure] = []
        self.received = b""
        self.drains = 0
        self.feed: Callable[[], None] = lambda: None

    def connectionMade(self) -> None:
        super().connectionMade()
        self.made.callback(None)

    def dataReceived(self, data: bytes) -> None:
        self.received += data

    def drained(self) -> None:
        self.drains += 1
        self.feed()

    def connectionLost(self, reason: Failure | None = None) -> None:
        super().connectionLost(reason)
        assert reason is not None
        self.lost.append(reason)


class Sockets(TestCase):
    """Real connections, whose far ends are plain sockets the test reads when it likes."""

    reactor: Any

    def setUp(self) -> None:
        from twisted.internet import reactor

        self.reactor = reactor

    async def turn(self) -> None:
        """One turn of the reactor."""
        await deferLater(self.reactor, 0)

    async def until(self, true: Callable[[], object]) -> None:
        while not true():
            await self.turn()

    def listen(self, protocol: Callable[[], Protocol]) -> int:
        """The port of a server of ``protocol``."""
        port = self.reactor.listenTCP(0, Factory.forProtocol(protocol), interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        number: int = port.getHost().port
        return number

    def connect(self, port: int, buffer: int | None = None) -> socket.socket:
        far = socket.socket()
        self.addCleanup(far.close)
        if buffer is not None:
            far.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        far.connect(("127.0.0.1", port))
        far.setblocking(False)
        return far

    async def a_wire(self, buffer: int | None = None) -> tuple[Recorder, socket.socket]:
        """A wire, and the socket at its other end."""
        wire = Recorder(Deadlines(self.reactor))
        far = self.connect(self.listen(lambda: wire), buffer)
        await wire.made
        wire.transport.getHandle().setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16384)
        self.addCleanup(self.end, wire, far)
        return wire, far

    async def end(self, wire: Recorder, far: socket.socket) -> None:
        far.close()
        if not wire.lost:
            wire.abort()
        await self.until(lambda: wire.lost)

    async def some(self, far: socket.socket, size: int = READ_SIZE) -> bytes:
        """What comes next at the far end, at most ``size`` bytes; nothing at the end of the connection."""
        while True:
            try:
                return far.recv(size)
            except BlockingIOError:
                await self.turn()

    async def read(self, far: socket.socket, size: int) -> bytes:
        """``size`` bytes from the far end, fewer where the connection ends before."""
        received = b""
        while len(received) < size and (piece := await self.some(far, size - len(received))):
            received += piece
        return received


class WireTests(Sockets):
    """One wire."""

    async def test_written_at_once(self) -> None:
        """While the other end keeps up what is sent has left before `send` returns, without a turn of the reactor."""
        wire, far = await self.a_wire()
        for number in range(10):
            wire.send(b"%d" % number)
            assert far.recv(10) == b"%d" % number
        assert not wire.congested

    async def test_small_pieces_do_not_wait(self) -> None:
        """Nothing waits for the acknowledgement of what was sent before it."""
        wire, _ = await self.a_wire()
        assert wire.transport.getTcpNoDelay()

    async def test_slow_reader(self) -> None:
        """A reader that does not keep up makes the wire congested until the backlog is gone; all arrives in order."""
        wire, far = await self.a_wire(4096)
        sent = 0
        while not wire.congested:
            wire.send(PATTERN[:50_000])
            sent += 50_000
        wire.send(b"behind")
        wire.send(b"that")
        assert wire.drains == 0
        expected = PATTERN[:50_000] * (sent // 50_000) + b"behindthat"
        assert await self.read(far, len(expected)) == expected
        await self.until(lambda: wire.drains)
        assert (wire.drains, wire.congested) == (1, False)
        wire.send(b"again")
        assert await self.read(far, 5) == b"again"

    async def test_congested_time_and_again(self) -> None:
        """Who sends whenever the wire is not congested sends everything, in order, and never has much waiting."""
        wire, far = await self.a_wire(4096)
        pieces = [PATTERN[at : at + 30_000] for at in range(0, len(PATTERN), 30_000)]
        left = list(reversed(pieces))

        def feed() -> None:
            while left and not wire.congested:
                wire.send(left.pop())

        wire.feed = feed
        feed()
        assert left
        expected = b"".join(pieces)
        assert await self.read(far, len(expected)) == expected
        assert wire.drains > 1

    async def test_close_sends_the_rest(self) -> None:
        """A wire that is closed while congested sends what it has before it ends."""
        wire, far = await self.a_wire(4096)
        wire.send(PATTERN * 8)
        assert wire.congested
        wire.close()
        assert await self.read(far, 10 * len(PATTERN)) == PATTERN * 8
        await self.until(lambda: wire.lost)

    async def test_close_with_nothing_left(self) -> None:
        """A wire that is closed has sent all that was sent on it."""
        wire, far = await self.a_wire()
        wire.send(b"all")
        wire.close()
        assert await self.read(far, 10) == b"all"
        await self.until(lambda: wire.lost)
        assert len(wire.lost) == 1

    async def test_abort_drops_the_rest(self) -> None:
        """A wire that is aborted while congested ends at once, and the other end notices."""
        wire, far = await self.a_wire(4096)
        wire.send(PATTERN * 8)
        assert wire.congested
        wire.abort()
        await self.until(lambda: wire.lost)
        with self.assertRaises(ConnectionResetError):
            await self.read(far, 10 * len(PATTERN))

    async def test_other_end_goes_away(self) -> None:
        """A congested wire whose other end goes away is lost, once; what is sent on it afterwards does no harm."""
        wire, far = await self.a_wire(4096)
        wire.send(PATTERN * 8)
        far.close()
        await self.until(lambda: wire.lost)
        wire.send(b"late")
        wire.close()
        wire.abort()
        await self.turn()
        assert (len(wire.lost), wire.drains) == (1, 0)

    async def test_broken_between_two_pieces(self) -> None:
        """A wire whose other end has been reset is lost when something is sent on it."""
        wire, far = await self.a_wire()
        wire.pause()
        far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        far.close()
        await self.turn()
        wire.send(b"into the void")
        wire.send(b"into the void")
        await self.until(lambda: wire.lost)
        assert len(wire.lost) == 1

    async def test_paused(self) -> None:
        """A paused wire reads nothing until it is resumed."""
        wire, far = await self.a_wire()
        wire.pause()
        far.send(b"hello")
        for _ in range(20):
            await self.turn()
        assert wire.received == b""
        wire.resume()
        await self.until(lambda: wire.received)
        assert wire.received == b"hello"


class Origin(Protocol):
    """Answers every request with so many bytes, as fast as they are taken."""

    size = 0
    held = False

    def connectionMade(self) -> None:
        self._left = 0
        self.transport.registerProducer(self, True)  # type: ignore[union-attr]

    def dataReceived(self, data: bytes) -> None:
        self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % self.size)  # type: ignore[union-attr]
        self._left = self.size
        self.resumeProducing()

    def pauseProducing(self) -> None:
        self.held = True

    def resumeProducing(self) -> None:
        self.held = False
        while self._left and not self.held:
            piece = PATTERN[: self._left]
            self._left -= len(piece)
            self.transport.write(piece)  # type: ignore[union-attr]

    def stopProducing(self) -> None:
        self._left = 0


class ProxyTests(Sockets):
    """The whole proxy between real sockets."""

    def a_proxy(self, origin: Callable[[], Protocol]) -> ProxyListener:
        """A proxy of ``origin``."""
        lab = Lab([f"127.0.0.1:{self.listen(origin)}"])
        core = ProxyCore(self.reactor, lab.settings, lab.core.gateway, lab.core.names, lab.random)
        listener = ProxyListener(core, lab.settings)
        self.addCleanup(self.stop, listener)
        return listener

    async def stop(self, listener: ProxyListener) -> None:
        listener.abort()
        await self.until(lambda: not listener.connections)
        assert listener.core.exchanges == 0
        listener.core.close()
        for _ in range(5):
            await self.turn()

    def serve(self, listener: ProxyListener) -> int:
        port = self.reactor.listenTCP(0, listener, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        number: int = port.getHost().port
        return number

    async def test_large_answer_for_a_slow_client(self) -> None:
        """A large answer reaches a slow client whole, and costs the gateway little memory."""

        class Large(Origin):
            size = 24 * len(PATTERN)

        far = self.connect(self.serve(self.a_proxy(Large)), 65536)
        far.send(GET)
        for _ in range(100):
            await self.turn()
        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)
        head, _, piece = (await self.some(far)).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 OK\r\n")
        received = 0
        while piece:
            begin = received % len(PATTERN)
            assert piece == (PATTERN + PATTERN)[begin : begin + len(piece)]
            received += len(piece)
            piece = await self.some(far) if received < Large.size else b""
        assert received == Large.size
        _, peak = tracemalloc.get_traced_memory()
        assert peak < 8 * len(PATTERN)

    async def test_many_requests_on_one_connection(self) -> None:
        """Requests one after the other, and at once, are all answered on one connection."""

        class Small(Origin):
            size = 10

        far = self.connect(self.serve(self.a_proxy(Small)))
        received = b""
        for count in (1, 1, 50):
            far.send(GET * count)
            wanted = len(spoken.answers(received)) + count
            while len(found := spoken.answers(received)) < wanted or not found[-1].complete:
                received += await self.some(far)
        assert [answer.body for answer in spoken.answers(received)] == [PATTERN[:10]] * 52

    async def test_post_after_an_unseen_end(self) -> None:
        """A POST goes to no connection that the origin has closed, whether or not the gateway has seen that yet."""
        made: list[Origin] = []
        gone: list[Origin] = []

        class Leaving(Origin):
            size = 10

            def connectionMade(self) -> None:
                super().connectionMade()
                made.append(self)

            def connectionLost(self, reason: Failure | None = None) -> None:
                gone.append(self)

        listener = self.a_proxy(Leaving)
        far = self.connect(self.serve(listener))
        far.send(GET)
        assert (await self.some(far)).endswith(PATTERN[:10])
        ((kept,),) = listener.core.pool._waiting.values()
        kept.transport.stopReading()  # now it cannot see it
        assert made[0].transport is not None
        made[0].transport.loseConnection()
        await self.until(lambda: gone)
        far.send(post(b"once"))
        assert (await self.some(far)).endswith(PATTERN[:10])
        assert len(made) == 2

    async def test_unix_socket(self) -> None:
        """Clients may come through a Unix socket."""

        class Small(Origin):
            size = 10

        listener = self.a_proxy(Small)
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        path = str(Path(directory.name, "proxy"))
        port = self.reactor.listenUNIX(path, listener)
        self.addCleanup(port.stopListening)
        far = socket.socket(socket.AF_UNIX)
        self.addCleanup(far.close)
        far.connect(path)
        far.setblocking(False)
        far.send(GET.replace(b"1.1", b"1.0"))
        assert (await self.read(far, 10_000)).endswith(b"\r\n\r\n" + PATTERN[:10])

    async def test_leaving_client(self) -> None:
        """A client that leaves amid an answer ends the origin's connection."""
        gone: list[Failure] = []

        class Endless(Origin):
            size = 1 << 40

            def connectionLost(self, reason: Failure | None = None) -> None:
                assert reason is not None
                gone.append(reason)

        far = self.connect(self.serve(self.a_proxy(Endless)))
        far.send(GET)
        await self.read(far, 100_000)
        far.close()
        await self.until(lambda: gone)
