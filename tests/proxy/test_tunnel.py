"""Upgrades to WebSocket in memory: who is asked, what follows a 101, how it is held up, and how it ends."""

from __future__ import annotations

import pytest
from loopback import GET, OK, Lab, Line
from secured import SecureLab, change_service, leaf, origin, put, showing

from twisted_kong.model.traffic import Outcome

ASK = (
    b"GET /chat HTTP/1.1\r\nHost: a.test\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Key: k\r\n\r\n"
)
SWITCH = (
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: s\r\n\r\n"
)
BYTES = bytes(range(256)) * 4096


def opened(lab: Lab, *, room: int | None = None) -> tuple[Line, Line]:
    """A tunnel: the ends of the client and of the origin."""
    client = lab.client(ASK)
    peer = lab.dials[-1].accept() if lab.dials[-1].waiting else lab.origins()[-1]
    assert peer.take()
    peer.room = room
    peer.send(SWITCH)
    assert client.take().startswith(b"HTTP/1.1 101 ")
    return client, peer


# -- the handshake -----------------------------------------------------------------------------------------------


def test_the_handshake() -> None:
    """The origin is asked for WebSocket, and its 101 is the client's."""
    lab = Lab()
    client = lab.client(ASK)
    peer = lab.origin()
    asked = peer.take()
    assert b"\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n" in asked
    assert b"\r\nSec-WebSocket-Key: k\r\n" in asked
    assert b"\r\nX-Forwarded-For: 192.0.2.7\r\n" in asked
    peer.send(SWITCH)
    head = client.take()
    assert head.startswith(b"HTTP/1.1 101 Switching Protocols\r\n")
    assert head.count(b"\r\nConnection: ") == head.count(b"\r\nUpgrade: ") == 1
    assert b"\r\nConnection: upgrade\r\nUpgrade: websocket\r\n" in head
    assert b"\r\nSec-WebSocket-Accept: s\r\n" in head
    assert b"Content-Length" not in head
    assert b"chunked" not in head


ORDINARY = {
    "another protocol": ASK.replace(b"websocket", b"h2c"),
    "several": ASK.replace(b"websocket", b"websocket, h2c"),
    "not named in Connection": ASK.replace(b"keep-alive, Upgrade", b"keep-alive"),
    "HTTP/1.0": ASK.replace(b"HTTP/1.1", b"HTTP/1.0"),
    "another method": ASK.replace(b"GET", b"OPTIONS"),
    "with a body": ASK.replace(b"\r\n\r\n", b"\r\nContent-Length: 2\r\n\r\nhi"),
}


@pytest.mark.parametrize("asked", ORDINARY.values(), ids=ORDINARY)
def test_ordinary_requests(asked: bytes) -> None:
    """Anything but a WebSocket handshake to the letter is an ordinary request: the origin sees no Upgrade."""
    lab = Lab()
    client = lab.client(asked)
    peer = lab.origin()
    assert b"Upgrade" not in peer.take()
    peer.send(SWITCH)
    assert client.take().split()[1] == b"502"
    lab.assert_idle()


@pytest.mark.parametrize("said", [b"", b"Upgrade: h2c\r\n"])
def test_a_101_for_something_else(said: bytes) -> None:
    """A 101 that does not say websocket is no answer."""
    lab = Lab(service={"retries": 0})
    client = lab.client(ASK)
    lab.origin().send(SWITCH.replace(b"Upgrade: websocket\r\n", said))
    assert client.take().split()[1] == b"502"
    lab.assert_idle()


def test_refused() -> None:
    """An origin that does not want to gives an ordinary answer; the connections go on as HTTP, and nobody tunnels."""
    lab = Lab()
    client = lab.client(ASK + GET)
    peer = lab.origin()
    peer.take()
    peer.send(b"HTTP/1.1 426 Upgrade Required\r\nContent-Length: 2\r\n\r\nno")
    assert peer.take().startswith(b"GET / HTTP/1.1\r\n")
    peer.send(OK)
    answers = client.take()
    assert answers.startswith(b"HTTP/1.1 426 ")
    assert answers.endswith(b"ok")
    lab.assert_idle()


