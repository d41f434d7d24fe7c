"""Requests to peers over HTTP/2: streams of shared connections, each an attempt of its own."""

from __future__ import annotations

import pytest
import spoken
from h2.errors import ErrorCodes
from h2.settings import SettingCodes, Settings
from hyperframe.frame import GoAwayFrame
from loopback import Lab, Line
from loopback import post as http1_post
from streams import GET, End, Fields, post

from twisted_kong.proxy.http2.framed import STREAM_WINDOW

CALL = post((b"content-type", b"application/grpc"), (b"te", b"trailers"), path=b"/p.S/M")
OK: Fields = ((b":status", b"200"), (b"content-type", b"application/grpc"))
DONE: Fields = ((b"grpc-status", b"0"), (b"grpc-message", b"fine"))


def lab(targets: tuple[str, ...] = ("10.0.0.1:80",), **more: object) -> Lab:
    service = {"protocol": "grpc", **more.pop("service", {})}  # type: ignore[dict-item]
    route = {"protocols": ["grpc", "grpcs"], **more.pop("route", {})}  # type: ignore[dict-item]
    return Lab(targets, service=service, route=route, http2=True, **more)  # type: ignore[arg-type]


def client(of: Lab, **more: object) -> End:
    return End(of.client(), client=True, **more)  # type: ignore[arg-type]


def peer(of: Lab, number: int = -1, **more: object) -> End:
    """The newest connection the gateway wants to make, or another, with a server at its end."""
    end = End(of.dials[number].accept(), client=False, **more)  # type: ignore[arg-type]
    end.read()
    return end


def only(end: End) -> int:
    """The one stream there has been."""
    (id,) = end.messages
    return id


def test_call() -> None:
    """Head, messages and trailers pass in both directions, on a connection with prior knowledge."""
    it = lab()
    end = client(it)
    id = end.ask(CALL, b"ping")
    server = peer(it)
    request = server.messages[only(server)]
    assert dict(request.fields)[b":path"] == b"/p.S/M"
    assert dict(request.fields)[b":authority"] == b"10.0.0.1"
    assert (request.value(b":scheme"), request.value(b"te")) == (b"http", b"trailers")
    assert (request.value(b"via") or b"").startswith(b"2 kong/")
    assert (request.body, request.ended) == (b"ping", True)
    server.answer(only(server), OK, b"pong", ended=False)
    server.end(only(server), DONE)
    end.read()
    answer = end.messages[id]
    assert (answer.status, answer.body, answer.ended) == (200, b"pong", True)
    assert answer.trailers == list(DONE)
    assert (answer.value(b"content-type"), answer.value(b"trailer")) == (b"application/grpc", None)
    it.assert_idle()


def test_answer_without_a_body() -> None:
    """An answer that is a head alone ends at once, with the status in it."""
    it = lab()
    end = client(it)
    id = end.ask(CALL, b"")
    server = peer(it)
    server.answer(only(server), (*OK, (b"grpc-status", b"5")))
    end.read()
    assert (end.messages[id].value(b"grpc-status"), end.messages[id].ended) == (b"5", True)
    it.assert_idle()


def test_both_sides_talk() -> None:
    """Messages pass as they come, in both directions, before either side has ended."""
    it = lab()
    end = client(it)
    id = end.ask(CALL, ended=False)
    server = peer(it)
    stream = only(server)
    server.answer(stream, OK, b"hello", ended=False)
    end.read()
    assert end.messages[id].body == b"hello"
    for number in range(3):
        end.send(id, b"%d" % number)
        server.read()
        server.send(stream, b"<%d>" % number)
        end.read()
    assert (server.messages[stream].body, end.messages[id].body) == (b"012", b"hello<0><1><2>")
    end.send(id, b"", ended=True)
    server.read()
    assert server.messages[stream].ended
    server.end(stream, DONE)
    end.read()
    assert end.messages[id].ended
    it.assert_idle()


