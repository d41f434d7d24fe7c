"""Clients that are too slow, or ask for too much: what becomes of them, and what is counted."""

from __future__ import annotations

from typing import Any

import pytest
import spoken
import streams
from hypothesis import given
from hypothesis import strategies as st
from loopback import GET, OK, Lab, Line, post
from secured import SecureLab
from test_tunnel import opened

from twisted_kong.proxy.patience import Pace
from twisted_kong.telemetry.refusals import CUT_OFF

TIMES = {
    "nginx_http_client_header_timeout": "10s",
    "nginx_http_client_body_timeout": "20s",
    "nginx_http_send_timeout": "30s",
    "nginx_http_keepalive_timeout": "40s",
}
LARGE = b"x" * 50_000


def cut_off(lab: Lab) -> dict[str, int]:
    """Who was cut off how often, by reason."""
    return {reason: count for reason, count in lab.core.refusals.counts.cut_off.items() if count}


def refused(lab: Lab) -> dict[str, int]:
    """Which limit was exceeded how often."""
    return {reason: count for reason, count in lab.core.refusals.counts.requests.items() if count}


# -- heads that are slow ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("begins", "goes_on"), [(b"\r\n", b"\r\n"), (b"\n", b"\n"), (b"\0", b"x"), (b"G", b"x")])
def test_bytes_buy_no_time(begins: bytes, goes_on: bytes) -> None:
    """However a head begins and however steadily it comes, be it in blank lines, there is one time for all of it."""
    lab = Lab(settings=TIMES)
    client = lab.client(begins)
    for _ in range(9):
        lab.wait(1)
        client.send(goes_on)
        assert not client.ended
    lab.wait(1.1)
    assert client.ended
    assert cut_off(lab) == {"head_timeout": 1}


def test_blank_lines_between_requests() -> None:
    """After an answer blank lines leave a connection as idle as it is; a request behind them is a request."""
    lab = Lab(settings=TIMES)
    client = lab.client(post(b"hi") + b"\r\n")
    origin = lab.origin()
    origin.send(OK)
    for _ in range(3):
        lab.wait(12)
        client.send(b"\r\n")
    assert client.lost is None
    client.send(b"\r\n" + GET)
    origin.send(OK)
    assert [answer.status for answer in spoken.answers(client.received)] == [200, 200]
    for _ in range(3):
        lab.wait(12)
        client.send(b"\r\n")
    assert client.lost is None
    lab.wait(16.1)
    assert client.closed
    assert cut_off(lab) == {}
    lab.assert_idle()


# -- whoever is cut off is counted -----------------------------------------------------------------------------


def silent(lab: Lab) -> None:
    lab.client()
    lab.wait(11)


def slow_head(lab: Lab) -> None:
    lab.client(b"GET / HTTP/1.1\r\nHost")
    lab.wait(11)


def slow_body(lab: Lab) -> None:
    lab.client(post(b"hi", length=3))
    lab.wait(21)


def slow_reader(lab: Lab) -> None:
    lab.client(GET, room=10)
    lab.origin().send(OK)
    lab.wait(31)


def idle(lab: Lab) -> None:
    lab.client(GET)
    lab.origin().send(OK)
    lab.wait(41)


@pytest.mark.parametrize(
    ("happens", "counted"),
    [
        (silent, {"head_timeout": 1}),
        (slow_head, {"head_timeout": 1}),
        (slow_body, {"body_timeout": 1}),
        (slow_reader, {"send_timeout": 1}),
        (idle, {}),
    ],
)
def test_counted(happens: Any, counted: dict[str, int]) -> None:
    """Of who was too slow, and with what, there is a count; to be idle is no offence."""
    lab = Lab(settings=TIMES)
    happens(lab)
    assert cut_off(lab) == counted


