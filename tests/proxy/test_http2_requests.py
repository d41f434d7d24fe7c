"""Requests over HTTP/2: what reaches the origin, what comes back, and what ends a stream or a connection."""

from __future__ import annotations

import pytest
import spoken
from h2.errors import ErrorCodes
from hyperframe.frame import ContinuationFrame, HeadersFrame, PingFrame, PriorityFrame, SettingsFrame
from loopback import OK, Lab, Line
from streams import GET, End, Fields, post

from twisted_kong.proxy.http2.framed import MAX_STREAMS, STREAM_WINDOW
from twisted_kong.settings import Settings

ABANDONED, IDLE_FRAMES = Settings().max_http2_resets, Settings().max_http2_idle_frames

STREAMED = {"request_buffering": False}


def lab(**more: object) -> Lab:
    return Lab(http2=True, **more)  # type: ignore[arg-type]


def client(of: Lab, **more: object) -> End:
    return End(of.client(), client=True, **more)  # type: ignore[arg-type]


def asked(origin: Line) -> spoken.Message:
    return spoken.requests(origin.received)[-1]


def with_fields(*more: tuple[bytes, bytes]) -> Fields:
    return (*GET, *more)


# -- there and back --------------------------------------------------------------------------------------------


def test_request_reaches_the_origin_as_http1() -> None:
    """The origin sees HTTP/1.1 with the authority's Host, cookies in one piece, and how the request came."""
    it = lab(route={"preserve_host": True})
    end = client(it)
    id = end.ask(with_fields((b"x-a", b"1"), (b"cookie", b"a=1"), (b"cookie", b"b=2"), (b"te", b"trailers")))
    origin = it.origin()
    request = asked(origin)
    assert (request.method, request.target, request.value(b"host")) == (b"GET", b"/", b"a.test")
    assert (request.value(b"x-a"), request.value(b"cookie"), request.value(b"te")) == (b"1", b"a=1; b=2", b"trailers")
    assert (request.value(b"via") or b"").startswith(b"2 kong/")
    assert request.value(b"transfer-encoding") is None
    origin.send(OK)
    end.read()
    answer = end.messages[id]
    assert (answer.status, answer.body, answer.ended, answer.reset) == (200, b"ok", True, None)
    assert answer.value(b"content-length") == b"2"
    assert (answer.value(b"via") or b"").startswith(b"2 kong/")
    assert answer.value(b"connection") is None
    it.assert_idle()


def test_answers_come_in_any_order() -> None:
    """A stream that waits does not hold up another."""
    it = lab()
    end = client(it)
    slow, fast = end.ask(), end.ask()
    origins = [it.origin(0), it.origin(1)]
    origins[1].send(OK)
    end.read()
    assert (end.messages[fast].ended, slow in end.messages) == (True, False)
    origins[0].send(OK)
    end.read()
    assert end.messages[slow].ended
    it.assert_idle()


def test_own_answers() -> None:
    """What the gateway answers by itself comes in the same framing, with the status and the media type it has."""
    it = lab(route={"hosts": ["other.test"]})
    answer = client(it).get()
    assert (answer.status, answer.value(b"content-type")) == (404, b"application/json; charset=utf-8")
    assert b"no Route matched" in answer.body
    assert answer.ended
    it.assert_idle()


def test_http1_on_the_same_listener() -> None:
    """A client that begins as HTTP/1 does is served HTTP/1, however its first bytes are cut."""
    it = lab()
    line = it.client(b"P")
    line.send(b"OST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 0\r\n\r\n")
    it.origin().send(OK)
    assert spoken.answer(line.received).status == 200
    it.assert_idle()


def test_preface_in_pieces() -> None:
    """HTTP/2 is recognised byte by byte as well."""
    it = lab()
    line = it.client()
    end = End(line, client=True, greets=False)
    end.h2.initiate_connection()
    for byte in end.h2.data_to_send():
        line.send(bytes([byte]))
    id = end.ask()
    it.origin().send(OK)
    end.read()
    assert end.messages[id].status == 200
    it.assert_idle()


