"""Trailers over HTTP/1.1, and connections that end on one side."""

from __future__ import annotations

import pytest
from loopback import GET, OK, Lab

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n"
END = b"2\r\nok\r\n0\r\nX-Sum: 7\r\nContent-Length: 9\r\n\r\n"


def get(*lines: bytes, version: bytes = b"1.1") -> bytes:
    return b"GET / HTTP/%b\r\nHost: a.test\r\n%b\r\n" % (version, b"".join(line + b"\r\n" for line in lines))


@pytest.mark.parametrize("at_once", [True, False])
def test_client_that_takes_trailers(at_once: bool) -> None:
    """Whoever says ``TE: trailers`` gets those of an answer in chunks, but for what would frame it anew."""
    lab = Lab()
    client = lab.client(get(b"TE: trailers", b"Connection: TE"))
    origin = lab.origin()
    assert b"\r\nTE: trailers\r\n" in origin.received
    if at_once:
        origin.send(CHUNKED + END)
    else:
        origin.send(CHUNKED)
        for byte in END:
            origin.send(bytes([byte]))
    assert client.received.endswith(b"\r\n0\r\nX-Sum: 7\r\n\r\n")
    client.take()
    client.send(GET)
    origin.send(OK)
    assert client.received.endswith(b"\r\n\r\nok")
    lab.assert_idle()


@pytest.mark.parametrize(
    ("said", "passed"),
    [
        (b"X-Sum", b"Trailer: X-Sum"),
        (b"X-Sum, Content-Length,x-b", b"Trailer: X-Sum, x-b"),
        (b"Content-Length", None),
        (b"", None),
        (b"not a name", None),
    ],
)
def test_announced(said: bytes, passed: bytes | None) -> None:
    """Trailers that are passed on are announced as the origin does; what is not passed on is not announced."""
    lab = Lab()
    client = lab.client(get(b"TE: trailers"))
    lab.origin().send(CHUNKED.replace(b"X-Sum", said) + END)
    lines = [line for line in client.received.split(b"\r\n\r\n")[0].split(b"\r\n") if line.startswith(b"Trailer")]
    assert lines == ([] if passed is None else [passed])


@pytest.mark.parametrize(
    ("request_", "answer"),
    [
        (GET, CHUNKED + END),
        (get(b"TE: trailers", version=b"1.0"), CHUNKED + END),
        (get(b"TE: trailers"), b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTrailer: X-Sum\r\n\r\nok"),
    ],
)
def test_not_announced(request_: bytes, answer: bytes) -> None:
    """Where no trailers can come none are announced."""
    lab = Lab()
    client = lab.client(request_)
    lab.origin().send(answer)
    assert b"200 OK" in client.received
    assert b"Trailer" not in client.received


def test_announced_by_a_client() -> None:
    """What a client announces does not reach an origin, which gets no trailers."""
    lab = Lab()
    lab.client(b"POST / HTTP/1.1\r\nHost: a.test\r\nTrailer: X\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: y\r\n\r\n")
    assert b"Trailer" not in lab.origin().received


@pytest.mark.parametrize("lines", [(), (b"TE: gzip",), (b"Connection: close",)])
def test_client_that_does_not(lines: tuple[bytes, ...]) -> None:
    """Nobody else gets them."""
    lab = Lab()
    client = lab.client(get(*lines))
    lab.origin().send(CHUNKED + END)
    assert client.received.endswith(b"2\r\nok\r\n0\r\n\r\n")
    assert b"X-Sum" not in client.received
    lab.assert_idle()


def test_client_of_http_1_0() -> None:
    """Where there are no chunks there are no trailers."""
    lab = Lab()
    client = lab.client(get(b"TE: trailers", version=b"1.0"))
    lab.origin().send(CHUNKED + END)
    assert client.received.endswith(b"\r\n\r\nok")
    lab.assert_idle()


def test_trailers_of_one_answer_are_not_those_of_the_next() -> None:
    """What follows one answer does not follow another."""
    lab = Lab()
    client = lab.client(get(b"TE: trailers"))
    origin = lab.origin()
    origin.send(CHUNKED + END)
    client.take()
    client.send(get(b"TE: trailers"))
    origin.send(CHUNKED + b"2\r\nok\r\n0\r\n\r\n")
    assert client.received.endswith(b"2\r\nok\r\n0\r\n\r\n")
    lab.assert_idle()


@pytest.mark.parametrize("buffering", [True, False])
def test_trailers_of_a_request(buffering: bool) -> None:
    """An origin asked over HTTP/1.1 gets none: what it would make of them is not known."""
    lab = Lab(route={"request_buffering": buffering})
    client = lab.client(
        b"POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nX: y\r\n\r\n"
    )
    origin = lab.origin()
    assert b"X: y" not in origin.received
    assert origin.received.endswith(b"\r\n\r\nx" if buffering else b"1\r\nx\r\n0\r\n\r\n")
    origin.send(OK)
    assert client.received.endswith(b"ok")
    lab.assert_idle()
