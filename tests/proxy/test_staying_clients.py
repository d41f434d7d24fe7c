"""Clients that end their side of the connection before they have been answered."""

from __future__ import annotations

import pytest
from loopback import GET, OK, Lab, Line, post
from secured import SecureLab

STAYING = {"nginx_proxy_proxy_ignore_client_abort": "on"}
CONNECTED = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"
UPGRADE = GET.replace(b"\r\n\r\n", b"\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")


def staying(**options: object) -> Lab:
    return Lab(settings=STAYING, **options)  # type: ignore[arg-type]  # a lab's own options


def finished(lab: Lab, client: Line) -> None:
    """The connection has ended in due order, and nothing is left of it."""
    lab.wait()
    assert client.closed
    lab.assert_idle()


def test_as_nginx_does() -> None:
    """By default a client that ends its side has gone: its request is given up."""
    lab = Lab()
    client = lab.client(GET)
    origin = lab.origin()
    client.say_no_more()
    lab.wait()
    assert origin.aborted
    lab.assert_idle()


@pytest.mark.parametrize("request_", [GET, post(b"body")], ids=["without a body", "with one"])
def test_the_whole_answer(request_: bytes) -> None:
    """A client that stays gets its whole answer, in however many pieces it comes, and then the end."""
    lab = staying()
    client = lab.client(request_)
    origin = lab.origin()
    client.say_no_more()
    lab.wait(30)
    assert client.lost is None
    origin.send(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n")
    origin.send(b"abc")
    lab.wait(1)
    origin.send(b"def")
    assert client.received.endswith(b"\r\n\r\nabcdef")
    finished(lab, client)


def test_an_answer_that_is_not_taken_at_once() -> None:
    """What the client has not taken yet when everything has come still reaches it."""
    lab = staying()
    client = lab.client(GET)
    origin = lab.origin()
    client.make_room(0)
    client.say_no_more()
    origin.send(b"HTTP/1.1 200 OK\r\nContent-Length: 50000\r\n\r\n" + bytes(50_000))
    lab.wait()
    client.make_room(None)
    assert client.received.endswith(bytes(50_000))
    finished(lab, client)


def test_all_that_was_asked() -> None:
    """Requests that came before the end are answered, in order; the beginning of another is not waited for."""
    lab = staying()
    client = lab.client(GET + GET + b"GET / HT")
    origin = lab.origin()
    client.say_no_more()
    origin.send(OK)
    assert client.received.count(b"HTTP/1.1 200 OK") == 1
    origin.send(OK)
    assert client.received.count(b"HTTP/1.1 200 OK") == 2
    finished(lab, client)


@pytest.mark.parametrize("said", [b"", b"GET / HTTP/1.1\r\nHos"])
def test_nothing_under_way(said: bytes) -> None:
    """Where nothing is to be answered the connection ends with the client's side."""
    lab = staying()
    client = lab.client(said)
    client.say_no_more()
    finished(lab, client)


def test_after_an_answer() -> None:
    """So does one that is kept for the next request."""
    lab = staying()
    client = lab.client(GET)
    lab.origin().send(OK)
    client.say_no_more()
    finished(lab, client)


@pytest.mark.parametrize("buffering", [True, False])
def test_half_a_body(buffering: bool) -> None:
    """A request that will never be complete is given up."""
    lab = staying(route={"request_buffering": buffering})
    client = lab.client(post(b"half", length=8))
    if not buffering:
        origin = lab.origin()
    client.say_no_more()
    lab.wait()
    assert client.lost is not None
    assert buffering or origin.aborted
    lab.assert_idle()


def test_while_nothing_is_read() -> None:
    """A client that ends its side while its pipeline is full is answered all that it asked, and let go of."""
    lab = staying()
    many = 6000
    client = lab.client(GET)
    origin = lab.origin()
    client.send(GET * many)
    client.say_no_more()
    assert not client.reading
    for _ in range(many + 1):
        assert client.lost is None
        origin.send(OK)
        lab.wait()
    assert client.received.count(b"HTTP/1.1 200 OK") == many + 1
    finished(lab, client)


def test_a_tunnel() -> None:
    """Whoever has said all before the tunnel begins hears what comes through it."""
    lab = staying()
    client = lab.client(UPGRADE)
    client.say_no_more()
    origin = lab.origin()
    origin.send(CONNECTED + b"hello")
    lab.wait()
    assert client.received.endswith(b"\r\n\r\nhello")
    assert origin.ended
    origin.say_no_more()
    finished(lab, client)


def test_over_tls() -> None:
    """The same over TLS, where the end is said in TLS."""
    lab = SecureLab(settings=STAYING)
    client = lab.shaken().send(GET)
    client.say_goodbye()
    client.line.take()
    lab.wait()
    origin = lab.origin()
    assert origin.lost is None
    origin.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n" + bytes(5000))
    assert len(client.line.received) > 5000
    lab.wait()
    assert client.line.closed
    lab.assert_idle()