def test_counted_before_the_first_byte_of_a_protocol() -> None:
    """Where HTTP/2 is spoken too, who says nothing is counted the same."""
    lab = Lab(settings=TIMES, http2=True)
    silent(lab)
    assert cut_off(lab) == {"head_timeout": 1}


def test_slow_handshake() -> None:
    """A TLS handshake has the time of a head, in all."""
    lab = SecureLab(settings=TIMES)
    line = lab.knock()
    for byte in b"\x16\x03\x01\x00\xff\x01\x00\x00\xfb":
        lab.wait(1)
        line.send(bytes([byte]))
    assert line.lost is None
    lab.wait(1.1)
    assert line.aborted
    assert cut_off(lab) == {"handshake_timeout": 1}
    assert lab.secure.shaking == set()


def http2(lab: Lab) -> tuple[Line, streams.End]:
    line = lab.client()
    return line, streams.End(line, client=True)


def test_counted_over_http2() -> None:
    """Over HTTP/2 the same is counted of every stream and of the connection."""
    lab = Lab(settings=TIMES, http2=True)
    http2(lab)
    lab.wait(11)
    assert cut_off(lab) == {"head_timeout": 1}
    _, end = http2(lab)
    end.h2.send_headers(1, streams.post((b"content-length", b"3")))
    end.flush()
    lab.wait(21)
    assert cut_off(lab) == {"head_timeout": 1, "body_timeout": 1}


# -- clients that read slowly ----------------------------------------------------------------------------------


def test_slow_but_steady() -> None:
    """Who goes on reading is waited for, however little it is at a time; who stops is cut off."""
    lab = Lab(settings=TIMES)
    client = lab.client(GET, room=100)
    lab.origin().send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(LARGE), LARGE))
    for _ in range(20):
        lab.wait(25)
        client.make_room(1)
    assert client.lost is None
    assert cut_off(lab) == {}
    lab.wait(61)
    assert client.aborted
    assert cut_off(lab) == {"send_timeout": 1}
    lab.assert_idle()


def test_slow_but_steady_over_http2() -> None:
    """The same where the socket carries streams: a byte is progress, none is the end."""
    lab = Lab(settings=TIMES, http2=True)
    line, end = http2(lab)
    line.room = 0
    end.h2.send_headers(1, streams.GET, end_stream=True)
    end.flush()
    lab.origin().send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(LARGE), LARGE))
    for _ in range(20):
        lab.wait(25)
        line.make_room(1)
    assert line.lost is None
    lab.wait(61)
    assert line.aborted
    assert cut_off(lab) == {"send_timeout": 1}
    lab.assert_idle()


def test_origin_that_reads_slowly() -> None:
    """``write_timeout`` is for one write: an origin that goes on reading is waited for, one that stops has failed."""
    lab = Lab(service={"write_timeout": 30_000, "retries": 0})
    client = lab.client(post(LARGE))
    origin = lab.dials[0].accept(room=100)
    for _ in range(20):
        lab.wait(25)
        origin.make_room(1)
    assert client.received == b""
    lab.wait(61)
    assert spoken.answer(client.received).status == 504
    assert origin.aborted
    lab.assert_idle()


def test_tunnel_that_is_read_slowly() -> None:
    """A tunnel lasts while the slow side goes on reading, and ends when it stops."""
    lab = Lab(service={"write_timeout": 30_000, "read_timeout": 5_000})
    client, peer = opened(lab)
    client.room = 0
    peer.send(LARGE)
    for _ in range(20):
        lab.wait(25)
        client.make_room(1)
    assert client.lost is peer.lost is None
    lab.wait(61)
    assert client.aborted
    lab.assert_idle()


# -- bodies that are slow --------------------------------------------------------------------------------------


