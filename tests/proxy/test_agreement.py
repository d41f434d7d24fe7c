"""The gateway and llhttp read the same bytes the same way.

Whatever a client sends, what the origin gets of it is what llhttp, the parser of Node.js, reads in it as well: the same
requests with the same methods, targets, fields and bodies. Where the two disagree somebody behind us could be made to
see another request than we did. There may be less of it: the gateway refuses more.
"""

from __future__ import annotations

import httptools
import pytest
import spoken
from agreement import acceptable, assert_read_alike, end_to_end, read_by_llhttp
from hypothesis import example, given, settings
from hypothesis import strategies as st
from loopback import GET, OK, Lab
from spoken import Message

FUZZED = settings(derandomize=True, deadline=None, max_examples=500)

REQUESTS = [
    GET,
    b"GET /a/b?c=d HTTP/1.1\r\nHost: a.test\r\nAccept: */*\r\nX-A: 1\r\nX-A: 2\r\n\r\n",
    b"POST /x HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\nContent-Type: a/b\r\n\r\nhello",
    b"PUT /x HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n0\r\nX-T: u\r\n\r\n",
    b"DELETE /x HTTP/1.1\r\nHost: a.test\r\nConnection: keep-alive, X-Hop\r\nX-Hop: 1\r\nTE: trailers\r\n\r\n",
    b"POST / HTTP/1.0\r\nHost: a.test\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nhi",
    b"OPTIONS http://b.test:81/y?z HTTP/1.1\r\nHost: a.test\r\nX-Forwarded-For: 10.0.0.1\r\nVia: 1.1 x\r\n\r\n",
    b"PATCH / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 0\r\nCookie: a=1; b\r\n\r\n",
]
ANSWERS = [
    OK,
    b"HTTP/1.1 404 Not Found\r\nContent-Type: a/b\r\nContent-Length: 3\r\nSet-Cookie: a\r\nSet-Cookie: b\r\n\r\nno!",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-A: b\r\n\r\n5;x=y\r\nhello\r\n0\r\nX-T: u\r\n\r\n",
    b"HTTP/1.0 200 OK\r\nX-A: b\r\n\r\nuntil the end",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\nContent-Length: 1\r\n\r\nx",
    b"HTTP/1.1 204 No Content\r\nX-A: b\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\nContent-Length: 0\r\n\r\n",
]
ODD = [
    b" ",
    b"\t",
    b"\r",
    b"\n",
    b"\r\n",
    b"\0",
    b"\x0b",
    b"\x7f",
    b"\x80",
    b"\xff",
    b":",
    b";",
    b",",
    b"0",
    b"1",
    b"-",
    b"+",
    b"x",
]
LINES = [
    b"Content-Length: 5",
    b"Content-Length: 6",
    b"Content-Length: 05",
    b"Content-Length: 5, 5",
    b"Content-Length:",
    b"Transfer-Encoding: chunked",
    b"Transfer-Encoding: chunked, chunked",
    b"Transfer-Encoding: identity",
    b"Transfer-Encoding:",
    b"Transfer-Encoding",
    b"transfer-encoding:\tCHUNKED\t",
    b"Transfer_Encoding: chunked",
    b"Host: b.test",
    b"Connection: close",
    b"Connection: Content-Length",
    b"Connection: Transfer-Encoding, Host",
    b" folded",
    b"\tfolded: 1",
    b"X : y",
    b": y",
    b"X",
    b"",
]


@st.composite
def mutated(draw: st.DrawFn, messages: list[bytes]) -> bytes:
    """One or two messages, with a few bytes or lines changed, added, doubled, moved or removed."""
    data = b"".join(draw(st.lists(st.sampled_from(messages), min_size=1, max_size=2)))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(data)))
        kind = draw(
            st.sampled_from(["replace", "insert", "remove", "add line", "double line", "move line", "end line"])
        )
        lines = data.split(b"\r\n")
        line = draw(st.integers(0, len(lines) - 1))
        odd = draw(st.sampled_from(ODD) | st.binary(min_size=1, max_size=2))
        if kind == "replace":
            data = data[:at] + odd + data[at + 1 :]
        elif kind == "insert":
            data = data[:at] + odd + data[at:]
        elif kind == "remove":
            data = data[:at] + data[at + draw(st.integers(1, 3)) :]
        elif kind == "add line":
            data = b"\r\n".join([*lines[:line], draw(st.sampled_from(LINES)), *lines[line:]])
        elif kind == "double line":
            data = b"\r\n".join([*lines[:line], lines[line], *lines[line:]])
        elif kind == "move line":
            to = draw(st.integers(0, len(lines) - 1))
            lines.insert(to, lines.pop(line))
            data = b"\r\n".join(lines)
        else:
            data = b"\r\n".join(lines[: line + 1]) + odd + b"\r\n".join(lines[line + 1 :])
    return data


# -- requests --------------------------------------------------------------------------------------------------


def passed_on(data: bytes) -> list[Message]:
    """The complete requests that reach the origin when a client sends ``data``; the origin answers each."""
    lab = Lab(settings={"upstream_keepalive_pool_size": "0"})
    client = lab.client(data)
    seen: list[Message] = []
    while lab.dials[len(seen) :]:
        origin = lab.origin()
        method, _, rest = origin.received.partition(b" ")
        (request,) = spoken.requests(b"LINK " + rest)  # llhttp knows some methods only
        request.method = method
        seen.append(request)
        origin.send(b"HTTP/1.1 204 No Content\r\n\r\n")
        lab.wait()
    client.close()
    lab.assert_idle()
    assert all(request.complete for request in seen)
    return seen


@FUZZED
@given(mutated(REQUESTS).map(acceptable))
@example(b"POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n" + GET)
@example(b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\nContent-Length: 0\r\n\r\n" + GET)
@example(b"POST / HTTP/1.1\r\nHost: a.test\r\nConnection: Content-Length\r\nContent-Length: 34\r\n\r\n" + GET)
@example(b"FETCH / HTTP/1.1\r\nHost: a.test\r\n\r\n" + GET)
def test_requests(data: bytes) -> None:
    """The requests the origin gets are the first ones that llhttp reads in what the client sent."""
    assert_read_alike(data, passed_on(data))


# -- answers ---------------------------------------------------------------------------------------------------


@FUZZED
@given(mutated(ANSWERS))
def test_answers(data: bytes) -> None:
    """Where both take the origin's bytes for an answer, it is the same answer."""
    lab = Lab(service={"retries": 0})
    client = lab.client(GET)
    origin = lab.origin()
    origin.send(data)
    origin.close()
    lab.wait()
    ours = spoken.answer(client.received)
    lab.assert_idle()
    try:
        theirs = next((each for each in spoken.answers(data) if each.status >= 200), None)
    except httptools.HttpParserError:
        return
    if not ours.values(b"via") or theirs is None:  # an answer of the gateway's own has no Via
        return
    assert ours.status == theirs.status
    assert ours.body == theirs.body
    added = (b"server", b"x-kong") if theirs.values(b"date") else (b"server", b"x-kong", b"date")
    assert [each for each in end_to_end(ours.fields) if not each[0].startswith(added)] == end_to_end(theirs.fields)


@pytest.mark.parametrize("data", REQUESTS)
def test_sound_requests_are_understood(data: bytes) -> None:
    """What the mutations begin with is understood by both, whole."""
    assert len(passed_on(data)) == len(read_by_llhttp(data, [])) == 1
