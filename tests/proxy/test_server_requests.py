"""Requests on a client's connection: which are served, in which order, and what ends the connection."""

from __future__ import annotations

import re
from functools import partial

import pytest
import spoken
from loopback import GET, OK, Lab, Line, post

from twisted_kong.proxy.server import REQUESTS_A_TURN
from twisted_kong.proxy.wire import READ_SIZE

NOWHERE = b"GET /nowhere HTTP/1.1\r\nHost: b.test\r\n\r\n"
ONE_HOST = {"hosts": ["a.test"]}


def statuses(client: Line) -> list[int]:
    return [message.status for message in spoken.answers(client.received)]


def targets(origin: Line) -> list[bytes]:
    return [request.target for request in spoken.requests(origin.received)]


def get(path: bytes, lines: bytes = b"", version: bytes = b"1.1") -> bytes:
    return b"GET %b HTTP/%b\r\nHost: a.test\r\n%b\r\n" % (path, version, lines)


# -- one after the other ---------------------------------------------------------------------------------------


def test_connection_is_kept() -> None:
    """Requests one after the other share the client's connection, and the origin's."""
    lab = Lab()
    client = lab.client()
    for number in range(3):
        client.send(get(b"/%d" % number))
        origin = lab.origin() if not number else lab.origins()[0]
        origin.send(OK)
    assert statuses(client) == [200, 200, 200]
    assert targets(origin) == [b"/0", b"/1", b"/2"]
    assert client.lost is None
    lab.assert_idle()


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
def test_pieces_of_any_size(size: int) -> None:
    """However the bytes are cut, the requests in them are the same."""
    lab = Lab()
    client = lab.client()
    data = get(b"/1") + post(b"0123456789") + get(b"/2")
    for at in range(0, len(data), size):
        client.send(data[at : at + size])
    origin = lab.origin()
    for _ in range(3):
        origin.send(OK)
    seen = spoken.requests(origin.received)
    assert [(each.method, each.target, each.body) for each in seen] == [
        (b"GET", b"/1", b""),
        (b"POST", b"/", b"0123456789"),
        (b"GET", b"/2", b""),
    ]
    assert statuses(client) == [200, 200, 200]
    lab.assert_idle()


def test_pipelined_requests_wait_for_their_turn() -> None:
    """A pipelined request reaches the origin when the one before it has been answered, and not earlier."""
    lab = Lab()
    client = lab.client(get(b"/1") + get(b"/2") + get(b"/3"))
    origin = lab.origin()
    assert targets(origin) == [b"/1"]
    origin.send(OK)
    assert targets(origin) == [b"/1", b"/2"]
    origin.send(OK)
    origin.send(OK)
    assert statuses(client) == [200, 200, 200]
    assert len(lab.dials) == 1
    lab.assert_idle()


def test_pipelined_answers_keep_their_order() -> None:
    """What the gateway answers by itself waits for the answers of the origin before it."""
    lab = Lab(route=ONE_HOST)
    client = lab.client(get(b"/1") + NOWHERE + get(b"/2") + NOWHERE)
    origin = lab.origin()
    assert client.received == b""
    origin.send(OK)
    assert statuses(client) == [200, 404]
    origin.send(OK)
    assert statuses(client) == [200, 404, 200, 404]
    lab.assert_idle()


def test_a_thousand_pipelined_requests() -> None:
    """A thousand requests that came together, all answered at once, are a thousand answers."""
    lab = Lab(route=ONE_HOST)
    client = lab.client(NOWHERE * 1000)
    lab.turns()
    assert statuses(client) == [404] * 1000
    assert client.lost is None
    lab.assert_idle()


def test_many_requests_take_turns() -> None:
    """However many requests of one client wait, others have their turn after a bounded number of answers."""
    lab = Lab(route=ONE_HOST)
    many = lab.client(NOWHERE * 1000)
    assert len(statuses(many)) == REQUESTS_A_TURN
    assert statuses(lab.client(NOWHERE)) == [404]
    lab.turns()
    assert len(statuses(many)) == 1000
    lab.assert_idle()


