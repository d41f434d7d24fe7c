"""Answers of origins on their way to the client: their framing, whole, early and broken."""

from __future__ import annotations

import pytest
import spoken
from loopback import GET, Lab, post

from twisted_kong.proxy.forwarding import SERVER

HTTP_1_0 = b"GET / HTTP/1.0\r\nHost: a.test\r\n\r\n"
HEAD = b"HEAD / HTTP/1.1\r\nHost: a.test\r\n\r\n"


def split(data: bytes) -> tuple[list[bytes], bytes]:
    """The lines of an answer's head, and what follows."""
    head, _, body = data.partition(b"\r\n\r\n")
    return head.split(b"\r\n"), body


# -- whole -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 3, 10_000])
@pytest.mark.parametrize(
    "framed",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n0123456789",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n0\r\n9;x=y\r\n123456789\r\n0\r\nX: y\r\n\r\n",
        b"HTTP/1.1 200 OK\nContent-Length: 10\n\n0123456789",
        b"HTTP/1.1 200 OK\nX: y\r\nContent-Length: 10\r\n\n0123456789",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n0123456789",
        b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n0123456789",
    ],
    ids=["length", "chunks", "line feeds alone", "some alone", "100 before it", "103 before it"],
)
def test_framed_answers(framed: bytes, size: int) -> None:
    """An answer that says where it ends arrives whole however it is cut, and both connections are kept."""
    lab = Lab()
    client = lab.client(GET)
    origin = lab.origin()
    for at in range(0, len(framed), size):
        origin.send(framed[at : at + size])
    answer = spoken.answer(client.received)
    assert (answer.status, answer.body, answer.complete) == (200, b"0123456789", True)
    assert (client.lost, origin.lost) == (None, None)
    client.send(GET)
    assert len(lab.dials) == 1
    client.close()
    lab.assert_idle()


@pytest.mark.parametrize("feed", [b"\n", b"\r\n"])
def test_empty_lines_in_a_body(feed: bytes) -> None:
    """Where the head ends is seen by its own lines, not by those of the body."""
    lab = Lab()
    client = lab.client(GET)
    head = feed.join((b"HTTP/1.1 200 OK", b"Content-Length: 10", b"", b""))
    lab.origin().send(head + b"a\n\nb\r\n\r\ncd")
    assert spoken.answer(client.received).body == b"a\n\nb\r\n\r\ncd"


def test_chunks_stay_chunks() -> None:
    """An answer of unknown length is sent on in chunks, as it comes."""
    lab = Lab()
    client = lab.client(GET)
    origin = lab.origin()
    origin.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    head = spoken.answer(client.take())
    assert (head.values(b"transfer-encoding"), head.values(b"content-length")) == ([b"chunked"], [])
    origin.send(b"a\r\n01234")
    assert client.take() == b"5\r\n01234\r\n"
    origin.send(b"56789\r\n0\r\n\r\n")
    assert client.take() == b"5\r\n56789\r\n0\r\n\r\n"


def test_until_the_connection_closes() -> None:
    """What the origin ends by closing is a complete answer, which the client gets in chunks."""
    lab = Lab()
    client = lab.client(GET)
    origin = lab.origin()
    origin.send(b"HTTP/1.0 200 OK\r\n\r\nbo")
    assert not spoken.answer(client.received).complete
    origin.send(b"dy")
    origin.close()
    answer = spoken.answer(client.received)
    assert (answer.body, answer.complete, client.lost) == (b"body", True, None)
    lab.assert_idle()


def test_until_the_connection_breaks() -> None:
    """What should have lasted until the origin closes, and broke instead, is no complete answer."""
    lab = Lab()
    client = lab.client(GET)
    origin = lab.origin()
    origin.send(b"HTTP/1.0 200 OK\r\n\r\nbody")
    origin.reset()
    lab.wait()
    assert not spoken.answer(client.received).complete
    assert client.lost is not None
    lab.assert_idle()


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
        b"HTTP/1.0 200 OK\r\n\r\nbody",
    ],
    ids=["chunks", "until the end"],
)
def test_client_that_knows_no_chunks(answer: bytes) -> None:
    """An HTTP/1.0 client gets a body of unknown length until the connection closes, even if it asked to keep it."""
    lab = Lab()
    client = lab.client(b"GET / HTTP/1.0\r\nHost: a.test\r\nConnection: keep-alive\r\n\r\n")
    origin = lab.origin()
    origin.send(answer)
    origin.close()
    lines, body = split(client.received)
    lab.wait()
    assert (body, client.closed) == (b"body", True)
    assert b"Connection: close" in lines
    assert not any(line.lower().startswith((b"transfer-encoding", b"content-length")) for line in lines)