def test_streams_share_a_connection() -> None:
    """Calls at the same time have one connection, and those that wait for it do not open another."""
    it = lab()
    ends = [client(it) for _ in range(3)]
    for end in ends:
        end.ask(CALL, b"x")
    assert len(it.dials) == 1
    server = peer(it)
    assert len(server.messages) == 3
    ends[0].ask(CALL, b"y")
    server.read()
    assert len(server.messages) == 4
    for id in server.messages:
        server.answer(id, OK, b"")
    assert len(it.dials) == 1
    it.assert_idle()


def test_every_call_is_balanced() -> None:
    """Each call leases a peer of its own, whatever connection its client has."""
    it = lab(("10.0.0.1:80", "10.0.0.2:80"))
    end = client(it)
    end.ask(CALL, b"x")
    server = peer(it)
    assert it.algorithm.leases() == 1
    end.ask(CALL, b"x")
    server.read()
    assert it.algorithm.leases() == 2
    for id in server.messages:
        server.answer(id, OK, b"")
    assert it.algorithm.leases() == 0
    assert len(it.outcomes) == 2


def test_no_more_streams_than_the_peer_allows() -> None:
    """A peer that allows two streams gets two, and another connection for the third."""
    it = lab()
    end = client(it)
    end.ask(CALL, b"x")
    line = it.dials[0].accept()
    server = End(line, client=False, greets=False)
    server.h2.local_settings = Settings(client=False, initial_values={SettingCodes.MAX_CONCURRENT_STREAMS: 2})
    server.h2.initiate_connection()
    server.flush()
    end.ask(CALL, b"x")
    end.ask(CALL, b"x")
    server.read()
    assert (len(server.messages), len(it.dials)) == (2, 2)


def test_idle_connection_is_kept_and_closed() -> None:
    """A connection waits for the next call as long as the pool keeps idle ones, and says goodbye then."""
    it = lab(settings={"upstream_keepalive_idle_timeout": "20"})
    end = client(it)
    end.ask(CALL, b"x")
    server = peer(it)
    server.answer(only(server), OK, b"")
    it.wait(15)
    end.ask(CALL, b"x")
    server.read()
    server.answer(3, OK, b"")
    it.wait(19)
    assert server.line.lost is None
    it.wait(2)
    server.read()
    assert (server.line.closed, server.goaway) == (True, (0, ErrorCodes.NO_ERROR))
    assert len(it.dials) == 1


def test_requests_of_a_connection_are_counted() -> None:
    """After ``upstream_keepalive_max_requests`` calls another connection is made, and the first ends with its last."""
    it = lab(settings={"upstream_keepalive_max_requests": "2"})
    end = client(it)
    for _ in range(3):
        end.ask(CALL, b"x")
    assert len(it.dials) == 1
    server = peer(it)
    assert len(it.dials) == 1
    # the third has waited for the first connection, and is on it: what is given is not taken back
    given = list(server.messages)
    end.ask(CALL, b"x")
    assert len(it.dials) == 2
    for id in given:
        server.answer(id, OK, b"")
    it.wait()
    assert server.line.closed


def test_no_idle_connections() -> None:
    """With a pool of size 0 a connection ends with the last call it carries."""
    it = lab(settings={"upstream_keepalive_pool_size": "0"})
    end = client(it)
    end.ask(CALL, b"x")
    server = peer(it)
    server.answer(only(server), OK, b"")
    it.wait()
    assert server.line.closed


# -- flow ------------------------------------------------------------------------------------------------------


def test_slow_client_holds_its_peer() -> None:
    """A peer may send no more than a window beyond what the client has taken; other streams are not held."""
    it = lab()
    slow, fast = client(it, taking=False), client(it)
    slow.ask(CALL, b"x")
    fast.ask(CALL, b"x")
    server = peer(it)
    first, second = server.messages
    server.answer(first, OK, b"", ended=False)
    sent = 0
    while (room := min(server.h2.local_flow_control_window(first), 16384)) and sent < 10 * STREAM_WINDOW:
        server.send(first, b"x" * room)
        sent += room
        it.wait()
        server.read()
    assert sent <= 2 * STREAM_WINDOW + 65535
    assert server.h2.outbound_flow_control_window > 500_000
    server.answer(second, OK, b"done")
    fast.read()
    assert fast.messages[1].body == b"done"
    slow.taking = True
    slow.h2.increment_flow_control_window(1 << 20)
    slow.h2.increment_flow_control_window(1 << 20, 1)
    slow.flush()
    it.wait()
    slow.read()
    server.read()
    assert len(slow.messages[1].body) == sent
    assert server.h2.local_flow_control_window(first) > STREAM_WINDOW // 2