def test_leaving_between_turns() -> None:
    """Who leaves before all of its requests have had their turn is forgotten."""
    lab = Lab(route=ONE_HOST)
    client = lab.client(NOWHERE * 1000)
    client.reset()
    lab.turns()
    assert len(statuses(client)) == REQUESTS_A_TURN
    lab.assert_idle()


def test_pipelined_bodies() -> None:
    """Bodies nobody wanted do not get in the way of the requests behind them."""
    lab = Lab(route=ONE_HOST)
    unwanted = b"POST / HTTP/1.1\r\nHost: b.test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nGET\r\n0\r\n\r\n"
    client = lab.client(unwanted * 500 + get(b"/"))
    lab.turns()
    lab.origin().send(OK)
    assert statuses(client) == [404] * 500 + [200]
    lab.assert_idle()


def test_pipeline_is_bounded() -> None:
    """Who sends on and on without waiting for answers is not read from until there are some."""
    lab = Lab()
    client = lab.client(get(b"/1") + get(b"/2") * 20_000)
    assert not client.reading
    origin = lab.origin()
    while len(targets(origin)) < 3:
        origin.send(OK)
    client.reset()
    lab.assert_idle()


def test_pipeline_is_emptied() -> None:
    """Once a pipeline that had filled up has been answered its client is read from again."""
    lab = Lab()
    request = get(b"/" + b"2" * (64 - len(get(b"/"))))
    count = READ_SIZE // len(request)
    client = lab.client(get(b"/1"))
    origin = lab.origin()
    client.send(request * count)
    assert not client.reading
    for _ in range(1 + count):
        origin.send(OK)
    client.send(get(b"/3"))
    lab.wait()
    assert len(targets(origin)) == 1 + count + 1


def test_pipeline_that_ends_amid_a_request() -> None:
    """A client is read from again as soon as all there is of its next request is a beginning."""
    lab = Lab(route=ONE_HOST)
    client = lab.client(get(b"/1"))
    count, rest = divmod(READ_SIZE, len(NOWHERE))
    client.send(NOWHERE * count + NOWHERE[:rest])
    assert (rest > 0, client.reading) == (True, False)
    lab.origin().send(OK)
    lab.turns()
    assert client.reading
    client.send(NOWHERE[rest:])
    lab.wait()
    assert statuses(client) == [200] + [404] * (count + 1)


def test_large_body_behind_a_full_pipeline() -> None:
    """A body larger than what may wait in the pipeline arrives once its turn has come."""
    lab = Lab()
    body = bytes(range(256)) * 2000
    client = lab.client(get(b"/1") + post(body))
    origin = lab.origin()
    origin.send(OK)
    lab.wait()
    assert spoken.requests(origin.received)[1].body == body
    origin.send(OK)
    assert statuses(client) == [200, 200]
    lab.assert_idle()


def test_empty_lines_before_a_request() -> None:
    """Empty lines between requests mean nothing (RFC 9112 §2.2)."""
    lab = Lab()
    client = lab.client(b"\r\n" + get(b"/1") + b"\r\n\r\n" + get(b"/2"))
    origin = lab.origin()
    origin.send(OK)
    origin.send(OK)
    assert targets(origin) == [b"/1", b"/2"]
    assert statuses(client) == [200, 200]