def test_head_has_no_body() -> None:
    """The answer to HEAD ends with its head, and tells the length the body would have."""
    it = lab()
    end = client(it)
    id = end.ask(((b":method", b"HEAD"), *GET[1:]))
    it.origin().send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
    end.read()
    answer = end.messages[id]
    assert (answer.value(b"content-length"), answer.body, answer.ended) == (b"5", b"", True)
    it.assert_idle()


@pytest.mark.parametrize("announced", [True, False])
def test_body_is_buffered(announced: bool) -> None:
    """A route that buffers sends the whole body with its length, whether the client has told it or not."""
    it = lab()
    end = client(it)
    id = end.ask(post(*([(b"content-length", b"4")] if announced else [])), b"ab", ended=False)
    assert it.dials == []
    end.send(id, b"cd", ended=True)
    origin = it.origin()
    assert (asked(origin).value(b"content-length"), asked(origin).body) == (b"4", b"abcd")
    origin.send(OK)
    end.read()
    assert end.messages[id].ended
    it.assert_idle()


def test_body_is_streamed() -> None:
    """Without buffering a body of unknown length goes on as it comes, in chunks."""
    it = lab(route=STREAMED)
    end = client(it)
    id = end.ask(post(), b"ab", ended=False)
    origin = it.origin()
    assert asked(origin).body == b"ab"
    end.send(id, b"cd")
    assert asked(origin).body == b"abcd"
    end.send(id, b"", ended=True)
    assert (asked(origin).complete, asked(origin).value(b"transfer-encoding")) == (True, b"chunked")
    origin.send(OK)
    end.read()
    assert end.messages[id].ended
    it.assert_idle()


def test_continue() -> None:
    """A client that waits for 100 is told to go on once its body is wanted."""
    it = lab()
    end = client(it)
    id = end.ask(post((b"expect", b"100-continue")), ended=False)
    end.read()
    assert end.messages[id].informational == [b"100"]
    end.send(id, b"x", ended=True)
    assert asked(it.origin()).value(b"expect") is None


def test_trailers_of_an_answer() -> None:
    """Trailers of a chunked answer follow the body, but for those that would change what has been said."""
    it = lab()
    end = client(it)
    id = end.ask(with_fields((b"te", b"trailers")))
    it.origin().send(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 7\r\nSet-Cookie: a=b\r\n\r\n"
    )
    end.read()
    answer = end.messages[id]
    assert (answer.body, answer.trailers, answer.ended) == (b"ok", [(b"x-sum", b"7")], True)
    it.assert_idle()


# -- flow ------------------------------------------------------------------------------------------------------


def test_client_that_does_not_take_its_answer() -> None:
    """Beyond its window a stream waits; the origin is not read from meanwhile, and other streams go on."""
    it = lab()
    end = client(it, taking=False)
    id = end.ask()
    origin = it.origin()
    size = 400_000
    origin.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size)
    end.read()
    assert len(end.messages[id].body) == 65535
    assert not origin.reading
    end.h2.increment_flow_control_window(1 << 20)
    end.flush()
    assert end.get(((b":method", b"GET"), *GET[1:3], (b":path", b"/%zz"))).status == 400
    end.h2.increment_flow_control_window(1 << 20, id)
    end.flush()
    it.wait(1)
    end.read()
    it.wait(1)
    end.read()
    assert (len(end.messages[id].body), end.messages[id].ended) == (size, True)
    it.assert_idle()


def test_origin_that_does_not_take_the_body() -> None:
    """The client's window stays shut while the origin takes nothing, and opens when it does."""
    it = lab(route=STREAMED)
    end = client(it)
    end.read()
    id = end.ask(post(), ended=False)
    origin = it.dials[0].accept(room=1000)
    sent = 0
    while (room := min(end.h2.local_flow_control_window(id), 16384)) and sent < 10 * STREAM_WINDOW:
        end.send(id, b"x" * room)
        sent += room
        end.read()
    assert sent <= STREAM_WINDOW + 16384
    origin.make_room(None)
    it.wait()
    end.read()
    assert end.h2.local_flow_control_window(id) > STREAM_WINDOW // 2
    end.send(id, b"", ended=True)
    origin.send(OK)
    end.read()
    assert len(asked(origin).body) == sent
    it.assert_idle()