@pytest.mark.parametrize("http2", [False, True])
def test_least_rate_of_a_body(http2: bool) -> None:
    """A body that comes too slowly is a 408 however steadily it comes; one that is fast enough may last."""
    for size, served in ((50, False), (150, True)):
        lab = Lab(settings={**TIMES, "client_body_min_rate": "100"}, http2=http2)
        line = lab.client() if http2 else lab.client(post(length=100 * size))
        if http2:
            end = streams.End(line, client=True)
            end.h2.send_headers(1, streams.post((b"content-length", b"%d" % (100 * size))))
        for _ in range(100):
            lab.wait(1)
            if line.received and not http2:
                break
            if http2:
                end.read()
                if end.messages:
                    break
                end.h2.send_data(1, b"x" * size)
                end.flush()
            else:
                line.send(b"x" * size)
        if served:
            if http2:
                end.h2.end_stream(1)
                end.flush()
            lab.origin().send(OK)
        assert lab.network.seconds() == pytest.approx(100 if served else 40, abs=2)
        if http2:
            end.read()
        status = end.messages[1].status if http2 else spoken.answer(line.received).status
        assert status == (200 if served else 408)
        assert cut_off(lab) == ({} if served else {"body_timeout": 1})


def test_who_is_not_read_from_is_not_slow() -> None:
    """While a body is held up by the origin its client has all the time, and no less afterwards."""
    lab = Lab(settings={**TIMES, "client_body_min_rate": "100"}, route={"request_buffering": False})
    client = lab.client(post(b"x" * 100, length=300))
    origin = lab.dials[0].accept(room=10)
    lab.wait(50)
    assert not client.reading
    origin.make_room(None)
    lab.wait(15)
    client.send(b"x" * 200)
    origin.send(OK)
    assert spoken.answer(client.received).status == 200
    assert cut_off(lab) == {}


@given(st.lists(st.tuples(st.floats(0.0, 5.0), st.integers(0, 2000)), max_size=60), st.integers(1, 500))
def test_pace(pieces: list[tuple[float, int]], rate: int) -> None:
    """Whoever keeps the rate is never late; whoever is not late has kept it, but for the time given to begin with."""
    now, came = 0.0, 0
    pace = Pace(10.0, rate, now)
    wait, always = 10.0, True
    for pause, size in pieces:
        now += pause
        if pause > wait:
            assert not always
            return
        came += size
        always = always and size >= pause * rate
        wait = pace.wait(size, now)
        assert wait <= 10.0
        assert now <= 10.0 + came / rate + 1e-6


# -- heads that are large --------------------------------------------------------------------------------------


@pytest.mark.parametrize("http2", [False, True])
def test_number_of_fields(http2: bool) -> None:
    """A head may have so many fields and no more, whatever they are; over HTTP/2 as well."""
    for count, status in ((19, 200), (20, 431)):
        lab = Lab(settings={"max_header_fields": "20"}, http2=http2)
        if http2:
            end = streams.End(lab.client(), client=True)
            end.h2.send_headers(1, [*streams.GET, *((b"a", b"") for _ in range(count))], end_stream=True)
            end.flush()
        else:
            client = lab.client(GET[:-2] + b"a:\r\n" * count + b"\r\n")
        if status == 200:
            lab.origin().send(OK)
        if http2:
            end.read()
            assert end.messages[1].status == status
        else:
            assert spoken.answer(client.received).status == status
        assert refused(lab) == ({} if status == 200 else {"fields": 1})


def test_too_many_fields_of_a_head_that_has_not_ended() -> None:
    """Nobody waits for the end of a head that has too many fields already."""
    lab = Lab(settings={"max_header_fields": "20"})
    client = lab.client(GET[:-2])
    for _ in range(20):
        assert client.received == b""
        client.send(b"a:\r\n")
    assert spoken.answer(client.received).status == 431


