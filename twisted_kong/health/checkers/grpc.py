"""The checkers ``grpc`` and ``grpcs``: the standard health protocol of gRPC, over HTTP/2.

One call of ``grpc.health.v1.Health/Check`` for the server as a whole: ``SERVING`` is well, any other answer is not.
The two messages have one field each, so they are read and written here.
"""

from __future__ import annotations

from collections.abc import Iterator

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    ResponseReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
)
from h2.exceptions import ProtocolError
from twisted.internet.defer import Deferred
from twisted.plugin import IPlugin
from zope.interface import implementer

from twisted_kong.health.checkers.asking import UPSET, Asking, one_line
from twisted_kong.interfaces import IHealthChecker, IHealthCheckerFactory, IProbe
from twisted_kong.model import hosts
from twisted_kong.model.entities import Upstream
from twisted_kong.model.traffic import Outcome

METHOD = "/grpc.health.v1.Health/Check"
ALPN = b"h2"
WHOLE_SERVER = b"\0\0\0\0\0"
"""A message of gRPC: not compressed, of no bytes, which is a request about no service in particular."""
LONGEST = 4096
"""Bytes of an answer that are still one."""

_WORDS = {0: "UNKNOWN", 1: "SERVING", 2: "NOT_SERVING", 3: "SERVICE_UNKNOWN"}
_FORBIDDEN = frozenset(["connection", "host", "te", "content-type", "transfer-encoding", "keep-alive", "upgrade"])


class _Call(Asking):
    """Makes the call, and waits for all of the answer."""

    def __init__(self, probe: IProbe, headers: list[tuple[str, str]], *, tls: bool) -> None:
        super().__init__(probe)
        self._headers = headers
        self._tls = tls
        self._http2 = H2Connection(H2Configuration(client_side=True, header_encoding="utf-8"))
        self._told: dict[str, str] = {}
        self._message = b""

    def connectionMade(self) -> None:
        self._http2.initiate_connection()
        self._http2.send_headers(1, self._headers)
        self._http2.send_data(1, WHOLE_SERVER, end_stream=True)
        self._flush()

    def _flush(self) -> None:
        assert self.transport is not None
        data = self._http2.data_to_send()
        if data:
            self.transport.write(data)

    def dataReceived(self, data: bytes) -> None:
        if self.outcome.called:
            return
        agreed = not self._tls or getattr(self.transport, "negotiatedProtocol", None) == ALPN
        if not agreed or data.startswith(b"HTTP/"):  # which h2 would take for the beginning of a long frame
            self.conclude(Outcome(UPSET, error="it does not speak HTTP/2"))
            return
        try:
            for event in self._http2.receive_data(data):
                self._take(event)
        except ProtocolError as error:
            self.conclude(Outcome(UPSET, error=f"not HTTP/2: {error}"))
        else:
            if not self.outcome.called:
                self._flush()

    def _take(self, event: Event) -> None:
        match event:
            case ResponseReceived(headers=headers) | TrailersReceived(headers=headers):
                self._told.update((str(name), str(value)) for name, value in headers or ())
            case DataReceived(data=data, flow_controlled_length=length):
                self._message += data or b""
                self._http2.acknowledge_received_data(length or 0, 1)
                if len(self._message) > LONGEST:
                    self.conclude(Outcome(UPSET, error="the answer has no end"))
            case StreamEnded():
                self.conclude(judged(self._told, self._message))
            case StreamReset(error_code=code):
                self.conclude(Outcome(UPSET, error=f"the call was reset: {code}"))
            case ConnectionTerminated(error_code=code):
                self.conclude(Outcome("tcp", error=f"it wants no more calls: {code}"))


def judged(told: dict[str, str], message: bytes) -> Outcome:
    """The outcome of a call, by the headers and trailers of its answer, and the message in between."""
    status = told.get(":status", "")
    if status != "200":
        return Outcome(UPSET, int(status) if status.isdigit() else None, error=f"HTTP status {status}")
    code = told.get("grpc-status", "2")
    if code != "0":
        return Outcome(UPSET, error=f"gRPC status {code}: {told.get('grpc-message', '')}".rstrip(": "))
    try:
        serving = _serving(message)
    except (ValueError, IndexError):
        return Outcome(UPSET, error=f"not an answer of the health protocol: {message[:40]!r}")
    return Outcome() if serving == 1 else Outcome(UPSET, error=_WORDS.get(serving, str(serving)))


def _serving(message: bytes) -> int:
    """Field 1 of the one message of an answer; 0 where it is left out."""
    if message[0] or int.from_bytes(message[1:5]) != len(message) - 5:
        raise ValueError("compressed, cut, or several")
    found = 0
    for number, value in _fields(message[5:]):
        if number == 1 and isinstance(value, int):
            found = value
    return found


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """The fields of a protobuf message: numbers, and values as far as we need them."""
    position = 0
    while position < len(message):
        key, position = _varint(message, position)
        kind = key & 7
        if kind == 0:
            value, position = _varint(message, position)
            yield key >> 3, value
            continue
        if kind == 2:
            length, position = _varint(message, position)
        else:
            length = {1: 8, 5: 4}.get(kind, -1)
        if length < 0 or position + length > len(message):
            raise ValueError("not a field")
        yield key >> 3, message[position : position + length]
        position += length


def _varint(message: bytes, position: int) -> tuple[int, int]:
    """A number in groups of seven bits, the lowest first, and where it ends."""
    value = 0
    for shift in range(0, 70, 7):
        byte = message[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise ValueError("a number without end")


@implementer(IHealthChecker)
class GrpcChecker:
    """Asks for the health of the whole server; over TLS with the server name as ``https`` has it."""

    def __init__(self, upstream: Upstream, *, tls: bool) -> None:
        checks = upstream.healthchecks.active
        self._tls = tls
        self._host = upstream.host_header
        self._server_name = checks.https_sni or (upstream.host_header and hosts.split(upstream.host_header)[0])
        self._verify = checks.https_verify_certificate
        self._metadata = [
            (name.lower(), one_line(value).strip())
            for name, values in (checks.headers or {}).items()
            if name.lower() not in _FORBIDDEN
            for value in values
        ]

    def check(self, probe: IProbe) -> Deferred[Outcome]:
        name = probe.name
        authority = self._host or (f"[{name}]" if ":" in name else name)
        headers = [
            (":method", "POST"),
            (":scheme", "https" if self._tls else "http"),
            (":path", METHOD),
            (":authority", authority),
            ("te", "trailers"),
            ("content-type", "application/grpc"),
            *self._metadata,
        ]
        call = _Call(probe, headers, tls=self._tls)
        if self._tls:
            probe.connect_tls(call, self._server_name or name, self._verify, (ALPN,))
        else:
            probe.connect(call)
        return call.outcome


@implementer(IPlugin, IHealthCheckerFactory)
class GrpcCheckerFactory:
    name = "grpc"

    def build(self, upstream: Upstream) -> GrpcChecker:
        return GrpcChecker(upstream, tls=False)


@implementer(IPlugin, IHealthCheckerFactory)
class GrpcsCheckerFactory:
    name = "grpcs"

    def build(self, upstream: Upstream) -> GrpcChecker:
        return GrpcChecker(upstream, tls=True)
