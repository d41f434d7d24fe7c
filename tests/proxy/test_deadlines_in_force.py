"""What waits for how long: the client for the gateway, the gateway for the client and for the peer."""

from __future__ import annotations

import pytest
import spoken
from loopback import GET, OK, Lab, post

CLIENT = {
    "nginx_http_client_header_timeout": "10s",
    "nginx_http_client_body_timeout": "20s",
    "nginx_http_send_timeout": "30s",
    "nginx_http_keepalive_timeout": "40s",
    "upstream_keepalive_idle_timeout": "50",
}
PEER = {"connect_timeout": 1000, "write_timeout": 2000, "read_timeout": 4000, "retries": 0}
GRAIN = 0.02


def until(seconds: float) -> tuple[float, float]:
    """Two waits: up to just before the deadline, and to just after it."""
    return seconds - GRAIN, 2 * GRAIN


# -- the client ------------------------------------------------------------------------------------------------


def test_silent_client() -> None:
    """A client that says nothing is let go without a word."""
    lab = Lab(settings=CLIENT)
    client = lab.client()
    before, after = until(10)
    lab.wait(before)
    assert client.lost is None
    lab.wait(after)
    assert (client.closed, client.received) == (True, b"")


def test_slow_head() -> None:
    """A head that is not complete in time is a 408, however steadily it comes."""
    lab = Lab(settings=CLIENT)
    client = lab.client(b"GET / HTTP/1.1\r\n")
    for _ in range(9):
        lab.wait(1)
        client.send(b"X: y\r\n")
    lab.wait(0.9)
    assert client.received == b""
    lab.wait(0.2)
    answer = spoken.answer(client.received)
    assert (answer.status, answer.value(b"connection"), client.ended) == (408, b"close", True)
    lab.wait(6)
    assert client.lost is not None
    lab.assert_idle()


def test_slow_head_of_a_later_request() -> None:
    """The same holds for every request of a connection, from its own first byte on."""
    lab = Lab(settings=CLIENT)
    client = lab.client(GET)
    lab.origin().send(OK)
    lab.wait(35)
    client.send(b"GET / HT")
    before, after = until(10)
    lab.wait(before)
    client.send(b"TP/1.1\r\n")
    assert client.lost is None
    lab.wait(after)
    assert [answer.status for answer in spoken.answers(client.received)] == [200, 408]


def test_idle_client() -> None:
    """A connection without a request is closed after a while, counted from its last answer."""
    lab = Lab(settings=CLIENT)
    client = lab.client(GET)
    lab.wait(3)
    origin = lab.origin()
    origin.send(OK)
    before, after = until(40)
    lab.wait(before)
    assert client.lost is None
    lab.wait(after)
    assert client.closed
    assert spoken.answer(client.received).complete


def test_idle_after_reading_slowly() -> None:
    """The same holds for a client that has taken its answer late, from then on."""
    lab = Lab(settings=CLIENT)
    client = lab.client(GET, room=10)
    lab.origin().send(OK)
    lab.wait(20)
    client.make_room(None)
    before, after = until(40)
    lab.wait(before)
    assert client.lost is None
    lab.wait(after)
    assert client.closed


@pytest.mark.parametrize("buffering", [True, False])
def test_body_that_stops(buffering: bool) -> None:
    """A body of which nothing comes is a 408, counted from its last piece; what was sent of it is broken off."""
    lab = Lab(settings=CLIENT, route={"request_buffering": buffering}, service={"read_timeout": 1000})
    client = lab.client(post(length=100))
    if not buffering:
        lab.origin()
        lab.wait()
    for _ in range(3):
        lab.wait(15)
        client.send(b"piece")
    before, after = until(20)
    lab.wait(before)
    assert client.received == b""
    lab.wait(after)
    assert spoken.answer(client.received).status == 408
    assert client.ended
    assert all(origin.aborted for origin in lab.origins())
    lab.wait(10)
    lab.assert_idle()


def test_body_nobody_wants_that_stops() -> None:
    """After an early answer the rest of the body is not waited for without end either."""
    lab = Lab(settings=CLIENT, route={"request_buffering": False})
    client = lab.client(post(length=100))
    lab.origin().send(OK)
    before, after = until(20)
    lab.wait(before)
    assert client.lost is None
    lab.wait(after + 6)
    assert client.lost is not None
    assert spoken.answer(client.received).status == 200
    lab.assert_idle()


def test_client_that_is_held_is_not_late() -> None:
    """Who is not read from cannot be late with its body: what counts is the peer's timeout."""
    lab = Lab(settings=CLIENT, route={"request_buffering": False}, service={"connect_timeout": 60_000, "retries": 0})
    client = lab.client(post(b"half", length=8))
    assert not client.reading
    lab.wait(25)
    assert client.received == b""
    lab.wait(40)
    assert spoken.answer(client.received).status == 504
    lab.assert_idle()


def test_held_client_has_its_time_again() -> None:
    """A client that may go on is given the whole time from then on."""
    lab = Lab(settings=CLIENT, route={"request_buffering": False}, service={"write_timeout": 60_000})
    client = lab.client(post(b"half", length=8))
    origin = lab.dials[0].accept(room=10)
    lab.wait(50)
    assert not client.reading
    origin.make_room(None)
    before, after = until(20)
    lab.wait(before)
    assert (client.reading, client.received) == (True, b"")
    lab.wait(after)
    assert spoken.answer(client.received).status == 408