def test_held_stream_does_not_hold_others() -> None:
    """Content that waits on many streams shuts their windows, never the connection's."""
    it = lab(route=STREAMED)
    end = client(it)
    end.read()
    for number in range(20):
        id = end.ask(post(), ended=False)
        it.dials[number].accept(room=1000)
        for _ in range(8):
            end.send(id, b"x" * 16000)
            end.read()
    assert end.h2.outbound_flow_control_window > 500_000


def test_window_that_never_opens() -> None:
    """A stream whose client takes nothing for the send timeout is broken off; its connection goes on."""
    it = lab(settings={"nginx_http_send_timeout": "10s"})
    end = client(it, taking=False)
    id = end.ask()
    it.origin().send(b"HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n" + b"x" * 200_000)
    end.read()
    it.wait(11)
    end.read()
    assert end.messages[id].reset == ErrorCodes.CANCEL
    assert end.line.lost is None
    it.assert_idle()


def test_body_that_never_comes() -> None:
    """A body nothing comes of is answered 408, and its stream ends there."""
    it = lab(settings={"nginx_http_client_body_timeout": "10s"})
    end = client(it)
    id = end.ask(post(), b"x", ended=False)
    it.wait(11)
    end.read()
    assert (end.messages[id].status, end.messages[id].ended, end.messages[id].reset) == (408, True, 0)
    it.assert_idle()


# -- leaving early ---------------------------------------------------------------------------------------------


def test_cancelled_request() -> None:
    """Whoever takes a request back lets go of the origin."""
    it = lab()
    end = client(it)
    id = end.ask()
    origin = it.origin()
    end.reset(id)
    it.wait()
    assert origin.aborted
    it.assert_idle()


def test_client_that_goes() -> None:
    """With the connection all its requests are given up."""
    it = lab()
    end = client(it)
    for _ in range(3):
        end.ask()
    origins = [it.origin(number) for number in range(3)]
    end.line.close()
    it.wait()
    assert [origin.aborted for origin in origins] == [True] * 3
    it.assert_idle()


