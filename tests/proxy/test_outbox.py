"""What is posted leaves at the end of the reactor's turn: all of it, in order, whatever happens to the connection."""

# mypy: allow-untyped-calls
# Trial's assertions and Twisted's reactors carry no types.

from __future__ import annotations

import select
import socket
from collections.abc import Callable

from turns import TurnedByHand
from twisted.internet.protocol import Factory
from twisted.python.failure import Failure

from twisted_kong.proxy.wire import POSTABLE, Wire
from twisted_kong.reactor import MOST_EVENTS
from twisted_kong.tasks import Deadlines


class Talker(Wire):
    """Does as it is told whenever it hears something, and notes what happens to it."""

    def __init__(self, deadlines: Deadlines, heard: Callable[[Talker, bytes], None]) -> None:
        super().__init__(deadlines)
        self.clogs = 0
        self.drains = 0
        self.lost: Failure | None = None
        self._heard = heard

    def dataReceived(self, data: bytes) -> None:
        self._heard(self, data)

    def clogged(self) -> None:
        self.clogs += 1

    def drained(self) -> None:
        self.drains += 1

    def connectionLost(self, reason: Failure | None = None) -> None:
        super().connectionLost(reason)
        self.lost = reason


class OutboxTests(TurnedByHand):
    """Wires that the reactor serves, and clients outside of it."""

    def setUp(self) -> None:
        super().setUp()
        self.heard: Callable[[Talker, bytes], None] = lambda wire, data: wire.post(data)
        self.wires: list[Talker] = []
        deadlines = Deadlines(self.reactor)

        class Server(Factory):
            def buildProtocol(factory, addr: object) -> Talker:  # noqa: N805  # self is the test
                self.wires.append(Talker(deadlines, lambda wire, data: self.heard(wire, data)))
                return self.wires[-1]

        self.port = self.reactor.listenTCP(0, Server(), interface="127.0.0.1")

    def client(self, *, room: int = 0) -> tuple[socket.socket, Talker]:
        """A client, whose socket takes about ``room`` bytes where that is given, and the wire that serves it."""
        client = socket.socket()
        self.addCleanup(client.close)
        if room:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, room)
        number = len(self.wires)
        client.connect(("127.0.0.1", self.port.getHost().port))
        self.turn_until(lambda: len(self.wires) > number)
        client.setblocking(False)
        return client, self.wires[number]

    def get(self, client: socket.socket, size: int) -> bytes:
        """So much of what the client gets."""
        return self.received(client, lambda found: len(found) >= size)

    def test_all_at_once(self) -> None:
        """Nobody gets anything before everybody has been heard who had something to say in this turn."""
        clients = [self.client() for _ in range(3)]
        seen: list[int] = []

        def post(wire: Talker, data: bytes) -> None:
            wire.post(data)
            readable, _, _ = select.select([client for client, _ in clients], [], [], 0)
            seen.append(len(readable))

        self.heard = post
        for number, (client, _) in enumerate(clients):
            client.sendall(b"%d" % number)
        self.turn_until(lambda: len(seen) == 3)
        for number, (client, _) in enumerate(clients):
            self.assertEqual(client.recv(10), b"%d" % number)
        self.assertEqual((seen, self.reactor.outbox), ([0, 0, 0], []))

    def test_in_order(self) -> None:
        """What is sent at once takes along what was posted before it."""

        def talk(wire: Talker, data: bytes) -> None:
            for text in (b"a", b"b"):
                wire.post(text)
            self.assertTrue(wire.unsent)
            wire.send(b"c")
            self.assertFalse(wire.unsent)
            wire.post(b"d")

        self.heard = talk
        client, _ = self.client()
        client.sendall(b"go")
        self.assertEqual(self.get(client, 4), b"abcd")

    def test_much_is_not_posted(self) -> None:
        """What is long, or becomes long together, leaves at once."""
        unsent: list[bool] = []

        def talk(wire: Talker, data: bytes) -> None:
            for size in (POSTABLE + 1, POSTABLE, 1):
                wire.post(b"x" * size)
                unsent.append(wire.unsent)

        self.heard = talk
        client, _ = self.client()
        client.sendall(b"go")
        self.assertEqual(len(self.get(client, 2 * POSTABLE + 2)), 2 * POSTABLE + 2)
        self.assertEqual(unsent, [False, True, False])

    def test_closing(self) -> None:
        """Who closes has said what it has posted; who breaks off has not."""

        def end(wire: Talker, data: bytes) -> None:
            wire.post(b"last words")
            if data == b"close":
                wire.close()
            else:
                wire.abort()

        self.heard = end
        client, wire = self.client()
        client.sendall(b"close")
        self.assertEqual(self.get(client, 10), b"last words")
        self.turn_until(lambda: wire.lost is not None)
        self.assertEqual(client.recv(10), b"")
        client, wire = self.client()
        client.sendall(b"abort")
        self.turn_until(lambda: wire.lost is not None)
        self.assertRaises(ConnectionResetError, client.recv, 10)

    def test_lost_meanwhile(self) -> None:
        """What was posted to a connection that is lost in the same turn goes nowhere, and nobody minds."""
        client, wire = self.client()
        other, _ = self.client()

        def lose(one: Talker, data: bytes) -> None:
            one.post(data)
            one.transport.connectionLost(Failure(ConnectionError()))

        self.heard = lose
        client.sendall(b"lost")
        self.turn_until(lambda: wire.lost is not None)
        self.heard = lambda one, data: one.post(data)
        other.sendall(b"on")
        self.assertEqual(self.get(other, 2), b"on")

    def test_handed_over(self) -> None:
        """A successor says nothing before what was posted."""

        def change(wire: Talker, data: bytes) -> None:
            wire.post(b"first")
            successor = Talker(wire._deadlines, lambda one, data: one.post(data))
            wire.hand_over(successor)
            successor.post(b"second")

        self.heard = change
        client, _ = self.client()
        client.sendall(b"go")
        self.assertEqual(self.get(client, 11), b"firstsecond")
        client.sendall(b"third")
        self.assertEqual(self.get(client, 5), b"third")

    def test_clogged(self) -> None:
        """Whoever does not take what was posted congests the wire; it hears of that, and when it is over."""
        client, wire = self.client(room=2048)
        wire.transport.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2048)
        rounds = 8
        self.heard = lambda one, data: one.post(data * POSTABLE)
        for _ in range(rounds):
            client.sendall(b"x")
            self.turn()
        self.assertTrue(wire.congested)
        self.assertGreaterEqual(wire.clogs, 1)
        self.assertEqual(len(self.get(client, rounds * POSTABLE)), rounds * POSTABLE)
        self.turn_until(lambda: not wire.congested)
        self.assertEqual(wire.drains, 1)

    def test_posted_by_a_timer(self) -> None:
        """What is posted between two turns leaves before anybody waits for what comes next."""
        client, wire = self.client()
        self.reactor.callLater(0, wire.post, b"time")
        self.turn()
        self.assertEqual(client.recv(10), b"time")

    def test_failing(self) -> None:
        """Who fails to send keeps nobody else from it."""
        clients = [self.client() for _ in range(2)]

        def fail() -> None:
            raise ZeroDivisionError

        clients[0][1].send_posted = fail  # type: ignore[method-assign]
        for client, _ in clients:
            client.sendall(b"on")
        self.assertEqual(self.get(clients[1][0], 2), b"on")
        self.turn_until(lambda: not self.reactor.outbox)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_a_turn_has_an_end(self) -> None:
        """Of many who have something to say, those who did not come up wait until what is posted has gone."""
        clients = [self.client()[0] for _ in range(MOST_EVENTS + 10)]
        heard: list[int] = []

        def talk(wire: Talker, data: bytes) -> None:
            heard.append(1)
            wire.post(data)

        self.heard = talk
        for client in clients:
            client.sendall(b"x")
        self.turn()
        self.assertEqual(len(heard), MOST_EVENTS)
        self.turn()
        self.assertEqual(len(heard), len(clients))
        for client in clients:
            self.assertEqual(self.get(client, 1), b"x")
