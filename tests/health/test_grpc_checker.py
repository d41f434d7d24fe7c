"""The health protocol of gRPC: the call that is made, and what is made of the answer."""

from __future__ import annotations

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, RequestReceived, StreamEnded
from hypothesis import given
from hypothesis import strategies as st
from probing import upstream
from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure

from twisted_kong.health.checkers.grpc import GrpcCheckerFactory, GrpcsCheckerFactory, judged
from twisted_kong.model.entities import Upstream
from twisted_kong.model.traffic import Outcome
from twisted_kong.testing import ProbeInMemory

OK = [("grpc-status", "0")]


class Server:
    """A gRPC server in memory, which has been called once."""

    def __init__(self, entity: Upstream | None = None, *, tls: bool = False) -> None:
        factory = GrpcsCheckerFactory() if tls else GrpcCheckerFactory()
        self.probe = ProbeInMemory()
        self.found: list[Outcome] = []
        _ = factory.build(entity or upstream()).check(self.probe).addCallback(self.found.append)
        self.http2 = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
        self.http2.initiate_connection()
        self.headers: dict[str, str] = {}
        self.body = b""
        self.ended = False
        for event in self.http2.receive_data(self.probe.transport.value()):
            match event:
                case RequestReceived(headers=headers):
                    self.headers = {str(name): str(value) for name, value in headers or ()}
                case DataReceived(data=data):
                    self.body += data or b""
                case StreamEnded():
                    self.ended = True

    def outcome(self, *, one_by_one: bool = False) -> Outcome | None:
        """What the probe makes of what was answered."""
        data = self.http2.data_to_send() or b""
        for piece in [bytes([byte]) for byte in data] if one_by_one else [data]:
            self.probe.protocol.dataReceived(piece)
        return self.found[0]._replace(error=None) if self.found else None

    def answer(self, message: bytes, trailers: list[tuple[str, str]] = OK) -> None:
        self.http2.send_headers(1, [(":status", "200"), ("content-type", "application/grpc")])
        self.http2.send_data(1, b"\0" + len(message).to_bytes(4) + message)
        self.http2.send_headers(1, trailers, end_stream=True)


@pytest.mark.parametrize("tls", [True, False])
def test_call(tls: bool) -> None:
    """A probe is a call of Check for no service in particular, under the peer's name, with configured metadata."""
    server = Server(upstream(headers={"X-Token": ["secret\r\nx: y"], "Host": ["b.test"]}), tls=tls)
    assert server.headers == {
        ":method": "POST",
        ":scheme": "https" if tls else "http",
        ":path": "/grpc.health.v1.Health/Check",
        ":authority": "a.test",
        "te": "trailers",
        "content-type": "application/grpc",
        "x-token": "secret",
    }
    assert (server.body, server.ended) == (b"\0" * 5, True)
    assert server.probe.tls == (("a.test", True, (b"h2",)) if tls else None)


def test_host_header() -> None:
    """The upstream's ``host_header`` is whom it asks for."""
    server = Server(upstream("b.test:444"), tls=True)
    assert server.headers[":authority"] == "b.test:444"
    assert server.probe.tls == ("b.test", True, (b"h2",))


@pytest.mark.parametrize("one_by_one", [True, False])
@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (b"\x08\x01", Outcome()),
        (b"\x12\x03abc\x08\x01", Outcome()),
        (b"\x08\x02", Outcome("http")),
        (b"\x08\x03", Outcome("http")),
        (b"", Outcome("http")),
        (b"\x08", Outcome("http")),
        (b"\x08" + b"\xff" * 12, Outcome("http")),
        (b"\x12\x7fabc", Outcome("http")),
        (b"\x0b", Outcome("http")),
    ],
)
def test_answers(message: bytes, expected: Outcome, one_by_one: bool) -> None:
    """``SERVING`` is well; whatever else it says, or fails to say, is not."""
    server = Server()
    server.answer(message)
    assert server.outcome(one_by_one=one_by_one) == expected


def test_no_health_service() -> None:
    """A server that does not know the method is not well."""
    server = Server()
    server.http2.send_headers(1, [(":status", "200"), ("grpc-status", "12")], end_stream=True)
    assert server.outcome() == Outcome("http")


def test_status() -> None:
    """Nor is one that answers with an HTTP status of failure."""
    server = Server()
    server.http2.send_headers(1, [(":status", "503")], end_stream=True)
    assert server.outcome() == Outcome("http", 503)


def test_reset() -> None:
    """Nor one that resets the call; one that wants no more calls is as good as gone."""
    server = Server()
    server.http2.reset_stream(1)
    assert server.outcome() == Outcome("http")
    server = Server()
    server.http2.close_connection()
    assert server.outcome() == Outcome("tcp")


def test_too_much() -> None:
    """An answer without end is not read to it."""
    server = Server()
    server.http2.send_headers(1, [(":status", "200")])
    server.http2.send_data(1, b"\0" * 10000)
    assert server.outcome() == Outcome("http")


@pytest.mark.parametrize("said", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\0" * 100])
def test_other_protocols(said: bytes) -> None:
    """What is not HTTP/2 is a failure, and so is a TLS server that would not agree on it."""
    server = Server()
    server.probe.protocol.dataReceived(said)
    assert server.found[0].failure == "http"
    server = Server(tls=True)
    server.probe.transport.negotiatedProtocol = None  # type: ignore[attr-defined]  # as a transport with TLS has it
    server.answer(b"\x08\x01")
    assert server.outcome() == Outcome("http")


def test_lost() -> None:
    """A connection that ends before the answer is a failure of the connection."""
    server = Server()
    server.probe.protocol.connectionLost(Failure(ConnectionDone()))
    assert server.found[0].failure == "tcp"


@given(st.binary(max_size=40))
def test_any_message(message: bytes) -> None:
    """Whatever the message of an answer is, it is either well or a failure."""
    outcome = judged({":status": "200", "grpc-status": "0"}, message)
    assert outcome == Outcome() or outcome.failure == "http"