def test_slow_peer_holds_its_client() -> None:
    """A client may send no more than a window beyond what the peer has taken."""
    it = lab()
    end = client(it)
    id = end.ask(CALL, ended=False)
    end.read()
    server = peer(it, taking=False)
    sent = 0
    while (room := min(end.h2.local_flow_control_window(id), 16384)) and sent < 10 * STREAM_WINDOW:
        end.send(id, b"x" * room)
        sent += room
        end.read()
        server.read()
    assert sent <= 2 * STREAM_WINDOW + 65535
    server.taking = True
    server.h2.increment_flow_control_window(1 << 20)
    server.h2.increment_flow_control_window(1 << 20, only(server))
    server.flush()
    server.read()
    end.read()
    assert len(server.messages[only(server)].body) == sent
    assert end.h2.local_flow_control_window(id) > STREAM_WINDOW // 2


# -- leaving ---------------------------------------------------------------------------------------------------


def test_cancelled_call() -> None:
    """A call taken back is taken back from its peer, and nothing else on the connection."""
    it = lab()
    end = client(it)
    id, other = end.ask(CALL, b"x"), end.ask(CALL, b"x")
    server = peer(it)
    end.reset(id)
    server.read()
    first, second = server.messages
    assert (server.messages[first].reset, server.messages[second].reset) == (ErrorCodes.CANCEL, None)
    server.answer(second, OK, b"")
    end.read()
    assert end.messages[other].ended
    it.assert_idle()


def test_answer_before_the_end_of_the_call() -> None:
    """A peer may end before its client; the rest of the call is then asked to stay away."""
    it = lab()
    end = client(it)
    id = end.ask(CALL, b"x", ended=False)
    server = peer(it)
    server.answer(only(server), (*OK, (b"grpc-status", b"9")))
    end.read()
    server.read()
    assert (end.messages[id].ended, end.messages[id].reset) == (True, ErrorCodes.NO_ERROR)
    assert server.messages[only(server)].reset == ErrorCodes.CANCEL
    it.assert_idle()


def test_reset_by_the_peer() -> None:
    """A stream the peer breaks off is a failed attempt; a call that was sent is not sent again."""
    it = lab(("10.0.0.1:80", "10.0.0.2:80"))
    end = client(it)
    id = end.ask(CALL, b"x")
    server = peer(it)
    server.reset(only(server), ErrorCodes.INTERNAL_ERROR)
    end.read()
    assert (end.messages[id].status, end.messages[id].value(b"grpc-status")) == (502, b"13")
    assert len(it.dials) == 1
    it.assert_idle()


def test_broken_off_in_the_middle() -> None:
    """An answer that breaks off is broken off."""
    it = lab()
    end = client(it)
    id = end.ask(CALL, b"x")
    server = peer(it)
    server.answer(only(server), OK, b"half", ended=False)
    server.line.reset()
    end.read()
    assert (end.messages[id].body, end.messages[id].reset) == (b"half", ErrorCodes.INTERNAL_ERROR)
    it.assert_idle()


@pytest.mark.parametrize("body", [b"x", b"x" * 60_000])
def test_refused_call_goes_elsewhere(body: bytes) -> None:
    """What the peer says it has not looked at is sent to the next one, body and all, whatever its method."""
    it = lab(("10.0.0.1:80", "10.0.0.2:80"))
    end = client(it)
    id = end.ask(CALL, ended=False)
    for at in range(0, len(body), 16000):
        end.send(id, body[at : at + 16000])
    end.send(id, b"", ended=True)
    server = peer(it)
    server.reset(only(server), ErrorCodes.REFUSED_STREAM)
    assert [dial.address.host for dial in it.dials] == ["10.0.0.1", "10.0.0.2"]
    second = peer(it)
    assert second.messages[only(second)].body == body
    second.answer(only(second), OK, b"")
    end.read()
    assert end.messages[id].ended
    it.assert_idle()


