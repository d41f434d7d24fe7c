"""What a probe over HTTP sends, and what it makes of the answer."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from probing import upstream
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure
from zope.interface.verify import verifyObject

from twisted_kong.health.checkers.http import HttpCheckerFactory, HttpsCheckerFactory
from twisted_kong.health.checkers.tcp import TcpCheckerFactory
from twisted_kong.interfaces import IProbe
from twisted_kong.model.entities import Upstream
from twisted_kong.model.traffic import Outcome
from twisted_kong.testing import ProbeInMemory


def sent(entity: Upstream, name: str = "a.test") -> list[bytes]:
    """The lines of the probe."""
    probe = ProbeInMemory(name)
    _ = HttpCheckerFactory().build(entity).check(probe)
    lines: list[bytes] = probe.transport.value().split(b"\r\n")
    return lines


def outcome(*pieces: bytes) -> Outcome | None:
    """What a probe makes of an answer that comes in these pieces, and then ends."""
    probe = ProbeInMemory()
    found: list[Outcome] = []
    _ = HttpCheckerFactory().build(upstream()).check(probe).addCallback(found.append)
    for piece in pieces:
        probe.protocol.dataReceived(piece)
    probe.protocol.connectionLost(Failure(ConnectionDone()))
    (told,) = found
    return told._replace(error=None)


def test_doubles() -> None:
    """The probe used here is one."""
    verifyObject(IProbe, ProbeInMemory())


@pytest.mark.parametrize(
    ("name", "host_header", "host"),
    [
        ("a.test", None, b"a.test"),
        ("10.0.0.1", None, b"10.0.0.1"),
        ("::1", None, b"[::1]"),
        ("a.test", "b.test", b"b.test"),
        ("a.test", "b.test:81", b"b.test:81"),
    ],
)
def test_request(name: str, host_header: str | None, host: bytes) -> None:
    """A probe is a GET of the path; Host is the peer's name without a port, or what the upstream prescribes."""
    lines = sent(upstream(host_header, http_path="/status/full"), name)
    assert lines == [b"GET /status/full HTTP/1.1", b"Host: " + host, b"Connection: close", b"", b""]


def test_headers() -> None:
    """Configured headers are sent, a line for each value; Host among them replaces ours."""
    lines = sent(upstream("b.test", headers={"X-A": ["1", "2"], "host": ["c.test"], "Connection": ["keep-alive"]}))
    assert lines == [b"GET / HTTP/1.1", b"Host: c.test", b"Connection: close", b"X-A: 1", b"X-A: 2", b"", b""]


def test_no_smuggling() -> None:
    """A value with line ends is cut before the first of them."""
    assert b"X-A: 1" in sent(upstream(headers={"x-a": ["1"], "X-A": ["1\r\nX-B: 2", "3\n\nGET / HTTP/1.1"]}))
    assert not any(line.startswith(b"X-B") for line in sent(upstream(headers={"X-A": ["1\r\nX-B: 2"]})))


@pytest.mark.parametrize(
    ("sni", "host_header", "verify", "asked"),
    [
        (None, None, True, ("a.test", True, (b"http/1.1",))),
        (None, "b.test:444", True, ("b.test", True, (b"http/1.1",))),
        ("c.test", "b.test", False, ("c.test", False, (b"http/1.1",))),
    ],
)
def test_https(sni: str | None, host_header: str | None, verify: bool, asked: Any) -> None:
    """``https`` asks the same under TLS: for ``https_sni``, else for the Host, else for the peer's name."""
    probe = ProbeInMemory()
    entity = upstream(host_header, https_sni=sni, https_verify_certificate=verify)
    _ = HttpsCheckerFactory().build(entity).check(probe)
    assert probe.tls == asked
    assert probe.transport.value().startswith(b"GET / HTTP/1.1\r\n")


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        ([b"HTTP/1.1 200 OK\r\nA: b\r\n\r\nbody"], Outcome(None, 200)),
        ([b"HTTP/1.0 503\r\n"], Outcome(None, 503)),
        ([b"HTTP/1.1 200 \n"], Outcome(None, 200)),
        ([b"HTTP/1.1 20", b"4 No Content\r", b"\n"], Outcome(None, 204)),
        ([b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\nHTTP/1.1 500 Oops\r\n"], Outcome(None, 500)),
        ([b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 102 P\r\n\r\n", b"HTTP/1.1 200 OK\r\n"], Outcome(None, 200)),
        ([b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 500 Oops\r\n"], Outcome(None, 200)),
        ([b"garbage\r\n\r\n"], Outcome("http")),
        ([b"SSH-2.0-OpenSSH\r\n"], Outcome("http")),
        ([b"HTTP/1.1 0200 OK\r\n"], Outcome("http")),
        ([b"HTTP/1.1 2000 OK\r\n"], Outcome("http")),
        ([b"x" * 8193], Outcome("http")),
        ([b"HTTP/1.1 100 Continue\r\nA: " + b"b" * 8193], Outcome("http")),
        ([], Outcome("tcp")),
        ([b"HTTP/1.1 200"], Outcome("tcp")),
        ([b"HTTP/1.1 100 Continue\r\n\r\n"], Outcome("tcp")),
    ],
)
def test_answers(pieces: list[bytes], expected: Outcome) -> None:
    """A status is what it is; what is no status line is an ``http`` failure; an end before either is ``tcp``."""
    assert outcome(*pieces) == expected


@given(st.binary(max_size=200), st.data())
def test_pieces(answer: bytes, data: st.DataObject) -> None:
    """However an answer is cut into pieces, and whatever it is, the outcome is the same, and there is one."""
    answer = data.draw(st.sampled_from([b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 100 C\r\n\r\nHTTP/1.1 404 "])) + answer
    cut = data.draw(st.integers(0, len(answer)))
    assert outcome(answer[:cut], answer[cut:]) == outcome(*(bytes([byte]) for byte in answer))


def test_tcp() -> None:
    """``tcp`` asks for nothing but the connection."""
    probe = ProbeInMemory()
    found: list[Outcome] = []
    _ = TcpCheckerFactory().build(upstream()).check(probe).addCallback(found.append)
    assert found == [Outcome()]
    assert not probe.transport.value()
    assert isinstance(probe.protocol, Protocol)