def test_retried() -> None:
    """A handshake is an attempt like any other: the next target is asked where one does not answer."""
    lab = Lab(("10.0.0.1:80", "10.0.0.2:80"))
    client = lab.client(ASK)
    lab.dials[0].refuse()
    lab.origin().send(SWITCH)
    assert client.take().startswith(b"HTTP/1.1 101 ")


# -- the tunnel --------------------------------------------------------------------------------------------------


def test_bytes_both_ways() -> None:
    """What either side sends arrives at the other as it is, whatever it looks like."""
    lab = Lab()
    client, peer = opened(lab)
    for data in (b"\x81\x05hello", GET, OK, BYTES, b"\xff\xfe\x00"):
        client.send(data)
        assert peer.take() == data
        peer.send(data)
        assert client.take() == data


def test_what_came_early() -> None:
    """What the client sends before it is answered, and the origin along with its answer, belongs to the tunnel."""
    lab = Lab()
    client = lab.client(ASK + b"early")
    peer = lab.origin()
    peer.take()
    peer.send(SWITCH + b"at once")
    assert peer.take() == b"early"
    assert client.take().endswith(b"\r\n\r\nat once")
    client.send(b"more")
    assert peer.take() == b"more"


def test_much_that_came_early() -> None:
    """A client that has sent more than is kept is read from again once there is a tunnel."""
    lab = Lab()
    client = lab.client(ASK + BYTES)
    peer = lab.origin()
    peer.take()
    assert not client.reading
    peer.send(SWITCH)
    received = peer.take()
    lab.wait()
    assert received + peer.take() == BYTES


@pytest.mark.parametrize("from_client", [True, False])
def test_backpressure(from_client: bool) -> None:
    """A side that does not take what it is sent holds up the other, whose bytes wait in the network, not here."""
    lab = Lab()
    client, peer = opened(lab)
    source, sink = (client, peer) if from_client else (peer, client)
    sink.make_room(1000)
    source.send(BYTES)
    assert not source.reading
    assert sink.backlog <= 2 * 131072
    sink.send(b"the other way nothing is held up")
    assert source.take() == b"the other way nothing is held up"
    received = sink.take()
    sink.make_room(None)
    while len(received) < len(BYTES):
        lab.wait()
        more = sink.take()
        assert more or source.reading
        received += more
    assert received == BYTES


@pytest.mark.parametrize("from_client", [True, False])
def test_half_closed(from_client: bool) -> None:
    """A side that says no more still hears the other, until that ends as well; then all is closed and counted."""
    lab = Lab()
    client, peer = opened(lab)
    first, second = (client, peer) if from_client else (peer, client)
    first.send(b"last words")
    first.half_close()
    assert second.take() == b"last words"
    assert second.ended
    assert second.lost is None
    second.send(b"an answer")
    assert first.take() == b"an answer"
    assert lab.core.exchanges == 1
    second.half_close()
    lab.wait()
    assert client.closed
    assert peer.closed
    lab.assert_idle()


def test_half_closed_behind_a_backlog() -> None:
    """The end of one side is told to the other only behind all that came before it."""
    lab = Lab()
    client, peer = opened(lab)
    peer.make_room(0)
    client.send(b"x" * 1000)
    client.half_close()
    assert not peer.ended
    peer.make_room(None)
    assert peer.take() == b"x" * 1000
    assert peer.ended


@pytest.mark.parametrize("from_client", [True, False])
def test_reset(from_client: bool) -> None:
    """When one side is gone the other is closed, after it has been given what there was."""
    lab = Lab()
    client, peer = opened(lab)
    first, second = (client, peer) if from_client else (peer, client)
    first.send(b"last words")
    first.reset()
    lab.wait()
    assert second.take() == b"last words"
    assert second.closed
    lab.assert_idle()