def test_refused_call_that_is_not_kept() -> None:
    """A call too long to keep is not sent again: its peer's refusal is told."""
    it = lab(settings={"nginx_http_client_body_buffer_size": "1000"})
    end = client(it)
    id = end.ask(CALL, b"x" * 2000)
    server = peer(it)
    server.reset(only(server), ErrorCodes.REFUSED_STREAM)
    end.read()
    assert end.messages[id].status == 502
    it.assert_idle()


def goaway(last: int) -> bytes:
    frame = GoAwayFrame(0)
    frame.last_stream_id = last
    return frame.serialize()


def test_peer_that_goes_away() -> None:
    """After a GOAWAY what the peer still answers is passed on; what it does not look at has another connection."""
    it = lab()
    end = client(it)
    first, second = end.ask(CALL, b"1"), end.ask(CALL, b"2")
    server = peer(it)
    one, two = server.messages
    server.line.send(goaway(one))
    assert len(it.dials) == 2
    server.answer(one, OK, b"one")
    end.read()
    assert end.messages[first].body == b"one"
    it.wait()
    assert server.line.closed
    fresh = peer(it)
    assert fresh.messages[only(fresh)].body == b"2"
    fresh.answer(only(fresh), OK, b"two")
    end.read()
    assert end.messages[second].body == b"two"
    assert two == 3
    it.assert_idle()


def test_peer_that_always_goes_away() -> None:
    """Whoever takes no call on any connection has it failed in the end."""
    it = lab(service={"retries": 2})
    end = client(it)
    id = end.ask(CALL, b"1")
    for _ in range(10):
        if not it.dials[-1].waiting:
            break
        server = peer(it)
        server.line.send(goaway(0))
    end.read()
    assert end.messages[id].status in (502, 503)
    assert len(it.dials) <= 4
    it.assert_idle()


def test_nobody_there() -> None:
    """A refused connection has the next peer tried; the last one is told in gRPC's way."""
    it = lab(("10.0.0.1:80", "10.0.0.2:80"), service={"retries": 1})
    end = client(it)
    id = end.ask(CALL, b"x")
    it.dials[0].refuse()
    it.dials[1].refuse()
    end.read()
    answer = end.messages[id]
    assert (answer.status, answer.value(b"grpc-status"), answer.body) == (502, b"13", b"")
    assert answer.value(b"grpc-message") == b"An invalid response was received from the upstream server"
    it.assert_idle()


