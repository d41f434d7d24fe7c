"""HTTP/2 of clients: every stream is a downstream with an exchange of its own.

A malformed request ends its stream, never those beside it. What only makes work is allowed for a while
(`Allowance`): frames that carry nothing, and requests that are taken back or end in an error before they are answered
(CVE-2023-44487). A connection ends as nginx's does: after so many requests, after a while without any, and
when the gateway stops; each time the client is told which of its requests will be answered.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from h2.errors import ErrorCodes
from h2.events import (
    DataReceived,
    Event,
    RequestReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
)
from twisted.logger import Logger
from twisted.python.failure import Failure

from twisted_kong.errors import ProxyError, RequestRefused
from twisted_kong.proxy.forwarding import Client
from twisted_kong.proxy.http2.downstream import ServerStream
from twisted_kong.proxy.http2.framed import FramedConnection
from twisted_kong.proxy.http2.frames import Allowance, GoAway
from twisted_kong.proxy.http2.heads import Field, MalformedMessage
from twisted_kong.proxy.patience import BEGINNING, LINGER
from twisted_kong.proxy.recording import Unreadable

if TYPE_CHECKING:
    from twisted_kong.proxy.listeners import ProxyListener

log = Logger()

IDLE_FRAMES_SECONDS = 20
"""Seconds in which as many frames that carry nothing may come as at once. Every message and its content earns more."""
RESETS_SECONDS = 30
"""The same of requests that the client takes back or that end in an error; every answer earns one."""
UPDATES_FREE = 16.0
"""Window updates that count as one frame that carries nothing."""


class Http2Connection(FramedConnection):
    """One connection of a client."""

    def __init__(self, listener: ProxyListener) -> None:
        core, limit = listener.core, listener.patience.streams
        super().__init__(
            core.http2, core.deadlines, client_side=False, head_limit=core.request_parser.head_limit, streams=limit
        )
        self.core = core
        self.patience = listener.patience
        self.client: Client  # set once the transport is there
        self._listener = listener
        self.streams: dict[int, ServerStream] = {}
        self._requests = 0
        self._last = 0  # the last request that is served, once there is one
        self._leaving = False
        self._stalled = False  # the client does not take what is sent
        now = core.seconds()
        frames, resets = listener.patience.idle_frames, listener.patience.resets
        self._idle_frames = Allowance(frames, frames / IDLE_FRAMES_SECONDS, now)
        self._abandoned = Allowance(resets, resets / RESETS_SECONDS, now)

    def connectionMade(self) -> None:
        super().connectionMade()
        self.client = self._listener.joined(self)
        self.arm(self.patience.head)
        self.greet()

    @property
    def unsent(self) -> bool:
        """Whether the client has not taken all of its answers yet."""
        return self.congested or bool(self.sending)

    # -- what comes --------------------------------------------------------------------------------------------

    def happened(self, event: Event) -> None:
        if isinstance(event, DataReceived):
            stream = self.streams.get(event.stream_id)
            if stream is None:
                self.received(event.flow_controlled_length)
            else:
                self._idle_frames.earn(1)
                stream.body_came(event.data, event.flow_controlled_length, event.stream_ended is not None)
        elif isinstance(event, RequestReceived):
            self._begin(event.stream_id, event.headers, ended=event.stream_ended is not None)
        elif isinstance(event, StreamEnded):
            stream = self.streams.get(event.stream_id)
            if stream is not None:
                stream.body_is_complete()
        elif isinstance(event, StreamReset):
            self._reset(event)
        elif isinstance(event, TrailersReceived):
            stream = self.streams.get(event.stream_id)
            if stream is not None:
                stream.trailers_came(event.headers)

    def _begin(self, id: int, fields: list[Field], *, ended: bool) -> None:
        """A request has come."""
        if self._leaving:
            self.reset(id, ErrorCodes.REFUSED_STREAM)  # the client knows that it is to be sent elsewhere
            return
        if len(self.streams) >= self._streams:
            self.reset(id, ErrorCodes.REFUSED_STREAM)
            self.abandoned()
            return
        self._last = id
        self._requests += 1
        self._unexpect_body(id)
        stream = self.streams[id] = ServerStream(self, id, ended=ended)
        if self._requests >= self.patience.requests or self._listener.draining:
            self._leave()
        self.disarm_if_quiet()
        try:
            head = self.core.http2_requests.read(fields, ended=ended)
        except MalformedMessage as error:
            log.debug("a malformed request over HTTP/2: {error}", error=error)
            self._record(fields, self.core.new_request_id(), RequestRefused.status, 0)
            stream.fail(ErrorCodes.PROTOCOL_ERROR)
        except ProxyError as error:
            self._record(fields, *stream.refuse(error))
        else:
            stream.begin(head)

    def _record(self, fields: list[Field], request_id: bytes, status: int, sent: int) -> None:
        """The access log is told of a request without an exchange, as far as it can be read."""
        said = dict(fields)
        line = b"%b %b HTTP/2.0" % (said.get(b":method", b""), said.get(b":path", b"")[:BEGINNING])
        core = self.core
        core.recorder.refused(Unreadable(self.client.known, line, request_id, status, sent, core.seconds()))

    def _unexpect_body(self, id: int) -> None:
        """A wrong length is an error of the stream, which `ServerStream` finds; `h2` would end the connection."""
        stream = self.h2.streams.get(id)
        if stream is not None:
            stream._expected_content_length = None

    def _reset(self, event: StreamReset) -> None:
        stream = self.streams.pop(event.stream_id, None)
        if stream is not None:
            stream.cancelled()
            self.abandoned()
            self.stream_gone()

    def abandoned(self) -> None:
        """A request has made work for nothing."""
        if not self._abandoned.spend(1, self.core.seconds()):
            self._calm_down("http2_requests", "requests that are taken back or fail")

    def was_read(self) -> None:
        scanner = self._scanner
        idle = scanner.idle + scanner.updates / UPDATES_FREE
        if idle:
            scanner.idle = scanner.updates = 0
            if not self._idle_frames.spend(idle, self.core.seconds()):
                self._calm_down("http2_frames", "frames that carry nothing")

    def useful(self) -> None:
        """A frame of an answer has gone."""
        self._idle_frames.earn(1)

    def answered(self) -> None:
        """An answer is complete."""
        self._abandoned.earn(1)

    def _calm_down(self, reason: str, what: str) -> None:
        if self._broken:
            return
        self.core.refusals.cut_off(reason)
        log.warn("{address} is cut off: too many {what}", address=self.client.known, what=what)
        self.say_goodbye(self._last, ErrorCodes.ENHANCE_YOUR_CALM)
        self.break_off(f"too many {what}")

    def going_away(self, frame: GoAway) -> None:
        self._leave()
        self.stream_gone()

    # -- the end -----------------------------------------------------------------------------------------------

    def stream_gone(self) -> None:
        """A stream is no more."""
        if not self.streams and not self._broken:
            if self._leaving:
                self._close_gently()
            elif not self.congested:
                self.arm(self.patience.idle)

    def disarm_if_quiet(self) -> None:
        """There is a stream: whatever the connection waits for now, its streams wait for."""
        if not self.congested:
            self.disarm()

    def _leave(self) -> None:
        """Serve what there is, and nothing more."""
        if not self._leaving:
            self._leaving = True
            self.say_goodbye(self._last)

    def close_idle(self) -> None:
        """Close, after the answers under way."""
        self._leave()
        self.stream_gone()

    def _close_gently(self) -> None:
        """Say that we say no more, and wait a little for the client to go: it may still be sending."""
        if self._broken:
            return
        self._broken = True
        self.write_out()
        if self.congested:
            self.arm(self.patience.send)
        else:
            self._end_writing()

    def _end_writing(self) -> None:
        self.arm(LINGER)
        self.transport.loseWriteConnection()

    def break_off(self, reason: str) -> None:
        if self._broken:
            return
        log.debug("{address} is cut off: {reason}", address=self.client.known, reason=reason)
        self._give_up()
        self._close_gently()

    def _give_up(self) -> None:
        """No answer will be sent any more."""
        streams, self.streams = self.streams, {}
        self.sending.clear()
        for stream in streams.values():
            stream.cancelled()

    def write_out(self) -> None:
        super().write_out()
        if self.congested and not self._stalled:
            self._stalled = True
            self.arm(self.patience.send)

    def drained(self) -> None:
        self._stalled = False
        self.disarm()
        if self._broken:
            self._end_writing()
            return
        super().drained()
        if not self.congested and not self.streams:
            self.stream_gone()

    def timed_out(self) -> None:
        cut_off = self.core.refusals.cut_off
        if self.congested:
            if self.has_progressed():
                self.arm(self.patience.send)
            else:
                cut_off("send_timeout")
                self.abort()
        elif self._broken:
            self.close()  # what the system has not sent yet it goes on sending
        elif self._last:
            self._leave()
            self.stream_gone()
        else:
            cut_off("head_timeout")
            self._leave()
            self._close_gently()  # not one request within the time for a head

    def connectionLost(self, reason: Failure | None = None) -> None:
        super().connectionLost(reason)
        self._broken = True
        self._listener.left(self)
        self._give_up()
