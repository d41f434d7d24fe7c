"""HTTP/2 at the test's end of a `loopback.Line`: a client's end, or a peer's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    InformationalResponseReceived,
    RemoteSettingsChanged,
    RequestReceived,
    ResponseReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
    WindowUpdated,
)
from loopback import Line

from twisted_kong.proxy.http2.frames import FrameScanner, GoAway

Fields = Sequence[tuple[bytes, bytes]]

GET: Fields = ((b":method", b"GET"), (b":scheme", b"http"), (b":authority", b"a.test"), (b":path", b"/"))


def post(*more: tuple[bytes, bytes], path: bytes = b"/") -> Fields:
    """The head of a POST to ``path``."""
    return ((b":method", b"POST"), (b":scheme", b"http"), (b":authority", b"a.test"), (b":path", path), *more)


@dataclass
class Message:
    """What came on one stream; ``reset`` is the code it was broken off with."""

    fields: list[tuple[bytes, bytes]] = field(default_factory=list)
    informational: list[bytes] = field(default_factory=list)
    body: bytes = b""
    trailers: list[tuple[bytes, bytes]] = field(default_factory=list)
    ended: bool = False
    reset: int | None = None

    def value(self, name: bytes) -> bytes | None:
        values = [value for each, value in self.fields if each == name]
        assert len(values) < 2, (name, values)
        return values[0] if values else None

    @property
    def status(self) -> int:
        return int(self.value(b":status") or b"0")


class End:
    """One end of a connection. It takes in what comes when asked to (`read`), and opens no window unless
    ``taking``; ``greets``: it begins with its preface at once."""

    def __init__(self, line: Line, *, client: bool, taking: bool = True, greets: bool = True) -> None:
        self.line = line
        self.taking = taking
        config = H2Configuration(
            client_side=client,
            header_encoding=None,
            validate_outbound_headers=False,
            normalize_outbound_headers=False,
        )
        self.h2 = H2Connection(config)
        self.messages: dict[int, Message] = {}
        self.settings: dict[int, int] = {}
        self.goaway: tuple[int, int] | None = None  # last stream, code
        self._scanner = FrameScanner(from_client=not client)
        if greets:
            self.h2.initiate_connection()
            self.flush()

    def flush(self) -> None:
        """Send what there is to send."""
        data = self.h2.data_to_send()
        if data:
            self.line.send(data)

    def read(self) -> None:
        """Take in what has come, past a GOAWAY as well, and answer what HTTP/2 has answered."""
        for piece in self._scanner.feed(self.line.take()):
            if isinstance(piece, GoAway):
                self.goaway = piece.last, piece.code
                continue
            for event in self.h2.receive_data(piece):
                self._happened(event)
        self.flush()

    def _happened(self, event: Event) -> None:
        if isinstance(event, ConnectionTerminated):
            self.goaway = event.last_stream_id or 0, int(event.error_code or 0)
        elif isinstance(event, RemoteSettingsChanged):
            self.settings.update({int(code): change.new_value for code, change in event.changed_settings.items()})
        elif isinstance(event, (RequestReceived, ResponseReceived)):
            self.message(event.stream_id).fields = list(event.headers)
        elif isinstance(event, InformationalResponseReceived):
            self.message(event.stream_id).informational.append(dict(event.headers)[b":status"])
        elif isinstance(event, DataReceived):
            self.message(event.stream_id).body += event.data
            if self.taking:
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, TrailersReceived):
            self.message(event.stream_id).trailers = list(event.headers)
        elif isinstance(event, StreamEnded):
            self.message(event.stream_id).ended = True
        elif isinstance(event, StreamReset):
            self.message(event.stream_id).reset = int(event.error_code)
        else:
            assert not isinstance(event, WindowUpdated) or event.delta

    def message(self, id: int) -> Message:
        return self.messages.setdefault(id, Message())

    # -- sending -----------------------------------------------------------------------------------------------

    def ask(self, fields: Fields = GET, body: bytes | None = None, *, ended: bool = True) -> int:
        """Send a request; its stream. ``ended`` False: there is more of its body to come."""
        id = self.h2.get_next_available_stream_id()
        self.h2.send_headers(id, fields, end_stream=ended and body is None)
        if body is not None:
            self.h2.send_data(id, body, end_stream=ended)
        self.flush()
        return id

    def answer(
        self, id: int, fields: Fields = ((b":status", b"200"),), body: bytes | None = None, *, ended: bool = True
    ) -> None:
        """Send an answer on a stream; ``ended`` as above."""
        self.h2.send_headers(id, fields, end_stream=ended and body is None)
        if body is not None:
            self.h2.send_data(id, body, end_stream=ended)
        self.flush()

    def send(self, id: int, body: bytes, *, ended: bool = False) -> None:
        """Send more of a body."""
        self.h2.send_data(id, body, end_stream=ended)
        self.flush()

    def end(self, id: int, trailers: Fields) -> None:
        """End a stream with trailers."""
        self.h2.send_headers(id, trailers, end_stream=True)
        self.flush()

    def reset(self, id: int, code: int = 8) -> None:
        """Break a stream off."""
        self.h2.reset_stream(id, code)
        self.flush()

    def get(self, fields: Fields = GET) -> Message:
        """What a request is answered at once."""
        id = self.ask(fields)
        self.read()
        return self.messages[id]