def test_early_answer() -> None:
    """An answer before the body has come is passed on, and the rest of the body is asked to stay away."""
    it = lab(route=STREAMED)
    end = client(it)
    id = end.ask(post(), b"x" * 10, ended=False)
    it.origin().send(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")
    end.read()
    answer = end.messages[id]
    assert (answer.status, answer.body, answer.ended, answer.reset) == (403, b"no", True, ErrorCodes.NO_ERROR)
    it.assert_idle()


def test_broken_answer() -> None:
    """An answer that breaks off is an error of its stream alone."""
    it = lab()
    end = client(it)
    id = end.ask()
    origin = it.origin()
    origin.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
    origin.close()
    end.read()
    assert (end.messages[id].body, end.messages[id].reset) == (b"half", ErrorCodes.INTERNAL_ERROR)
    assert end.line.lost is None
    it.assert_idle()


# -- what is refused -------------------------------------------------------------------------------------------

BASE = dict(GET)


def head(**changed: bytes | None) -> Fields:
    fields = {**BASE, **{b":" + name.encode(): value for name, value in changed.items()}}
    return [(name, value) for name, value in fields.items() if value is not None]


MALFORMED: dict[str, Fields] = {
    "line end in a value": with_fields((b"x", b"a\r\nTransfer-Encoding: chunked")),
    "line feed in a value": with_fields((b"x", b"a\nb")),
    "NUL in a value": with_fields((b"x", b"a\0b")),
    "blank before a value": with_fields((b"x", b" a")),
    "blank behind a value": with_fields((b"x", b"a\t")),
    "upper case": with_fields((b"X-A", b"a")),
    "blank in a name": with_fields((b"x a", b"a")),
    "colon in a name": with_fields((b"x:a", b"a")),
    "empty name": with_fields((b"", b"a")),
    "line end in a name": with_fields((b"x\r\ny", b"a")),
    "connection": with_fields((b"connection", b"close")),
    "keep-alive": with_fields((b"keep-alive", b"timeout=5")),
    "proxy-connection": with_fields((b"proxy-connection", b"close")),
    "transfer-encoding": with_fields((b"transfer-encoding", b"chunked")),
    "upgrade": with_fields((b"upgrade", b"websocket")),
    "te": with_fields((b"te", b"gzip")),
    "no method": head(method=None),
    "no scheme": head(scheme=None),
    "no path": head(path=None),
    "empty path": head(path=b""),
    "blank in the path": head(path=b"/a HTTP/1.1"),
    "line end in the path": head(path=b"/\r\nx: y"),
    "no path but a word": head(path=b"x"),
    "absolute form": head(path=b"http://b.test/"),
    "fragment": head(path=b"/#x"),
    "blank in the method": head(method=b"GET /x"),
    "line end in the authority": head(authority=b"a.test\r\nx: y"),
    "unknown pseudo-field": (*GET, (b":protocol", b"websocket")),
    "status": (*GET, (b":status", b"200")),
    "two methods": (*GET, (b":method", b"POST")),
    "pseudo-field behind": ((b"x", b"a"), *GET),
    "another host": with_fields((b"host", b"b.test")),
    "two hosts": with_fields((b"host", b"a.test"), (b"host", b"a.test")),
    "length without a body": with_fields((b"content-length", b"4")),
}


@pytest.mark.parametrize("fields", MALFORMED.values(), ids=MALFORMED.keys())
def test_malformed_request(fields: Fields) -> None:
    """A malformed request is an error of its stream: it reaches nobody, and its neighbours live on."""
    it = lab()
    end = client(it)
    neighbour = end.ask()
    origin = it.origin()
    id = end.ask(fields)
    end.read()
    assert end.messages[id].reset == ErrorCodes.PROTOCOL_ERROR
    assert len(it.dials) == 1
    origin.send(OK)
    end.read()
    assert end.messages[neighbour].ended
    assert end.goaway is None
    it.assert_idle()


REFUSED: dict[str, tuple[Fields, int]] = {
    "authority with a user": (head(authority=b"me@a.test"), 400),
    "no authority": (head(authority=None), 400),
    "connect": (((b":method", b"CONNECT"), (b":authority", b"a.test:443")), 405),
    "trace": (head(method=b"TRACE"), 405),
    "server-wide options": (head(method=b"OPTIONS", path=b"*"), 400),
    "long path": (head(path=b"/" + b"x" * 9000), 414),
    "long field": (with_fields((b"x", b"y" * 9000)), 431),
    "many fields": (with_fields(*[(b"x-%d" % number, b"y" * 1000) for number in range(40)]), 431),
}


@pytest.mark.parametrize(("fields", "status"), REFUSED.values(), ids=REFUSED.keys())
def test_refused_request(fields: Fields, status: int) -> None:
    """What is a request, but none that we serve, is told why."""
    it = lab()
    end = client(it)
    answer = end.get(fields)
    assert (answer.status, answer.ended) == (status, True)
    assert it.dials == []
    it.assert_idle()


@pytest.mark.parametrize(("announced", "body"), [(b"3", b"abcd"), (b"5", b"abcd"), (b"0", b"a")])
@pytest.mark.parametrize("route", [STREAMED, {}], ids=["streamed", "buffered"])
def test_length_that_is_not_the_body_s(announced: bytes, body: bytes, route: dict[str, object]) -> None:
    """A body of another length than announced ends its stream, and no origin takes the request for complete."""
    it = lab(route=route)
    end = client(it)
    id = end.ask(post((b"content-length", announced)), ended=False)
    origins = [dial.accept() for dial in it.dials]
    end.send(id, body[:2])
    end.send(id, body[2:], ended=True) if end.message(id).reset is None and len(body) > 2 else None
    end.read()
    assert end.messages[id].reset == ErrorCodes.PROTOCOL_ERROR
    it.wait()
    if announced != b"0":  # which is complete without any body
        assert not any(message.complete for origin in origins for message in spoken.requests(origin.received))
    assert end.goaway is None
    it.assert_idle()


def test_body_too_large() -> None:
    """A body beyond ``client_max_body_size`` is answered 413, and ends no other stream."""
    it = lab(settings={"nginx_http_client_max_body_size": "10"})
    end = client(it)
    id = end.ask(post(), b"x" * 11, ended=False)
    end.read()
    assert (end.messages[id].status, end.messages[id].reset) == (413, ErrorCodes.NO_ERROR)
    assert end.goaway is None
    it.assert_idle()


# -- floods ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [1, MAX_STREAMS])
def test_no_more_streams_than_announced(limit: int) -> None:
    """A stream beyond those announced is refused, without harm to the others."""
    it = lab(settings={} if limit == MAX_STREAMS else {"nginx_http_http2_max_concurrent_streams": str(limit)})
    end = client(it)
    end.h2.remote_settings.max_concurrent_streams = 1000
    ids = [end.ask() for _ in range(limit + 1)]
    end.read()
    assert {id: message.reset for id, message in end.messages.items()} == {ids[-1]: ErrorCodes.REFUSED_STREAM}
    assert end.settings[3] == limit
    assert it.core.exchanges == limit


def test_rapid_reset() -> None:
    """Whoever takes back request after request is cut off."""
    it = lab()
    end = client(it)
    for _ in range(ABANDONED):
        end.reset(end.ask())
    end.read()
    assert end.goaway is None
    for _ in range(2):
        if end.line.lost is None and not end.line.ended:
            end.reset(end.ask())
    end.read()
    assert end.goaway is not None
    assert end.goaway[1] == ErrorCodes.ENHANCE_YOUR_CALM
    it.assert_idle()


def test_resets_among_answers() -> None:
    """Taking back some requests among many answered ones does no harm, however long that goes on."""
    it = lab(route={"hosts": ["b.test"]})
    end = client(it)
    for _ in range(2 * ABANDONED):
        end.ask()
        id = end.ask(post(), ended=False)
        end.reset(id)
        end.read()
        it.network.advance(0.01)
    assert end.goaway is None


FLOODS = {
    "ping": PingFrame(0, b"12345678").serialize(),
    "settings": SettingsFrame(0, {}).serialize(),
    "priority": PriorityFrame(1, depends_on=0, stream_weight=3).serialize(),
}


@pytest.mark.parametrize("frame", FLOODS.values(), ids=FLOODS.keys())
def test_flood(frame: bytes) -> None:
    """Frames that carry nothing are taken for a while, and then end the connection."""
    it = lab()
    end = client(it)
    end.line.send(frame * (IDLE_FRAMES - 10))
    end.read()
    assert end.goaway is None
    end.line.send(frame * 20)
    end.read()
    assert end.goaway is not None
    assert end.goaway[1] == ErrorCodes.ENHANCE_YOUR_CALM
    assert end.line.ended


def test_head_without_end() -> None:
    """A head in more and more pieces ends the connection before it fills the memory."""
    it = lab()
    end = client(it)
    block = end.h2.encoder.encode(GET)
    first = HeadersFrame(1, block)
    end.line.send(first.serialize() + ContinuationFrame(1, b"").serialize() * 100)
    end.read()
    assert end.goaway is not None
    assert end.goaway[1] != ErrorCodes.NO_ERROR


def test_frame_that_is_too_long() -> None:
    """A frame longer than announced ends the connection by its header alone: the rest is not waited for."""
    it = lab()
    end = client(it)
    end.line.send(b"\x00\x40\x01\x00\x00\x00\x00\x00\x01")
    end.read()
    assert end.goaway == (0, ErrorCodes.FRAME_SIZE_ERROR)


def test_head_in_large_pieces() -> None:
    """Pieces of a head that are many times what a head may be are not gathered."""
    it = lab()
    end = client(it)
    piece = b"\x00" * 16384
    end.line.send(HeadersFrame(1, piece).serialize() + ContinuationFrame(1, piece).serialize() * 8)
    end.read()
    assert end.goaway == (0, ErrorCodes.ENHANCE_YOUR_CALM)


def test_head_that_unfolds() -> None:
    """A small block that stands for a head of megabytes is not unfolded."""
    it = lab()
    end = client(it)
    end.read()
    big = (b"x", b"y" * 3000)
    block = end.h2.encoder.encode((*GET, big)) + b"\xbe" * 1000
    frame = HeadersFrame(1, block, flags=["END_HEADERS", "END_STREAM"])
    end.line.send(frame.serialize())
    end.read()
    assert end.goaway is not None
    assert end.goaway[1] == ErrorCodes.ENHANCE_YOUR_CALM
    assert it.core.requests == 0


def test_client_that_never_reads() -> None:
    """What waits for a client that takes nothing is bounded, and so is how long it waits."""
    it = lab(route={"hosts": ["b.test"]})
    end = End(it.client(room=10_000), client=True)
    end.h2.remote_settings.max_concurrent_streams = 100_000
    for _ in range(5000):
        end.ask()
    assert end.line.backlog < 1 << 20
    it.wait(61)
    assert end.line.aborted
    it.assert_idle()


# -- the end of a connection -----------------------------------------------------------------------------------


def test_draining() -> None:
    """When the gateway stops, a client is told which of its requests are answered, and those are."""
    it = lab()
    end = client(it)
    id = end.ask()
    origin = it.origin()
    it.listener.drain()
    it.listener.close_idle()
    late = end.ask()
    origin.send(OK)
    end.read()
    assert end.goaway == (id, ErrorCodes.NO_ERROR)
    assert end.messages[id].ended
    assert end.messages[late].reset == ErrorCodes.REFUSED_STREAM
    assert end.line.ended
    it.wait(6)
    it.assert_idle()


def test_idle_connection() -> None:
    """A connection without requests is closed after the keep-alive timeout, with a word."""
    it = lab(settings={"nginx_http_keepalive_timeout": "20s"})
    end = client(it)
    end.ask()
    it.origin().send(OK)
    it.wait(19)
    assert not end.line.ended
    it.wait(2)
    end.read()
    assert end.goaway == (1, ErrorCodes.NO_ERROR)
    assert end.line.ended
    it.wait(6)
    assert end.line.closed


def test_connection_without_a_request() -> None:
    """Who says hello and nothing more is let go of after the time a head may take."""
    it = lab(settings={"nginx_http_client_header_timeout": "10s"})
    end, silent = client(it), it.client()
    it.wait(11)
    assert end.line.ended
    assert silent.closed


def test_last_request() -> None:
    """After ``keepalive_requests`` the client is told to open another connection, and the last one is answered."""
    it = lab(settings={"nginx_http_keepalive_requests": "2"}, route={"hosts": ["b.test"]})
    end = client(it)
    end.ask()
    end.ask()
    end.read()
    assert [message.status for message in end.messages.values()] == [404, 404]
    assert end.goaway == (3, ErrorCodes.NO_ERROR)
    assert end.line.ended


def test_client_that_says_goodbye() -> None:
    """After a client's GOAWAY its requests are still answered, and then the connection ends."""
    it = lab()
    end = client(it)
    id = end.ask()
    end.line.send(b"\0\0\x08\x07\0\0\0\0\0" + bytes(8))
    origin = it.origin()
    origin.send(OK)
    end.read()
    assert end.messages[id].ended
    assert end.line.ended
