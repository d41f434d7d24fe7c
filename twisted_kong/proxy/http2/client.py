"""HTTP/2 to peers: one connection carries many attempts, each on a stream of its own.

A stream is to an attempt what a connection of HTTP/1 is (`twisted_kong.proxy.client`): it sends, tells what comes back
and decides nothing. One failure is told apart from all others: ``"refused"`` means that the peer has not looked at the
request (RFC 9113 §8.7), so that any may be sent again.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING

from h2.errors import ErrorCodes
from h2.events import (
    DataReceived,
    Event,
    RemoteSettingsChanged,
    ResponseReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
)
from h2.exceptions import NoAvailableStreamIDError, ProtocolError
from twisted.python.failure import Failure

from twisted_kong.errors import BadGateway
from twisted_kong.model.entities import Timeouts
from twisted_kong.proxy.client import Attempt
from twisted_kong.proxy.http2.framed import FramedConnection, Shared, Stream
from twisted_kong.proxy.http2.frames import GoAway
from twisted_kong.proxy.http2.heads import Field, ResponseHeads
from twisted_kong.tasks import Deadlines

if TYPE_CHECKING:
    from twisted_kong.proxy.http2.pool import StreamDial, StreamPool

ASSUMED_STREAMS = 100
"""Streams a peer takes at a time, as long as it has not said (RFC 9113 §6.5.2 recommends no fewer)."""


class UpstreamFrames(FramedConnection):
    """One connection to a peer. ``key`` is all that shapes it, ``requests`` how many it has carried."""

    def __init__(
        self,
        dial: StreamDial,
        pool: StreamPool,
        shared: Shared,
        deadlines: Deadlines,
        heads: ResponseHeads,
        limit: int,
    ) -> None:
        super().__init__(shared, deadlines, client_side=True, head_limit=limit)
        self.key: Hashable = dial.key
        self._dial = dial
        self.requests = 0
        self.heads = heads
        self.streams: dict[int, UpstreamStream] = {}
        self.leaving = False
        self.heard = 0  # times anything has come
        self._pool = pool
        self._open = 0  # streams given out
        self._allowed = ASSUMED_STREAMS

    # -- what the pool asks ------------------------------------------------------------------------------------

    def has_room(self) -> bool:
        """Whether another stream can be had."""
        return not self.leaving and self._open < self._allowed

    def open(self) -> UpstreamStream:
        """A stream for one attempt."""
        self._open += 1
        self.requests += 1
        if self._open == 1:
            self.disarm()
        return UpstreamStream(self)

    def closed(self, stream: UpstreamStream) -> None:
        """``stream`` is over."""
        self._open -= 1
        self.streams.pop(stream.id, None)
        self.sending.pop(stream.id, None)
        self._pool.freed(self)

    def is_quiet(self) -> bool:
        """Whether nothing is under way."""
        return not self._open

    def leave(self) -> None:
        """Take no more streams, and close once there are none."""
        self.leaving = True
        if not self._open:
            self._finish()

    def _finish(self) -> None:
        if not self._broken:
            self._broken = True
            self._pool.forget(self)
            self.say_goodbye(0)
            self.close()

    # -- what the transport tells ------------------------------------------------------------------------------

    def connectionMade(self) -> None:
        super().connectionMade()
        self.greet()
        self._pool.made(self, self._dial)

    def dataReceived(self, data: bytes) -> None:
        self.heard += 1
        super().dataReceived(data)

    def happened(self, event: Event) -> None:
        if isinstance(event, DataReceived):
            stream = self.streams.get(event.stream_id)
            if stream is None:
                self.received(event.flow_controlled_length)
            else:
                stream.received(event.data, event.flow_controlled_length, event.stream_ended is not None)
        elif isinstance(event, ResponseReceived):
            stream = self.streams.get(event.stream_id)
            if stream is not None:
                ended = event.stream_ended is not None
                stream.answered(event.headers, ended)
        elif isinstance(event, TrailersReceived):
            stream = self.streams.get(event.stream_id)
            if stream is not None:
                stream.trailers_came(event.headers)
        elif isinstance(event, StreamEnded):
            stream = self.streams.get(event.stream_id)
            if stream is not None:
                stream.received_all()
        elif isinstance(event, StreamReset):
            stream = self.streams.get(event.stream_id)
            if stream is not None:
                stream.was_reset(event.error_code)

    def _happened(self, event: Event) -> None:
        super()._happened(event)
        if isinstance(event, RemoteSettingsChanged):
            self._allowed = min(self.h2.remote_settings.max_concurrent_streams, 1 << 20)

    def going_away(self, frame: GoAway) -> None:
        self.leaving = True
        self._pool.forget(self)
        for stream in [stream for id, stream in self.streams.items() if id > frame.last]:
            stream.fail("refused", "the peer is going away")
        if not self._open:
            self._finish()

    def break_off(self, reason: str) -> None:
        if self._broken:
            return
        self._end("malformed", reason)
        self.write_out()
        self.close()

    def _end(self, failure: str, reason: str) -> None:
        self._broken = self.leaving = True
        self._pool.forget(self)
        for stream in list(self.streams.values()):
            stream.fail(failure, reason)

    def timed_out(self) -> None:
        if not self._open:
            self._finish()

    def connectionLost(self, reason: Failure | None = None) -> None:
        super().connectionLost(reason)
        if not self._broken:
            self._end("tcp", "closed before the answer was complete")

    def seems_dead(self) -> None:
        """It gave no sign of life to somebody who waited: nobody else shall."""
        if not self._broken:
            self.leaving = True
            self._pool.forget(self)


class UpstreamStream(Stream):
    """One attempt's stream; see the module."""

    connection: UpstreamFrames

    def __init__(self, connection: UpstreamFrames) -> None:
        super().__init__(connection)
        self.reused = connection.requests > 1
        self.silent = True
        self._attempt: Attempt | None = None
        self._fields: list[Field] = []
        self._head_only = False
        self._uploading = True
        self._timeouts: Timeouts
        self._missing: int | None = None
        self._upload_trailers = b""
        self._over = False
        self._heard = 0

    # -- what an attempt does ----------------------------------------------------------------------------------

    def begin(self, attempt: Attempt, method: bytes, timeouts: Timeouts) -> None:
        """Work for ``attempt`` until its answer ends; ``timeouts`` bound the pauses between operations."""
        self._attempt = attempt
        self._head_only = method == b"HEAD"
        self._timeouts = timeouts

    def head(self, method: bytes, scheme: bytes, authority: bytes, path: bytes, lines: bytes) -> None:
        """What the next `upload` begins with."""
        pseudo = ((b":method", method), (b":scheme", scheme), (b":authority", authority), (b":path", path))
        self._fields = self.connection.shared.lines.fields(pseudo, lines)

    def trailers(self, lines: bytes) -> None:
        """What the last `upload` ends with."""
        self._upload_trailers = lines

    def ask(self, data: bytes) -> None:
        """Send a whole request."""
        self.upload(data, True)

    def upload(self, data: bytes, ended: bool) -> None:
        """Send a piece of the request; ``ended`` says that it is the last."""
        if self._over:
            return
        self._uploading = not ended
        trailers = self._upload_trailers if ended else b""
        if self._fields:
            at_once = ended and not data and not trailers
            if not self._send_head(at_once):
                return
            if at_once:
                self._sent_all = True
        self.send(data, ended, trailers)
        self.await_peer()

    def _send_head(self, ended: bool) -> bool:
        connection = self.connection
        fields, self._fields = self._fields, []
        try:
            self.id = connection.h2.get_next_available_stream_id()
            connection.h2.send_headers(self.id, fields, end_stream=ended)
        except (NoAvailableStreamIDError, ProtocolError) as error:
            self.id = 0
            connection.leaving = True
            self.fail("refused", f"no stream can be opened: {error}")
            return False
        connection.streams[self.id] = self
        connection.shared.has_output(connection)
        return True

    def await_peer(self) -> None:
        """The peer has to take what we send, or else to answer, in time."""
        if self._over:
            return
        if self.congested:
            self._wait(self._timeouts.write)
        elif self._uploading or self._held:
            self.disarm()
        else:
            self._wait(self._timeouts.read)

    def leave(self) -> None:
        """The attempt is no longer interested."""
        self._attempt = None
        self._finish(ErrorCodes.CANCEL)

    def pause(self) -> None:
        """Pass on nothing more until `resume`."""
        self.hold(True)
        self.await_peer()

    def resume(self) -> None:
        """Go on."""
        self.hold(False)
        self.await_peer()

    # -- what comes --------------------------------------------------------------------------------------------

    def answered(self, fields: list[Field], ended: bool) -> None:
        """The head of the answer."""
        attempt = self._attempt
        if attempt is None or not self.silent:
            return
        self.silent = False
        connection = self.connection
        h2_stream = connection.h2.streams.get(self.id)
        if h2_stream is not None:
            h2_stream._expected_content_length = None  # ours to see; to `h2` it is the end of the connection
        try:
            head = connection.heads.read(fields)
            self._missing = None if self._head_only or head.status in (204, 304) else head.meaning.length
            if ended and self._missing:
                raise BadGateway("a length without a body")
        except BadGateway as error:
            self.fail("malformed", str(error))
            return
        if ended:
            self._finish(ErrorCodes.CANCEL)
        else:
            self.await_peer()
        attempt.answered(head, b"", ended)

    def received(self, content: bytes, size: int, ended: bool) -> None:
        if self._missing is not None:
            self._missing -= len(content)
            if self._missing < 0 or (ended and self._missing):
                self.connection.received(size)
                self.fail("malformed", "the body is not of the announced length")
                return
        self.await_peer()
        super().received(content, size, ended)

    def received_all(self) -> None:
        if self._missing:
            self.fail("malformed", "the body is not of the announced length")
        elif not self.silent and not self._over:
            super().received_all()

    def trailers_came(self, fields: list[Field]) -> None:
        """Fields behind the body."""
        attempt = self._attempt
        if attempt is None:
            return
        try:
            lines = self.connection.heads.trailers(fields)
        except BadGateway as error:
            self.fail("malformed", str(error))
            return
        if lines:
            attempt.trailed(lines)

    def take(self, content: bytes, ended: bool) -> None:
        attempt = self._attempt
        if attempt is None:
            return
        if self._head_only:
            content = b""
        if ended:
            self._finish(ErrorCodes.CANCEL)
        if content or ended:
            attempt.went_on(content, ended)

    def was_reset(self, code: int) -> None:
        """The peer has broken the stream off."""
        if code == ErrorCodes.REFUSED_STREAM:
            self.fail("refused", "the peer takes no more streams")
        else:
            self.fail("tcp", f"reset by the peer with error {int(code)}")

    # -- what goes ---------------------------------------------------------------------------------------------

    def progressed(self) -> None:
        if self.congested:
            self._wait(self._timeouts.write)

    def sent(self) -> None:
        self.await_peer()
        if self._attempt is not None and self._uploading:
            self._attempt.upload_drained()

    def sent_all(self) -> None:
        self.await_peer()

    # -- the end -----------------------------------------------------------------------------------------------

    def fail(self, failure: str, reason: str) -> None:
        """There will be no answer, or no end of it."""
        attempt, self._attempt = self._attempt, None
        self._finish(ErrorCodes.CANCEL)
        if attempt is not None:
            attempt.failed(failure, reason)

    def _finish(self, code: ErrorCodes) -> None:
        """Let go of the stream; with ``code`` where it has not ended on both sides."""
        if self._over:
            return
        self._over = True
        self.forget_deadline()
        self.drop_incoming()
        connection = self.connection
        if self.id and not connection._broken:
            connection.reset(self.id, code)  # which does nothing where both sides have ended
        self._sent_all = True
        connection.closed(self)

    def _wait(self, seconds: float) -> None:
        """Something has to happen in so many ``seconds``."""
        self._heard = self.connection.heard
        self.arm(seconds)

    def timed_out(self) -> None:
        if self.connection.heard == self._heard:
            self.connection.seems_dead()
        if self.congested:
            self.fail("timeout", f"nothing could be written for {self._timeouts.write} s")
        else:
            self.fail("timeout", f"nothing came for {self._timeouts.read} s")
