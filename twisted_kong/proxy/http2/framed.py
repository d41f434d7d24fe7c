"""What both sides of HTTP/2 share: one connection, many streams, and nobody waits for anybody else's.

What is received opens the connection's window again at once, and its stream's only when it has been taken: who does
not keep up holds back its own stream, at most `STREAM_WINDOW` bytes of it. What is to be sent goes as far as the
windows and the socket let it; the rest waits at its stream, which is `congested` until it has gone, and streams that
wait take turns, a frame each.

Whatever happens while data are being read is written once they have been (`Shared.reading`): a head, its body and its
trailers make one write.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import Event, RemoteSettingsChanged, WindowUpdated
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes, Settings
from hyperframe.frame import GoAwayFrame
from twisted.python.failure import Failure

from twisted_kong.proxy.http2.frames import FrameRefused, FrameScanner, GoAway
from twisted_kong.proxy.http2.heads import LineFields
from twisted_kong.proxy.http2.packing import Packer
from twisted_kong.proxy.wire import Wire
from twisted_kong.tasks import Deadlines, Waiter

STREAM_WINDOW = 131072
"""Bytes of a stream that may be under way to us, or waiting here to be taken."""
CONNECTION_WINDOW = 1 << 20
"""The same of a whole connection; it opens at once, so no stream waits for another."""
MAX_STREAMS = 128
"""Streams at a time that a client may have, unless the settings say otherwise."""
ENCODER_TABLE = 4096
"""Bytes of our headers remembered for a connection, however many the other side allows (RFC 7541 §4.2)."""
HEAD_SLACK = 4
"""A head of so many times the limit ends its connection; a shorter one is read, and told that it is too long."""
BACKLOG = 1 << 20
"""Bytes that wait for a socket before no more is read from it; content never waits there."""


class Shared:
    """What all HTTP/2 connections of a proxy share. ``lines`` turns header lines into fields."""

    def __init__(self) -> None:
        self.lines = LineFields()
        self._depth = 0
        self._unwritten: set[FramedConnection] = set()

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Nothing is written until the end of this."""
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1
            if not self._depth:
                while self._unwritten:
                    self._unwritten.pop().write_out()

    def has_output(self, connection: FramedConnection) -> None:
        """``connection`` has something to write: now, or at the end of `reading`."""
        if self._depth:
            self._unwritten.add(connection)
        else:
            connection.write_out()


