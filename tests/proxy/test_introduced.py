"""Connections that begin with the PROXY protocol, in memory: whom it introduces, and who is closed at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import spoken
from introductions import addresses, binary, text
from loopback import GET, OK, Lab, Line
from secured import End, SecureLab, believing
from twisted.logger import LogEvent, capturedLogs

from twisted_kong.proxy.introduced import IntroducedListener
from twisted_kong.proxy.listeners import Door
from twisted_kong.proxy.recording import Recorder
from twisted_kong.settings import Listener
from twisted_kong.telemetry.traffic import Traffic

LOAD_BALANCER = "10.0.0.9"
SETTINGS = {"trusted_ips": "10.0.0.0/8", "real_ip_header": "proxy_protocol"}
HEADER = text("203.0.113.7", "10.1.1.1", 1111, 443)
BINARY = binary(0x11, addresses("203.0.113.7", "10.1.1.1", 1111, 443))


def open_door(lab: Lab, *, shown: Any = None, ssl: bool = False, http2: bool = False) -> Door:
    """Let the lab's clients come by a listener with ``proxy_protocol``."""
    door = Door(lab.core, lab.settings, Listener("127.0.0.1", 8000, ssl, http2, proxy_protocol=True), shown)
    lab.listener = door.factory  # type: ignore[assignment]  # all that is asked of it is to make protocols
    return door


def a_lab(settings: dict[str, str] | None = None, *, http2: bool = False) -> Lab:
    lab = Lab(settings=SETTINGS if settings is None else settings)
    open_door(lab, http2=http2)
    return lab


def warnings(events: Sequence[LogEvent]) -> list[str]:
    return [event["why"] for event in events if "why" in event]


@pytest.mark.parametrize("header", [HEADER, BINARY])
def test_introduced(header: bytes) -> None:
    """The origin is told the client of the header, and the port of the listener, not that of the header."""
    lab = a_lab({**SETTINGS, "port_maps": "80:8000"})
    client = lab.client(header + GET, address=LOAD_BALANCER)
    (request,) = spoken.requests((origin := lab.origin()).received)
    assert request.value(b"x-real-ip") == request.value(b"x-forwarded-for") == b"203.0.113.7"
    assert request.value(b"x-forwarded-port") == b"80"
    origin.send(OK)
    client.send(GET)
    origin.send(OK)
    assert [answer.status for answer in spoken.answers(client.received)] == [200, 200]
    lab.assert_idle()


@pytest.mark.parametrize(
    ("settings", "address", "real"),
    [
        (SETTINGS, LOAD_BALANCER, b"203.0.113.7"),
        (SETTINGS, "198.51.100.1", b"198.51.100.1"),
        ({"trusted_ips": "10.0.0.0/8"}, LOAD_BALANCER, b"192.0.2.99"),
        ({"real_ip_header": "proxy_protocol"}, LOAD_BALANCER, b"10.0.0.9"),
    ],
)
def test_believed(settings: dict[str, str], address: str, real: bytes) -> None:
    """A header is always read; it is believed of trusted peers, and where ``real_ip_header`` says so."""
    lab = a_lab(settings)
    lab.client(HEADER + b"GET / HTTP/1.1\r\nHost: a.test\r\nX-Real-IP: 192.0.2.99\r\n\r\n", address=address)
    (request,) = spoken.requests(lab.origin().received)
    assert request.value(b"x-real-ip") == real


def test_access_log() -> None:
    """The access log has the client's address, of requests that can be read and of others."""
    lab = a_lab()
    logged: list[str] = []

    class Log:
        def record(self, one: Any) -> None:
            logged.append(one.address)

    lab.core.recorder = Recorder(Traffic(), Log())  # type: ignore[arg-type]  # it is asked for nothing else
    client = lab.client(HEADER + GET, address=LOAD_BALANCER)
    origin = lab.origin()
    origin.send(OK)
    client.send(b"no request\r\n\r\n")
    lab.client(HEADER + GET, address="198.51.100.1")
    origin.send(OK)
    assert logged == ["203.0.113.7", "203.0.113.7", "198.51.100.1"]


@pytest.mark.parametrize("header", [b"PROXY UNKNOWN\r\n", binary(0, b"", command=0)])
def test_sender_that_speaks_for_itself(header: bytes) -> None:
    """A header without addresses leaves those of the connection."""
    lab = a_lab()
    lab.client(header + GET, address=LOAD_BALANCER)
    (request,) = spoken.requests(lab.origin().received)
    assert request.value(b"x-real-ip") == b"10.0.0.9"