def test_client_that_does_not_read() -> None:
    """A client that takes nothing of its answer is cut off, and the peer's work with it."""
    lab = Lab(settings=CLIENT)
    client = lab.client(GET, room=100)
    origin = lab.origin()
    origin.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + bytes(1000))
    before, after = until(30)
    lab.wait(before)
    assert client.lost is None
    lab.wait(after)
    assert client.aborted
    lab.wait()
    assert origin.aborted
    lab.assert_idle()


def test_client_that_does_not_read_the_end() -> None:
    """The same when the whole answer is written already and the connection would be kept, or closed."""
    for request in (GET, GET.replace(b"1.1", b"1.0")):
        lab = Lab(settings=CLIENT)
        client = lab.client(request, room=100)
        lab.origin().send(OK)
        assert client.backlog
        lab.wait(31)
        assert client.aborted
        lab.assert_idle()


def test_waiting_client_is_not_late() -> None:
    """While the gateway works nothing is expected of the client."""
    lab = Lab(settings=CLIENT, service={"read_timeout": 1_000_000})
    client = lab.client(post(b"body"))
    origin = lab.origin()
    lab.wait(900)
    origin.send(OK)
    assert spoken.answer(client.received).status == 200
    assert client.lost is None


# -- the peer --------------------------------------------------------------------------------------------------


def test_connect_timeout() -> None:
    """A connection that is not established in time is given up."""
    lab = Lab(service=PEER)
    client = lab.client(GET)
    before, after = until(1)
    lab.wait(before)
    assert client.received == b""
    lab.wait(after)
    assert spoken.answer(client.received).status == 504
    lab.assert_idle()


def test_read_timeout() -> None:
    """An answer that does not begin in time, counted from the end of the request, is not waited for."""
    lab = Lab(service=PEER)
    client = lab.client(GET)
    lab.wait(0.5)
    origin = lab.origin()
    before, after = until(4)
    lab.wait(before)
    assert client.received == b""
    lab.wait(after)
    assert spoken.answer(client.received).status == 504
    lab.wait()
    assert origin.aborted
    lab.assert_idle()


@pytest.mark.parametrize(
    "head", [b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n"], ids=["length", "none"]
)
def test_pauses_of_an_answer(head: bytes) -> None:
    """An answer may take any time while its pauses are short; a long pause breaks it off."""
    lab = Lab(service=PEER)
    client = lab.client(GET)
    origin = lab.origin()
    for piece in (head[:5], head[5:-2], head[-2:], b"a", b"b"):
        lab.wait(3)
        origin.send(piece)
    lab.wait(4.1)
    answer = spoken.answer(client.received)
    assert (answer.body, answer.complete) == (b"ab", False)
    assert client.lost is not None
    lab.wait()
    assert origin.aborted
    assert lab.outcomes[0][1].failure == "timeout"
    lab.assert_idle()


def test_write_timeout() -> None:
    """A peer that does not take the request in time is given up."""
    lab = Lab(service=PEER)
    client = lab.client(post(bytes(500_000)))
    origin = lab.dials[0].accept(room=1000)
    for _ in range(3):
        lab.wait(1.9)
        origin.make_room(200_000)
    assert client.received == b""
    assert origin.backlog == 0
    lab.wait(4.1)
    assert spoken.answer(client.received).status == 504
    lab.assert_idle()


def test_write_timeout_of_a_peer_that_stops() -> None:
    """The same in the middle of the request; the client learns of it at once."""
    lab = Lab(service=PEER)
    client = lab.client(post(bytes(500_000)))
    lab.dials[0].accept(room=150_000)
    before, after = until(2)
    lab.wait(before)
    assert client.received == b""
    lab.wait(after)
    assert spoken.answer(client.received).status == 504
    lab.assert_idle()


def test_waiting_peer_is_not_late() -> None:
    """While the client is slow with its body nothing is expected of the peer."""
    lab = Lab(service=PEER, route={"request_buffering": False})
    client = lab.client(post(length=8))
    origin = lab.origin()
    lab.wait(50)
    client.send(b"half")
    lab.wait(50)
    client.send(b"half")
    assert client.received == b""
    lab.wait(3.9)
    origin.send(OK)
    assert spoken.answer(client.received).status == 200


def test_held_peer_is_not_late() -> None:
    """While the client is slow with reading nothing is expected of the peer, whatever else goes on."""
    for request in (GET, post(b"half", length=8)):
        lab = Lab(service=PEER, route={"request_buffering": False})
        client = lab.client(request, room=1000)
        origin = lab.origin()
        lab.wait()
        origin.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n" + bytes(4000))
        assert not origin.reading
        if request is not GET:
            client.send(b"half")
        lab.wait(30)
        client.make_room(None)
        lab.wait()
        origin.send(bytes(1000))
        assert spoken.answer(client.received).complete
        lab.assert_idle()


def test_idle_peer() -> None:
    """A kept connection nobody uses is closed after a while."""
    lab = Lab(settings=CLIENT)
    lab.client(GET)
    origin = lab.origin()
    origin.send(OK)
    before, after = until(50)
    lab.wait(before)
    assert origin.lost is None
    lab.wait(after)
    assert origin.closed


def test_kept_connection_in_use_is_not_idle() -> None:
    """The time a connection has waited in the pool says nothing about the request it carries then."""
    lab = Lab(settings={**CLIENT, "nginx_http_keepalive_timeout": "90s"})
    client = lab.client(GET)
    origin = lab.origin()
    origin.send(OK)
    lab.wait(49)
    client.send(GET)
    lab.wait(30)
    origin.send(OK)
    assert [answer.status for answer in spoken.answers(client.received)] == [200, 200]
    assert len(lab.dials) == 1