class FramedConnection(Wire):
    """One HTTP/2 connection, of either side."""

    def __init__(
        self, shared: Shared, deadlines: Deadlines, *, client_side: bool, head_limit: int, streams: int = MAX_STREAMS
    ) -> None:
        super().__init__(deadlines)
        self.shared = shared
        self.h2 = H2Connection(
            H2Configuration(
                client_side=client_side,
                header_encoding=None,
                validate_inbound_headers=False,  # ours is an error of the stream, theirs one of the connection
                normalize_inbound_headers=False,
                validate_outbound_headers=False,
                normalize_outbound_headers=False,
            )
        )
        self.h2.encoder = Packer()
        self.sending: dict[int, Stream] = {}
        self._scanner = FrameScanner(from_client=not client_side, head_limit=HEAD_SLACK * head_limit)
        self._client_side = client_side
        self._head_limit = head_limit
        self._streams = streams
        self._uncredited = 0
        self._waiting = 0  # bytes handed over since the socket takes no more
        self._broken = False

    def greet(self) -> None:
        """Send our settings. What we announce is stricter than what `h2` enforces: beyond it streams fail alone."""
        h2 = self.h2
        announced: dict[int, int] = {
            SettingCodes.INITIAL_WINDOW_SIZE: STREAM_WINDOW,
            SettingCodes.MAX_HEADER_LIST_SIZE: self._head_limit,
        }
        if self._client_side:
            announced[SettingCodes.ENABLE_PUSH] = 0
        else:
            announced[SettingCodes.MAX_CONCURRENT_STREAMS] = self._streams
        enforced = {**announced, SettingCodes.MAX_CONCURRENT_STREAMS: 8 * self._streams}
        h2.local_settings = Settings(client=self._client_side, initial_values=_only(announced))
        h2.initiate_connection()
        h2.local_settings = Settings(client=self._client_side, initial_values=_only(enforced))
        h2.decoder.max_header_list_size = HEAD_SLACK * self._head_limit
        h2.increment_flow_control_window(CONNECTION_WINDOW - 65535)
        self.shared.has_output(self)

    # -- what comes --------------------------------------------------------------------------------------------

    def dataReceived(self, data: bytes) -> None:
        if self._broken:
            return
        with self.shared.reading():
            try:
                for piece in self._scanner.feed(data):
                    if isinstance(piece, GoAway):
                        self.going_away(piece)
                    else:
                        for event in self.h2.receive_data(piece):
                            self._happened(event)
                    if self._broken:  # whatever else has come, the end has been told
                        return
            except FrameRefused as error:
                self.say_goodbye(self.h2.highest_inbound_stream_id, error.code)
                self.break_off(str(error))
                return
            except ProtocolError as error:
                self.shared.has_output(self)  # a GOAWAY that says what is wrong
                self.break_off(f"{type(error).__name__}: {error}")
                return
            self.was_read()
            if self._uncredited >= CONNECTION_WINDOW // 4:
                credit, self._uncredited = self._uncredited, 0
                self.h2.increment_flow_control_window(credit)
            self.pump()
            self.shared.has_output(self)

    def _happened(self, event: Event) -> None:
        if isinstance(event, RemoteSettingsChanged):
            if self.h2.encoder.header_table_size > ENCODER_TABLE:
                self.h2.encoder.header_table_size = ENCODER_TABLE
        elif not isinstance(event, WindowUpdated):  # the pump looks at all windows anyway
            self.happened(event)

    def happened(self, event: Event) -> None:
        """Something was received."""
        raise NotImplementedError

    def going_away(self, frame: GoAway) -> None:
        """The other side wants no more streams."""
        raise NotImplementedError

    def was_read(self) -> None:
        """Everything that has come so far has been looked at."""

    def received(self, size: int) -> None:
        """Bytes of DATA have come, padding included."""
        self._uncredited += size

    def break_off(self, reason: str) -> None:
        """Nothing on this connection makes sense any more."""
        raise NotImplementedError

    def connectionLost(self, reason: Failure | None = None) -> None:
        super().connectionLost(reason)
        # A table of its own methods, which would keep it in memory until the garbage collector comes by.
        self.h2._frame_dispatch_table = {}

    # -- what goes ---------------------------------------------------------------------------------------------

    def write_out(self) -> None:
        """Write what there is."""
        data = self.h2.data_to_send()
        if data:
            if self.congested:
                self._waiting += len(data)
                self._left += len(data)
                if self._waiting > BACKLOG:
                    self.pause()
            self.send(data)

    def pump(self) -> None:
        """Send what waits at the streams, a frame of each in turn, for as long as windows and socket take it."""
        while self.sending and not self.congested:
            sent = False
            for stream in list(self.sending.values()):
                sent = stream.send_frame() or sent
            if not sent:
                return
            self.write_out()

    def drained(self) -> None:
        self._waiting = 0
        self.resume()
        with self.shared.reading():
            self.pump()
            self.shared.has_output(self)

    def say_goodbye(self, last: int, code: int = ErrorCodes.NO_ERROR) -> None:
        """Ask for no more streams than those up to ``last``, without `h2`: to it that is the end of everything."""
        self.write_out()
        frame = GoAwayFrame(0)
        frame.last_stream_id = last
        frame.error_code = code
        self.send(frame.serialize())

    def reset(self, stream: int, code: int) -> None:
        """Break off a stream, unless it has ended on both sides."""
        try:
            self.h2.reset_stream(stream, code)
        except ProtocolError:
            return
        self.shared.has_output(self)


def _only(settings: dict[int, int]) -> dict[SettingCodes, int]:
    return {SettingCodes(code): value for code, value in settings.items()}


