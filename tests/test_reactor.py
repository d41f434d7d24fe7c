"""The gateway's reactor: it tells who has to be told, survives what they do, and is used where nobody chose another."""

# mypy: allow-untyped-calls
# Trial's assertions and Twisted's reactors carry no types.

from __future__ import annotations

import contextlib
import select
import socket
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.protocol import Factory, Protocol
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

if not hasattr(select, "epoll"):
    pytest.skip("this system has no epoll", allow_module_level=True)

from twisted_kong.reactor import GatewayReactor

TURNS = 2000
"""Turns of at most ten milliseconds within which what is due has to happen."""


class Listener(Protocol):
    """Keeps what it hears and sees; ``heard`` is called with each piece."""

    def __init__(self, heard: Callable[[Listener, bytes], None]) -> None:
        self.received = b""
        self.lost: Failure | None = None
        self._heard = heard

    def dataReceived(self, data: bytes) -> None:
        self.received += data
        self._heard(self, data)

    def connectionLost(self, reason: Failure | None = None) -> None:
        self.lost = reason


def ignore(listener: Listener, data: bytes) -> None:
    """Nothing happens."""


class ReactorTests(SynchronousTestCase):
    """One reactor with a server, and clients outside of it."""

    def setUp(self) -> None:
        self.reactor: Any = GatewayReactor()
        self.addCleanup(self.reactor._poller.close)
        self.addCleanup(self.reactor.disconnectAll)
        self.heard: Callable[[Listener, bytes], None] = ignore
        self.served: list[Any] = []

        class Server(Factory):
            def buildProtocol(factory, addr: object) -> Listener:  # noqa: N805  # self is the test
                protocol = Listener(lambda listener, data: self.heard(listener, data))
                self.served.append(protocol)
                return protocol

        self.port = self.reactor.listenTCP(0, Server(), interface="127.0.0.1")

    def client(self) -> tuple[socket.socket, Any]:
        """A client's socket and the protocol that serves it."""
        number = len(self.served)
        client = socket.create_connection(("127.0.0.1", self.port.getHost().port), timeout=10)
        self.addCleanup(client.close)
        self.turn_until(lambda: len(self.served) > number)
        return client, self.served[number]

    def turn_until(self, done: Callable[[], bool]) -> None:
        for _ in range(TURNS):
            if done():
                return
            self.reactor.runUntilCurrent()
            self.reactor.doIteration(0.01)
        self.fail("it never happened")

    def test_both_ways(self) -> None:
        """What is sent arrives, and so does an answer that does not fit into the socket at once."""
        size = 8 << 20
        self.heard = lambda listener, data: listener.transport.write(data * (size // len(data)))  # type: ignore[union-attr]  # it has one
        client, _ = self.client()
        client.sendall(b"12345678")
        client.setblocking(False)
        received = bytearray()

        def taken() -> bool:
            with contextlib.suppress(BlockingIOError):
                received.extend(client.recv(1 << 20))
            return len(received) == size

        self.turn_until(taken)
        self.assertEqual(bytes(received), b"12345678" * (size // 8))

    def test_end(self) -> None:
        """The end of a connection is told, in due order or not."""
        for linger, name in ((0, "ConnectionDone"), (1, "ConnectionLost")):
            client, served = self.client()
            client.sendall(b"last words")
            self.turn_until(lambda served=served: bool(served.received))  # type: ignore[misc]  # bound at once
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, bytes([linger, 0, 0, 0, 0, 0, 0, 0]))
            client.close()
            self.turn_until(lambda served=served: served.lost is not None)  # type: ignore[misc]  # bound at once
            self.assertEqual(served.lost.type.__name__, name)

    def test_failing_reader(self) -> None:
        """A protocol that raises is logged and loses its connection; the others go on."""

        def fail(listener: Listener, data: bytes) -> None:
            if data == b"fail":
                raise ZeroDivisionError

        self.heard = fail
        client, served = self.client()
        other, other_served = self.client()
        client.sendall(b"fail")
        other.sendall(b"go on")
        self.turn_until(lambda: served.lost is not None and other_served.received == b"go on")
        self.assertIsNone(other_served.lost)
        self.assertTrue(served.lost.check(ZeroDivisionError))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_failing_end(self) -> None:
        """What a protocol raises at the end of its connection is logged, and the reactor goes on."""
        client, served = self.client()
        other, other_served = self.client()

        def fail(reason: Failure) -> None:
            served.lost = reason
            raise ZeroDivisionError

        served.connectionLost = fail
        client.close()
        self.turn_until(lambda: served.lost is not None)
        other.sendall(b"go on")
        self.turn_until(lambda: other_served.received == b"go on")
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_closed_by_another(self) -> None:
        """Who was closed by somebody told in the same turn is not told any more."""
        pairs = [self.client() for _ in range(2)]

        def drop_others(listener: Listener, data: bytes) -> None:
            for served in self.served:
                if served is not listener:
                    served.transport.abortConnection()
                    served.transport.stopReading()

        self.heard = drop_others
        for client, _ in pairs:
            client.sendall(b"data")
        self.turn_until(lambda: any(served.lost for _, served in pairs))
        self.assertEqual(sorted(served.received for _, served in pairs), [b"", b"data"])


CHOICE = "import {first}; from twisted_kong.service import the_reactor; print(type(the_reactor()).__name__)"


@pytest.mark.parametrize(
    ("first", "chosen"),
    [("sys", "GatewayReactor"), ("twisted.internet.selectreactor as other; other.install()", "SelectReactor")],
)
def test_choice(first: str, chosen: str) -> None:
    """The gateway runs on its own reactor, unless another one has been installed."""
    done = subprocess.run([sys.executable, "-c", CHOICE.format(first=first)], capture_output=True, text=True)
    assert (done.stdout.strip(), done.stderr) == (chosen, "")


def test_named() -> None:
    """Any plugin of twistd can be told to use it, as ``--reactor=kong-gateway``."""
    code = (
        "from twisted.application.reactors import installReactor; installReactor('kong-gateway');"
        "from twisted.internet import reactor; print(type(reactor).__name__)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.stdout.strip(), done.stderr) == ("GatewayReactor", "")