# -- when the connection ends ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "lines", "kept"),
    [
        (b"1.1", b"", True),
        (b"1.1", b"Connection: close\r\n", False),
        (b"1.1", b"Connection: CLOSE\r\n", False),
        (b"1.1", b"Connection: x, close\r\n", False),
        (b"1.1", b"Connection: keep-alive, close\r\n", False),
        (b"1.1", b"Connection: x\r\nConnection: close\r\n", False),
        (b"1.0", b"", False),
        (b"1.0", b"Connection: keep-alive\r\n", True),
        (b"1.0", b"Connection: Keep-Alive\r\n", True),
        (b"1.0", b"Connection: keep-alive, close\r\n", False),
    ],
)
def test_who_closes_after_the_answer(version: bytes, lines: bytes, kept: bool) -> None:
    """The version and Connection say whether the connection outlives the answer, which tells the same."""
    lab = Lab()
    client = lab.client(get(b"/", lines, version))
    lab.origin().send(OK)
    lab.wait()
    assert spoken.answer(client.received).values(b"connection") == [b"keep-alive" if kept else b"close"]
    assert client.closed is not kept
    lab.assert_idle()


def test_number_of_requests_is_limited() -> None:
    """The last request that ``keepalive_requests`` allows is answered with close; what follows is not served."""
    lab = Lab(settings={"nginx_http_keepalive_requests": "2"})
    client = lab.client(get(b"/1") + get(b"/2") + get(b"/3"))
    origin = lab.origin()
    origin.send(OK)
    origin.send(OK)
    assert targets(origin) == [b"/1", b"/2"]
    assert [each.value(b"connection") for each in spoken.answers(client.received)] == [b"keep-alive", b"close"]
    lab.wait(6)
    assert client.lost is not None


def test_no_keep_alive() -> None:
    """``keepalive_timeout = 0`` closes after every answer."""
    lab = Lab(settings={"nginx_http_keepalive_timeout": "0"})
    client = lab.client(GET)
    lab.origin().send(OK)
    lab.wait()
    assert client.closed


def test_draining() -> None:
    """A listener that drains lets idle clients ask once more, then closes what is idle, and what is busy when it is
    answered."""
    lab = Lab()
    silent, idle, asking, busy = lab.client(), lab.client(GET), lab.client(GET), lab.client(GET)
    first, second = lab.origin(0), lab.origin(1)
    first.send(OK)
    second.send(OK)
    lab.listener.drain()
    lab.wait()
    assert not any(client.closed for client in (silent, idle, asking, busy))
    asking.send(GET)
    second.send(OK)
    lab.wait()
    assert (statuses(asking), asking.closed) == ([200, 200], True)
    lab.listener.close_idle()
    lab.wait()
    assert (silent.closed, idle.closed, busy.closed) == (True, True, False)
    lab.origin(2).send(OK)
    lab.wait()
    assert busy.closed
    assert statuses(busy) == [200]
    lab.assert_idle()


def test_latecomer() -> None:
    """A client whose connection was accepted just before the end is answered once."""
    lab = Lab()
    lab.listener.drain()
    client = lab.client(GET)
    lab.origin().send(OK)
    lab.wait()
    assert (statuses(client), client.closed) == ([200], True)


def test_connections_are_counted() -> None:
    """The listener knows the connections that are open, and how many there have been."""
    lab = Lab()
    first, second = lab.client(), lab.client()
    assert (len(lab.listener.connections), lab.listener.accepted) == (2, 2)
    first.close()
    second.reset()
    assert (len(lab.listener.connections), lab.listener.accepted) == (0, 2)


# -- refused ---------------------------------------------------------------------------------------------------

