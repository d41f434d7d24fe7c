"""Connections that wait for the next request: who gets which, how many wait, and which are not used again."""

from __future__ import annotations

import pytest
import spoken
from loopback import GET, OK, Lab, Line, post

from twisted_kong.proxy.client import UpstreamConnection
from twisted_kong.proxy.pool import Pool
from twisted_kong.tasks import Deadlines


def serving(lab: Lab, count: int) -> list[Line]:
    """So many connections to the origin, each with a request of a client of its own."""
    first = len(lab.dials)
    for _ in range(count):
        lab.client(GET)
    return [lab.origin(number) for number in range(first, first + count)]


def test_last_in_first_out() -> None:
    """The connection that came back last is taken first."""
    lab = Lab()
    lines = serving(lab, 3)
    for number in (1, 0, 2):
        lines[number].send(OK)
        lines[number].take()
    lab.client(GET)
    lab.client(GET)
    assert [bool(line.received) for line in lines] == [True, False, True]


def test_parallel_requests_do_not_share() -> None:
    """A connection carries one request at a time."""
    lab = Lab()
    assert [len(spoken.requests(line.received)) for line in serving(lab, 10)] == [1] * 10


def test_clients_share() -> None:
    """What one client's request has opened another's may use."""
    lab = Lab()
    for _ in range(5):
        lab.client(GET)
        (lab.origins() or [lab.origin()])[0].send(OK)
    assert len(lab.dials) == 1
    lab.assert_idle()


def test_peers_do_not_share() -> None:
    """A connection to one peer is never used for another."""
    lab = Lab(("10.0.0.1:80", "10.0.0.1:81", "10.0.0.2:80"))
    client = lab.client(GET)
    lab.origin().send(OK)
    client.send(GET)
    for _ in range(2):
        lab.origins()[-1].reset()
        lab.dials[-1].refuse()
    assert [(dial.address.host, dial.address.port) for dial in lab.dials] == [
        ("10.0.0.1", 80),
        ("10.0.0.1", 80),
        ("10.0.0.1", 81),
        ("10.0.0.2", 80),
    ]


@pytest.mark.parametrize("size", [0, 1, 3])
def test_size(size: int) -> None:
    """At most ``upstream_keepalive_pool_size`` connections wait; the one that has waited longest gives way."""
    lab = Lab(settings={"upstream_keepalive_pool_size": str(size)})
    lines = serving(lab, 5)
    for line in lines:
        line.send(OK)
    lab.wait()
    assert [line.closed for line in lines] == [True] * (5 - size) + [False] * size


@pytest.mark.parametrize("requests", [1, 3])
def test_number_of_requests(requests: int) -> None:
    """A connection is closed after ``upstream_keepalive_max_requests``."""
    lab = Lab(settings={"upstream_keepalive_max_requests": str(requests)})
    client = lab.client()
    for number in range(7):
        client.send(GET)
        if number % requests == 0:
            lab.origin()
        lab.origins()[-1].send(OK)
    lab.wait()
    assert [len(spoken.requests(line.received)) for line in lab.origins()] == [requests] * (7 // requests) + [1] * (
        7 % requests
    )
    assert [line.closed for line in lab.origins()] == [True] * (7 // requests) + [False] * (7 % requests)


def test_any_number_of_requests() -> None:
    """Zero means no end."""
    lab = Lab(settings={"upstream_keepalive_max_requests": "0"})
    client = lab.client()
    for _ in range(50):
        client.send(GET)
        (lab.origins() or [lab.origin()])[0].send(OK)
    assert len(lab.dials) == 1


def test_no_idle_timeout() -> None:
    """An idle timeout of zero keeps a connection for ever."""
    lab = Lab(settings={"upstream_keepalive_idle_timeout": "0"})
    lab.client(GET)
    origin = lab.origin()
    origin.send(OK)
    lab.wait(1000)
    assert origin.lost is None


@pytest.mark.parametrize("how", ["close", "reset"])
def test_dead_connection_is_forgotten(how: str) -> None:
    """A connection that its origin has closed meanwhile is not offered any more."""
    lab = Lab(service={"retries": 0})
    client = lab.client(GET)
    origin = lab.origin()
    origin.send(OK)
    getattr(origin, how)()
    client.send(post(b"body"))
    assert len(lab.dials) == 2
    lab.origin().send(OK)
    assert [answer.status for answer in spoken.answers(client.received)] == [200, 200]
    lab.assert_idle()


def test_nobody_asked() -> None:
    """An idle connection on which something comes is closed, and what came is no answer to anybody's request."""
    lab = Lab()
    client = lab.client(GET)
    origin = lab.origin()
    origin.send(OK)
    origin.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
    client.send(GET)
    assert len(lab.dials) == 2
    lab.origin().send(OK)
    lab.wait()
    assert origin.aborted
    assert b"evil" not in client.received
    lab.assert_idle()


def test_no_longer_offered_once_its_time_is_up() -> None:
    """A connection that is being closed for its idleness is not given a request in the same turn."""
    lab = Lab(settings={"upstream_keepalive_idle_timeout": "50"}, service={"retries": 0})
    client = lab.client(GET)
    origin = lab.origin()
    origin.send(OK)
    origin.take()
    lab.network.callLater(50, client.send, post(b"body"))
    lab.network.advance(50)
    assert origin.take() == b""
    assert len(lab.dials) == 2


def test_shutdown_closes_what_waits() -> None:
    """A proxy that closes lets go of its idle connections and of every timer."""
    lab = Lab()
    lines = serving(lab, 3)
    for line in lines[:2]:
        line.send(OK)
    lab.core.close()
    lab.wait()
    assert [line.closed for line in lines] == [True, True, False]
    lab.listener.abort()
    lab.wait()
    lab.core.close()
    assert lab.network.getDelayedCalls() == []


class _Attempt:
    """Who a connection works for, and does not care."""

    def connected(self, connection: object) -> None: ...
    def not_connected(self, reason: object) -> None: ...
    def answered(self, head: object, content: bytes, ended: bool) -> None: ...
    def went_on(self, content: bytes, ended: bool) -> None: ...
    def trailed(self, lines: bytes) -> None: ...
    def failed(self, failure: str, reason: str) -> None: ...
    def upload_drained(self) -> None: ...
    def switched(self, head: object, rest: bytes) -> None: ...


def test_pool_keeps_nothing_of_the_gone() -> None:
    """When the last connection of a key is gone nothing is left of the key."""
    lab = Lab()
    pool = Pool(2, 9, None)
    parser, deadlines = lab.core.response_parser, Deadlines(lab.network)
    connections = [UpstreamConnection(("h", 1), pool, deadlines, parser, _Attempt()) for _ in range(2)]
    for connection in connections:
        pool.put(connection)
    assert pool.take(("h", 2)) is None
    assert pool.take(("h", 1)) is connections[1]
    for connection in connections:
        pool.forget(connection)
        pool.forget(connection)
    assert pool.take(("h", 1)) is None
    assert pool._waiting == {}
