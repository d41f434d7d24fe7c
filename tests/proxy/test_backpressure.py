"""Nobody is read from faster than what is read is taken: both ways, whatever the size."""

from __future__ import annotations

import pytest
import spoken
from loopback import GET, Lab, Line, post

from twisted_kong.proxy.sending import PIECES_A_TURN
from twisted_kong.proxy.wire import READ_SIZE

BODY = bytes(range(256)) * 8000
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def chunked(body: bytes, size: int) -> bytes:
    pieces = (body[at : at + size] for at in range(0, len(body), size))
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


def drain(lab: Lab, line: Line, size: int) -> int:
    """Take all that comes, ``size`` bytes at a time; the largest backlog there was."""
    most = 0
    while line.backlog:
        most = max(most, line.backlog)
        line.make_room(size)
        lab.wait()
    return most


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(BODY), BODY),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(BODY, 70_000),
        b"HTTP/1.1 200 OK\r\n\r\n" + BODY,
    ],
    ids=["length", "chunks", "until the end"],
)
@pytest.mark.parametrize("room", [1000, 300_000])
def test_slow_client(answer: bytes, room: int) -> None:
    """The origin is not read from while its client does not keep up; in the end the whole answer has arrived."""
    lab = Lab()
    client = lab.client(GET, room=room)
    origin = lab.origin()
    origin.send(answer)
    assert not origin.reading
    if not answer.startswith(b"HTTP/1.1 200 OK\r\nContent"):
        origin.close()
    most = drain(lab, client, room)
    message = spoken.answer(client.received)
    assert message.body == BODY
    assert message.complete
    assert most <= READ_SIZE + 1000
    assert client.lost is None
    lab.assert_idle()


def test_origin_is_read_from_again() -> None:
    """A client that keeps up again is noticed at once, and the origin's connection serves the next request."""
    lab = Lab()
    client = lab.client(GET, room=100)
    origin = lab.origin()
    origin.send(b"HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n" + bytes(100_000))
    assert not origin.reading
    client.make_room(None)
    assert origin.reading
    origin.send(bytes(200_000))
    client.send(GET)
    origin.send(OK)
    assert [answer.complete for answer in spoken.answers(client.received)] == [True, True]
    assert len(lab.dials) == 1


@pytest.mark.parametrize("framed", [True, False], ids=["length", "chunks"])
def test_slow_origin_of_a_streamed_body(framed: bool) -> None:
    """Without request_buffering the client is not read from while the origin does not keep up."""
    lab = Lab(route={"request_buffering": False})
    head = b"POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n"
    client = lab.client(post(BODY) if framed else head + chunked(BODY, 70_000))
    assert not client.reading
    origin = lab.dials[0].accept(room=1000)
    lab.wait()
    assert not client.reading
    most = drain(lab, origin, 50_000)
    (request,) = spoken.requests(origin.received)
    assert (request.body == BODY, request.complete) == (True, True)
    assert most <= 2 * READ_SIZE + 1000
    origin.send(OK)
    assert spoken.answer(client.received).status == 200
    lab.assert_idle()


def test_slow_origin_of_a_kept_body() -> None:
    """A kept body is read from its file as fast as the origin takes it, and no faster."""
    lab = Lab(settings={"nginx_http_client_body_buffer_size": "1k"})
    client = lab.client(post(BODY))
    origin = lab.dials[0].accept(room=1000)
    most = drain(lab, origin, 50_000)
    assert spoken.requests(origin.received)[0].body == BODY
    assert most <= READ_SIZE + 1000
    origin.send(OK)
    assert spoken.answer(client.received).status == 200
    lab.assert_idle()


def test_a_large_kept_body_takes_turns() -> None:
    """However fast an origin takes a large body, others have their turn after a bounded part of it."""
    lab = Lab(settings={"nginx_http_client_body_buffer_size": "1k"})
    body = bytes(range(256)) * 4096 * 4
    client = lab.client(post(body))
    lab.turns()
    origin = lab.origin()
    assert PIECES_A_TURN * READ_SIZE <= len(origin.received) < PIECES_A_TURN * READ_SIZE + 1024 < len(body)
    lab.turns()
    assert origin.received.endswith(body)
    origin.send(OK)
    assert spoken.answer(client.received).status == 200
    lab.assert_idle()


def test_an_origin_lost_between_turns() -> None:
    """An upload whose connection is gone when its turn comes goes on to nobody."""
    lab = Lab(service={"retries": 0}, settings={"nginx_http_client_body_buffer_size": "1k"})
    client = lab.client(post(b"x" * (4 << 20)))
    lab.origin().reset()
    lab.turns()
    assert spoken.answer(client.received).status == 502
    lab.assert_idle()


def test_both_are_slow() -> None:
    """A streamed body and its early answer wait for each other's readers independently."""
    lab = Lab(route={"request_buffering": False})
    client = lab.client(post(BODY), room=1000)
    origin = lab.dials[0].accept(room=1000)
    lab.wait()
    origin.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(BODY), BODY))
    while client.backlog or origin.backlog:
        client.make_room(10_000)
        origin.make_room(30_000)
        lab.wait()
    assert spoken.requests(origin.received)[0].body == BODY
    assert spoken.answer(client.received).body == BODY
    lab.assert_idle()


def test_answers_that_are_not_taken_hold_the_pipeline() -> None:
    """Who pipelines requests and takes no answers is not served more of them."""
    lab = Lab(route={"hosts": ["b.test"]})
    client = lab.client(GET * 5000, room=1000)
    assert client.backlog < 1000
    assert not client.reading
    drain(lab, client, 10_000)
    assert [answer.status for answer in spoken.answers(client.received)] == [404] * 5000
    assert client.reading
    lab.assert_idle()


def test_next_request_waits_for_the_answer_to_be_taken() -> None:
    """A request that came while the answer before it is still being taken is begun afterwards."""
    lab = Lab()
    client = lab.client(GET, room=10)
    origin = lab.origin()
    origin.send(OK)
    client.send(GET)
    assert spoken.requests(origin.received)[1:] == []
    client.make_room(None)
    origin.send(OK)
    assert [answer.status for answer in spoken.answers(client.received)] == [200, 200]
    lab.assert_idle()