def test_gone_while_the_other_does_not_listen() -> None:
    """A side that takes nothing any more is not waited for longer than write_timeout."""
    lab = Lab(service={"write_timeout": 3000})
    client, peer = opened(lab)
    peer.make_room(0)
    client.send(b"x" * 1000)
    client.reset()
    lab.wait(2.9)
    assert peer.lost is None
    lab.wait(0.2)
    assert peer.aborted
    lab.assert_idle()


def test_idle() -> None:
    """A tunnel in which nothing moves either way for read_timeout is closed, and no other."""
    lab = Lab(service={"read_timeout": 3000, "write_timeout": 9000})
    client, peer = opened(lab)
    for source in (client, peer, client):
        lab.wait(2.9)
        source.send(b"x")
    lab.wait(2.9)
    assert client.lost is peer.lost is None
    lab.wait(0.2)
    assert client.closed
    assert peer.closed
    lab.assert_idle()


def test_congested_for_too_long() -> None:
    """A side that takes nothing for write_timeout ends the tunnel."""
    lab = Lab(service={"read_timeout": 1000, "write_timeout": 5000})
    client, peer = opened(lab)
    client.make_room(0)
    peer.send(b"x" * 1000)
    lab.wait(4.9)
    assert client.lost is None
    lab.wait(0.2)
    assert client.aborted
    assert peer.aborted
    lab.assert_idle()


def test_the_lease_lasts() -> None:
    """A tunnel counts as a lease of its target until the client's connection ends, and then as a success."""
    lab = Lab()
    client, peer = opened(lab)
    lab.wait(30)
    client.send(b"x")
    assert lab.algorithm.leases() == 1
    assert lab.outcomes == []
    client.close()
    peer.close()
    lab.wait()
    assert lab.algorithm.leases() == 0
    ((_, outcome),) = lab.outcomes
    assert outcome == Outcome(None, 101, outcome.latency)
    lab.assert_idle()


def test_changes_leave_it_alone() -> None:
    """No change of the configuration, not even the deletion of all of it, ends a tunnel."""
    lab = Lab()
    client, peer = opened(lab)
    change_service(lab, host="10.0.0.9", read_timeout=1)
    snapshot = lab.core.gateway.snapshot
    for collection in ("routes", "services", "targets", "upstreams"):
        put(lab, deletes=list(snapshot.all(collection).values()))
    lab.wait(30)
    client.send(b"still")
    assert peer.take() == b"still"
    peer.send(b"here")
    assert client.take() == b"here"


def test_stopping() -> None:
    """A gateway that stops does not end a tunnel that is given time, and ends it when the time is up."""
    lab = Lab()
    client, peer = opened(lab)
    lab.listener.drain()
    lab.wait(1)
    client.send(b"still")
    assert peer.take() == b"still"
    assert lab.core.exchanges == 1
    lab.listener.abort()
    lab.wait()
    assert client.aborted
    assert peer.closed
    assert lab.listener.connections == set()
    lab.assert_idle()


def test_over_tls_both_ways() -> None:
    """Over TLS it is the same on either side, the end of one included."""
    lab = SecureLab(("10.0.0.1:443",), service={"protocol": "https"})
    client = lab.shaken().send(ASK)
    peer = origin(lab.dials[0], showing(leaf("a.test")))
    assert b"\r\nUpgrade: websocket\r\n" in peer.take()
    peer.send(SWITCH + b"at once")
    assert client.take().endswith(b"\r\n\r\nat once")
    client.send(BYTES)
    received = peer.take()
    while len(received) < len(BYTES):
        lab.wait()
        received += peer.take()
    assert received == BYTES
    peer.send(b"back")
    assert client.take() == b"back"
    client.say_goodbye()
    peer.take()
    assert peer.closed
    assert client.line.lost is None
    peer.send(b"an answer")
    assert client.take() == b"an answer"
    peer.say_goodbye()
    lab.wait()
    assert client.line.closed
    assert peer.line.closed
    lab.assert_idle()