class Stream(Waiter):
    """One stream: what is received and not taken, what is to be sent and does not go. ``id`` 0 is none yet."""

    congested = False
    id = 0

    def __init__(self, connection: FramedConnection) -> None:
        super().__init__(connection._deadlines)
        self.connection = connection
        self._incoming: list[bytes] = []
        self._incoming_ended = False
        self._held = False
        self._delivering = False
        self._uncredited = 0
        self._pending = b""
        self._at = 0  # what of it has gone
        self._ending = False
        self._trailers = b""
        self._sent_all = False

    # -- what comes --------------------------------------------------------------------------------------------

    def received(self, content: bytes, size: int, ended: bool) -> None:
        """Content has come; ``size`` is what it takes of the window, ``ended`` that it is the last."""
        self.connection.received(size)
        if size > len(content) and not ended:
            self._credit(size - len(content))
        if content:
            self._incoming.append(content)
        self._incoming_ended = ended
        self.deliver()

    def received_all(self) -> None:
        """Nothing more will come."""
        self._incoming_ended = True
        self.deliver()

    def hold(self, hold: bool) -> None:
        """Pass on no more content for now, or go on."""
        self._held = hold
        if not hold:
            self.deliver()

    def deliver(self) -> None:
        """Pass on what has come, for as long as it is taken."""
        if self._delivering:
            return
        self._delivering = True
        try:
            while self._incoming and not self._held:
                content = self._incoming.pop(0)
                last = self._incoming_ended and not self._incoming
                if not self._incoming_ended:
                    self._credit(len(content))
                if last:
                    self._incoming_ended = False
                self.take(content, last)
                if last:
                    return
            if self._incoming_ended and not self._held and not self._incoming:
                self._incoming_ended = False
                self.take(b"", True)
        finally:
            self._delivering = False

    def take(self, content: bytes, ended: bool) -> None:
        """Content for whoever wants it; ``ended``: it is the last."""
        raise NotImplementedError

    def _credit(self, size: int) -> None:
        """Let the other side send so much more, in steps worth a frame."""
        self._uncredited += size
        if self._uncredited >= STREAM_WINDOW // 4:
            credit, self._uncredited = self._uncredited, 0
            try:
                self.connection.h2.increment_flow_control_window(credit, self.id)
            except (KeyError, ProtocolError):
                return  # it has ended meanwhile
            self.connection.shared.has_output(self.connection)

    def drop_incoming(self) -> None:
        """Nobody wants what has come or will."""
        self._incoming.clear()
        self._incoming_ended = False

    # -- what goes ---------------------------------------------------------------------------------------------

    def send(self, content: bytes, ended: bool, trailers: bytes = b"") -> None:
        """Send content, or let it wait; ``ended``: it is the last, but for these trailer lines."""
        if self._sent_all or not (content or ended):
            return
        connection = self.connection
        self._trailers = trailers
        self._ending = ended
        if self._pending:
            self._pending = self._pending[self._at :] + content
            self._at = 0
            return
        self._pending, self._at = content, 0
        if not connection.congested and self.id not in connection.sending:
            while self.send_frame():
                if self._at >= len(self._pending):
                    break
        if self._sent_all or (not self._ending and self._at >= len(self._pending)):
            self._pending = b""
        elif self.id not in connection.sending:
            connection.sending[self.id] = self
            self.congested = True
        connection.shared.has_output(connection)

    def send_frame(self) -> bool:
        """Send one frame of what waits if the windows allow; whether they did."""
        connection = self.connection
        left = len(self._pending) - self._at
        try:
            if left:
                size = min(
                    left, connection.h2.local_flow_control_window(self.id), connection.h2.max_outbound_frame_size
                )
                if size <= 0:
                    return False
                whole = size == left
                last = whole and self._ending and not self._trailers
                content = self._pending if size == len(self._pending) else self._pending[self._at : self._at + size]
                connection.h2.send_data(self.id, content, last)
                self._at += size
                if whole and self._ending and not last:
                    self._send_trailers()
            else:
                whole = True
                if self._ending:
                    if self._trailers:
                        self._send_trailers()
                    else:
                        connection.h2.end_stream(self.id)
        except (ProtocolError, KeyError):  # it has ended meanwhile, which somebody is about to be told
            self.withdraw()
            return False
        self.progressed()
        if whole:
            self._gone()
        return True

    def _send_trailers(self) -> None:
        connection = self.connection
        connection.h2.send_headers(self.id, connection.shared.lines.fields((), self._trailers), end_stream=True)

    def _gone(self) -> None:
        """Everything handed over has gone."""
        self._pending, self._at = b"", 0
        if self._ending:
            self._sent_all = True
        waited = self.connection.sending.pop(self.id, None) is not None
        if self._sent_all:
            self.congested = False
            self.sent_all()
        elif waited:
            self.congested = False
            self.sent()

    def withdraw(self) -> None:
        """Send nothing more."""
        self._pending, self._at = b"", 0
        self._sent_all = True
        self.connection.sending.pop(self.id, None)

    def progressed(self) -> None:
        """A frame has gone."""

    def sent(self) -> None:
        """What waited has gone, and there may be more."""
        raise NotImplementedError

    def sent_all(self) -> None:
        """Our side of the stream has ended."""
        raise NotImplementedError
