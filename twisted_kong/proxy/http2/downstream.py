"""A request of a client over HTTP/2, as its exchange sees it: a downstream.

The stream brings the body as far as it is taken, and sends the answer as far as the client takes it. Whether a body has
the length announced is found out here, because to `h2` a wrong one is the end of the whole connection.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from h2.errors import ErrorCodes
from h2.exceptions import ProtocolError

from twisted_kong.errors import ProxyError, RequestTimedOut
from twisted_kong.proxy import grpc
from twisted_kong.proxy.exchange import Exchange
from twisted_kong.proxy.headers import RequestHead
from twisted_kong.proxy.http2.framed import Stream
from twisted_kong.proxy.http2.heads import Field, MalformedMessage
from twisted_kong.proxy.patience import Pace
from twisted_kong.proxy.wire import Wire

if TYPE_CHECKING:
    from twisted_kong.proxy.http2.server import Http2Connection

_NO_CONTENT = frozenset([204, 304])


class ServerStream(Stream):
    """One request of a client: a `twisted_kong.proxy.downstream.Downstream`."""

    connection: Http2Connection
    switching = False

    def __init__(self, connection: Http2Connection, id: int, *, ended: bool) -> None:
        super().__init__(connection)
        self.id = id
        self._exchange: Exchange | None = None
        self._head: RequestHead | None = None
        self._missing: int | None = None  # of the announced length
        self._pace: Pace | None = None  # at which the body has to come
        self._complete = ended  # the client has sent all of its request
        self._expecting = False  # the client waits for 100 (Continue)
        self._answer_trailers = b""

    # -- the request -------------------------------------------------------------------------------------------

    def begin(self, head: RequestHead) -> None:
        """Let an exchange find the answer."""
        self._head = head
        if not self._complete:
            self._missing = head.meaning.length
            if not grpc.is_grpc(next(iter(head.values(b"content-type")), None)):  # a call may be silent for long
                self._pace = self.connection.patience.for_body(self._now())
            self._expecting = (head.meaning.value(b"expect") or b"").lower() == b"100-continue"
            self._await_body()
        self._exchange = exchange = Exchange(self.connection.core, self, head, self.connection.client)
        exchange.start()

    def refuse(self, error: ProxyError) -> tuple[bytes, int, int]:
        """Answer a request that is not served; its id, the status, and the size of what it is told."""
        core = self.connection.core
        request_id = core.new_request_id()
        lines, body = core.made_up(error, None, request_id)
        lines += core.tokens.decided(request_id, 0.0)
        self.answer(error.status, b"", lines, len(body), body, True)
        return request_id, error.status, len(body)

    def body_came(self, content: bytes, size: int, ended: bool) -> None:
        """A piece of the body; whether it is of the announced length is ours to see."""
        self._expecting = False
        if self._missing is not None:
            self._missing -= len(content)
            if self._missing < 0 or (ended and self._missing):
                self.connection.received(size)
                self.fail(ErrorCodes.PROTOCOL_ERROR)
                return
        if ended:
            self._complete = True
            self.disarm()
        elif not self._held:
            self._await_body(size)
        self.received(content, size, ended)

    def body_is_complete(self) -> None:
        """The client has ended its side, if that is news."""
        if self._complete:
            return
        if self._missing:
            self.fail(ErrorCodes.PROTOCOL_ERROR)
            return
        self._complete = True
        self.disarm()
        self.received_all()

    def trailers_came(self, fields: list[Field]) -> None:
        """Fields behind the body."""
        try:
            lines = self.connection.core.http2_requests.trailers(fields)
        except MalformedMessage:
            self.fail(ErrorCodes.PROTOCOL_ERROR)
        else:
            if self._exchange is not None:
                self._exchange.body_trailed(lines)

    def take(self, content: bytes, ended: bool) -> None:
        exchange = self._exchange
        if exchange is None:
            return
        if content:
            exchange.body_received(content)
        if ended and self._exchange is not None:
            exchange.body_ended()

    # -- what the exchange wants -------------------------------------------------------------------------------

    def expect_body(self) -> None:
        if self._expecting:
            self._expecting = False
            connection = self.connection
            try:
                connection.h2.send_headers(self.id, [(b":status", b"100")])
            except ProtocolError:
                return  # it has ended meanwhile, which we are about to be told
            connection.shared.has_output(connection)

    def hold_body(self, hold: bool) -> None:
        if hold:
            self.disarm()  # who is not read from cannot be late
            if self._pace is not None:
                self._pace.hold(self._now())
        elif not self._complete:
            self._await_body()
        self.hold(hold)

    def _await_body(self, came: int = 0) -> None:
        """More of the body has to come in time, ``came`` bytes having come."""
        self.arm(self.connection.patience.body if self._pace is None else self._pace.wait(came, self._now()))

    def answer(self, status: int, reason: bytes, lines: bytes, length: int | None, content: bytes, ended: bool) -> None:
        connection = self.connection
        if status in _NO_CONTENT or (self._head is not None and self._head.method == b"HEAD"):
            content = b""
        if length is not None and status != 204:
            lines += b"Content-Length: %d\r\n" % length
        fields = connection.shared.lines.fields(((b":status", b"%d" % status),), lines)
        at_once = ended and not content
        try:
            connection.h2.send_headers(self.id, fields, end_stream=at_once)
        except ProtocolError:
            self.withdraw()  # it has ended meanwhile, which we are about to be told
            if ended:
                self._exchange = None
            return
        connection.useful()
        if at_once:
            self._exchange = None
            self._sent_all = True
            self.sent_all()
            connection.shared.has_output(connection)
        else:
            self._write(content, ended)

    def answer_more(self, content: bytes, ended: bool) -> None:
        self._write(content, ended)

    def answer_trailers(self, lines: bytes) -> None:
        self._answer_trailers = lines

    def _write(self, content: bytes, ended: bool) -> None:
        if ended:
            self._exchange = None
        if self._pending or not (content or ended):
            self.connection.shared.has_output(self.connection)
        self.send(content, ended, self._answer_trailers)
        if self.congested:
            self.arm(self.connection.patience.send)

    def switch(self, lines: bytes) -> tuple[Wire, bytes]:
        """Streams are not switched: no exchange wants it."""
        raise NotImplementedError

    def close_after(self) -> None:
        """Other streams have done no harm."""

    def answer_broken(self) -> None:
        self._exchange = None
        self.fail(ErrorCodes.INTERNAL_ERROR, blamed=False)

    # -- what becomes of the answer ----------------------------------------------------------------------------

    def progressed(self) -> None:
        self.connection.useful()
        if self.congested:
            self.arm(self.connection.patience.send)
        elif not self._complete and not self._held:
            self._await_body()  # a conversation goes on in either direction

    def sent(self) -> None:
        self.disarm()
        if not self._complete and not self._held:
            self._await_body()
        if self._exchange is not None:
            self._exchange.drained()

    def sent_all(self) -> None:
        connection = self.connection
        connection.answered()
        self._leave()
        if not self._complete:
            connection.reset(self.id, ErrorCodes.NO_ERROR)  # the rest of the body is not wanted (RFC 9113 §8.1)
        connection.stream_gone()

    def fail(self, code: ErrorCodes, *, blamed: bool = True) -> None:
        """Break off this stream; ``blamed``: the client is at fault."""
        connection = self.connection
        if self.id not in connection.streams:
            return
        self.cancelled()
        self._leave()
        connection.reset(self.id, code)
        if blamed:
            connection.abandoned()
        connection.stream_gone()

    def cancelled(self) -> None:
        """Nobody waits for the answer any more."""
        self.forget_deadline()
        self.withdraw()
        self.drop_incoming()
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.client_gone()

    def _leave(self) -> None:
        self.forget_deadline()
        self.drop_incoming()
        self.connection.streams.pop(self.id, None)

    def timed_out(self) -> None:
        """What it was that did not happen follows from what the stream is doing."""
        connection = self.connection
        if self.congested:
            if connection.congested:
                self.arm(connection.patience.send)  # nobody's stream moves, and the connection has its own deadline
                return
            connection.core.refusals.cut_off("send_timeout")
            self.fail(ErrorCodes.CANCEL, blamed=False)
        elif self._exchange is not None and not self._complete:
            connection.core.refusals.cut_off("body_timeout")
            self._exchange.refuse(RequestTimedOut(connection.patience.told_of_body))