def test_known_length_for_a_client_that_knows_no_chunks() -> None:
    """An HTTP/1.0 client may keep the connection where the length is known."""
    lab = Lab()
    client = lab.client(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
    lab.origin().send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody")
    lab.wait()
    answer = spoken.answer(client.received)
    assert (answer.body, answer.value(b"connection"), client.lost) == (b"body", b"keep-alive", None)


@pytest.mark.parametrize(
    ("request_", "answer", "framing"),
    [
        (HEAD, b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n", b"Content-Length: 10"),
        (HEAD, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", None),
        (HEAD, b"HTTP/1.1 200 OK\r\n\r\n", None),
        (GET, b"HTTP/1.1 204 No Content\r\n\r\n", None),
        (GET, b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", None),
        (GET, b"HTTP/1.1 304 Not Modified\r\n\r\n", None),
        (GET, b"HTTP/1.1 304 Not Modified\r\nContent-Length: 10\r\n\r\n", b"Content-Length: 10"),
        (GET, b"HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n", None),
    ],
)
def test_answers_without_a_body(request_: bytes, answer: bytes, framing: bytes | None) -> None:
    """HEAD, 204 and 304 have no body whatever they announce; the next answer on the connection is the next one."""
    lab = Lab()
    client = lab.client(request_)
    origin = lab.origin()
    origin.send(answer)
    lines, body = split(client.take())
    announced = [line for line in lines if line.startswith((b"Content-Length", b"Transfer-Encoding"))]
    assert (announced, body) == ([] if framing is None else [framing], b"")
    assert lines[0] == answer.split(b"\r\n")[0]
    client.send(GET)
    origin.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    assert spoken.answer(client.received).body == b"ok"
    assert len(lab.dials) == 1


def test_more_than_was_announced() -> None:
    """What follows a complete answer is never an answer: the connection is not used again."""
    lab = Lab()
    client = lab.client(GET)
    origin = lab.origin()
    origin.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbodyHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
    client.send(GET)
    assert spoken.answer(client.received).body == b"body"
    assert len(lab.dials) == 2
    lab.wait()
    assert origin.lost is not None


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: x\r\nConnection: Close\r\n\r\nok",
    ],
)
def test_origin_that_will_close(answer: bytes) -> None:
    """A connection that the origin has announced to close is not used again; the client's is kept."""
    lab = Lab()
    client = lab.client(GET)
    origin = lab.origin()
    origin.send(answer)
    client.send(GET)
    assert len(lab.dials) == 2
    lab.wait()
    assert origin.lost is not None
    assert client.lost is None


def test_status_and_reason() -> None:
    """The origin's status and words are kept; where it has none the usual ones are said, if there are."""
    lab = Lab()
    client = lab.client()
    origin = None
    for line, expected in (
        (b"HTTP/1.1 299 Most Odd", b"HTTP/1.1 299 Most Odd"),
        (b"HTTP/1.1 404 ", b"HTTP/1.1 404 Not Found"),
        (b"HTTP/1.1 404", b"HTTP/1.1 404 Not Found"),
        (b"HTTP/1.0 799", b"HTTP/1.1 799 Unknown"),
        (b"HTTP/1.1 200 \xfcber", b"HTTP/1.1 200 \xfcber"),
    ):
        client.send(GET)
        origin = lab.origin() if origin is None else origin
        origin.send(line + b"\r\nContent-Length: 0\r\nConnection: keep-alive\r\n\r\n")
        assert split(client.take())[0][0] == expected
    assert len(lab.dials) == 1


def test_fields_of_the_origin() -> None:
    """Fields of the origin are passed on in their order and spelling, those of its connection are not."""
    lab = Lab()
    client = lab.client(GET)
    lab.origin().send(
        b"HTTP/1.1 200 OK\r\nset-cookie: a=1\r\nX-Odd:  b \r\nSet-Cookie: c\r\nConnection: X-Drop, keep-alive\r\n"
        b"X-Drop: 1\r\nx-drop: 2\r\nKeep-Alive: timeout=5\r\nProxy-Connection: x\r\nTrailer: X\r\nUpgrade: x\r\n"
        b"X-Accel-Redirect: /\r\nX-Kong-Request-Id: x\r\nDate: today\r\nContent-Length: 0\r\n\r\n"
    )
    lines, _ = split(client.received)
    assert [line for line in lines[1:] if not line.startswith((b"Server", b"Via", b"X-Kong"))] == [
        b"set-cookie: a=1",
        b"X-Odd: b",
        b"Set-Cookie: c",
        b"Date: today",
        b"Content-Length: 0",
        b"Connection: keep-alive",
    ]
    assert b"Server: " + SERVER in lines
    assert [line for line in lines if line.startswith(b"X-Kong-Request-Id")] != [b"X-Kong-Request-Id: x"]


@pytest.mark.parametrize("line", [b"Date: today\r\n", b"date: today\r\n", b"X: y\r\nDATE: today\r\n"])
def test_date_of_the_origin(line: bytes) -> None:
    """An origin's Date is passed on as it is, however it is spelled, and no other is added."""
    lab = Lab()
    client = lab.client(GET)
    lab.origin().send(b"HTTP/1.1 200 OK\r\n%bContent-Length: 0\r\n\r\n" % line)
    assert spoken.answer(client.received).values(b"date") == [b"today"]


def test_answer_without_date() -> None:
    """An answer without Date gets the time it came (RFC 9110 §6.6.1); another field's name or value is no Date."""
    lab = Lab()
    lab.wait(86400)
    client = lab.client(GET)
    lab.origin().send(b"HTTP/1.1 200 OK\r\nX-Date: x\r\nX: Date: y\r\nContent-Length: 0\r\n\r\n")
    assert spoken.answer(client.received).values(b"date") == [b"Fri, 02 Jan 1970 00:00:00 GMT"]
    lab.wait(1)
    client.send(GET)
    lab.origins()[0].send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    assert spoken.answers(client.received)[1].values(b"date") == [b"Fri, 02 Jan 1970 00:00:01 GMT"]


# -- early -----------------------------------------------------------------------------------------------------


def test_early_answer() -> None:
    """An answer before the end of a streamed body reaches the client; the rest of the body is read and dropped."""
    lab = Lab(route={"request_buffering": False})
    client = lab.client(post(b"half", length=8))
    origin = lab.origin()
    lab.wait()
    origin.send(b"HTTP/1.1 413 Enough\r\nContent-Length: 2\r\n\r\nno")
    assert spoken.answer(client.received).status == 413
    lab.wait()
    assert origin.lost is not None
    client.send(b"half" + GET)
    lab.origin().send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    assert [each.status for each in spoken.answers(client.received)] == [413, 200]
    lab.assert_idle()


def test_early_answer_that_goes_on() -> None:
    """Both bodies may be on their way at the same time."""
    lab = Lab(route={"request_buffering": False})
    client = lab.client(post(b"1", length=3))
    origin = lab.origin()
    lab.wait()
    origin.send(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n")
    client.send(b"2")
    origin.send(b"ab")
    client.send(b"3")
    assert spoken.requests(origin.received)[0].body == b"123"
    origin.send(b"c")
    assert spoken.answer(client.received).body == b"abc"
    client.send(GET)
    assert len(lab.dials) == 1


def test_early_answer_to_a_buffered_body() -> None:
    """An origin that answers without reading the whole body is not waited for, nor is its connection kept."""
    lab = Lab()
    client = lab.client(post(bytes(500_000)))
    origin = lab.dials[0].accept(room=100_000)
    origin.send(b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n")
    lab.wait()
    assert origin.lost is not None
    assert (spoken.answer(client.received).status, client.lost) == (403, None)
    lab.assert_idle()


def test_early_answer_to_a_body_that_is_broken() -> None:
    """When the body turns out to be broken amid its early answer, the answer is broken off, and nothing is added."""
    lab = Lab(route={"request_buffering": False})
    client = lab.client(b"POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n")
    origin = lab.origin()
    lab.wait()
    origin.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n01234")
    client.send(b"nonsense\r\n")
    lab.wait()
    answer = spoken.answer(client.received)
    assert (answer.status, answer.body, answer.complete) == (200, b"01234", False)
    assert client.lost is not None
    assert origin.aborted
    lab.assert_idle()


# -- broken ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("http", [GET, HTTP_1_0], ids=["1.1", "1.0"])
@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nbody",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nbody",
    ],
)
@pytest.mark.parametrize("how", ["close", "reset"])
def test_broken_off(http: bytes, answer: bytes, how: str) -> None:
    """An answer that is broken off is broken off for the client as well, and cannot be taken for a complete one."""
    lab = Lab()
    client = lab.client(http + GET)
    origin = lab.origin()
    origin.send(answer)
    getattr(origin, how)()
    lab.wait()
    lines, body = split(client.received)
    assert body.replace(b"4\r\nbody\r\n", b"body") == b"body"
    assert client.lost is not None
    # Without a length or chunks only the manner of the end can tell.
    if not any(line.startswith((b"Content-Length", b"Transfer-Encoding")) for line in lines):
        assert client.aborted
    assert len(lab.dials) == 1
    lab.assert_idle()


@pytest.mark.parametrize("rest", [b"zz\r\n", b"-1\r\n", b"1\nx\n", b"1\r\nxx\r\n", b"0\r\nno trailer\r\n\r\n"])
def test_chunks_that_become_malformed(rest: bytes) -> None:
    """When the chunks of an answer turn out to be broken its end is withheld, and both connections end."""
    lab = Lab()
    client = lab.client(GET)
    origin = lab.origin()
    origin.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n")
    origin.send(rest)
    lab.wait()
    answer = spoken.answer(client.received)
    assert answer.body.startswith(b"body")
    assert not answer.complete
    assert client.lost is not None
    assert origin.aborted
    lab.assert_idle()


MALFORMED = {
    "no status line": b"garbage\r\n\r\n",
    "not complete, but no status line": b"garbage",
    "HTTP/2": b"HTTP/2 200 OK\r\n\r\n",
    "status 099": b"HTTP/1.1 099 X\r\n\r\n",
    "status of four digits": b"HTTP/1.1 2000 X\r\n\r\n",
    "no colon": b"HTTP/1.1 200 OK\r\nX\r\n\r\n",
    "blank before the colon": b"HTTP/1.1 200 OK\r\nX : y\r\n\r\n",
    "folded": b"HTTP/1.1 200 OK\r\nX: y\r\n z\r\n\r\n",
    "NUL": b"HTTP/1.1 200 OK\r\nX: \0\r\n\r\n",
    "carriage return alone": b"HTTP/1.1 200 OK\r\nX: y\rz\r\n\r\n",
    "length and chunks": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx",
    "length that is a list": b"HTTP/1.1 200 OK\r\nContent-Length: 1, 1\r\n\r\nx",
    "length that is no number": b"HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\nx",
    "chunks in HTTP/1.0": b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "unknown coding": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "switching protocols": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
    "a head too large": b"HTTP/1.1 200 OK\r\nX: " + b"x" * 40_000 + b"\r\n\r\n",
    "a head too large, not complete": b"HTTP/1.1 200 OK\r\nX: " + b"x" * 40_000,
    "chunks broken at once": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
}


@pytest.mark.parametrize("answer", MALFORMED.values(), ids=MALFORMED)
def test_malformed(answer: bytes) -> None:
    """What is not an answer is a 502; the peer is not asked again, and nothing of it reaches the client."""
    lab = Lab()
    client = lab.client(GET)
    origin = lab.origin()
    origin.send(answer)
    made_up = spoken.answer(client.received)
    assert (made_up.status, made_up.complete) == (502, True)
    assert b"garbage" not in client.received
    lab.wait()
    assert origin.aborted
    assert client.lost is None
    assert len(lab.dials) == 1
    assert lab.outcomes[0][1].failure == "tcp"
    lab.assert_idle()
