"""Requests and answers that leave at the end of a turn: what that may not change for clients and origins."""

# mypy: allow-untyped-calls
# Trial's assertions and Twisted's reactors carry no types.

from __future__ import annotations

import contextlib
import socket
from random import Random
from typing import Any

from loopback import OK, Questions, entities, post
from turns import TurnedByHand

from twisted_kong.balancing.roundrobin import RoundRobinFactory
from twisted_kong.model.changes import Change
from twisted_kong.model.snapshot import EMPTY
from twisted_kong.proxy.core import ProxyCore
from twisted_kong.proxy.listeners import ProxyListener
from twisted_kong.runtime.gateway import Gateway
from twisted_kong.runtime.names import Names
from twisted_kong.settings import load

GET = b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"
HEAD_END = b"\r\n\r\n"


class PostedTests(TurnedByHand):
    """The proxy; clients and the origin are plain sockets."""

    def setUp(self) -> None:
        super().setUp()
        self.origin = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(self.origin.close)
        self.origin.setblocking(False)
        settings = load(None, {}, {})
        names = Names(Questions(), self.reactor)
        gateway = Gateway({"round-robin": RoundRobinFactory()}, settings.router_flavor, names)
        target = f"127.0.0.1:{self.origin.getsockname()[1]}"
        gateway.apply(EMPTY, EMPTY.with_change(Change(puts=tuple(entities([target], {}, {}, {}, 100)))))
        self.core = ProxyCore(self.reactor, settings, gateway, names, Random(7))
        self.listener = ProxyListener(self.core, settings)
        self.port = self.reactor.listenTCP(0, self.listener, interface="127.0.0.1")

    def client(self) -> socket.socket:
        """A client whose connection has been accepted."""
        before = len(self.listener.connections)
        client = socket.create_connection(("127.0.0.1", self.port.getHost().port))
        self.addCleanup(client.close)
        client.setblocking(False)
        self.turn_until(lambda: len(self.listener.connections) > before)
        return client

    def accepted(self) -> socket.socket:
        """The origin's end of the next connection to it."""
        found: list[socket.socket] = []

        def there() -> bool:
            with contextlib.suppress(BlockingIOError):
                found.append(self.origin.accept()[0])
            return bool(found)

        self.turn_until(there)
        self.addCleanup(found[0].close)
        found[0].setblocking(False)
        return found[0]

    def heard(self, end: socket.socket, last: bytes = HEAD_END) -> bytes:
        """What this end hears, up to ``last``."""
        return self.received(end, lambda found: found.endswith(last))

    def kept(self) -> tuple[socket.socket, socket.socket]:
        """A client and the origin's end of a connection, after one request over both."""
        client = self.client()
        client.sendall(GET)
        origin = self.accepted()
        self.heard(origin)
        origin.sendall(OK)
        self.heard(client, b"ok")
        return client, origin

    def test_once_means_at_once(self) -> None:
        """What may be sent only once leaves while the connection is known to be alive; anything else can wait."""
        client, origin = self.kept()
        other = self.client()
        seen: list[bytes] = []
        hold = self.listener.core.match

        def match(*arguments: Any) -> Any:
            with contextlib.suppress(BlockingIOError):
                seen.append(origin.recv(65536))
            return hold(*arguments)

        client.sendall(post(b"x"))
        other.sendall(GET)
        self.patch(self.core, "match", match)
        self.turn_until(lambda: seen)
        self.assertTrue(seen[0].startswith(b"POST / HTTP/1.1\r\n"), seen)

    def test_last_words(self) -> None:
        """A client that says no more in the turn in which its answer comes gets that answer."""
        client, origin = self.kept()
        client.sendall(GET)
        self.heard(origin)
        self.turn()  # nothing is left that epoll would look at first
        origin.sendall(OK)
        client.shutdown(socket.SHUT_WR)
        self.assertTrue(self.heard(client, b"ok").startswith(b"HTTP/1.1 200 OK\r\n"))

    def test_an_answer_to_nothing(self) -> None:
        """What an idle origin says in the turn in which it is to be asked is no answer: another connection is asked."""
        client, origin = self.kept()
        self.turn()
        client.sendall(GET)
        origin.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nstray")
        fresh = self.accepted()
        self.heard(fresh)
        fresh.sendall(OK)
        self.assertTrue(self.heard(client, b"ok").startswith(b"HTTP/1.1 200 OK\r\n"))
        self.turn_until(lambda: self.core.pool.connections == 1)

    def test_a_dead_connection(self) -> None:
        """A request that was posted to a connection that ends in the same turn is sent over another one."""
        client, origin = self.kept()
        self.turn()
        client.sendall(GET)
        origin.close()
        fresh = self.accepted()
        self.assertTrue(self.heard(fresh).startswith(b"GET / HTTP/1.1\r\n"))
        fresh.sendall(OK)
        self.assertTrue(self.heard(client, b"ok").startswith(b"HTTP/1.1 200 OK\r\n"))