def test_cut_anywhere() -> None:
    """A header may be cut anywhere, and what follows it may come along."""
    for header in (HEADER, BINARY):
        for cut in range(1, len(header)):
            lab = a_lab()
            client = lab.client(header[:cut], address=LOAD_BALANCER)
            assert lab.dials == []
            client.send(header[cut:] + GET)
            (request,) = spoken.requests(lab.origin().received)
            assert request.value(b"x-real-ip") == b"203.0.113.7"


@pytest.mark.parametrize("header", [HEADER, BINARY])
@pytest.mark.parametrize("piece", [0, 1])
def test_before_tls(header: bytes, piece: int) -> None:
    """The header comes in the clear, before the handshake; the client's first words of TLS may come along."""
    lab = SecureLab(settings=SETTINGS)
    above = open_door(lab, shown=lab.shown, ssl=True)
    line = lab.client(b"" if piece else header, address=LOAD_BALANCER)
    for at in range(len(header) if piece else 0):
        line.send(header[at : at + 1])
    client = End(line, believing(), piece=piece).send(GET)
    (request,) = spoken.requests((origin := lab.origin()).received)
    assert request.value(b"x-real-ip") == b"203.0.113.7"
    assert request.value(b"x-forwarded-proto") == b"https"
    origin.send(OK)
    assert client.take().endswith(b"\r\n\r\nok")
    assert len(above.proxy.connections) == 1


def test_before_http2() -> None:
    """The header comes before the preface of HTTP/2, and before HTTP/1 on the same listener."""
    lab = a_lab(http2=True)
    client = lab.client(BINARY + b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0", address=LOAD_BALANCER)
    assert client.received[3] == 4, "the gateway's SETTINGS"
    client = lab.client(HEADER + GET, address=LOAD_BALANCER)
    (request,) = spoken.requests(lab.origin().received)
    assert request.value(b"x-real-ip") == b"203.0.113.7"


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (GET, "no PROXY header"),
        (b"PROXY TCP9\r\n" + GET, "a malformed line"),
        (b"PROXY " + b"x" * 200, "a line of more than 107 bytes"),
        (binary(0x11, b"", length=5000), "a header of more than 4096 bytes"),
    ],
)
def test_closed_at_once(data: bytes, why: str) -> None:
    """Without a sound header a connection is closed at once, without a word; the log tells why, a metric how often."""
    lab = a_lab()
    with capturedLogs() as events:
        client = lab.client(data, address=LOAD_BALANCER)
        lab.wait()
    assert client.aborted
    assert client.received == b""
    assert warnings(events) == [f"{why} where the PROXY protocol is spoken"]
    assert lab.core.refusals.counts.connections["proxy_protocol"] == 1
    lab.assert_idle()


def test_too_slow() -> None:
    """A header has the time that a head has, in all, however many pieces it comes in."""
    lab = a_lab({**SETTINGS, "nginx_http_client_header_timeout": "10s"})
    client = lab.client(b"P", address=LOAD_BALANCER)
    for byte in (b"R", b"O", b"X"):
        lab.wait(3)
        client.send(byte)
    assert client.lost is None
    with capturedLogs() as events:
        lab.wait(1.1)
    assert client.aborted
    assert warnings(events) == ["no PROXY header within 10.0 s"]
    assert (counts := lab.core.refusals.counts.connections) == {**counts, "proxy_protocol_timeout": 1}
    lab.assert_idle()


def test_nothing_is_left_of_who_leaves() -> None:
    """Whoever leaves before a header is complete leaves nothing behind, and is no refusal."""
    lab = a_lab()
    for data in (b"", b"PROX", HEADER):
        client = lab.client(data, address=LOAD_BALANCER)
        client.close()
        assert client.closed
    listener: Any = lab.listener
    assert isinstance(listener, IntroducedListener)
    assert listener.waiting == set()
    assert not any(lab.core.refusals.counts.connections.values())
    lab.wait(61)
    lab.assert_idle()


def test_refusals_do_not_fill_the_log() -> None:
    """A flood of malformed connections is counted one by one, and logged once in ten seconds."""
    lab = a_lab()
    with capturedLogs() as events:
        for _ in range(500):
            lab.client(GET)
        lab.wait(10)
        lab.client(GET)
        lab.wait()
    assert lab.core.refusals.counts.connections["proxy_protocol"] == 501
    assert [event["more"] for event in events if "why" in event] == [
        "",
        " (499 more for the same reason since the last such line)",
    ]


def test_let_go_of_when_the_gateway_stops() -> None:
    """Who has not been introduced when idle connections are closed is let go of."""
    lab = Lab(settings=SETTINGS)
    door = open_door(lab)
    waiting: Line = lab.client(b"PROXY", address=LOAD_BALANCER)
    door.close_idle()
    lab.wait()
    assert waiting.aborted