def test_peer_that_speaks_http1() -> None:
    """A peer that answers in HTTP/1 is a failed attempt, not a broken gateway."""
    it = lab()
    end = client(it)
    id = end.ask(CALL, b"x")
    line = it.dials[0].accept()
    line.send(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
    end.read()
    assert end.messages[id].status == 502
    it.wait()
    assert line.lost is not None
    it.assert_idle()


def test_peer_that_is_silent() -> None:
    """A call that nothing comes of within the read timeout is answered 504, and its connection takes no other."""
    it = lab(service={"read_timeout": 5000})
    end = client(it)
    end.ask(CALL, b"x")
    server = peer(it)
    server.answer(only(server), OK, b"")
    id = end.ask(CALL, b"x")
    it.wait(6)
    end.read()
    assert (end.messages[id].status, end.messages[id].value(b"grpc-status")) == (504, b"4")
    end.ask(CALL, b"x")
    assert len(it.dials) == 2
    server.read()
    assert server.messages[3].reset == ErrorCodes.CANCEL


def test_silence_is_measured_between_messages() -> None:
    """A stream may last for ever, as long as something comes."""
    it = lab(service={"read_timeout": 5000})
    end = client(it)
    id = end.ask(CALL, b"x")
    server = peer(it)
    server.answer(only(server), OK, b"0", ended=False)
    for _ in range(10):
        it.wait(4)
        server.send(only(server), b"1")
    end.read()
    assert end.messages[id].body == b"0" + b"1" * 10
    it.wait(6)
    end.read()
    assert end.messages[id].reset == ErrorCodes.INTERNAL_ERROR
    it.assert_idle()


def test_cancelled_while_dialling() -> None:
    """A call taken back before there is a connection leaves nothing behind."""
    it = lab()
    end = client(it)
    end.reset(end.ask(CALL, b"x"))
    server = peer(it)
    assert server.messages == {}
    it.assert_idle()


@pytest.mark.parametrize(
    "fields",
    [
        ((b":status", b"2000"),),
        ((b"x", b"y"),),
        ((b":status", b"200"), (b"x", b"a\r\nb: c")),
        ((b":status", b"200"), (b"transfer-encoding", b"chunked")),
        ((b":status", b"200"), (b"content-length", b"7")),
    ],
)
def test_malformed_answer(fields: Fields) -> None:
    """A malformed answer is a failed attempt, and its neighbours live on."""
    it = lab()
    end = client(it)
    id, other = end.ask(CALL, b"x"), end.ask(CALL, b"x")
    server = peer(it)
    first, second = server.messages
    server.answer(first, fields)
    server.answer(second, OK, b"fine")
    end.read()
    assert end.messages[id].status == 502
    assert end.messages[other].body == b"fine"
    it.assert_idle()


# -- who may ask -----------------------------------------------------------------------------------------------


def test_not_grpc() -> None:
    """A request that is no gRPC is told so: 415."""
    it = lab()
    answer = client(it).get()
    assert (answer.status, b"Non-gRPC request matched gRPC route" in answer.body) == (415, True)
    it.assert_idle()


def test_grpc_over_http1() -> None:
    """gRPC over HTTP/1 is told to come over HTTP/2: 426."""
    it = lab()
    line = it.client(http1_post(b"x", lines=b"Content-Type: application/grpc\r\n"))
    answer = spoken.answer(line.received)
    assert (answer.status, answer.value(b"upgrade")) == (426, b"HTTP/2")
    assert b"Please use HTTP2 protocol" in answer.body
    it.assert_idle()


def test_grpcs_in_the_clear() -> None:
    """gRPC in the clear on a route for grpcs alone is told in gRPC's way."""
    it = lab(route={"protocols": ["grpcs"]})
    answer = client(it).get(CALL)
    assert (answer.status, answer.value(b"grpc-status"), answer.body) == (200, b"1", b"")
    assert answer.value(b"grpc-message") == b"gRPC request matched gRPCs route"
    it.assert_idle()


def test_other_requests_to_a_service_for_grpc() -> None:
    """What an ordinary route sends to a service of protocol grpc goes there over HTTP/2, whatever came."""
    it = lab(route={"protocols": ["http", "https"]})
    line = it.client(http1_post(b"abc"))
    server = peer(it)
    request = server.messages[only(server)]
    assert (request.value(b":method"), request.body, request.ended) == (b"POST", b"abc", True)
    assert (request.value(b"content-length"), request.value(b"connection")) == (b"3", None)
    server.answer(only(server), ((b":status", b"201"), (b"content-length", b"2")), b"ok")
    answer = spoken.answer(line.received)
    assert (answer.status, answer.body, answer.complete) == (201, b"ok", True)
    it.assert_idle()


def test_get_has_no_body() -> None:
    """A request without a body ends with its head."""
    it = lab(route={"protocols": ["http", "https"]})
    client(it).ask(GET)
    server = peer(it)
    assert server.messages[only(server)].ended


def test_trailers_of_a_request() -> None:
    """Trailers of a request pass to a peer over HTTP/2, but for those that could be taken for the head's."""
    it = lab()
    end = client(it)
    id = end.ask(CALL, b"x", ended=False)
    end.end(id, ((b"x-sum", b"7"), (b"x-forwarded-for", b"1.2.3.4"), (b"authorization", b"me")))
    server = peer(it)
    request = server.messages[only(server)]
    assert (request.trailers, request.ended) == ([(b"x-sum", b"7")], True)
    assert isinstance(server.line, Line)