def test_single_bytes_are_not_checked_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """A long head that comes byte by byte is checked a bounded number of times, and refused in time all the same."""
    lab = Lab()
    checks: list[int] = []
    parser = lab.core.request_parser
    check = parser.check_size

    def counted(first: bytes, lines: list[bytes], size: int) -> None:
        checks.append(size)
        check(first, lines, size)

    monkeypatch.setattr(parser, "check_size", counted)
    client = lab.client(GET[:-2])
    sent = 0
    for _ in range(40):
        for at in range(1000):
            client.send(b"\n" if at == 999 else b"\r" if at == 998 else b":" if at == 1 else b"x")
            sent += not client.received
    assert spoken.answer(client.received).status == 431
    assert 32768 < sent < 32768 + parser.harmless // 8
    assert len(checks) < 8 * 32768 // parser.harmless + 2


def test_as_many_fields_as_there_may_be_in_pieces() -> None:
    """Where a head is cut makes no difference to how many fields it has."""
    head = GET[:-2] + b"a:\r\n" * 19 + b"\r\n"
    for cut in range(len(head) - 12, len(head)):
        lab = Lab(settings={"max_header_fields": "20"})
        client = lab.client(head[:cut])
        client.send(head[cut:])
        lab.origin().send(OK)
        assert spoken.answer(client.received).status == 200


@pytest.mark.parametrize(
    ("request_", "counted"),
    [
        (b"GET /%b HTTP/1.1\r\nHost: a.test\r\n\r\n" % (b"x" * 9000), {"request_line": 1}),
        (b"GET / HTTP/1.1\r\nHost: a.test\r\nX: %b\r\n\r\n" % (b"x" * 9000), {"head": 1}),
        (post(length=11, lines=b""), {"body": 1}),
        (b"GET / HTTP/1.1\r\nno field\r\n\r\n", {}),
    ],
)
def test_exceeded_limits_are_counted(request_: bytes, counted: dict[str, int]) -> None:
    """Which limit a refused request exceeds is counted; what is merely malformed exceeds none."""
    lab = Lab(settings={"nginx_http_client_max_body_size": "10"})
    client = lab.client(request_)
    assert spoken.answer(client.received).status in (400, 413, 414, 431)
    assert refused(lab) == counted


# -- pipelines -------------------------------------------------------------------------------------------------


def test_a_pipeline_is_not_gathered() -> None:
    """However much is pipelined behind a request that waits, no more than one read of it is taken in."""
    lab = Lab()
    client = lab.client(GET + GET * 20_000)
    assert len(lab.dials) == 1
    assert not client.reading
    (connection,) = lab.listener.connections
    assert len(connection._buffer) <= 2 * 131072  # type: ignore[union-attr]  # it speaks HTTP/1


# -- metrics ---------------------------------------------------------------------------------------------------


def test_metrics() -> None:
    """Every reason is there from the start, so that its first time can be seen."""
    lab = Lab(settings=TIMES)
    silent(lab)
    families = {family.name: family for family in lab.core.recorder.traffic.copy().collect()}
    told = {sample.labels["reason"]: sample.value for sample in families["kong_cut_off_connections"].samples}
    assert told == {**dict.fromkeys(CUT_OFF, 0), "head_timeout": 1}
    assert {"kong_refused_connections", "kong_refused_requests"} < families.keys()


# -- what makes work for nothing -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limit", "reason"), [("max_http2_resets", "http2_requests"), ("max_http2_idle_frames", "http2_frames")]
)
def test_limits_of_http2_are_settings(limit: str, reason: str) -> None:
    """How much may be done for nothing over HTTP/2 is a setting; whoever does more is cut off, and counted."""
    lab = Lab(settings={limit: "20"}, http2=True)
    line, end = http2(lab)
    for number in range(25):
        if limit == "max_http2_resets":
            end.h2.send_headers(2 * number + 1, streams.GET)
            end.h2.reset_stream(2 * number + 1)
        else:
            end.h2.ping(b"12345678")
        end.flush()
        if number == 15:
            assert cut_off(lab) == {}
    assert cut_off(lab) == {reason: 1}
    lab.wait(6)
    assert line.lost is not None
    lab.assert_idle()