LINE = 8192
REFUSED = {
    "no request line": (b"nonsense\r\n\r\n", 400),
    "no Host": (b"GET / HTTP/1.1\r\n\r\n", 400),
    "line feed alone": (b"GET / HTTP/1.1\nHost: a.test\n\n", 400),
    "line feed alone, not complete": (b"GET / HTTP/1.1\nHost", 400),
    "line feed alone after the head": (b"GET / HTTP/1.1\r\nHost: a.test\r\n\n", 400),
    "length and chunks": (get(b"/", b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n"), 400),
    "unknown coding": (get(b"/", b"Transfer-Encoding: gzip\r\n"), 501),
    "HTTP/2.0": (b"GET / HTTP/2.0\r\nHost: a.test\r\n\r\n", 505),
    "HTTP/0.9": (b"GET / HTTP/0.9\r\nHost: a.test\r\n\r\n", 505),
    "TRACE": (b"TRACE / HTTP/1.1\r\nHost: a.test\r\n\r\n", 405),
    "CONNECT": (b"CONNECT a.test:80 HTTP/1.1\r\nHost: a.test\r\n\r\n", 405),
    "CONNECT /": (b"CONNECT / HTTP/1.1\r\nHost: a.test\r\n\r\n", 405),
    "long request line": (get(b"/" + b"a" * LINE), 414),
    "long request line, not complete": (b"GET /" + b"a" * LINE, 414),
    "long header": (get(b"/", b"X: %b\r\n" % (b"a" * LINE)), 431),
    "long header, not complete": (b"GET / HTTP/1.1\r\nX: " + b"a" * LINE, 431),
    "many headers": (get(b"/", b"X: %b\r\n" % (b"a" * 4000) * 9), 431),
    "many headers, not complete": (b"GET / HTTP/1.1\r\n" + b"X: %b\r\n" % (b"a" * 4000) * 9, 431),
}


@pytest.mark.parametrize(("data", "status"), REFUSED.values(), ids=REFUSED)
def test_refused(data: bytes, status: int) -> None:
    """What cannot be read is answered once; nothing behind it is served, and the connection ends."""
    lab = Lab()
    client = lab.client(data)
    client.send(GET)
    answer = spoken.answer(client.received)
    assert answer.status == status
    assert answer.value(b"connection") == b"close"
    assert answer.complete
    assert lab.dials == []
    assert client.ended
    client.close()
    lab.assert_idle()


def test_refused_behind_another() -> None:
    """A request that cannot be read is refused after the answers of those before it."""
    lab = Lab()
    client = lab.client(get(b"/1") + b"nonsense\r\n\r\n" + get(b"/2"))
    origin = lab.origin()
    origin.send(OK)
    assert statuses(client) == [200, 400]
    assert targets(origin) == [b"/1"]
    assert client.ended


def test_limits_are_settings() -> None:
    """``large_client_header_buffers`` bounds a line and the whole head, to the byte."""
    settings = {"nginx_http_large_client_header_buffers": "2 100"}
    fits = get(b"/" + b"a" * 86)
    assert fits.index(b"\r\n") == 100
    lab = Lab(settings=settings)
    lab.client(fits)
    assert len(lab.dials) == 1
    assert statuses(lab.client(get(b"/" + b"a" * 87))) == [414]
    whole = get(b"/", b"X: %b\r\nY: %b\r\n" % (b"a" * 70, b"b" * 92))
    assert whole.index(b"\r\n\r\n") == 200
    lab.client(whole)
    assert len(lab.dials) == 2
    assert statuses(lab.client(whole.replace(b"X:", b"X: "))) == [431]
    assert statuses(lab.client(get(b"/", b"X: %b\r\n" % (b"a" * 97)))) == []
    assert statuses(lab.client(get(b"/", b"X: %b\r\n" % (b"a" * 98)))) == [431]


def test_refused_client_may_finish() -> None:
    """A refused client is read from for a while, so that its answer is not lost, and then closed."""
    lab = Lab()
    client = lab.client(b"nonsense\r\n\r\n" + bytes(1000))
    lab.wait()
    assert client.lost is None
    assert client.reading
    client.send(bytes(100_000))
    lab.wait(5.1)
    assert client.lost is not None
    lab.assert_idle()


@pytest.mark.parametrize(
    ("body", "status"),
    [(b"x\r\n", 400), (b"1\r\nab\r\n0\r\n\r\n", 400), (b"1\r\na\r\n0\r\nnonsense\r\n\r\n", 400), (b"1\na\n0\n\n", 400)],
)
@pytest.mark.parametrize("buffering", [True, False])
def test_malformed_chunks(body: bytes, status: int, buffering: bool) -> None:
    """A body whose chunks are broken is refused, whatever of it has been sent on, and nothing behind it is served."""
    lab = Lab(route={"request_buffering": buffering})
    client = lab.client(b"POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n" + body + GET)
    assert statuses(client) == [status]
    assert client.ended
    assert lab.origins() == []
    lab.wait()
    lab.assert_idle()


# -- bodies ----------------------------------------------------------------------------------------------------


def test_expectation_is_met() -> None:
    """A client that expects 100 is told to go on, once, and the origin is not told of it."""
    lab = Lab()
    client = lab.client(post(length=4, lines=b"Expect: 100-Continue\r\n"))
    assert client.received == b"HTTP/1.1 100 Continue\r\n\r\n"
    client.send(b"bo")
    client.send(b"dy")
    origin = lab.origin()
    (request,) = spoken.requests(origin.received)
    assert (request.body, request.value(b"expect")) == (b"body", None)
    origin.send(OK)
    assert statuses(client)[-1] == 200
    assert client.received.count(b"100 Continue") == 1
    assert client.lost is None


def test_expectation_of_a_body_that_comes_along() -> None:
    """A client that has not waited for 100 is a client like any other."""
    lab = Lab()
    client = lab.client(post(b"body", lines=b"Expect: 100-continue\r\n"))
    lab.origin().send(OK)
    assert spoken.answer(client.received).value(b"connection") == b"keep-alive"


def test_expectation_of_a_streamed_body() -> None:
    """Without request_buffering the client is told to go on as well."""
    lab = Lab(route={"request_buffering": False})
    client = lab.client(post(length=4, lines=b"Expect: 100-continue\r\n"))
    assert client.received == b"HTTP/1.1 100 Continue\r\n\r\n"
    origin = lab.origin()
    lab.wait()
    client.send(b"body")
    assert spoken.requests(origin.received)[0].body == b"body"


@pytest.mark.parametrize(
    "request_",
    [
        post(b"body", lines=b"Expect: 100-continue\r\n"),
        post(b"b", length=4, lines=b"Expect: 100-continue\r\n"),
        post(length=4, lines=b"Expect: 100-continue\r\n").replace(b"HTTP/1.1", b"HTTP/1.0"),
        post(length=4, lines=b"Expect: something-else\r\n"),
        get(b"/", b"Expect: 100-continue\r\n"),
    ],
    ids=["complete", "under way", "HTTP/1.0", "another expectation", "no body"],
)
def test_no_need_to_go_on(request_: bytes) -> None:
    """Who does not wait for it, or could not understand it, is not told to go on."""
    lab = Lab()
    assert lab.client(request_).received == b""


def test_expectation_that_is_refused() -> None:
    """A client whose body nobody wants gets its answer at once, and the connection ends."""
    lab = Lab(route=ONE_HOST)
    client = lab.client(b"POST / HTTP/1.1\r\nHost: b.test\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n")
    answer = spoken.answer(client.received)
    assert (answer.status, answer.value(b"connection")) == (404, b"close")
    client.send(GET)
    assert statuses(client) == [404]
    assert client.ended


LIMIT = {"nginx_http_client_max_body_size": "10"}


@pytest.mark.parametrize("buffering", [True, False])
def test_body_at_the_limit(buffering: bool) -> None:
    """A body of exactly the allowed size is passed on, announced or in chunks."""
    lab = Lab(settings=LIMIT, route={"request_buffering": buffering})
    chunked = (
        b"POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n01234\r\n5\r\n56789\r\n0\r\n\r\n"
    )
    client = lab.client(post(b"0123456789") + chunked)
    origin = lab.origin()
    origin.send(OK)
    origin.send(OK)
    assert [each.body for each in spoken.requests(origin.received)] == [b"0123456789"] * 2
    assert statuses(client) == [200, 200]


@pytest.mark.parametrize("buffering", [True, False])
def test_body_beyond_the_limit(buffering: bool) -> None:
    """A body that is announced to be too large is refused before it comes, and nobody is asked for it."""
    lab = Lab(settings=LIMIT, route={"request_buffering": buffering})
    client = lab.client(post(length=11, lines=b"Expect: 100-continue\r\n"))
    assert statuses(client) == [413]
    assert client.ended
    assert lab.dials == []


def test_chunks_beyond_the_limit() -> None:
    """A body in chunks is refused as soon as there is too much of it."""
    lab = Lab(settings=LIMIT)
    client = lab.client(b"POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n")
    client.send(b"a\r\n0123456789\r\n")
    assert client.received == b""
    client.send(b"1\r\n0")
    assert statuses(client) == [413]
    assert client.ended
    assert lab.dials == []
    lab.assert_idle()


def test_streamed_chunks_beyond_the_limit() -> None:
    """The same while it is being passed on: the origin's request is broken off."""
    lab = Lab(settings=LIMIT, route={"request_buffering": False})
    client = lab.client(b"POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\na\r\n0123456789\r\n")
    origin = lab.origin()
    lab.wait()
    client.send(b"1\r\n0\r\n0\r\n\r\n")
    assert statuses(client) == [413]
    lab.wait()
    assert origin.aborted
    assert not spoken.requests(origin.received)[0].complete
    lab.assert_idle()


def test_buffered_body_arrives_as_one() -> None:
    """With request_buffering nobody is asked before the body is complete, and then it has a length."""
    lab = Lab()
    client = lab.client(b"PUT / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n")
    assert lab.dials == []
    client.send(b"4\r\nhalf\r\n0\r\nTrailer: x\r\n\r\n")
    (request,) = spoken.requests(lab.origin().received)
    assert (request.body, request.values(b"content-length")) == (b"halfhalf", [b"8"])
    assert request.values(b"transfer-encoding") == []


@pytest.mark.parametrize("chunked", [True, False])
def test_streamed_body_arrives_in_pieces(chunked: bool) -> None:
    """Without request_buffering every piece is passed on as it comes, framed as the client framed it."""
    lab = Lab(route={"request_buffering": False})
    framing = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: 8"
    client = lab.client(b"PUT / HTTP/1.1\r\nHost: a.test\r\n%b\r\n\r\n" % framing)
    origin = lab.origin()
    lab.wait()
    assert re.search(rb"\r\n%b\r\n" % framing, origin.take())
    client.send(b"4\r\nhalf\r\n" if chunked else b"half")
    assert origin.take() == (b"4\r\nhalf\r\n" if chunked else b"half")
    client.send(b"4\r\nhalf\r\n0\r\n\r\n" if chunked else b"half")
    assert origin.take() == (b"4\r\nhalf\r\n0\r\n\r\n" if chunked else b"half")
    origin.send(OK)
    assert statuses(client) == [200]
    lab.assert_idle()


def test_disk_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    """A body that cannot be kept is a 500; the connection goes on."""
    monkeypatch.setattr("twisted_kong.proxy.upload.TemporaryFile", partial(open, "/dev/full", "wb"))
    lab = Lab(settings={"nginx_http_client_body_buffer_size": "1k"})
    client = lab.client(post(bytes(10_000)))
    assert statuses(client) == [500]
    client.send(GET)
    lab.origin().send(OK)
    assert statuses(client) == [500, 200]
    lab.assert_idle()


def test_streamed_body_that_came_along_with_the_head() -> None:
    """What of a body was read with its head reaches the origin first, and once."""
    lab = Lab(route={"request_buffering": False})
    client = lab.client(post(b"half", length=8))
    assert not client.reading
    origin = lab.origin()
    lab.wait()
    client.send(b"HALF")
    assert spoken.requests(origin.received)[0].body == b"halfHALF"
